/* gradient: forward and backward pass of soft tokens through the frozen model, over keys and values that are constants.
 *
 * The prompt's keys and values do not depend on the soft tokens after it, so a training step costs passes over n_soft
 * rows only. The forward pass is the engine's own block (graph.h), whose results are written to where the backward pass
 * (block_back.h) reads them: the rows that enter each layer, most of their products with the layer's weights, and the
 * attention. So every weight is multiplied twice, and the memory is one layer's intermediate results and about
 * [n_layer, n_soft, 4 n_embd + 2 n_ff + n_head n_prompt] floats. Both passes read a layer's quantised matrices as
 * 16-bit floats (EXPAND_KEEP), as prefill does for long prompts, so the loss is the one that prefill would see, up to
 * rounding. A pass is one graph where the model keeps these, and otherwise one for each layer.
 */
#ifndef JUDGEQ_SRC_TRAIN_GRADIENT_H
#define JUDGEQ_SRC_TRAIN_GRADIENT_H

#include "engine/cache.h"
#include "engine/expand.h"
#include "engine/graph.h"
#include "model/model.h"

typedef struct gradient {
    const judgeq_model *model;
    int32_t n_depth, n_soft;
    graph_engine engine;             /* of the forward pass */
    graph_engine back;               /* of the backward pass: graphs of another shape, in buffers of their own */
    expand expand;                   /* of one layer; unused where the model keeps them all (judgeq_model_expand) */
    model_layer weights;             /* as `expand` gives it */
    int32_t held;                    /* which layer that is; -1: none yet */
    ggml_backend_buffer_t rows;      /* what both passes leave of every layer, but for */
    ggml_backend_buffer_t attention; /* [n_layer, n_head, n_soft, n_key] of the last forward pass, and its means */
} gradient;

/* n_depth: 1, or the model's layers: the soft tokens have vectors for each. n_threads 0: chosen (threads.h). */
judgeq_status gradient_init(gradient *g, const judgeq_model *model, int32_t n_depth, int32_t n_soft, int32_t n_threads,
                            judgeq_error *error);
/* Accepts a zeroed gradient. */
void gradient_free(gradient *g);

/* soft [n_depth, n_soft, n_embd] after a prompt of n_prompt rows (judgeq_judge_soft_tokens). layer [n_layer]: the
 * prompt's rows in every KV head, and room for n_soft more, which are overwritten. map [n_layer, n_head, n_prompt]: the
 * soft tokens' mean attention. */
judgeq_status gradient_forward(gradient *g, const cache_layer *layer, int32_t n_prompt, const float *soft, float *map,
                               judgeq_error *error);

/* After gradient_forward with the same layers: slope [n_layer, n_head, n_prompt] is the derivative of a number by
 * every value of `map`, out [n_depth, n_soft, n_embd] becomes its gradient with respect to the soft tokens. */
judgeq_status gradient_backward(gradient *g, const cache_layer *layer, int32_t n_prompt, const float *slope, float *out,
                                judgeq_error *error);

#endif
