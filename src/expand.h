/* expand: one layer's quantised matrices as F16, while the prompt passes through that layer. Layer-major prefill
 * multiplies each matrix by the whole prompt, so dequantising it once is soon paid back: ggml's F16 product of many
 * rows is several times faster than its quantised ones, and rounds activations to 11 bits instead of 8. */
#ifndef JUDGEQ_SRC_EXPAND_H
#define JUDGEQ_SRC_EXPAND_H

#include "graph.h"

enum { EXPAND_MATRICES = 7 };

typedef struct expand {
    struct ggml_tensor *half[EXPAND_MATRICES]; /* F16, of the model's shapes; no memory if nothing is quantised */
    int32_t *count;                            /* 0, 1, 2 ... up to the most rows of a matrix */
    int64_t n_count;
    struct ggml_context *context;
    ggml_backend_buffer_t buffer;
} expand;

/* Room for one layer of `model`; none, and then no cost later, where no matrix is quantised. */
judgeq_status expand_init(expand *e, const judgeq_model *model, const graph_engine *engine, judgeq_error *error);
/* Accepts a zeroed one. */
void expand_free(expand *e);

/* The layer to compute with, until the next call: the model's own, with expansions in place of quantised matrices. */
judgeq_status expand_layer(expand *e, const judgeq_model *model, int32_t index, graph_engine *engine, model_layer *out,
                           judgeq_error *error);

#endif
