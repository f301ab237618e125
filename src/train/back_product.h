/* back_product: the gradient of a matrix product with respect to its activations, where the matrix is a constant: a
 * frozen weight in the file's own type, or cached keys and values. ggml's autodiff uses ggml_out_prod there, which
 * dequantises the matrix once for every activation row and does not know BF16. This one takes every type that ggml can
 * read and dequantises each block once. */
#ifndef JUDGEQ_SRC_TRAIN_BACK_PRODUCT_H
#define JUDGEQ_SRC_TRAIN_BACK_PRODUCT_H

#include "ggml.h"

/* After ggml_build_backward_expand: replaces every ggml_out_prod whose matrix lies in a buffer of its own (everything
 * else in a graph has no memory yet). Before the graph is allocated. CPU only. */
void back_product_replace(struct ggml_context *context, struct ggml_cgraph *nodes);

#endif
