#include "model.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/quiet.h"
#include "base/visible.h"
#include "chat.h"
#include "device.h"
#include "family.h"
#include "fingerprint.h"
#include "gguf_split.h"
#include "model_bind.h"
#include "model_keys.h"
#include "model_kind.h"
#include "tokenizer.h"

/* Shapes beyond these are no language model; the bounds keep every product of two of them inside 64 bits. */
enum { MOST_LAYERS = 4096, MOST_EMBEDDING = 1 << 20, MOST_HEADS = 1 << 14 };

/* ---- hyper-parameters -------------------------------------------------------------------------------------------- */

/* A key of the architecture's own: "llama.block_count". */
typedef struct key_name {
    char text[128];
} key_name;

static key_name own_key(const judgeq_model *model, const char *suffix) {
    key_name key;
    snprintf(key.text, sizeof key.text, "%s.%s", model->info.architecture, suffix);
    return key;
}

static judgeq_status check_count(const judgeq_model *model, const char *key, uint32_t value, int32_t most, int32_t *out,
                                 judgeq_error *error) {
    if (value < 1 || value > (uint32_t)most) {
        return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: %s is %" PRIu32 ", expected 1 to %d", model->file.path, key,
                         value, most);
    }
    *out = (int32_t)value;
    return JUDGEQ_OK;
}

static judgeq_status read_count(const judgeq_model *model, const char *suffix, gguf_need need, int32_t most,
                                int32_t *out, judgeq_error *error) {
    const key_name key = own_key(model, suffix);
    uint32_t value = (uint32_t)*out;
    judgeq_status status = gguf_read_u32(&model->file, key.text, need, &value, error);
    return status == JUDGEQ_OK ? check_count(model, key.text, value, most, out, error) : status;
}

/* One that a file may say for every layer; then all must be alike. */
static judgeq_status read_count_of_layers(const judgeq_model *model, const char *suffix, gguf_need need, int32_t most,
                                          int32_t *out, judgeq_error *error) {
    const key_name key = own_key(model, suffix);
    uint32_t value = (uint32_t)*out;
    judgeq_status status =
        gguf_read_u32_of_layers(&model->file, key.text, need, (size_t)model->info.n_layer, &value, error);
    return status == JUDGEQ_OK ? check_count(model, key.text, value, most, out, error) : status;
}

static judgeq_status read_number(const judgeq_model *model, const char *suffix, gguf_need need, float *out,
                                 judgeq_error *error) {
    return gguf_read_f32(&model->file, own_key(model, suffix).text, need, out, error);
}

/* ggml aborts on a negative one. */
static judgeq_status read_epsilon(judgeq_model *model, judgeq_error *error) {
    static const char suffix[] = "attention.layer_norm_rms_epsilon";
    judgeq_status status = read_number(model, suffix, GGUF_REQUIRED, &model->norm_epsilon, error);
    if (status != JUDGEQ_OK || model->norm_epsilon >= 0.0f) return status;
    return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: %s is %g; it must not be negative", model->file.path,
                     own_key(model, suffix).text, (double)model->norm_epsilon);
}

