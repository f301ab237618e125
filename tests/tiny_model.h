/* tiny_model: writes small GGUF models with random weights, one for every family and quirk that judgeq runs.
 *
 * The bytes depend on the spec alone: every tensor has its own splitmix64 stream, seeded from the spec's seed and the
 * tensor's name. libllama loads every model here, so it can be the oracle for all of them. The matrices are scaled so
 * that attention is far from uniform and the logits have a standard deviation of about 3, as a trained model's have.
 */
#ifndef JUDGEQ_TESTS_TINY_MODEL_H
#define JUDGEQ_TESTS_TINY_MODEL_H

#include <ggml.h>
#include <gguf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* SPM (tokenizer.ggml.model "llama"): adds <s> at the beginning. BPE ("gpt2", byte level): adds nothing.
 * Both have <|im_start|> and <|im_end|>, both end a response at their end-of-text token and at <|im_end|>. */
typedef enum tiny_vocabulary { TINY_VOCABULARY_SPM, TINY_VOCABULARY_BPE } tiny_vocabulary;

/* A type for the tensors whose names contain `part`. */
typedef struct tiny_type {
    const char *part;
    enum ggml_type type;
} tiny_type;

/* How queries, keys and values are written: three matrices; one (attn_qkv), with one bias or with three. */
typedef enum tiny_qkv { TINY_QKV_APART, TINY_QKV_FUSED, TINY_QKV_FUSED_BIAS_APART } tiny_qkv;

enum { TINY_TYPES = 8 };

typedef struct tiny_spec {
    const char *name;         /* general.name */
    const char *architecture; /* llama, qwen2 or qwen3; qwen3 has q/k norms */
    int n_layer, n_embd, n_head, n_head_kv, head_dim, n_ff;
    int n_ctx;                   /* tokens the model says it was trained for */
    enum ggml_type weight_type;  /* of every matrix; norms, biases and rope factors are F32 */
    tiny_type types[TINY_TYPES]; /* of some matrices, before that; the first that fits */
    tiny_qkv qkv;
    bool scales;      /* a scale and an input_scale for every matrix of the layers, as NVFP4 files have */
    bool tied_output; /* no output.weight */
    bool qkv_bias;
    bool rope_freqs;            /* llama-3 factors: rope_freqs.weight [head_dim / 2] */
    const char *rope_scaling;   /* NULL, "linear" or "yarn" */
    float rope_factor;          /* of rope_scaling, and of rope_freqs */
    int rope_original_context;  /* of "yarn" and of rope_freqs; 0: not written (rope_freqs: 64) */
    float rope_attention_scale; /* rope.scaling.attn_factor; 0: not written */
    float rope_freq_base;       /* 0: not written, which means 10000 */
    tiny_vocabulary vocabulary;
    const char *pre; /* tokenizer.ggml.pre of a BPE vocabulary; NULL: "smollm"; "": not written */
    bool chat_template;
    float weight_scale; /* multiplies every matrix; 0: 1 */
    uint64_t seed;
} tiny_spec;

/* The base of all: llama, 2 layers, 4 heads over 2 KV heads, F32. Change what a test is about. */
tiny_spec tiny_spec_base(void);

/* Every named spec: first families and quirks, then one per weight type, named as ggml names it ("q4_K"), then mixes of
 * types. */
size_t tiny_spec_count(void);
tiny_spec tiny_spec_at(size_t index);
/* False where no spec has that name. */
bool tiny_spec_find(const char *name, tiny_spec *out);
/* True from the first index on that stands for a weight type, or, from there on, for several in one model. */
bool tiny_spec_is_type(size_t index);

/* A model in memory, for tests that damage it before they write it: gguf holds the keys, context the tensors
 * (ggml_get_tensor(context, "blk.0.attn_q.weight")->data can be changed; gguf_remove_key, gguf_set_val_... work). */
typedef struct tiny_model {
    struct gguf_context *gguf;
    struct ggml_context *context;
} tiny_model;

/* 0, or -1 where the spec makes no model (rows that the weight type's blocks do not divide, no memory). */
int tiny_model_build(const tiny_spec *spec, tiny_model *out);
/* 0, or -1 where the file cannot be written. */
int tiny_model_save(const tiny_model *model, const char *path);
/* In n_part files, PREFIX-00001-of-0000N.gguf and so on, as llama-gguf-split writes them: the first has all keys, each
 * has as many tensors as the others, or one more. */
int tiny_model_save_parts(const tiny_model *model, const char *prefix, int n_part);
void tiny_model_free(tiny_model *model);

/* Build, save, free. */
int tiny_model_write(const tiny_spec *spec, const char *path);

/* n tokens drawn from [0, n_vocab) by splitmix64: a prompt that any tiny model takes. */
void tiny_prompt(uint64_t seed, int n_vocab, int32_t *tokens, size_t n);

#endif
