#include "tiny_model.h"

#include "tiny_vocabulary.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- random numbers ---------------------------------------------------------------------------------------------- */

/* splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014). */
static uint64_t random_next(uint64_t *state) {
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

/* Mean 0, standard deviation 1: the sum of four uniform numbers of 16 bits each. Close enough to normal, and exact
 * arithmetic, so that the bytes of a model do not depend on a math library. */
static float random_normal(uint64_t *state) {
    uint64_t bits = random_next(state);
    int sum = (int)(bits & 0xFFFF) + (int)(bits >> 16 & 0xFFFF) + (int)(bits >> 32 & 0xFFFF) + (int)(bits >> 48);
    return (float)(sum - 2 * 0xFFFF) * (1.7320508f / 65536.0f);
}

/* FNV-1a of the name on top of the seed: a stream of its own for every tensor. */
static uint64_t stream_of(uint64_t seed, const char *name) {
    uint64_t hash = 0xCBF29CE484222325u ^ seed * 0x9E3779B97F4A7C15u;
    for (; *name; name++) hash = (hash ^ (unsigned char)*name) * 0x100000001B3u;
    return hash;
}

void tiny_prompt(uint64_t seed, int n_vocab, int32_t *tokens, size_t n) {
    uint64_t state = stream_of(seed, "prompt");
    for (size_t i = 0; i < n; i++) tokens[i] = (int32_t)(random_next(&state) % (uint64_t)n_vocab);
}

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

typedef struct builder {
    const tiny_spec *spec;
    tiny_model *model;
    int layer;   /* of the names that say blk.N; -1 outside the layers */
    bool failed; /* once true, nothing more is added */
} builder;

static struct ggml_tensor *new_tensor(builder *b, const char *name, enum ggml_type type, int64_t n_row, int64_t n_in) {
    if (b->failed) return NULL;
    struct ggml_tensor *tensor = n_row ? ggml_new_tensor_2d(b->model->context, type, n_in, n_row)
                                       : ggml_new_tensor_1d(b->model->context, type, n_in);
    if (b->layer >= 0) {
        ggml_format_name(tensor, "blk.%d.%s", b->layer, name);
    } else {
        ggml_set_name(tensor, name);
    }
    gguf_add_tensor(b->model->gguf, tensor);
    return tensor;
}

/* ggml quantises to these only with tables that take it seconds to make (8 s for IQ1), and asks for an importance
 * matrix for some. Any bits are valid blocks of them, apart from the scale, so random bits are random weights. */
static bool is_written_as_bits(enum ggml_type type) {
    return ggml_quantize_requires_imatrix(type) || type == GGML_TYPE_IQ2_S || type == GGML_TYPE_IQ1_M;
}

/* The block's scale is its first half float; IQ1_M spreads it over the top four bits of its last four 16-bit words. */
static void set_block_scale(enum ggml_type type, unsigned char *block, float scale) {
    ggml_fp16_t half = ggml_fp32_to_fp16(scale);
    if (type != GGML_TYPE_IQ1_M) {
        memcpy(block, &half, sizeof half);
        return;
    }
    unsigned char *words = block + ggml_type_size(type) - 8;
    for (int i = 0; i < 4; i++)
        words[2 * i + 1] = (unsigned char)((words[2 * i + 1] & 0x0F) | (half >> 4 * i & 15) << 4);
}

/* Random blocks with one scale for all, chosen such that the n values have that deviation. values [n] is scratch. */
static void fill_with_bits(struct ggml_tensor *tensor, uint64_t *state, float deviation, float *values, int64_t n) {
    size_t block = ggml_type_size(tensor->type), size = ggml_nbytes(tensor);
    unsigned char *bytes = tensor->data;
    for (size_t i = 0; i < size; i++) bytes[i] = (unsigned char)random_next(state);
    for (size_t i = 0; i < size; i += block) set_block_scale(tensor->type, bytes + i, 1);
    ggml_get_type_traits(tensor->type)->to_float(bytes, values, n);
    double squares = 0;
    for (int64_t i = 0; i < n; i++) squares += (double)values[i] * values[i];
    float scale = deviation / (float)sqrt(squares / (double)n);
    for (size_t i = 0; i < size; i += block) set_block_scale(tensor->type, bytes + i, scale);
}

static enum ggml_type type_of(const builder *b, const char *name) {
    char whole[GGML_MAX_NAME];
    if (b->layer < 0) {
        snprintf(whole, sizeof whole, "%s", name);
    } else {
        snprintf(whole, sizeof whole, "blk.%d.%s", b->layer, name);
    }
    for (int i = 0; i < TINY_TYPES && b->spec->types[i].part; i++) {
        if (strstr(whole, b->spec->types[i].part)) return b->spec->types[i].type;
    }
    return b->spec->weight_type;
}

/* Matrix [n_out, n_in] of the spec's weight type; entries have a standard deviation of scale / sqrt(n_in). */
static void add_matrix(builder *b, const char *name, int64_t n_out, int64_t n_in, float scale) {
    const enum ggml_type type = type_of(b, name);
    if (n_in % ggml_blck_size(type) != 0) b->failed = true;
    struct ggml_tensor *tensor = new_tensor(b, name, type, n_out, n_in);
    if (!tensor) return;
    float *values = malloc((size_t)(n_out * n_in) * sizeof *values);
    if (!values) {
        b->failed = true;
        return;
    }
    uint64_t state = stream_of(b->spec->seed, tensor->name);
    float deviation = scale * (b->spec->weight_scale != 0 ? b->spec->weight_scale : 1) / sqrtf((float)n_in);
    if (is_written_as_bits(tensor->type)) {
        fill_with_bits(tensor, &state, deviation, values, n_out * n_in);
    } else {
        for (int64_t i = 0; i < n_out * n_in; i++) values[i] = deviation * random_normal(&state);
        ggml_quantize_chunk(tensor->type, values, tensor->data, 0, n_out, n_in, NULL);
    }
    free(values);
}

/* Vector [n] of F32: mean, plus normal numbers of that deviation. */
static void add_vector(builder *b, const char *name, int64_t n, float mean, float deviation) {
    struct ggml_tensor *tensor = new_tensor(b, name, GGML_TYPE_F32, 0, n);
    if (!tensor) return;
    uint64_t state = stream_of(b->spec->seed, tensor->name);
    float *values = tensor->data;
    for (int64_t i = 0; i < n; i++) values[i] = mean + deviation * random_normal(&state);
}

/* A number that multiplies a matrix, and one that kernels on a CPU have no use for. */
static void add_scales(builder *b, const char *name) {
    char scale[GGML_MAX_NAME], input[GGML_MAX_NAME];
    if (!b->spec->scales) return;
    snprintf(scale, sizeof scale, "%s.scale", name);
    snprintf(input, sizeof input, "%s.input_scale", name);
    add_vector(b, scale, 1, 1, 0.2f);
    add_vector(b, input, 1, 100, 1);
}

/* A matrix of a layer with what goes with it. */
static void add_linear(builder *b, const char *name, int64_t n_out, int64_t n_in, float scale, bool bias) {
    char weight[GGML_MAX_NAME], vector[GGML_MAX_NAME];
    snprintf(weight, sizeof weight, "%s.weight", name);
    snprintf(vector, sizeof vector, "%s.bias", name);
    add_matrix(b, weight, n_out, n_in, scale);
    if (bias) add_vector(b, vector, n_out, 0, 0.5f);
    add_scales(b, name);
}

/* Llama 3.1's rope factors: wavelengths longer than the original context are stretched by rope_factor, those shorter
 * than a quarter of it are kept, and the ones between are interpolated (low_freq_factor 1, high_freq_factor 4). */
static void add_rope_freqs(builder *b) {
    const tiny_spec *spec = b->spec;
    struct ggml_tensor *tensor = new_tensor(b, "rope_freqs.weight", GGML_TYPE_F32, 0, spec->head_dim / 2);
    if (!tensor) return;
    float *values = tensor->data;
    double base = spec->rope_freq_base != 0 ? spec->rope_freq_base : 10000;
    double context = spec->rope_original_context ? spec->rope_original_context : 64;
    for (int i = 0; i < spec->head_dim / 2; i++) {
        double wavelength = 2 * 3.14159265358979 * pow(base, 2.0 * i / spec->head_dim);
        double smooth = (context / wavelength - 1) / (4 - 1);
        smooth = smooth < 0 ? 0 : smooth > 1 ? 1 : smooth;
        values[i] = (float)(1 / ((1 - smooth) / spec->rope_factor + smooth));
    }
}

static void add_query_key_value(builder *b, int64_t n_q, int64_t n_kv) {
    const tiny_spec *spec = b->spec;
    if (spec->qkv != TINY_QKV_APART) { /* one scale for all three, between theirs */
        add_linear(b, "attn_qkv", n_q + 2 * n_kv, spec->n_embd, 1.3f, spec->qkv_bias && spec->qkv == TINY_QKV_FUSED);
        if (spec->qkv != TINY_QKV_FUSED_BIAS_APART) return;
        add_vector(b, "attn_q.bias", n_q, 0, 0.5f);
        add_vector(b, "attn_k.bias", n_kv, 0, 0.5f);
        add_vector(b, "attn_v.bias", n_kv, 0, 0.5f);
        return;
    }
    add_linear(b, "attn_q", n_q, spec->n_embd, 1.6f, spec->qkv_bias);
    add_linear(b, "attn_k", n_kv, spec->n_embd, 1.6f, spec->qkv_bias);
    add_linear(b, "attn_v", n_kv, spec->n_embd, 1, spec->qkv_bias);
}

/* Scales: q and k 1.6, so that the attention's logits have a deviation of about 2.6; the residual stream is kept of
 * the same order by v and the outputs at 1. The embedding's 3 is the logits' deviation where the output is tied. */
static void add_layer(builder *b) {
    const tiny_spec *spec = b->spec;
    int64_t n_q = (int64_t)spec->n_head * spec->head_dim, n_kv = (int64_t)spec->n_head_kv * spec->head_dim;
    bool qk_norm = strcmp(spec->architecture, "qwen3") == 0;
    add_vector(b, "attn_norm.weight", spec->n_embd, 1, 0.1f);
    add_query_key_value(b, n_q, n_kv);
    if (qk_norm) {
        add_vector(b, "attn_q_norm.weight", spec->head_dim, 1.6f, 0.2f);
        add_vector(b, "attn_k_norm.weight", spec->head_dim, 1.6f, 0.2f);
    }
    add_linear(b, "attn_output", spec->n_embd, n_q, 1, false);
    add_vector(b, "ffn_norm.weight", spec->n_embd, 1, 0.1f);
    add_linear(b, "ffn_gate", spec->n_ff, spec->n_embd, 1, false);
    add_linear(b, "ffn_up", spec->n_ff, spec->n_embd, 1, false);
    add_linear(b, "ffn_down", spec->n_embd, spec->n_ff, 1, false);
}

static void add_tensors(builder *b, int n_vocab) {
    const tiny_spec *spec = b->spec;
    b->layer = -1;
    add_matrix(b, "token_embd.weight", n_vocab, spec->n_embd, 3);
    /* With tied output and factors near 1, the last token's own embedding makes it the best next token, for ever. */
    add_vector(b, "output_norm.weight", spec->n_embd, spec->tied_output ? 0 : 1, spec->tied_output ? 1 : 0.1f);
    if (!spec->tied_output) add_matrix(b, "output.weight", n_vocab, spec->n_embd, 3);
    if (spec->rope_freqs) add_rope_freqs(b);
    for (b->layer = 0; b->layer < spec->n_layer; b->layer++) add_layer(b);
}

/* ---- keys -------------------------------------------------------------------------------------------------------- */

static const char *key(const tiny_spec *spec, const char *name, char out[96]) {
    snprintf(out, 96, "%s.%s", spec->architecture, name);
    return out;
}

static void write_keys(const tiny_spec *spec, struct gguf_context *gguf) {
    char k[96];
    gguf_set_val_str(gguf, "general.architecture", spec->architecture);
    gguf_set_val_str(gguf, "general.name", spec->name ? spec->name : "tiny");
    gguf_set_val_u32(gguf, "general.quantization_version", 2);
    gguf_set_val_u32(gguf, key(spec, "context_length", k), (uint32_t)spec->n_ctx);
    gguf_set_val_u32(gguf, key(spec, "embedding_length", k), (uint32_t)spec->n_embd);
    gguf_set_val_u32(gguf, key(spec, "block_count", k), (uint32_t)spec->n_layer);
    gguf_set_val_u32(gguf, key(spec, "feed_forward_length", k), (uint32_t)spec->n_ff);
    gguf_set_val_u32(gguf, key(spec, "attention.head_count", k), (uint32_t)spec->n_head);
    gguf_set_val_u32(gguf, key(spec, "attention.head_count_kv", k), (uint32_t)spec->n_head_kv);
    gguf_set_val_f32(gguf, key(spec, "attention.layer_norm_rms_epsilon", k), 1e-5f);
    if (spec->head_dim * spec->n_head != spec->n_embd) { /* otherwise implied, as in most files */
        gguf_set_val_u32(gguf, key(spec, "attention.key_length", k), (uint32_t)spec->head_dim);
        gguf_set_val_u32(gguf, key(spec, "attention.value_length", k), (uint32_t)spec->head_dim);
    }
    gguf_set_val_u32(gguf, key(spec, "rope.dimension_count", k), (uint32_t)spec->head_dim);
    if (spec->rope_freq_base != 0) gguf_set_val_f32(gguf, key(spec, "rope.freq_base", k), spec->rope_freq_base);
    if (!spec->rope_scaling) return;
    gguf_set_val_str(gguf, key(spec, "rope.scaling.type", k), spec->rope_scaling);
    gguf_set_val_f32(gguf, key(spec, "rope.scaling.factor", k), spec->rope_factor);
    if (spec->rope_original_context) {
        gguf_set_val_u32(gguf, key(spec, "rope.scaling.original_context_length", k),
                         (uint32_t)spec->rope_original_context);
    }
    if (spec->rope_attention_scale != 0) {
        gguf_set_val_f32(gguf, key(spec, "rope.scaling.attn_factor", k), spec->rope_attention_scale);
    }
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static bool spec_makes_sense(const tiny_spec *spec) {
    int64_t block = ggml_blck_size(spec->weight_type);
    bool positive = spec->n_layer > 0 && spec->n_embd > 0 && spec->n_head > 0 && spec->n_head_kv > 0 &&
                    spec->head_dim > 0 && spec->n_ff > 0 && spec->n_ctx > 0;
    return positive && spec->architecture && spec->n_head % spec->n_head_kv == 0 && spec->head_dim % 2 == 0 &&
           spec->n_embd % block == 0 && spec->n_ff % block == 0 && (int64_t)spec->n_head * spec->head_dim % block == 0;
}

/* At least the bytes of all tensors: as if all were F32. */
static size_t context_size(const tiny_spec *spec, int n_vocab) {
    size_t n_embd = (size_t)spec->n_embd, n_ff = (size_t)spec->n_ff;
    size_t n_head_rows = (size_t)(spec->n_head + spec->n_head_kv) * (size_t)spec->head_dim;
    size_t layer = 2 * n_embd * n_head_rows + 3 * n_embd * n_ff + 4 * (n_embd + n_head_rows);
    size_t values = (size_t)spec->n_layer * layer + 2 * (size_t)n_vocab * n_embd + 4 * n_embd;
    size_t n_tensors = 28 * (size_t)spec->n_layer + 8;
    return values * sizeof(float) + n_tensors * (ggml_tensor_overhead() + 64);
}

int tiny_model_build(const tiny_spec *spec, tiny_model *out) {
    *out = (tiny_model){0};
    if (!spec_makes_sense(spec)) return -1;
    out->gguf = gguf_init_empty();
    if (!out->gguf) return -1;
    write_keys(spec, out->gguf);
    int n_vocab = tiny_vocabulary_write(spec, out->gguf);
    if (n_vocab > 0) out->context = ggml_init((struct ggml_init_params){.mem_size = context_size(spec, n_vocab)});
    builder b = {.spec = spec, .model = out, .failed = !out->context};
    add_tensors(&b, n_vocab);
    if (b.failed) tiny_model_free(out);
    return b.failed ? -1 : 0;
}

int tiny_model_save(const tiny_model *model, const char *path) {
    return gguf_write_to_file(model->gguf, path, false) ? 0 : -1;
}

/* Part i of n: tensors [first, end) of them all. */
static bool save_part(const tiny_model *model, const char *prefix, int i, int n, int64_t first, int64_t end) {
    struct gguf_context *gguf = gguf_init_empty();
    char path[512];
    if (i == 0) gguf_set_kv(gguf, model->gguf);
    gguf_set_val_u16(gguf, "split.no", (uint16_t)i);
    gguf_set_val_u16(gguf, "split.count", (uint16_t)n);
    gguf_set_val_i32(gguf, "split.tensors.count", (int32_t)gguf_get_n_tensors(model->gguf));
    for (int64_t t = first; t < end; t++) {
        gguf_add_tensor(gguf, ggml_get_tensor(model->context, gguf_get_tensor_name(model->gguf, t)));
    }
    snprintf(path, sizeof path, "%s-%05d-of-%05d.gguf", prefix, i + 1, n);
    const bool saved = gguf_write_to_file(gguf, path, false);
    gguf_free(gguf);
    return saved;
}

int tiny_model_save_parts(const tiny_model *model, const char *prefix, int n_part) {
    const int64_t n = gguf_get_n_tensors(model->gguf);
    bool saved = true;
    for (int i = 0; saved && i < n_part; i++) {
        saved = save_part(model, prefix, i, n_part, n * i / n_part, n * (i + 1) / n_part);
    }
    return saved ? 0 : -1;
}

void tiny_model_free(tiny_model *model) {
    if (model->gguf) gguf_free(model->gguf);
    if (model->context) ggml_free(model->context);
    *model = (tiny_model){0};
}

int tiny_model_write(const tiny_spec *spec, const char *path) {
    tiny_model model;
    if (tiny_model_build(spec, &model) != 0) return -1;
    int result = tiny_model_save(&model, path);
    tiny_model_free(&model);
    return result;
}