static judgeq_status read_shape(judgeq_model *model, judgeq_error *error) {
    judgeq_model_info *info = &model->info;
    judgeq_status status = JUDGEQ_OK;
    const struct {
        const char *suffix;
        judgeq_status (*read)(const judgeq_model *, const char *, gguf_need, int32_t, int32_t *, judgeq_error *);
        int32_t most, *out;
    } counts[] = {
        {"block_count", read_count, MOST_LAYERS, &info->n_layer},
        {"embedding_length", read_count, MOST_EMBEDDING, &info->n_embd},
        {"feed_forward_length", read_count_of_layers, MOST_EMBEDDING, &info->n_ff},
        {"context_length", read_count, INT32_MAX / 2, &info->n_ctx_train},
        {"attention.head_count", read_count_of_layers, MOST_HEADS, &info->n_head},
    };
    for (size_t i = 0; status == JUDGEQ_OK && i < sizeof counts / sizeof *counts; i++) {
        status = counts[i].read(model, counts[i].suffix, GGUF_REQUIRED, counts[i].most, counts[i].out, error);
    }
    if (status != JUDGEQ_OK) return status;
    info->n_head_kv = info->n_head;
    info->head_dim = info->n_embd / info->n_head;
    int32_t value_dim, rope_dim;
    status = read_count_of_layers(model, "attention.head_count_kv", GGUF_OPTIONAL, MOST_HEADS, &info->n_head_kv, error);
    if (status == JUDGEQ_OK) {
        status = read_count(model, "attention.key_length", GGUF_OPTIONAL, MOST_HEADS, &info->head_dim, error);
    }
    if (status != JUDGEQ_OK) return status;
    value_dim = rope_dim = info->head_dim;
    status = read_count(model, "attention.value_length", GGUF_OPTIONAL, MOST_HEADS, &value_dim, error);
    if (status == JUDGEQ_OK) {
        status = read_count(model, "rope.dimension_count", GGUF_OPTIONAL, MOST_HEADS, &rope_dim, error);
    }
    if (status != JUDGEQ_OK) return status;
    if (info->n_head % info->n_head_kv != 0) {
        return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: %d query heads cannot share %d KV heads evenly",
                         model->file.path, info->n_head, info->n_head_kv);
    }
    if (value_dim != info->head_dim || rope_dim != info->head_dim || info->head_dim % 2 != 0) {
        return error_set(error, JUDGEQ_ERROR_UNSUPPORTED,
                         "%s: keys of %d, values of %d, rotations of %d dimensions: judgeq needs them equal and even",
                         model->file.path, info->head_dim, value_dim, rope_dim);
    }
    if ((int64_t)info->n_head * info->head_dim > MOST_EMBEDDING) {
        return error_set(error, JUDGEQ_ERROR_UNSUPPORTED, "%s: %d heads of %d dimensions: more than judgeq can hold",
                         model->file.path, info->n_head, info->head_dim);
    }
    return JUDGEQ_OK;
}

/* YaRN (Peng et al., 2023) scales magnitudes by 1 + 0.1 ln(factor), and not at all where the factor is below 1.
 * ggml_rope_ext multiplies by that in every case, so libllama hands it the quotient, in floats. */
static judgeq_status read_yarn(judgeq_model *model, judgeq_error *error) {
    model_rope *rope = &model->rope;
    const float factor = 1.0f / rope->scale, scaled = 0.1f * logf(factor) + 1.0f;
    const float left = (factor <= 1.0f ? 1.0f : scaled) * (1.0f / (1.0f + 0.1f * logf(factor)));
    rope->ext_factor = 1.0f;
    rope->scaling = "yarn";
    rope->attention_factor *= left;
    if (isfinite(rope->attention_factor)) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: %s of %g: YaRN cannot scale by it", model->file.path,
                     own_key(model, "rope.scaling.factor").text, (double)factor);
}

