#include "model.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "device.h"
#include "error.h"
#include "model_keys.h"
#include "quiet.h"
#include "tokenizer.h"

/* Shapes beyond these are no language model; the bounds keep every product of two of them inside 64 bits. */
enum { MOST_LAYERS = 4096, MOST_EMBEDDING = 1 << 20, MOST_HEADS = 1 << 14, MOST_VOCABULARY = 1 << 26 };

/* Bytes of every tensor that go into the fingerprint: enough to tell two models, or two quantisations, apart. */
enum { FINGERPRINT_SAMPLE = 4096 };

typedef struct architecture {
    const char *name;
    int rope_mode;
    bool rope_factors, query_key_norm;
} architecture;

static const architecture architectures[] = {
    {"llama", GGML_ROPE_TYPE_NORMAL, true, false},
    {"qwen2", GGML_ROPE_TYPE_NEOX, false, false},
    {"qwen3", GGML_ROPE_TYPE_NEOX, false, true},
};

static const architecture *find_architecture(const char *name) {
    for (size_t i = 0; i < sizeof architectures / sizeof *architectures; i++) {
        if (strcmp(architectures[i].name, name) == 0) return &architectures[i];
    }
    return NULL;
}

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

static judgeq_status read_count(const judgeq_model *model, const char *suffix, gguf_need need, int32_t most,
                                int32_t *out, judgeq_error *error) {
    const key_name key = own_key(model, suffix);
    uint32_t value = (uint32_t)*out;
    judgeq_status status = gguf_read_u32(&model->file, key.text, need, &value, error);
    if (status != JUDGEQ_OK) return status;
    if (value < 1 || value > (uint32_t)most) {
        return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: %s is %" PRIu32 ", expected 1 to %d", model->file.path,
                         key.text, value, most);
    }
    *out = (int32_t)value;
    return JUDGEQ_OK;
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
        gguf_need need;
        int32_t most, *out;
    } counts[] = {
        {"block_count", GGUF_REQUIRED, MOST_LAYERS, &info->n_layer},
        {"embedding_length", GGUF_REQUIRED, MOST_EMBEDDING, &info->n_embd},
        {"feed_forward_length", GGUF_REQUIRED, MOST_EMBEDDING, &info->n_ff},
        {"context_length", GGUF_REQUIRED, INT32_MAX / 2, &info->n_ctx_train},
        {"attention.head_count", GGUF_REQUIRED, MOST_HEADS, &info->n_head},
    };
    for (size_t i = 0; status == JUDGEQ_OK && i < sizeof counts / sizeof *counts; i++) {
        status = read_count(model, counts[i].suffix, counts[i].need, counts[i].most, counts[i].out, error);
    }
    if (status != JUDGEQ_OK) return status;
    info->n_head_kv = info->n_head;
    info->head_dim = info->n_embd / info->n_head;
    int32_t value_dim, rope_dim;
    status = read_count(model, "attention.head_count_kv", GGUF_OPTIONAL, MOST_HEADS, &info->n_head_kv, error);
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

/* YaRN (Peng et al., 2023): libllama and ggml_rope_ext share the magnitude scale between them; ggml multiplies by
 * 1 + 0.1 ln(factor) itself, so what is left here is the file's own attention factor. */
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
    rope->scaling = rope->scale == 1.0f ? "none" : "linear";
    if (strcmp(scaling, "none") == 0) {
        rope->scale = 1.0f;
        rope->scaling = "none";
    } else if (strcmp(scaling, "yarn") == 0) {
        rope->ext_factor = 1.0f;
        rope->scaling = "yarn";
    } else if (strcmp(scaling, "linear") != 0) {
        return error_set(error, JUDGEQ_ERROR_UNSUPPORTED,
                         "%s: rope scaling '%s' is not known (known: none, linear, yarn)", model->file.path, scaling);
    }
    return JUDGEQ_OK;
}

/* ---- weights ----------------------------------------------------------------------------------------------------- */

/* Collects the first failure, so that a list of tensors can be bound without a check after each. */
typedef struct binder {
    judgeq_model *model;
    judgeq_error *error;
    judgeq_status status;
} binder;

typedef enum tensor_kind { MATRIX, VECTOR } tensor_kind;

