#include "model_bind.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "family.h"
#include "guard.h"

/* A vocabulary beyond this is none; the bound keeps products of two sizes inside 64 bits. */
enum { MOST_VOCABULARY = 1 << 26 };

/* Collects the first failure, so that a list of tensors can be bound without a check after each. */
typedef struct binder {
    judgeq_model *model;
    judgeq_error *error;
    judgeq_status status;
} binder;

typedef enum tensor_kind { MATRIX, VECTOR } tensor_kind;

/* ---- one tensor -------------------------------------------------------------------------------------------------- */

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
    const gguf_file *file = &b->model->file;
    if (b->status != JUDGEQ_OK) return NULL;
    struct ggml_tensor *tensor = gguf_file_tensor(file, name);
    if (!tensor) {
        if (need == GGUF_REQUIRED) {
            b->status = error_set(b->error, JUDGEQ_ERROR_FORMAT, "%s: tensor %s is missing", file->path, name);
        }
        return NULL;
    }
    const uintptr_t data = (uintptr_t)gguf_file_data(file, tensor);
    b->status = check_tensor(b, tensor, kind, ne0, ne1);
    if (b->status == JUDGEQ_OK && data % sizeof(float) != 0) { /* only with a general.alignment of 1 or 2 */
        b->status =
            error_set(b->error, JUDGEQ_ERROR_FORMAT, "%s: tensor %s is not aligned to 4 bytes", file->path, name);
    }
    if (b->status != JUDGEQ_OK) return NULL;
    ggml_backend_tensor_alloc(b->model->buffer[gguf_file_part_of(file, tensor)], tensor, (void *)data);
    return tensor;
}

typedef struct tensor_name {
    char text[GGML_MAX_NAME];
} tensor_name;

/* "blk.3.attn_q.weight"; "output.weight" where layer is negative. */
static tensor_name name_of(int32_t layer, const char *part, const char *kind) {
    tensor_name name;
    if (layer < 0) {
        snprintf(name.text, sizeof name.text, "%s.%s", part, kind);
    } else {
        snprintf(name.text, sizeof name.text, "blk.%d.%s.%s", layer, part, kind);
    }
    return name;
}

static struct ggml_tensor *bind_vector(binder *b, int32_t layer, const char *part, const char *kind, gguf_need need,
                                       int64_t n) {
    return bind(b, name_of(layer, part, kind).text, need, VECTOR, n, 1);
}

/* With what may go with a matrix. Formats such as NVFP4 have a number for all of it (scale), and one for the rows that
 * it multiplies (input_scale), which only kernels need that quantise those to 4 bits: ggml's on the CPU do not. */
static model_linear bind_linear(binder *b, int32_t layer, const char *part, gguf_need need, int64_t in, int64_t out) {
    model_linear linear = {.weight = bind(b, name_of(layer, part, "weight").text, need, MATRIX, in, out)};
    if (!linear.weight) return linear;
    linear.scale = bind_vector(b, layer, part, "scale", GGUF_OPTIONAL, 1);
    linear.bias = bind_vector(b, layer, part, "bias", GGUF_OPTIONAL, out);
    (void)bind_vector(b, layer, part, "input_scale", GGUF_OPTIONAL, 1);
    return linear;
}

/* ---- fused matrices ---------------------------------------------------------------------------------------------- */

static bool has(const binder *b, int32_t layer, const char *part, const char *kind) {
    return gguf_file_tensor(&b->model->file, name_of(layer, part, kind).text) != NULL;
}

/* Rows, or the elements of a vector, [first, first + n) of a bound tensor, as a tensor that knows nothing of the rest:
 * rows are contiguous, whatever their type. */
