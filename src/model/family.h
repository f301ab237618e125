/* family: what the blocks of a model are made of, by its architecture: a table of families, and one list of the tensors
 * that a block can have. Binding, devices, expansion, fingerprints, the forward and the backward pass go through that
 * list, so a new kind of tensor is a row of it, and its place in the forward pass. */
#ifndef JUDGEQ_SRC_FAMILY_H
#define JUDGEQ_SRC_FAMILY_H

#include "model.h"

struct model_family {
    const char *name;     /* general.architecture */
    const char *also;     /* other models whose files say the same, for people; or NULL */
    int rope_mode;        /* as model_rope's */
    bool rope_factors;    /* files may bring llama-3 frequency factors */
    bool query_key_norms; /* each head's queries and keys are normalised before they are rotated */
    int32_t rope_less;    /* every so many-th layer has no rope, the last of each so many; 0: all have it */
};

/* A length of a tensor, by the model's shape. */
typedef enum family_size {
    FAMILY_EMBD,     /* n_embd */
    FAMILY_HEAD_DIM, /* head_dim */
    FAMILY_QUERY,    /* n_head * head_dim */
    FAMILY_KV,       /* n_head_kv * head_dim */
    FAMILY_FF,       /* n_ff */
} family_size;

typedef struct family_vector {
    const char *name; /* in files: "blk.3.NAME.weight" */
    family_size size;
    bool query_key_norm; /* of the families that have these only */
} family_vector;

typedef struct family_matrix {
    const char *name;
    family_size in, out;
} family_matrix;

extern const family_vector family_vectors[MODEL_VECTORS];
extern const family_matrix family_matrices[MODEL_MATRICES];

/* NULL where the architecture is none of ours. */
const model_family *family_find(const char *architecture);
/* "llama (mistral files too), qwen2, qwen3, smollm3" into text[size]. */
void family_list(char *text, size_t size);

int64_t family_length(const judgeq_model *model, family_size size);
/* What a block of the model computes, but for its tensors. */
void family_describe(const judgeq_model *model, int32_t index, model_layer *layer);
/* The same for people: "rms norm, attention to all rows (rope on adjacent pairs), ..." into text[size]. */
void family_write(const judgeq_model *model, char *text, size_t size);

#endif
