/* tiny_specs: the named specs of tiny_model.h. */
#include "tiny_model.h"

#include <string.h>

/* llama, 2 layers, n_embd 64, 4 heads over 2 KV heads; each spec below says only what is different. */
#define BASE                                                                                                           \
    .architecture = "llama", .n_layer = 2, .n_embd = 64, .n_head = 4, .n_head_kv = 2, .head_dim = 16, .n_ff = 128,     \
    .n_ctx = 1024, .weight_type = GGML_TYPE_F32, .seed = 1

/* The designators that follow BASE are meant to replace its values. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
#ifdef __clang__
#pragma GCC diagnostic ignored "-Winitializer-overrides"
#endif
static const tiny_spec base = {BASE, .name = "base"};

static const tiny_spec quirks[] = {
    /* families */
    {BASE, .name = "llama", .chat_template = true},
    {BASE, .name = "mistral", .head_dim = 32, .rope_freq_base = 1000000},
    {BASE, .name = "qwen2", .architecture = "qwen2", .qkv_bias = true, .vocabulary = TINY_VOCABULARY_BPE,
     .pre = "qwen2", .chat_template = true, .rope_freq_base = 1000000},
    {BASE, .name = "qwen3", .architecture = "qwen3", .head_dim = 32, .vocabulary = TINY_VOCABULARY_BPE, .pre = "qwen2",
     .chat_template = true, .rope_freq_base = 1000000, .tied_output = true},
    /* heads */
    {BASE, .name = "gqa-1", .n_head_kv = 4},
    {BASE, .name = "gqa-3", .n_embd = 96, .n_head = 6, .n_head_kv = 2},
    {BASE, .name = "gqa-4", .n_embd = 128, .n_head = 8, .n_head_kv = 2},
    {BASE, .name = "mqa", .n_head_kv = 1},
    {BASE, .name = "one-layer", .n_layer = 1},
    {BASE, .name = "qwen3-head-dim-implied", .architecture = "qwen3"},
    /* output, biases */
    {BASE, .name = "tied", .tied_output = true},
    {BASE, .name = "llama-bias", .qkv_bias = true},
    /* rope */
    {BASE, .name = "rope-base", .rope_freq_base = 500000},
    {BASE, .name = "rope-freqs", .rope_freqs = true, .rope_factor = 8, .rope_original_context = 128,
     .rope_freq_base = 500000},
    {BASE, .name = "linear", .rope_scaling = "linear", .rope_factor = 4},
    {BASE, .name = "yarn", .rope_scaling = "yarn", .rope_factor = 4, .rope_original_context = 256},
    {BASE, .name = "yarn-attention-scale", .rope_scaling = "yarn", .rope_factor = 4, .rope_original_context = 256,
     .rope_attention_scale = 0.8f},
    {BASE, .name = "qwen3-yarn", .architecture = "qwen3", .head_dim = 32, .rope_scaling = "yarn", .rope_factor = 4,
     .rope_original_context = 256, .rope_freq_base = 1000000},
    {BASE, .name = "qwen2-linear", .architecture = "qwen2", .qkv_bias = true, .rope_scaling = "linear",
     .rope_factor = 2},
    /* text */
    {BASE, .name = "bpe-smollm", .vocabulary = TINY_VOCABULARY_BPE, .pre = "smollm", .chat_template = true},
    {BASE, .name = "bpe-default", .vocabulary = TINY_VOCABULARY_BPE, .pre = "default"},
    /* length */
    {BASE, .name = "long", .n_ctx = 4096, .rope_freq_base = 100000},
    {BASE, .name = "longest", .n_embd = 32, .n_head = 2, .n_head_kv = 1, .n_ctx = 131072, .rope_freq_base = 5000000},
    /* how matrices are written */
    {BASE, .name = "fused", .qkv = TINY_QKV_FUSED},
    {BASE, .name = "qwen2-fused", .architecture = "qwen2", .qkv = TINY_QKV_FUSED, .qkv_bias = true},
    {BASE, .name = "qwen3-fused", .architecture = "qwen3", .head_dim = 32, .qkv = TINY_QKV_FUSED},
    {BASE, .name = "fused-bias-apart", .qkv = TINY_QKV_FUSED_BIAS_APART},
    {BASE, .name = "scales", .scales = true},
    {BASE, .name = "fused-scales", .qkv = TINY_QKV_FUSED, .scales = true, .qkv_bias = true},
    {BASE, .name = "float-layers", .types = {{"blk.0.", GGML_TYPE_F16}, {"attn_v", GGML_TYPE_F16}}},
    /* YaRN's magnitudes, where they are rounded and where they are not scaled */
    {BASE, .name = "yarn-odd", .rope_scaling = "yarn", .rope_factor = 37.3f, .rope_original_context = 64,
     .rope_attention_scale = 0.7f},
    {BASE, .name = "yarn-short", .rope_scaling = "yarn", .rope_factor = 0.7f, .rope_original_context = 2048},
    /* rope in three layers of four */
    {BASE, .name = "smollm3", .architecture = "smollm3", .n_layer = 4, .vocabulary = TINY_VOCABULARY_BPE,
     .chat_template = true, .rope_freq_base = 5000000, .tied_output = true},
};

