/* block_back: the backward pass of a transformer block over soft rows, as a ggml graph around what the forward pass has
 * kept. Written out rather than differentiated by ggml: its autodiff computes what nothing needs, copies the attention
 * several times, and has no operations of our own in it. */
#ifndef JUDGEQ_SRC_TRAIN_BLOCK_BACK_H
#define JUDGEQ_SRC_TRAIN_BLOCK_BACK_H

#include "engine/cache.h"
#include "model/model.h"

/* True where the backward pass reads the product with a layer's matrix, without the bias. */
bool block_back_reads(model_matrix matrix);

/* What the forward pass of a layer leaves. */
typedef struct block_kept {
    struct ggml_tensor *x;                       /* [n_soft, n_embd]: the rows that enter */
    struct ggml_tensor *query;                   /* [n_soft, n_head, head_dim], rotated (RoPE) */
    struct ggml_tensor *attention;               /* [n_head, n_soft, n_key] */
    struct ggml_tensor *product[MODEL_MATRICES]; /* [n_soft, the matrix's rows]; NULL: not read */
} block_kept;

/* The gradient of a number with respect to kept->x, [n_soft, n_embd]. slope [n_head, n_prompt]: its derivative by the
 * soft rows' mean attention in this layer. flow [n_soft, n_embd]: that by the rows that leave the layer, or NULL where
 * nothing depends on them. position [n_soft]. The cache, a uniform one of F32 or F16, holds the prompt's n_prompt rows
 * and, after them, those that the forward pass has written. */
struct ggml_tensor *block_back_add(struct ggml_context *context, const model_layer *layer, const cache_layer *cache,
                                   const block_kept *kept, struct ggml_tensor *position, struct ggml_tensor *slope,
                                   struct ggml_tensor *flow);

#endif
