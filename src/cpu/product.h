/* product: matrix products with a constant matrix as custom operations in place of ggml's. They take every type that
 * ggml can read, read each block of the matrix once for dozens of rows, and multiply and add in F32; but where the
 * processor multiplies BF16, a BF16 matrix is multiplied as it is (product_pairs.h). ggml rounds the rows to the
 * matrix's precision and multiplies at half to four fifths of the speed that a processor has. A row's product does not
 * depend on which rows it is computed with. */
#ifndef JUDGEQ_SRC_PRODUCT_H
#define JUDGEQ_SRC_PRODUCT_H

#include <stdbool.h>
#include <stdint.h>

#include "ggml.h"

/* When a graph's nodes are complete, and before it is allocated: makes every ggml_mul_mat whose matrix is in a buffer
 * of its own (everything else in a graph has no memory yet) such an operation. only_pairs: those of paired matrices
 * alone. CPU only. */
void product_replace(struct ggml_context *context, struct ggml_cgraph *nodes, bool only_pairs);

/* Whether a matrix is multiplied as it is stored: two elements of a row are one pair. */
bool product_is_paired(const struct ggml_tensor *matrix);

/* Computes a part of a result: rows [t, t + n_t) and columns [c, c + n_c) of a slice of it. */
typedef void product_part(struct ggml_tensor *result, int64_t slice, int64_t t, int64_t n_t, int64_t c, int64_t n_c);
/* A thread's share of a result: parts of KERNEL_COLUMNS rows and of at most `most` columns, a multiple of `unit`,
 * chosen so that every thread gets the same number of parts, where that is possible. */
void product_share(struct ggml_tensor *result, int64_t most, int64_t unit, product_part *part, int thread,
                   int n_thread);

/* The matrix's slice (result->src[0]'s) for a slice of the result: query heads share KV heads. */
int64_t product_slice(const struct ggml_tensor *result, int64_t slice);

#endif