static judgeq_status check_tensor(const binder *b, const struct ggml_tensor *tensor, tensor_kind kind, int64_t ne0,
                                  int64_t ne1) {
    const char *path = b->model->file.path, *name = tensor->name;
    if (tensor->ne[0] != ne0 || tensor->ne[1] != ne1 || tensor->ne[2] != 1 || tensor->ne[3] != 1) {
        return error_set(b->error, JUDGEQ_ERROR_FORMAT,
                         "%s: tensor %s is [%" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64
                         "], expected [1, 1, %" PRId64 ", %" PRId64 "]",
                         path, name, tensor->ne[3], tensor->ne[2], tensor->ne[1], tensor->ne[0], ne1, ne0);
    }
    if (kind == VECTOR && tensor->type != GGML_TYPE_F32) {
        return error_set(b->error, JUDGEQ_ERROR_UNSUPPORTED, "%s: tensor %s is %s, expected f32", path, name,
                         ggml_type_name(tensor->type));
    }
    if (kind == MATRIX && tensor->type != GGML_TYPE_F32 && tensor->type != GGML_TYPE_F16 &&
        tensor->type != GGML_TYPE_BF16 && !ggml_is_quantized(tensor->type)) {
        return error_set(b->error, JUDGEQ_ERROR_UNSUPPORTED, "%s: tensor %s is %s, which holds no weights", path, name,
                         ggml_type_name(tensor->type));
    }
    return JUDGEQ_OK;
}

/* The tensor of that name and shape [ne1, ne0]; NULL with b->status set, or NULL where it is optional and absent. */
static struct ggml_tensor *bind(binder *b, const char *name, gguf_need need, tensor_kind kind, int64_t ne0,
                                int64_t ne1) {
    if (b->status != JUDGEQ_OK) return NULL;
    struct ggml_tensor *tensor = gguf_file_tensor(&b->model->file, name);
    if (!tensor) {
        if (need == GGUF_REQUIRED) {
            b->status = error_set(b->error, JUDGEQ_ERROR_FORMAT, "%s: tensor %s is missing", b->model->file.path, name);
        }
        return NULL;
    }
    b->status = check_tensor(b, tensor, kind, ne0, ne1);
    if (b->status != JUDGEQ_OK) return NULL;
    ggml_backend_tensor_alloc(b->model->buffer, tensor, (void *)(uintptr_t)gguf_file_data(&b->model->file, tensor));
    return tensor;
}

static struct ggml_tensor *bind_vector(binder *b, int32_t layer, const char *part, gguf_need need, int64_t ne0) {
    char name[GGML_MAX_NAME];
    snprintf(name, sizeof name, "blk.%d.%s.weight", layer, part);
    return bind(b, name, need, VECTOR, ne0, 1);
}

static model_linear bind_linear(binder *b, int32_t layer, const char *part, int64_t in, int64_t out) {
    char name[GGML_MAX_NAME];
    model_linear linear;
    snprintf(name, sizeof name, "blk.%d.%s.weight", layer, part);
    linear.weight = bind(b, name, GGUF_REQUIRED, MATRIX, in, out);
    snprintf(name, sizeof name, "blk.%d.%s.bias", layer, part);
    linear.bias = bind(b, name, GGUF_OPTIONAL, VECTOR, out, 1);
    return linear;
}

static void bind_layer(binder *b, int32_t i, bool query_key_norm) {
    const judgeq_model_info *info = &b->model->info;
    const int64_t n_query = (int64_t)info->n_head * info->head_dim, n_kv = (int64_t)info->n_head_kv * info->head_dim;
    b->model->layer[i] = (model_layer){
        .attention_norm = bind_vector(b, i, "attn_norm", GGUF_REQUIRED, info->n_embd),
        .ffn_norm = bind_vector(b, i, "ffn_norm", GGUF_REQUIRED, info->n_embd),
        .query_norm = query_key_norm ? bind_vector(b, i, "attn_q_norm", GGUF_REQUIRED, info->head_dim) : NULL,
        .key_norm = query_key_norm ? bind_vector(b, i, "attn_k_norm", GGUF_REQUIRED, info->head_dim) : NULL,
        .query = bind_linear(b, i, "attn_q", info->n_embd, n_query),
        .key = bind_linear(b, i, "attn_k", info->n_embd, n_kv),
        .value = bind_linear(b, i, "attn_v", info->n_embd, n_kv),
        .output = bind_linear(b, i, "attn_output", n_query, info->n_embd),
        .gate = bind_linear(b, i, "ffn_gate", info->n_embd, info->n_ff),
        .up = bind_linear(b, i, "ffn_up", info->n_embd, info->n_ff),
        .down = bind_linear(b, i, "ffn_down", info->n_ff, info->n_embd),
    };
}

