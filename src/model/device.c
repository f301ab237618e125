#include "device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends.h"
#include "base/error.h"
#include "rpc.h"
#include "tensors.h"

static bool is_cpu(ggml_backend_dev_t device) {
    const enum ggml_backend_dev_type type = ggml_backend_dev_type(device);
    return type == GGML_BACKEND_DEVICE_TYPE_CPU || type == GGML_BACKEND_DEVICE_TYPE_ACCEL;
}

bool judgeq_device_at(size_t index, judgeq_device_info *out) {
    backends_load();
    if (index >= ggml_backend_dev_count()) return false;
    ggml_backend_dev_t device = ggml_backend_dev_get(index);
    *out = (judgeq_device_info){.name = ggml_backend_dev_name(device),
                                .description = rpc_server_name(ggml_backend_dev_description(device)),
                                .cpu = is_cpu(device)};
    ggml_backend_dev_memory(device, &out->free_bytes, &out->total_bytes);
    return true;
}

/* ---- which devices ----------------------------------------------------------------------------------------------- */

/* "CUDA0, RPC0" of the devices that layers can go to, or "none". */
static void list_names(char *text, size_t size) {
    size_t used = 0;
    snprintf(text, size, "none");
    for (size_t i = 0; i < ggml_backend_dev_count() && used < size; i++) {
        ggml_backend_dev_t device = ggml_backend_dev_get(i);
        if (is_cpu(device)) continue;
        used += (size_t)snprintf(text + used, size - used, "%s%s", used > 0 ? ", " : "", ggml_backend_dev_name(device));
    }
}

static judgeq_status refuse_device(const char *name, size_t length, judgeq_error *error) {
    char names[256];
    list_names(names, sizeof names);
    return error_set(error, JUDGEQ_ERROR_ARGUMENT, "there is no device \"%.*s\" to compute on (known: %s)", (int)length,
                     name, names);
}

static judgeq_status take_named(judgeq_model *model, const char *names, judgeq_error *error) {
    for (const char *at = names, *end; *at; at = *end ? end + 1 : end) {
        end = strchrnul(at, ',');
        char name[128];
        snprintf(name, sizeof name, "%.*s", (int)(end - at), at);
        ggml_backend_dev_t device = ggml_backend_dev_by_name(name);
        if (!device || is_cpu(device)) return refuse_device(at, (size_t)(end - at), error);
        for (int32_t i = 0; i < model->n_device; i++) {
            if (model->device[i] == device) {
                return error_set(error, JUDGEQ_ERROR_ARGUMENT, "device \"%s\" is named twice", name);
            }
        }
        model->device[model->n_device++] = device;
    }
    return JUDGEQ_OK;
}

static judgeq_status choose_devices(judgeq_model *model, const char *names, judgeq_error *error) {
    backends_load();
    const size_t n = ggml_backend_dev_count();
    model->device = calloc(n > 0 ? n : 1, sizeof(ggml_backend_dev_t));
    if (!model->device) return error_memory(error, "devices");
    if (names) return take_named(model, names, error);
    for (size_t i = 0; i < n; i++) {
        ggml_backend_dev_t device = ggml_backend_dev_get(i);
        if (!is_cpu(device)) model->device[model->n_device++] = device;
    }
    if (model->n_device > 0) return JUDGEQ_OK;
    return error_set(
        error, JUDGEQ_ERROR_UNSUPPORTED,
        "there is no device but the CPU to compute on: build ggml for one (docs/gpu.md), or name a server");
}

/* Places layers [0, n_offload), and the output if that is more than all layers, in proportion to the devices' free
 * memory. */
static void choose_places(judgeq_model *model, int32_t n_offload) {
    double free_bytes = 0, before = 0;
    size_t *each = calloc((size_t)model->n_device, sizeof *each), total;
    for (int32_t d = 0; each && d < model->n_device; d++) {
        ggml_backend_dev_memory(model->device[d], &each[d], &total);
        free_bytes += (double)each[d];
    }
    const bool known = each && free_bytes > 0;
    int32_t next = 0;
    for (int32_t d = 0; d < model->n_device; d++) {
        before += known ? (double)each[d] / free_bytes : 1.0 / model->n_device;
        for (; next < n_offload && (next + 0.5 < before * n_offload || d + 1 == model->n_device); next++) {
            model->place[next] = d;
        }
    }
    free(each);
}

/* ---- weights ----------------------------------------------------------------------------------------------------- */

