/* glu_back: what flows back through a gated feed-forward layer's product, silu(gate) o up. */
#ifndef JUDGEQ_SRC_TRAIN_GLU_BACK_H
#define JUDGEQ_SRC_TRAIN_GLU_BACK_H

#include "ggml.h"

/* The derivatives by gate and by up, [2, n, n_ff], of a number whose derivative by the product is flow; flow, gate, up
 * [n, n_ff], contiguous. */
struct ggml_tensor *glu_back_add(struct ggml_context *context, struct ggml_tensor *flow, struct ggml_tensor *gate,
                                 struct ggml_tensor *up);

#endif
