/* checkpoint: the state of a training run as a GGUF file: soft tokens, the optimiser's moments, the steps done. All
 * else follows from the parameters, the training set and the model, which it names and compares. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/visible.h"
#include "model/gguf_bytes.h"
#include "model/gguf_file.h"
#include "trainer.h"

#define CHECKPOINT_ARCHITECTURE "judgeq-checkpoint"

enum { FORMAT_VERSION = 1, PARAMETERS_SIZE = 400 };

static const char KEY_VERSION[] = "judgeq.format_version", KEY_FINGERPRINT[] = "judgeq.model.fingerprint";
static const char KEY_DATA[] = "judgeq.train.data_hash", KEY_PARAMETERS[] = "judgeq.train.parameters";
static const char KEY_STEP[] = "judgeq.train.step", KEY_UPDATES[] = "judgeq.train.updates";
enum { SOFT, MEAN, SQUARE, N_ARRAYS };
static const char *const ARRAYS[N_ARRAYS] = {"soft_tokens.weight", "adamw.mean", "adamw.square"};

/* What changes the steps to come. */
static void write_parameters(const judgeq_trainer *trainer, char text[PARAMETERS_SIZE]) {
    const judgeq_trainer_params *p = &trainer->params;
    int n = snprintf(
        text, PARAMETERS_SIZE,
        "loss=%s deep=%d n_soft=%d epochs=%d accumulate=%d warm_up=%d lr=%.17g clip=%.17g heldout=%.17g seed=%llu "
        "kv=%s",
        p->loss == JUDGEQ_LOSS_MSE ? "mse" : "kl", p->deep, p->n_soft, p->n_epochs, p->n_accumulate, p->n_warm_up,
        p->rate, p->clip, p->heldout, (unsigned long long)p->seed, judgeq_kv_type_name(p->kv_type));
    if (trainer_streams(trainer)) {
        n += snprintf(text + n, (size_t)(PARAMETERS_SIZE - n), " stream=%d ring=%d replay=%d", p->n_stream, p->n_ring,
                      p->n_replay);
    }
    if (p->weigh_values) n += snprintf(text + n, (size_t)(PARAMETERS_SIZE - n), " weigh_values");
    if (p->target == JUDGEQ_TARGET_MAX) snprintf(text + n, (size_t)(PARAMETERS_SIZE - n), " target=max");
    if (p->target == JUDGEQ_TARGET_COPIED) snprintf(text + n, (size_t)(PARAMETERS_SIZE - n), " target=copied");
}

/* ---- write ------------------------------------------------------------------------------------------------------- */

static void set_keys(struct gguf_context *gguf, const void *owner) {
    const judgeq_trainer *trainer = owner;
    char parameters[PARAMETERS_SIZE];
    write_parameters(trainer, parameters);
    gguf_set_val_str(gguf, "general.architecture", CHECKPOINT_ARCHITECTURE);
    gguf_set_val_u32(gguf, KEY_VERSION, FORMAT_VERSION);
    gguf_set_val_str(gguf, KEY_FINGERPRINT, trainer->model->info.file_fingerprint); /* its gradients are its own */
    gguf_set_val_str(gguf, KEY_DATA, trainer->set->info.hash);
    gguf_set_val_str(gguf, KEY_PARAMETERS, parameters);
    gguf_set_val_u64(gguf, KEY_STEP, (uint64_t)trainer->step);
    gguf_set_val_u64(gguf, KEY_UPDATES, (uint64_t)trainer->optimiser.step);
}

judgeq_status judgeq_trainer_save(const judgeq_trainer *trainer, const char *path, judgeq_error *error) {
    const float *const data[N_ARRAYS] = {trainer->soft, trainer->optimiser.m, trainer->optimiser.v};
    gguf_array arrays[N_ARRAYS];
    for (int i = 0; i < N_ARRAYS; i++) {
        arrays[i] = (gguf_array){.type = GGML_TYPE_F32,
                                 .ne = {trainer->model->info.n_embd, trainer->params.n_soft, trainer_depth(trainer), 1},
                                 .data = data[i]};
        snprintf(arrays[i].name, sizeof arrays[i].name, "%s", ARRAYS[i]);
    }
    const gguf_content content = {
        .what = "a checkpoint", .set_keys = set_keys, .owner = trainer, .array = arrays, .n_array = N_ARRAYS};
    return gguf_bytes_write(&content, path, error);
}

/* ---- read -------------------------------------------------------------------------------------------------------- */

static judgeq_status check_kind(const gguf_file *file, judgeq_error *error) {
    const char *architecture = "";
    uint32_t version = 0;
    judgeq_status status = gguf_read_string(file, "general.architecture", GGUF_REQUIRED, &architecture, error);
    if (status == JUDGEQ_OK && strcmp(architecture, CHECKPOINT_ARCHITECTURE) != 0) {
        status = error_set(error, JUDGEQ_ERROR_FORMAT, "%s: is not a checkpoint of judgeq train", file->path);
    }
    if (status == JUDGEQ_OK) status = gguf_read_u32(file, KEY_VERSION, GGUF_REQUIRED, &version, error);
    if (status == JUDGEQ_OK && version != FORMAT_VERSION) {
        status = error_set(error, JUDGEQ_ERROR_FORMAT, "%s: format version %u; this judgeq reads %d", file->path,
                           version, FORMAT_VERSION);
    }
    return status;
}