static judgeq_status read_rope(judgeq_model *model, judgeq_error *error) {
    model_rope *rope = &model->rope;
    const char *scaling = "linear";
    float factor = 0;
    rope->base = 10000.0f;
    rope->attention_factor = 1.0f;
    rope->beta_fast = 32.0f;
    rope->beta_slow = 1.0f;
    rope->n_ctx_original = model->info.n_ctx_train;
    judgeq_status status =
        gguf_read_string(&model->file, own_key(model, "rope.scaling.type").text, GGUF_OPTIONAL, &scaling, error);
    if (status == JUDGEQ_OK) status = read_number(model, "rope.freq_base", GGUF_OPTIONAL, &rope->base, error);
    if (status == JUDGEQ_OK) status = read_number(model, "rope.scale_linear", GGUF_OPTIONAL, &factor, error);
    if (status == JUDGEQ_OK) status = read_number(model, "rope.scaling.factor", GGUF_OPTIONAL, &factor, error);
    if (status == JUDGEQ_OK) {
        status = read_number(model, "rope.scaling.attn_factor", GGUF_OPTIONAL, &rope->attention_factor, error);
    }
    if (status == JUDGEQ_OK) {
        status = read_count(model, "rope.scaling.original_context_length", GGUF_OPTIONAL, INT32_MAX / 2,
                            &rope->n_ctx_original, error);
    }
    if (status != JUDGEQ_OK) return status;
    if (factor < 0.0f || rope->base <= 0.0f) {
        return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: rope base %g and scaling factor %g must be positive",
                         model->file.path, (double)rope->base, (double)factor);
    }
    rope->scale = factor == 0.0f ? 1.0f : 1.0f / factor;
    model->info.rope_factor = factor == 0.0f ? 1.0f : factor;
    rope->scaling = rope->scale == 1.0f ? "none" : "linear";
    if (strcmp(scaling, "none") == 0) {
        rope->scale = 1.0f;
        rope->scaling = "none";
    } else if (strcmp(scaling, "yarn") == 0) {
        return read_yarn(model, error);
    } else if (strcmp(scaling, "linear") != 0) {
        return error_set(error, JUDGEQ_ERROR_UNSUPPORTED,
                         "%s: rope scaling '%s' is not known (known: none, linear, yarn)", model->file.path, scaling);
    }
    return JUDGEQ_OK;
}

/* ---- public ------------------------------------------------------------------------------------------------------ */

/* Of any length, with nothing in it that is no text; the caller's, NULL: no memory. */
static char *copy_name(const char *name) {
    char *copy = malloc(VISIBLE_MOST * strlen(name) + VISIBLE_MOST), *out = copy;
    if (!copy) return NULL;
    *out = '\0';
    for (size_t n = strlen(name), taken; n > 0; name += taken, n -= taken) {
        out += visible_character(name, n, out, &taken);
    }
    return copy;
}

static judgeq_status read_family(judgeq_model *model, judgeq_error *error) {
    judgeq_model_info *info = &model->info;
    const char *name = "";
    judgeq_status status = model_kind_check(&model->file, error);
    if (status == JUDGEQ_OK) {
        status = gguf_read_string(&model->file, "general.architecture", GGUF_REQUIRED, &info->architecture, error);
    }
    if (status == JUDGEQ_OK) status = gguf_read_string(&model->file, "general.name", GGUF_OPTIONAL, &name, error);
    if (status != JUDGEQ_OK) return status;
    model->family = family_find(info->architecture);
    if (!model->family) {
        char known[256];
        family_list(known, sizeof known);
        return error_set(error, JUDGEQ_ERROR_UNSUPPORTED, "%s: architecture '%.*s' is not known (known: %s)",
                         model->file.path, VISIBLE_FIT(info->architecture, 64), known);
    }
    info->architecture = model->family->name;
    model->rope.mode = model->family->rope_mode;
    info->name = model->name = copy_name(name);
    return model->name ? JUDGEQ_OK : error_memory(error, "a model's name");
}

static judgeq_status load(judgeq_model *model, const char *path, judgeq_error *error) {
    judgeq_status status = gguf_open_split(path, &model->file, error);
    if (status == JUDGEQ_OK) status = read_family(model, error);
    if (status == JUDGEQ_OK) status = read_shape(model, error);
    if (status == JUDGEQ_OK) status = read_epsilon(model, error);
    if (status == JUDGEQ_OK) status = read_rope(model, error);
    if (status == JUDGEQ_OK) status = model_keys_check(model, error);
    if (status == JUDGEQ_OK) status = model_bind(model, error);
    if (status != JUDGEQ_OK) return status;
    fingerprint_model(model, model->info.fingerprint);
    fingerprint_file(model, model->info.file_fingerprint);
    status = tokenizer_load(model, error);
    return status == JUDGEQ_OK ? chat_load(model, error) : status;
}