static struct ggml_tensor *slice(binder *b, struct ggml_tensor *whole, tensor_name name, int64_t first, int64_t n) {
    if (!whole || b->status != JUDGEQ_OK) return NULL;
    const bool vector = whole->ne[1] == 1;
    struct ggml_tensor *tensor =
        ggml_new_tensor_2d(b->model->slices, whole->type, vector ? n : whole->ne[0], vector ? 1 : n);
    ggml_set_name(tensor, name.text);
    ggml_backend_tensor_alloc(whole->buffer, tensor, (char *)whole->data + (size_t)first * whole->nb[vector ? 0 : 1]);
    return tensor;
}

/* Its share of a fused matrix; its own bias, where the fused one has none. */
static model_linear slice_linear(binder *b, int32_t layer, model_linear whole, const char *part, gguf_need own_bias,
                                 int64_t first, int64_t n) {
    model_linear linear = {.weight = slice(b, whole.weight, name_of(layer, part, "weight"), first, n),
                           .scale = whole.scale};
    linear.bias = whole.bias ? slice(b, whole.bias, name_of(layer, part, "bias"), first, n)
                             : bind_vector(b, layer, part, "bias", own_bias, n);
    return linear;
}

/* libllama adds the biases if all three are there, and none otherwise. */
static gguf_need need_of_biases(const binder *b, int32_t i, model_matrix first, model_matrix end) {
    bool any = false;
    for (int m = (int)first; m < (int)end; m++) any = any || has(b, i, family_matrices[m].name, "bias");
    return any ? GGUF_REQUIRED : GGUF_OPTIONAL;
}

/* Queries, keys and values that a file has as one matrix. */
static void bind_fused(binder *b, int32_t i, model_layer *layer) {
    const judgeq_model *model = b->model;
    const int64_t n_in = family_length(model, FAMILY_EMBD);
    const gguf_need own_bias = need_of_biases(b, i, MODEL_QUERY, MODEL_OUTPUT);
    int64_t n_out = 0, first = 0;
    for (int m = MODEL_QUERY; m <= MODEL_VALUE; m++) n_out += family_length(model, family_matrices[m].out);
    const model_linear fused = bind_linear(b, i, "attn_qkv", GGUF_REQUIRED, n_in, n_out);
    for (int m = MODEL_QUERY; m <= MODEL_VALUE; m++) {
        const int64_t n = family_length(model, family_matrices[m].out);
        layer->matrix[m] = slice_linear(b, i, fused, family_matrices[m].name, own_bias, first, n);
        first += n;
    }
}

static judgeq_status reserve_slices(binder *b) {
    int32_t n = 0;
    for (int32_t i = 0; i < b->model->info.n_layer; i++) n += has(b, i, "attn_qkv", "weight");
    if (n == 0) return JUDGEQ_OK;
    const size_t size = 6 * (size_t)n * ggml_tensor_overhead(); /* weight and bias of three */
    b->model->slices = ggml_init((struct ggml_init_params){.mem_size = size, .no_alloc = true});
    return b->model->slices ? JUDGEQ_OK : error_memory(b->error, "a model's layers");
}

/* ---- layers ------------------------------------------------------------------------------------------------------ */

static void bind_layer(binder *b, int32_t i) {
    judgeq_model *model = b->model;
    model_layer *layer = &model->layer[i];
    family_describe(model, i, layer);
    for (int v = 0; v < MODEL_VECTORS; v++) {
        const family_vector *vector = &family_vectors[v];
        if (vector->query_key_norm && !model->family->query_key_norms) continue;
        layer->vector[v] = bind_vector(b, i, vector->name, "weight", GGUF_REQUIRED, family_length(model, vector->size));
    }
    const bool fused = has(b, i, "attn_qkv", "weight");
    if (fused) bind_fused(b, i, layer);
    for (int m = fused ? MODEL_OUTPUT : MODEL_QUERY; m < MODEL_MATRICES; m++) {
        const family_matrix *matrix = &family_matrices[m];
        layer->matrix[m] = bind_linear(b, i, matrix->name, GGUF_REQUIRED, family_length(model, matrix->in),
                                       family_length(model, matrix->out));
    }
}

