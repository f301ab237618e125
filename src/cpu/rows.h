/* rows: the rows of a tensor's slices, for operations of our own: their addresses, and their numbers as floats. */
#ifndef JUDGEQ_SRC_ROWS_H
#define JUDGEQ_SRC_ROWS_H

#include <stdint.h>

#include "ggml.h"

static inline char *row_of(const struct ggml_tensor *tensor, int64_t slice, int64_t r) {
    return (char *)tensor->data + (size_t)r * tensor->nb[1] + (size_t)slice * tensor->nb[2];
}

/* Rows [r, r + n_r) and columns [c, c + n_c) of a slice of a matrix of any type as floats, `out_row` apart. c starts a
 * block of the type. */
void rows_read(const struct ggml_tensor *matrix, int64_t slice, int64_t r, int64_t n_r, int64_t c, int64_t n_c,
               float *out, int64_t out_row);

#endif
