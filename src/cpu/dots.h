/* dots: products of a few rows with a quantised matrix, as ggml computes them for one row, but several rows of the
 * matrix at once. ggml's dot products take half of the speed at which memory is read: decoding waits for them. Each
 * product has the bits of ggml's own, if ggml was compiled to add in the order that it has here: engine/dots_check.h
 * asks. A row's product does not depend on which rows it is computed with. */
#ifndef JUDGEQ_SRC_DOTS_H
#define JUDGEQ_SRC_DOTS_H

#include <stdbool.h>
#include <stdint.h>

#include "ggml.h"

/* The instructions of the kernels, for people; NULL: this processor has none. */
const char *dots_instructions(void);

/* Whether this processor has a kernel for such a matrix [n_row, n_column]. */
bool dots_can(enum ggml_type type, int64_t n_row, int64_t n_column);

/* The type that x is cast to before it is multiplied with a matrix of a type that this processor has a kernel for. */
enum ggml_type dots_x_type(enum ggml_type matrix);

/* A node: x matrix^T [n, n_row], for x [n, n_column] of dots_x_type. CPU only. */
struct ggml_tensor *dots_multiply(struct ggml_context *context, struct ggml_tensor *matrix, struct ggml_tensor *x);

/* Row r of a quantised matrix as floats, as ggml dequantises it, but several times as fast. False: this processor has
 * no kernel for its type. */
bool dots_read(const struct ggml_tensor *matrix, int64_t r, float *out);

#endif
