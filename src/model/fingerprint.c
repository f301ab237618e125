#include "fingerprint.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

/* Bytes of every tensor that go into a file's fingerprint: enough to tell two models, or two quantisations, apart. */
enum { SAMPLE = 4096 };

/* With its end, so that "ab", "c" is not "a", "bc". */
static void add_text(XXH3_state_t *state, const char *text) {
    XXH3_64bits_update(state, text, strlen(text) + 1);
}

static void add_vector(XXH3_state_t *state, const struct ggml_tensor *tensor) {
    if (tensor) XXH3_64bits_update(state, tensor->data, ggml_nbytes(tensor));
}

/* How a text is cut, and the tokens' texts. Where they cannot be read, the tokenizer refuses the model. */
static void add_vocabulary(XXH3_state_t *state, const gguf_file *file) {
    const char *kind = "", *pre = "";
    int64_t key = -1;
    size_t n = 0;
    (void)gguf_read_string(file, "tokenizer.ggml.model", GGUF_OPTIONAL, &kind, NULL);
    (void)gguf_read_string(file, "tokenizer.ggml.pre", GGUF_OPTIONAL, &pre, NULL);
    add_text(state, kind);
    add_text(state, pre);
    if (gguf_read_strings(file, "tokenizer.ggml.tokens", GGUF_OPTIONAL, &key, &n, NULL) != JUDGEQ_OK) return;
    for (size_t i = 0; i < n; i++) add_text(state, gguf_get_arr_str(file->gguf, key, i));
}

static uint64_t hash_kind(const judgeq_model *model) {
    XXH3_state_t state;
    XXH3_64bits_reset(&state);
    const judgeq_model_info *info = &model->info;
    const model_rope *rope = &model->rope;
    const int32_t shape[] = {info->n_layer,  info->n_embd, info->n_head, info->n_head_kv,
                             info->head_dim, info->n_ff,   rope->mode,   info->n_vocab};
    const float numbers[] = {model->norm_epsilon, rope->base, rope->scale, rope->ext_factor, rope->attention_factor};
    add_text(&state, info->architecture);
    XXH3_64bits_update(&state, shape, sizeof shape);
    XXH3_64bits_update(&state, numbers, sizeof numbers);
    if (rope->ext_factor != 0.0f) { /* YaRN alone uses them */
        const float yarn[] = {(float)rope->n_ctx_original, rope->beta_fast, rope->beta_slow};
        XXH3_64bits_update(&state, yarn, sizeof yarn);
    }
    add_vector(&state, rope->factors);
    add_vocabulary(&state, &model->file);
    return XXH3_64bits_digest(&state);
}

/* In the model's order, whatever the file's. */
static uint64_t hash_vectors(const judgeq_model *model) {
    XXH3_state_t state;
    XXH3_64bits_reset(&state);
    add_vector(&state, model->output_norm);
    add_vector(&state, model->output.bias);
    for (int32_t i = 0; i < model->info.n_layer; i++) {
        const model_layer *l = &model->layer[i];
        for (int v = 0; v < MODEL_VECTORS; v++) add_vector(&state, l->vector[v]);
        for (int m = 0; m < MODEL_MATRICES; m++) add_vector(&state, l->matrix[m].bias);
    }
    return XXH3_64bits_digest(&state);
}

void fingerprint_model(const judgeq_model *model, char out[FINGERPRINT_SIZE]) {
    snprintf(out, FINGERPRINT_SIZE, "%016" PRIx64 "%016" PRIx64, hash_kind(model), hash_vectors(model));
}

static void write_hash(XXH128_hash_t hash, char out[FINGERPRINT_SIZE]) {
    snprintf(out, FINGERPRINT_SIZE, "%016" PRIx64 "%016" PRIx64, (uint64_t)hash.high64, (uint64_t)hash.low64);
}

/* The parts of a split file are walked in their order, which is that of the one file they were. */
void fingerprint_file(const judgeq_model *model, char out[FINGERPRINT_SIZE]) {
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
    for (gguf_walk w = gguf_walk_tensors(&model->file); w.tensor; gguf_walk_on(&w)) {
        const int32_t type = (int32_t)w.tensor->type;
        const size_t size = ggml_nbytes(w.tensor);
        XXH3_128bits_update(&state, w.tensor->name, strlen(w.tensor->name));
        XXH3_128bits_update(&state, &type, sizeof type);
        XXH3_128bits_update(&state, w.tensor->data, size < SAMPLE ? size : SAMPLE);
    }
    write_hash(XXH3_128bits_digest(&state), out);
}

void fingerprint_bytes(const void *data, size_t size, char out[FINGERPRINT_SIZE]) {
    write_hash(XXH3_128bits(data, size), out);
}

void fingerprint_judge(const judgeq_judge_info *info, const float *soft, char out[FINGERPRINT_SIZE]) {
    const size_t n = (size_t)info->n_depth * (size_t)info->n_soft * (size_t)info->n_embd;
    const int32_t shape[] = {info->n_depth, info->n_soft, info->n_embd};
    XXH3_state_t state;
    XXH3_128bits_reset(&state);
    XXH3_128bits_update(&state, shape, sizeof shape);
    XXH3_128bits_update(&state, soft, n * sizeof *soft);
    if (info->n_layer_share > 0) {
        XXH3_128bits_update(&state, info->layer_share, (size_t)info->n_layer_share * sizeof *info->layer_share);
    }
    write_hash(XXH3_128bits_digest(&state), out);
}

bool fingerprint_same_kind(const char *a, const char *b) {
    enum { HALF = 16 };
    return strncmp(a, b, HALF) == 0;
}