void model_layer_slots(model_layer *layer, struct ggml_tensor **slot[MODEL_LAYER_SLOTS]) {
    for (int v = 0; v < MODEL_VECTORS; v++) *slot++ = &layer->vector[v];
    for (int m = 0; m < MODEL_MATRICES; m++) {
        *slot++ = &layer->matrix[m].weight;
        *slot++ = &layer->matrix[m].scale;
        *slot++ = &layer->matrix[m].bias;
    }
}

void model_output_slots(judgeq_model *model, struct ggml_tensor **slot[MODEL_OUTPUT_SLOTS]) {
    slot[0] = &model->output_norm;
    slot[1] = &model->output.weight;
    slot[2] = &model->output.scale;
    slot[3] = &model->output.bias;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

typedef struct mapped_part {
    const file_mapping *map;
    ggml_backend_buffer_t buffer; /* over the mapping; NULL where ggml made none */
} mapped_part;

static void map_part(void *data) {
    mapped_part *part = data;
    ggml_backend_dev_t device = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    if (!device) return;
    /* the mapping is read only, so a write to a weight, which ggml never does, would not go unseen */
    void *bytes = (void *)(uintptr_t)part->map->data;
    part->buffer = ggml_backend_dev_buffer_from_host_ptr(device, bytes, part->map->size, part->map->size);
}

/* A ggml buffer over each part's mapping, for the tensors to point into. */
static judgeq_status map_weights(judgeq_model *model, judgeq_error *error) {
    model->buffer = calloc((size_t)model->file.n_more + 1, sizeof(ggml_backend_buffer_t));
    if (!model->buffer) return error_memory(error, "a model");
    for (int32_t i = 0; i <= model->file.n_more; i++) {
        mapped_part part = {.map = &gguf_file_part(&model->file, i)->map};
        const judgeq_status status = guard_call(map_part, &part, "a model's buffer", error);
        if (status != JUDGEQ_OK) return status;
        if (!part.buffer)
            return error_set(error, JUDGEQ_ERROR_BACKEND, "ggml has no CPU device, or none that uses a mapped file");
        model->buffer[i] = part.buffer;
        ggml_backend_buffer_set_usage(part.buffer, GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
        model->info.file_bytes += part.map->size;
    }
    return JUDGEQ_OK;
}

static judgeq_status bind_tensors(judgeq_model *model, judgeq_error *error) {
    judgeq_model_info *info = &model->info;
    binder b = {.model = model, .error = error, .status = JUDGEQ_OK};
    const struct ggml_tensor *embedding = gguf_file_tensor(&model->file, "token_embd.weight");
    if (embedding && (embedding->ne[1] < 1 || embedding->ne[1] > MOST_VOCABULARY)) {
        return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: tensor token_embd.weight has %" PRId64 " rows",
                         model->file.path, embedding->ne[1]);
    }
    info->n_vocab = embedding ? (int32_t)embedding->ne[1] : 0;
    /* bounds what a hostile block_count makes us allocate */
    if (info->n_layer > gguf_file_n_tensors(&model->file)) {
        return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: %d blocks, but only %" PRId64 " tensors", model->file.path,
                         info->n_layer, gguf_file_n_tensors(&model->file));
    }
    model->layer = calloc((size_t)info->n_layer, sizeof *model->layer);
    if (!model->layer) return error_memory(error, "a model's layers");
    model->token_embedding = bind(&b, "token_embd.weight", GGUF_REQUIRED, MATRIX, info->n_embd, info->n_vocab);
    model->output_norm = bind_vector(&b, -1, "output_norm", "weight", GGUF_REQUIRED, info->n_embd);
    model->output = bind_linear(&b, -1, "output", GGUF_OPTIONAL, info->n_embd, info->n_vocab);
    if (!model->output.weight) {
        model->output.weight = model->token_embedding;
        model->output.bias = bind_vector(&b, -1, "output", "bias", GGUF_OPTIONAL, info->n_vocab);
    }
    if (model->family->rope_factors) {
        model->rope.factors = bind_vector(&b, -1, "rope_freqs", "weight", GGUF_OPTIONAL, info->head_dim / 2);
    }
    if (b.status == JUDGEQ_OK) b.status = reserve_slices(&b);
    for (int32_t i = 0; b.status == JUDGEQ_OK && i < info->n_layer; i++) bind_layer(&b, i);
    return b.status;
}