/* Rows of 256, which every block size divides, and a head_dim of 64 as real models have. */
#define WIDE BASE, .n_embd = 256, .n_ff = 256, .head_dim = 64

/* As dynamic quantisations mix types: between layers, within one, and for the embeddings. */
static const tiny_spec mixes[] = {
    {WIDE, .name = "mixed-first", .weight_type = GGML_TYPE_Q8_0, .types = {{"blk.0.", GGML_TYPE_F32}}},
    {WIDE, .name = "mixed-last", .weight_type = GGML_TYPE_Q4_K, .types = {{"blk.1.", GGML_TYPE_BF16}}},
    {WIDE, .name = "mixed-within", .weight_type = GGML_TYPE_Q4_K,
     .types = {{"attn_q", GGML_TYPE_F16},
               {"attn_k", GGML_TYPE_Q8_0},
               {"attn_v", GGML_TYPE_Q6_K},
               {"ffn_down", GGML_TYPE_Q5_0},
               {"token_embd", GGML_TYPE_Q8_0},
               {"output.weight", GGML_TYPE_Q6_K}}},
    {WIDE, .name = "mixed-all", .weight_type = GGML_TYPE_Q5_1,
     .types = {{"blk.0.attn", GGML_TYPE_Q4_0},
               {"blk.0.ffn_down", GGML_TYPE_BF16},
               {"blk.1.attn_v", GGML_TYPE_F32},
               {"blk.1.ffn_down", GGML_TYPE_Q6_K},
               {"token_embd", GGML_TYPE_F16}}},
    {WIDE, .name = "fused-quantised", .weight_type = GGML_TYPE_Q4_K, .qkv = TINY_QKV_FUSED, .qkv_bias = true,
     .types = {{"blk.1.attn_qkv", GGML_TYPE_Q8_0}}},
    {WIDE, .name = "nvfp4-scales", .weight_type = GGML_TYPE_NVFP4, .scales = true,
     .types = {{"token_embd", GGML_TYPE_F16}, {"output.weight", GGML_TYPE_F16}}},
};
#pragma GCC diagnostic pop

enum { N_QUIRKS = sizeof quirks / sizeof quirks[0], N_MIXES = sizeof mixes / sizeof mixes[0] };

/* Types that a file's weights can have: floats and quantised blocks, but not the two that ggml makes only from
 * activations, and no integers. Asked of ggml, so that a newer ggml's new type is tested as well. */
static bool is_weight_type(enum ggml_type type) {
    if (type == GGML_TYPE_F32) return true;
    if (type == GGML_TYPE_Q8_1 || type == GGML_TYPE_Q8_K) return false;
    const struct ggml_type_traits *traits = ggml_get_type_traits(type);
    return traits->blck_size > 0 && traits->to_float != NULL;
}

/* The index-th weight type; GGML_TYPE_COUNT past the last. */
static enum ggml_type weight_type_at(size_t index) {
    for (int type = 0; type < GGML_TYPE_COUNT; type++) {
        if (is_weight_type((enum ggml_type)type) && index-- == 0) return (enum ggml_type)type;
    }
    return GGML_TYPE_COUNT;
}

tiny_spec tiny_spec_base(void) {
    return base;
}

static size_t count_types(void) {
    size_t n = 0;
    while (weight_type_at(n) != GGML_TYPE_COUNT) n++;
    return n;
}

size_t tiny_spec_count(void) {
    return N_QUIRKS + count_types() + N_MIXES;
}

bool tiny_spec_is_type(size_t index) {
    return index >= N_QUIRKS;
}

tiny_spec tiny_spec_at(size_t index) {
    if (!tiny_spec_is_type(index)) return quirks[index];
    if (index - N_QUIRKS >= count_types()) return mixes[index - N_QUIRKS - count_types()];
    tiny_spec spec = base;
    spec.weight_type = weight_type_at(index - N_QUIRKS);
    spec.name = ggml_type_name(spec.weight_type);
    spec.n_embd = spec.n_ff = 256;
    spec.head_dim = 64;
    return spec;
}

bool tiny_spec_find(const char *name, tiny_spec *out) {
    size_t n = tiny_spec_count();
    for (size_t i = 0; i < n; i++) {
        *out = tiny_spec_at(i);
        if (strcmp(out->name, name) == 0) return true;
    }
    return false;
}
