/* model: a GGUF file as hyper-parameters and bound weights, every one of them checked. Immutable after loading. */
#ifndef JUDGEQ_SRC_MODEL_H
#define JUDGEQ_SRC_MODEL_H

#include "ggml-backend.h"
#include "ggml.h"
#include "gguf_file.h"
#include "llama.h"

#include "judgeq.h"

/* Arguments of ggml_rope_ext, after every kind of scaling has been folded in. */
typedef struct model_rope {
    int mode; /* GGML_ROPE_TYPE_NORMAL (llama: pairs 2i, 2i+1) or GGML_ROPE_TYPE_NEOX (qwen: pairs i, i + head_dim/2) */
    int32_t n_ctx_original;
    float base, scale, ext_factor, attention_factor, beta_fast, beta_slow;
    struct ggml_tensor *factors; /* llama-3 frequency factors [head_dim/2], or NULL */
    const char *scaling;         /* "none", "linear", "yarn", for people */
} model_rope;

struct packed;

/* weight x * scale + bias; scale [1] and bias are NULL where the model has none. Each weight has a type of its own.
 * packed: what stands for the weight while many rows pass (engine/expand.h); or NULL. */
typedef struct model_linear {
    struct ggml_tensor *weight, *scale, *bias;
    struct packed *packed;
} model_linear;

/* The tensors that a block can have: family.h says their names and shapes. */
typedef enum model_vector {
    MODEL_ATTENTION_NORM,
    MODEL_FFN_NORM,
    MODEL_QUERY_NORM,
    MODEL_KEY_NORM,
    MODEL_VECTORS
} model_vector;

typedef enum model_matrix {
    MODEL_QUERY,
    MODEL_KEY,
    MODEL_VALUE,
    MODEL_OUTPUT,
    MODEL_GATE,
    MODEL_UP,
    MODEL_DOWN,
    MODEL_MATRICES
} model_matrix;

typedef struct model_family model_family;

/* A transformer block as a description: what it computes, and with which tensors. */
typedef struct model_layer {
    int32_t n_head, n_head_kv, head_dim;
    float scale;                               /* of the products of queries and keys */
    float norm_epsilon;                        /* of its norms, all RMS norms (Zhang and Sennrich, 2019) */
    const model_rope *rope;                    /* of queries and keys; NULL: positions do not matter */
    struct ggml_tensor *vector[MODEL_VECTORS]; /* NULL where it has none */
    model_linear matrix[MODEL_MATRICES];
} model_layer;

/* A layer with 16-bit floats in place of its quantised matrices, and their memory. */
typedef struct model_expanded {
    model_layer layer;
    struct ggml_context *context;
    ggml_backend_buffer_t buffer;
} model_expanded;

/* Weights that a device holds. */
typedef struct model_device {
    struct ggml_context *context;
    ggml_backend_buffer_t buffer;
} model_device;

enum { MODEL_ON_CPU = -1 };

struct judgeq_model {
    judgeq_model_info info;
    const model_family *family;
    float norm_epsilon;
    model_rope rope;
    struct ggml_tensor *token_embedding; /* [n_vocab, n_embd] */
    struct ggml_tensor *output_norm;
    model_linear output;      /* [n_vocab, n_embd]; token_embedding where they are tied */
    model_layer *layer;       /* [n_layer]: of the same shapes */
    model_expanded *expanded; /* [n_layer], by judgeq_model_expand; or NULL */

    ggml_backend_dev_t *device; /* [n_device], beside the CPU */
    model_device *on_device;    /* [n_device] */
    int32_t n_device;
    int32_t *place; /* [n_layer + 1], the device of each layer and of the output, or MODEL_ON_CPU; NULL: all there */

    gguf_file file;                /* its tensors' data point into the mappings */
    ggml_backend_buffer_t *buffer; /* [1 + file.n_more], over the mappings of its parts */
    struct ggml_context *slices;   /* the parts of fused matrices as tensors of their own; or NULL */
    struct llama_model *vocabulary;
    struct tokenizer *tokenizer;
    struct chat *chat;
    const char **unknown_keys; /* the file's */
    char *name, weight_type[32], weight_types[512], block[160];
};

enum { MODEL_LAYER_SLOTS = MODEL_VECTORS + 3 * MODEL_MATRICES, MODEL_OUTPUT_SLOTS = 4 };

/* Every tensor that a layer, or the output, has, as places where the model points to them; NULL in those that it lacks.
 */
void model_layer_slots(model_layer *layer, struct ggml_tensor **slot[MODEL_LAYER_SLOTS]);
void model_output_slots(judgeq_model *model, struct ggml_tensor **slot[MODEL_OUTPUT_SLOTS]);

/* Releases what judgeq_model_expand has made. */
void model_forget_expanded(judgeq_model *model);

/* file_check of the mapped weights: `status`, or IO where the file has lost a part. */
judgeq_status model_check_file(const judgeq_model *model, judgeq_status status, judgeq_error *error);

/* The first weight that holds NaN or infinity, or NULL. Reads all of them: only worth it once something went wrong. */
const char *model_find_non_finite(const judgeq_model *model);

/* Keys' and values' bytes of one row in one KV head. */
size_t model_row_bytes(const judgeq_model *model, enum ggml_type type);

#endif
