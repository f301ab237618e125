/* expand: quantised matrices of a layer as floats, for products with many rows: those of a prompt, which passes
 * through one layer after the other, or those of many sequences that decode together. Dequantising is soon paid back,
 * because products of floats with several rows are faster than ggml's quantised ones, and round activations less: F16
 * to 11 bits, BF16 to 8 bits of each number, F32 not at all, the quantised products to 8 bits of the largest of 32. */
#ifndef JUDGEQ_SRC_EXPAND_H
#define JUDGEQ_SRC_EXPAND_H

#include "graph.h"

/* What the copies are for. */
typedef enum expand_use {
    EXPAND_MULTIPLY, /* products alone: packed (cpu/packed.h) where oneDNN multiplies such, those of BF16 too */
    EXPAND_KEEP      /* whatever else reads them: training, and other layers' products while tokens are decoded */
} expand_use;

typedef struct expand {
    struct packed *packed[MODEL_MATRICES];    /* NULL where matrices are not packed */
    struct ggml_tensor *half[MODEL_MATRICES]; /* of the matrices' shapes; NULL where they are packed, or no layer's is
                                                 quantised */
    int32_t *count; /* 0, 1, 2 ... up to the most rows of a matrix; NULL where nothing is copied */
    int64_t n_count;
    struct ggml_context *context;
    ggml_backend_buffer_t buffer; /* of half */
} expand;

/* *out: the layers of an expanded model that a prompt is multiplied with; NULL where there are none, or where it should
 * have copies of its own: packed as F32 they are faster than 16 bits, and not rounded. Fails with MEMORY. */
judgeq_status expand_kept(const judgeq_model *model, const model_expanded **out, judgeq_error *error);

/* Room for any one layer of `model`; none, and then no cost later, where nothing is to be copied. Layers have the same
 * shapes, and each matrix a type of its own. */
judgeq_status expand_init(expand *e, const judgeq_model *model, expand_use use, const graph_engine *engine,
                          judgeq_error *error);
/* Accepts a zeroed one. */
void expand_free(expand *e);
/* Fails with BACKEND after graphs with a layer's copies in which oneDNN could not compute. */
judgeq_status expand_check(const expand *e, judgeq_error *error);

/* The layer to compute with, until the next call: the model's own, with expansions in place of quantised matrices. */
judgeq_status expand_layer(expand *e, const judgeq_model *model, int32_t index, graph_engine *engine, model_layer *out,
                           judgeq_error *error);

#endif