/* A ggml buffer over the mapping, for the tensors to point into. */
static judgeq_status map_weights(judgeq_model *model, judgeq_error *error) {
    ggml_backend_dev_t device = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    if (!device) return error_set(error, JUDGEQ_ERROR_BACKEND, "ggml has no CPU device");
    /* the mapping is read only, so a write to a weight, which ggml never does, would not go unseen */
    void *bytes = (void *)(uintptr_t)model->file.map.data;
    model->buffer = ggml_backend_dev_buffer_from_host_ptr(device, bytes, model->file.map.size, model->file.map.size);
    if (!model->buffer) return error_set(error, JUDGEQ_ERROR_BACKEND, "ggml cannot use a mapped file");
    ggml_backend_buffer_set_usage(model->buffer, GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
    return JUDGEQ_OK;
}

/* Adds up the weights. Every tensor of the file must have been bound: one that we do not know would be left out of the
 * computation. */
static judgeq_status count_weights(judgeq_model *model, judgeq_error *error) {
    size_t bytes_of_type[GGML_TYPE_COUNT] = {0};
    for (struct ggml_tensor *t = ggml_get_first_tensor(model->file.tensors); t;
         t = ggml_get_next_tensor(model->file.tensors, t)) {
        if (!t->buffer) {
            return error_set(error, JUDGEQ_ERROR_UNSUPPORTED,
                             "%s: tensor %s is not a part of the %s architecture that judgeq knows", model->file.path,
                             t->name, model->info.architecture);
        }
        model->info.weight_bytes += ggml_nbytes(t);
        bytes_of_type[t->type] += ggml_nbytes(t);
    }
    const struct ggml_tensor *embedding = model->token_embedding;
    model->info.decode_bytes = model->info.weight_bytes;
    if (model->output != embedding) model->info.decode_bytes -= ggml_nbytes(embedding) - embedding->nb[1];
    int most = 0;
    for (int type = 1; type < GGML_TYPE_COUNT; type++) most = bytes_of_type[type] > bytes_of_type[most] ? type : most;
    snprintf(model->weight_type, sizeof model->weight_type, "%s", ggml_type_name((enum ggml_type)most));
    return JUDGEQ_OK;
}

static judgeq_status bind_tensors(judgeq_model *model, const architecture *arch, judgeq_error *error) {
    judgeq_model_info *info = &model->info;
    binder b = {.model = model, .error = error, .status = JUDGEQ_OK};
    struct ggml_tensor *embedding = gguf_file_tensor(&model->file, "token_embd.weight");
    if (embedding && (embedding->ne[1] < 1 || embedding->ne[1] > MOST_VOCABULARY)) {
        return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: tensor token_embd.weight has %" PRId64 " rows",
                         model->file.path, embedding->ne[1]);
    }
    info->n_vocab = embedding ? (int32_t)embedding->ne[1] : 0;
    /* bounds what a hostile block_count makes us allocate */
    if (info->n_layer > gguf_get_n_tensors(model->file.gguf)) {
        return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: %d blocks, but only %" PRId64 " tensors", model->file.path,
                         info->n_layer, gguf_get_n_tensors(model->file.gguf));
    }
    model->layer = calloc((size_t)info->n_layer, sizeof *model->layer);
    if (!model->layer) return error_memory(error, "a model's layers");
    model->token_embedding = bind(&b, "token_embd.weight", GGUF_REQUIRED, MATRIX, info->n_embd, info->n_vocab);
    model->output_norm = bind(&b, "output_norm.weight", GGUF_REQUIRED, VECTOR, info->n_embd, 1);
    model->output = bind(&b, "output.weight", GGUF_OPTIONAL, MATRIX, info->n_embd, info->n_vocab);
    model->output_bias = bind(&b, "output.bias", GGUF_OPTIONAL, VECTOR, info->n_vocab, 1);
    if (arch->rope_factors) {
        model->rope.factors = bind(&b, "rope_freqs.weight", GGUF_OPTIONAL, VECTOR, info->head_dim / 2, 1);
    }
    if (!model->output) model->output = model->token_embedding;
    for (int32_t i = 0; i < info->n_layer; i++) bind_layer(&b, i, arch->query_key_norm);
    return b.status;
}