/* ---- what they take ---------------------------------------------------------------------------------------------- */

/* "q4_K 84.2 %, q6_K 15.1 %, f32 0.7 %", and the first of them alone. */
static void describe_types(judgeq_model *model, size_t bytes_of_type[GGML_TYPE_COUNT]) {
    size_t used = 0;
    for (;;) {
        int most = 0;
        for (int type = 1; type < GGML_TYPE_COUNT; type++) {
            most = bytes_of_type[type] > bytes_of_type[most] ? type : most;
        }
        if (bytes_of_type[most] == 0 || used >= sizeof model->weight_types) return;
        const char *name = ggml_type_name((enum ggml_type)most);
        const double share = 100.0 * (double)bytes_of_type[most] / (double)model->info.weight_bytes;
        if (used == 0) snprintf(model->weight_type, sizeof model->weight_type, "%s", name);
        used += (size_t)snprintf(model->weight_types + used, sizeof model->weight_types - used, "%s%s %.1f %%",
                                 used > 0 ? ", " : "", name, share);
        bytes_of_type[most] = 0;
    }
}

/* For people; what is computed is in model->rope. */
static void describe_keys(judgeq_model *model) {
    const model_rope *rope = &model->rope;
    judgeq_model_info *info = &model->info;
    info->n_keys = gguf_get_n_kv(model->file.gguf);
    info->rope_scaling = rope->factors ? "frequency factors" : rope->scaling;
    info->rope_base = rope->base;
    info->rope_halves = rope->mode == GGML_ROPE_TYPE_NEOX;
    info->chat_template = gguf_find_key(model->file.gguf, "tokenizer.chat_template") >= 0;
    family_write(model, model->block, sizeof model->block);
}

/* Adds up the weights. Every tensor of the file must have been bound: one that we do not know would be left out of the
 * computation. */
static judgeq_status count_weights(judgeq_model *model, judgeq_error *error) {
    size_t bytes_of_type[GGML_TYPE_COUNT] = {0};
    for (gguf_walk w = gguf_walk_tensors(&model->file); w.tensor; gguf_walk_on(&w)) {
        if (!w.tensor->buffer) {
            return error_set(error, JUDGEQ_ERROR_UNSUPPORTED,
                             "%s: tensor %s is not a part of the %s architecture that judgeq knows", model->file.path,
                             w.tensor->name, model->info.architecture);
        }
        model->info.weight_bytes += ggml_nbytes(w.tensor);
        bytes_of_type[w.tensor->type] += ggml_nbytes(w.tensor);
    }
    describe_keys(model);
    const struct ggml_tensor *embedding = model->token_embedding;
    model->info.n_tensors = gguf_file_n_tensors(&model->file);
    model->info.n_files = model->file.n_more + 1;
    model->info.decode_bytes = model->info.weight_bytes;
    if (model->output.weight != embedding) model->info.decode_bytes -= ggml_nbytes(embedding) - embedding->nb[1];
    describe_types(model, bytes_of_type);
    return JUDGEQ_OK;
}

judgeq_status model_bind(judgeq_model *model, judgeq_error *error) {
    judgeq_status status = map_weights(model, error);
    if (status == JUDGEQ_OK) status = bind_tensors(model, error);
    return status == JUDGEQ_OK ? count_weights(model, error) : status;
}

void model_unbind(judgeq_model *model) {
    for (int32_t i = 0; model->buffer && i <= model->file.n_more; i++) ggml_backend_buffer_free(model->buffer[i]);
    free((void *)model->buffer);
    ggml_free(model->slices);
    free(model->layer);
}
