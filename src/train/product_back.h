/* product_back: the backward direction of src/cpu/product.h, in the same ways. ggml's, ggml_out_prod, dequantises the
 * matrix once for every row and does not know BF16. */
#ifndef JUDGEQ_SRC_TRAIN_PRODUCT_BACK_H
#define JUDGEQ_SRC_TRAIN_PRODUCT_BACK_H

#include "ggml.h"

/* slope * matrix [slices, n, columns]: the derivative of a number by the rows x of ggml_mul_mat(matrix, x), where slope
 * [slices, n, rows] is that by their product; its rows are contiguous. matrix [slices, rows, columns], with as many
 * slices, or fewer that are shared as ggml_mul_mat shares them. */
struct ggml_tensor *product_add_back(struct ggml_context *context, struct ggml_tensor *matrix,
                                     struct ggml_tensor *slope);

#endif
