/* product: matrix products with a constant matrix, forward and backward, as custom operations in place of ggml's. The
 * constants of a training step are frozen weights and cached keys and values; the other factor is a few dozen rows of
 * F32. ggml rounds those rows to the matrix's precision, multiplies at half the speed that a processor has, and its
 * gradient, ggml_out_prod, dequantises the matrix once for every row and does not know BF16. These take every type that
 * ggml can read, read each block of the matrix once for all rows, and multiply and add in F32; but where the processor
 * multiplies BF16, a BF16 matrix is multiplied as it is (product_pairs.h). */
#ifndef JUDGEQ_SRC_TRAIN_PRODUCT_H
#define JUDGEQ_SRC_TRAIN_PRODUCT_H

#include "ggml.h"

/* When a graph's nodes are complete, and before it is allocated: makes every ggml_mul_mat whose matrix lies in a buffer
 * of its own (everything else in a graph has no memory yet) such an operation. CPU only. */
void product_replace(struct ggml_context *context, struct ggml_cgraph *nodes);

/* slope * matrix [slices, n, columns]: the derivative of a number by the rows x of ggml_mul_mat(matrix, x), where slope
 * [slices, n, rows] is that by their product; its rows are contiguous. matrix [slices, rows, columns], with as many
 * slices, or fewer that are shared as ggml_mul_mat shares them. */
struct ggml_tensor *product_add_back(struct ggml_context *context, struct ggml_tensor *matrix,
                                     struct ggml_tensor *slope);

#endif