judgeq_status judgeq_model_load(const char *path, judgeq_model **out, judgeq_error *error) {
    return judgeq_model_load_on(path, NULL, out, error);
}

judgeq_status judgeq_model_load_on(const char *path, const judgeq_model_params *params, judgeq_model **out,
                                   judgeq_error *error) {
    *out = NULL;
    quiet_ggml_log();
    judgeq_model *model = calloc(1, sizeof *model);
    if (!model) return error_memory(error, "a model");
    model->info.weight_type = model->weight_type;
    model->info.weight_types = model->weight_types;
    model->info.block = model->block;
    judgeq_status status = load(model, path, error);
    if (status == JUDGEQ_OK && params && params->n_offload != 0) status = device_place(model, params, error);
    if (model->file.map.data) status = model_check_file(model, status, error);
    if (status != JUDGEQ_OK) {
        judgeq_model_free(model);
        return status;
    }
    *out = model;
    return JUDGEQ_OK;
}

judgeq_status model_check_file(const judgeq_model *model, judgeq_status status, judgeq_error *error) {
    for (int32_t i = 0; i <= model->file.n_more; i++) {
        const gguf_file *part = gguf_file_part(&model->file, i);
        status = file_check(part->path, &part->map, status, error);
    }
    return status;
}

void model_forget_expanded(judgeq_model *model) {
    for (int32_t l = 0; model->expanded && l < model->info.n_layer; l++) {
        ggml_backend_buffer_free(model->expanded[l].buffer);
        ggml_free(model->expanded[l].context);
    }
    free(model->expanded);
    model->expanded = NULL;
}

void judgeq_model_free(judgeq_model *model) {
    if (!model) return;
    chat_free(model);
    tokenizer_free(model);
    model_forget_expanded(model);
    device_forget(model);
    model_unbind(model);
    gguf_file_close(&model->file);
    free((void *)model->unknown_keys);
    free(model->name);
    free(model);
}

const judgeq_model_info *judgeq_model_get_info(const judgeq_model *model) {
    return &model->info;
}

bool judgeq_default_model_path(char *path, size_t size) {
    static const char name[] = "judgeq/SmolLM2-135M-Instruct.Q4_1.gguf";
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int length = -1;
    if (cache && *cache) {
        length = snprintf(path, size, "%s/%s", cache, name);
    } else if (home && *home) {
        length = snprintf(path, size, "%s/.cache/%s", home, name);
    }
    return length > 0 && (size_t)length < size;
}

/* Dequantised a row at a time; ggml_validate_row_data would be faster, but prints. */
static bool tensor_finite(const struct ggml_tensor *tensor, float *row) {
    const int64_t n = tensor->ne[0];
    const ggml_to_float_t to_float = ggml_get_type_traits(tensor->type)->to_float;
    for (int64_t r = 0; r < ggml_nrows(tensor); r++) {
        const char *data = (const char *)tensor->data + (size_t)r * tensor->nb[1];
        const float *values = tensor->type == GGML_TYPE_F32 ? (const float *)(const void *)data : row;
        if (values == row) to_float(data, row, n);
        float sum = 0; /* of x - x: 0 for finite numbers, NaN otherwise */
        for (int64_t i = 0; i < n; i++) sum += values[i] - values[i];
        if (sum != 0.0f) return false;
    }
    return true;
}

const char *model_find_non_finite(const judgeq_model *model) {
    float *row = malloc((size_t)MOST_EMBEDDING * sizeof *row); /* the longest row that was accepted, and more */
    const char *name = NULL;
    for (gguf_walk w = gguf_walk_tensors(&model->file); row && w.tensor && !name; gguf_walk_on(&w)) {
        if (!tensor_finite(w.tensor, row)) name = w.tensor->name;
    }
    free(row);
    return name;
}

size_t model_row_bytes(const judgeq_model *model, enum ggml_type type) {
    return 2 * ggml_row_size(type, model->info.head_dim);
}
