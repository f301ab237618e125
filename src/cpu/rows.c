#include "rows.h"

#include <string.h>

#include "product_kernel.h"

void rows_read(const struct ggml_tensor *matrix, int64_t slice, int64_t r, int64_t n_r, int64_t c, int64_t n_c,
               float *out, int64_t out_row) {
    const product_kernel *kernel = product_kernel_best();
    const char *at = row_of(matrix, slice, r) + ggml_row_size(matrix->type, c);
    for (int64_t i = 0; i < n_r; i++, at += matrix->nb[1], out += out_row) {
        if (matrix->type == GGML_TYPE_F32) {
            memcpy(out, at, (size_t)n_c * sizeof *out);
        } else if (matrix->type == GGML_TYPE_F16) {
            kernel->read_half((const uint16_t *)(const void *)at, out, n_c);
        } else {
            ggml_get_type_traits(matrix->type)->to_float(at, out, n_c);
        }
    }
}