/* The tensors of a model that go to one device, as places where it points to them. [*n], of room for all */
static void device_slots(judgeq_model *model, int32_t device, struct ggml_tensor ***slot, size_t *n) {
    struct ggml_tensor **of_layer[MODEL_LAYER_SLOTS], **output[MODEL_OUTPUT_SLOTS];
    *n = 0;
    for (int32_t l = 0; l < model->info.n_layer; l++) {
        model_layer_slots(&model->layer[l], of_layer);
        for (int i = 0; model->place[l] == device && i < MODEL_LAYER_SLOTS; i++) {
            if (*of_layer[i]) slot[(*n)++] = of_layer[i];
        }
    }
    model_output_slots(model, output);
    for (int i = 0; model->place[model->info.n_layer] == device && i < MODEL_OUTPUT_SLOTS; i++) {
        if (*output[i]) slot[(*n)++] = output[i];
    }
}

static const char TENSORS[] = "the tensors of a device";

static judgeq_status copy_weights(judgeq_model *model, int32_t device, struct ggml_tensor ***slot, size_t n,
                                  judgeq_error *error) {
    model_device *to = &model->on_device[device];
    size_t bytes = 0, free_bytes, total;
    judgeq_status status = tensors_new(n + 1, TENSORS, &to->context, error);
    if (status != JUDGEQ_OK) return status;
    struct ggml_tensor **copy = calloc(n + 1, sizeof(struct ggml_tensor *));
    if (!copy) return error_memory(error, TENSORS);
    for (size_t i = 0; i < n; i++) {
        copy[i] = ggml_dup_tensor(to->context, *slot[i]);
        ggml_set_name(copy[i], (*slot[i])->name);
        bytes += ggml_nbytes(copy[i]);
    }
    if (n > 0) {
        ggml_backend_buffer_type_t type = ggml_backend_dev_buffer_type(model->device[device]);
        status = tensors_allocate(to->context, type, TENSORS, &to->buffer, error);
    }
    if (status != JUDGEQ_OK) {
        free((void *)copy);
        ggml_backend_dev_memory(model->device[device], &free_bytes, &total);
        return error_set(error, JUDGEQ_ERROR_MEMORY,
                         "device %s has no room for %zu MiB of weights (%zu MiB are free): offload fewer layers",
                         ggml_backend_dev_name(model->device[device]), bytes >> 20, free_bytes >> 20);
    }
    if (to->buffer) ggml_backend_buffer_set_usage(to->buffer, GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
    for (size_t i = 0; i < n; i++) {
        ggml_backend_tensor_set(copy[i], (*slot[i])->data, 0, ggml_nbytes(copy[i]));
        *slot[i] = copy[i];
    }
    free((void *)copy);
    return JUDGEQ_OK;
}

judgeq_status device_place(judgeq_model *model, const judgeq_model_params *params, judgeq_error *error) {
    const int32_t n_layer = model->info.n_layer, n_all = n_layer + 1;
    if (params->n_offload < -1) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "%d layers to offload: expected 0 or more, or -1 for all",
                         params->n_offload);
    }
    judgeq_status status = choose_devices(model, params->devices, error);
    if (status != JUDGEQ_OK) return status;
    model->place = malloc((size_t)n_all * sizeof *model->place);
    model->on_device = calloc((size_t)model->n_device + 1, sizeof *model->on_device);
    struct ggml_tensor ***slot =
        malloc(((size_t)n_layer * MODEL_LAYER_SLOTS + MODEL_OUTPUT_SLOTS) * sizeof(struct ggml_tensor **));
    if (!model->place || !model->on_device || !slot) {
        free((void *)slot);
        return error_memory(error, "the places of layers");
    }
    for (int32_t l = 0; l < n_all; l++) model->place[l] = MODEL_ON_CPU;
    choose_places(model, params->n_offload < 0 || params->n_offload > n_all ? n_all : params->n_offload);
    for (int32_t d = 0; status == JUDGEQ_OK && d < model->n_device; d++) {
        size_t n;
        device_slots(model, d, slot, &n);
        status = copy_weights(model, d, slot, n, error);
    }
    free((void *)slot);
    return status;
}

void device_forget(judgeq_model *model) {
    for (int32_t d = 0; model->on_device && d < model->n_device; d++) {
        ggml_backend_buffer_free(model->on_device[d].buffer);
        ggml_free(model->on_device[d].context);
    }
    free(model->on_device);
    free(model->place);
    free((void *)model->device);
}