static judgeq_status check_run(const gguf_file *file, const judgeq_trainer *trainer, judgeq_error *error) {
    char parameters[PARAMETERS_SIZE];
    write_parameters(trainer, parameters);
    const struct {
        const char *key, *what, *expected;
    } texts[] = {{KEY_FINGERPRINT, "model file", trainer->model->info.file_fingerprint},
                 {KEY_DATA, "training set", trainer->set->info.hash},
                 {KEY_PARAMETERS, "parameters", parameters}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const char *found = "";
        const judgeq_status status = gguf_read_string(file, texts[i].key, GGUF_REQUIRED, &found, error);
        if (status != JUDGEQ_OK) return status;
        if (strcmp(found, texts[i].expected) == 0) continue;
        return error_set(error, JUDGEQ_ERROR_MISMATCH, "%s: belongs to a run with another %s (%.*s, not %.*s)",
                         file->path, texts[i].what, VISIBLE_FIT(found, 160), VISIBLE_FIT(texts[i].expected, 160));
    }
    return JUDGEQ_OK;
}

/* Finite numbers; the mean of squares is none below 0. */
static judgeq_status check_values(const char *path, int array, const float *value, size_t n, judgeq_error *error) {
    for (size_t k = 0; k < n; k++) {
        if (!isfinite(value[k]))
            return error_set(error, JUDGEQ_ERROR_NUMERIC, "%s: tensor %s holds NaN or infinity", path, ARRAYS[array]);
        if (array == SQUARE && value[k] < 0)
            return error_set(error, JUDGEQ_ERROR_NUMERIC, "%s: tensor %s holds %g; a mean of squares is not negative",
                             path, ARRAYS[array], (double)value[k]);
    }
    return JUDGEQ_OK;
}

/* Before its first update, the optimiser has seen no gradient. */
static judgeq_status check_moments(const gguf_file *file, const float *const arrays[N_ARRAYS], size_t n,
                                   int64_t updates, judgeq_error *error) {
    for (size_t k = 0; k < n; k++) {
        const bool seen = arrays[MEAN][k] != 0 || arrays[SQUARE][k] != 0;
        if (!seen || updates > 0) continue;
        return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: tensors %s and %s are not 0, but there was no update",
                         file->path, ARRAYS[MEAN], ARRAYS[SQUARE]);
    }
    return JUDGEQ_OK;
}

static judgeq_status find_arrays(const gguf_file *file, const judgeq_trainer *trainer, const float *arrays[N_ARRAYS],
                                 judgeq_error *error) {
    for (int i = 0; i < N_ARRAYS; i++) {
        const struct ggml_tensor *tensor = gguf_file_tensor(file, ARRAYS[i]);
        const float *data = tensor ? gguf_file_data(file, tensor) : NULL;
        if (!tensor || tensor->type != GGML_TYPE_F32 || tensor->ne[0] != trainer->model->info.n_embd ||
            tensor->ne[1] != trainer->params.n_soft || tensor->ne[2] != trainer_depth(trainer) ||
            ggml_nelements(tensor) != (int64_t)trainer->n_value || (uintptr_t)data % sizeof *data != 0) {
            return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: tensor %s is missing or not [%d, %d, %d] of f32",
                             file->path, ARRAYS[i], trainer_depth(trainer), trainer->params.n_soft,
                             trainer->model->info.n_embd);
        }
        const judgeq_status status = check_values(file->path, i, data, trainer->n_value, error);
        if (status != JUDGEQ_OK) return status;
        arrays[i] = data;
    }
    return JUDGEQ_OK;
}

static judgeq_status restore_from(const gguf_file *file, judgeq_trainer *trainer, judgeq_error *error) {
    const float *arrays[N_ARRAYS];
    float *const own[N_ARRAYS] = {trainer->soft, trainer->optimiser.m, trainer->optimiser.v};
    int64_t step = 0, updates = 0;
    judgeq_status status = check_kind(file, error);
    if (status == JUDGEQ_OK) status = check_run(file, trainer, error);
    if (status == JUDGEQ_OK) status = find_arrays(file, trainer, arrays, error);
    if (status == JUDGEQ_OK) status = gguf_read_i64(file, KEY_STEP, GGUF_REQUIRED, &step, error);
    if (status == JUDGEQ_OK) status = gguf_read_i64(file, KEY_UPDATES, GGUF_REQUIRED, &updates, error);
    if (status == JUDGEQ_OK && (step > trainer->n_steps || updates > step)) {
        status = error_set(error, JUDGEQ_ERROR_FORMAT, "%s: %lld steps and %lld updates of %lld steps", file->path,
                           (long long)step, (long long)updates, (long long)trainer->n_steps);
    }
    if (status == JUDGEQ_OK) status = check_moments(file, arrays, trainer->n_value, updates, error);
    if (status != JUDGEQ_OK) return status;
    for (int i = 0; i < N_ARRAYS; i++) memcpy(own[i], arrays[i], trainer->n_value * sizeof *own[i]);
    status = file_check(file->path, &file->map, JUDGEQ_OK, error);
    if (status != JUDGEQ_OK) return status;
    trainer->step = step;
    trainer->optimiser.step = updates;
    trainer->measures = (judgeq_measures){0};
    return JUDGEQ_OK;
}

judgeq_status judgeq_trainer_restore(judgeq_trainer *trainer, const char *path, judgeq_error *error) {
    gguf_file file;
    judgeq_status status = gguf_open_checked(path, &file, error);
    if (status != JUDGEQ_OK) return status;
    status = restore_from(&file, trainer, error);
    gguf_file_close(&file);
    return status;
}