static void take_fingerprint(judgeq_model *model) {
    XXH3_state_t state;
    XXH3_128bits_reset(&state);
    const judgeq_model_info *info = &model->info;
    const int32_t shape[] = {info->n_layer,  info->n_embd, info->n_head,     info->n_head_kv,
                             info->head_dim, info->n_ff,   model->rope.mode, info->n_vocab};
    const float numbers[] = {model->norm_epsilon, model->rope.base, model->rope.scale, model->rope.ext_factor,
                             model->rope.attention_factor};
    XXH3_128bits_update(&state, info->architecture, strlen(info->architecture));
    XXH3_128bits_update(&state, shape, sizeof shape);
    XXH3_128bits_update(&state, numbers, sizeof numbers);
    for (struct ggml_tensor *t = ggml_get_first_tensor(model->file.tensors); t;
         t = ggml_get_next_tensor(model->file.tensors, t)) {
        const int32_t type = (int32_t)t->type;
        const size_t size = ggml_nbytes(t);
        XXH3_128bits_update(&state, t->name, strlen(t->name));
        XXH3_128bits_update(&state, &type, sizeof type);
        XXH3_128bits_update(&state, t->data, size < FINGERPRINT_SAMPLE ? size : FINGERPRINT_SAMPLE);
    }
    const XXH128_hash_t hash = XXH3_128bits_digest(&state);
    snprintf(model->info.fingerprint, sizeof model->info.fingerprint, "%016" PRIx64 "%016" PRIx64,
             (uint64_t)hash.high64, (uint64_t)hash.low64);
}

/* ---- public ------------------------------------------------------------------------------------------------------ */

static judgeq_status load(judgeq_model *model, const char *path, judgeq_error *error) {
    judgeq_status status = gguf_open_checked(path, &model->file, error);
    if (status == JUDGEQ_OK) {
        status =
            gguf_read_string(&model->file, "general.architecture", GGUF_REQUIRED, &model->info.architecture, error);
    }
    if (status != JUDGEQ_OK) return status;
    const architecture *arch = find_architecture(model->info.architecture);
    if (!arch) {
        return error_set(error, JUDGEQ_ERROR_UNSUPPORTED,
                         "%s: architecture '%.64s' is not known (known: llama, which mistral files use too, qwen2, "
                         "qwen3)",
                         path, model->info.architecture);
    }
    model->info.architecture = arch->name;
    model->rope.mode = arch->rope_mode;
    const char *name = "";
    status = gguf_read_string(&model->file, "general.name", GGUF_OPTIONAL, &name, error);
    snprintf(model->name, sizeof model->name, "%s", name);
    if (status == JUDGEQ_OK) status = read_shape(model, error);
    if (status == JUDGEQ_OK) status = read_epsilon(model, error);
    if (status == JUDGEQ_OK) status = read_rope(model, error);
    if (status == JUDGEQ_OK) status = model_keys_check(model, error);
    if (status == JUDGEQ_OK) status = map_weights(model, error);
    if (status == JUDGEQ_OK) status = bind_tensors(model, arch, error);
    if (status == JUDGEQ_OK) status = count_weights(model, error);
    if (status != JUDGEQ_OK) return status;
    take_fingerprint(model);
    return tokenizer_load(model, error);
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
    model->info.name = model->name;
    model->info.weight_type = model->weight_type;
    judgeq_status status = load(model, path, error);
    if (status == JUDGEQ_OK && params && params->n_offload != 0) status = device_place(model, params, error);
    if (status != JUDGEQ_OK) {
        judgeq_model_free(model);
        return status;
    }
    *out = model;
    return JUDGEQ_OK;
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
    tokenizer_free(model);
    model_forget_expanded(model);
    device_forget(model);
    ggml_backend_buffer_free(model->buffer);
    gguf_file_close(&model->file);
    free(model->layer);
    free((void *)model->unknown_keys);
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
    for (struct ggml_tensor *t = ggml_get_first_tensor(model->file.tensors); row && t && !name;
         t = ggml_get_next_tensor(model->file.tensors, t)) {
        if (!tensor_finite(t, row)) name = t->name;
    }
    free(row);
    return name;
}

size_t model_row_bytes(const judgeq_model *model, enum ggml_type type) {
    return 2 * ggml_row_size(type, model->info.head_dim);
}
