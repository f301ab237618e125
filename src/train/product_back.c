#include "product_back.h"

#include <string.h>

#include "cpu/parts.h"
#include "cpu/product.h"
#include "cpu/product_kernel.h"
#include "cpu/product_pairs.h"
#include "cpu/rows.h"

/* Blocks that a thread keeps on its stack: rows of the matrix and columns of it, as floats. */
enum { BLOCK_ROWS = 64, BLOCK_COLUMNS = 512 };

/* Rows that are a power of two apart share few places of the nearest cache. */
enum { BLOCK_STRIDE = BLOCK_COLUMNS + 16 };

/* Sums [n_t, n_c], BLOCK_STRIDE apart, become a part of the result. */
static void store_sums(const struct ggml_tensor *result, int64_t slice, int64_t t, int64_t n_t, int64_t c, int64_t n_c,
                       const float *sum) {
    for (int64_t i = 0; i < n_t; i++) {
        memcpy(row_of(result, slice, t + i) + (size_t)c * sizeof *sum, sum + i * BLOCK_STRIDE,
               (size_t)n_c * sizeof *sum);
    }
}

/* A part of the result: its rows [t, t + n_t), its columns [c, c + n_c). The sums are as wide as the kernel wants. */
static void backward_part(struct ggml_tensor *result, int64_t slice, int64_t t, int64_t n_t, int64_t c, int64_t n_c) {
    const product_kernel *kernel = product_kernel_best();
    const struct ggml_tensor *matrix = result->src[0], *slope = result->src[1];
    float sum[KERNEL_COLUMNS * BLOCK_STRIDE], block[BLOCK_ROWS * BLOCK_STRIDE];
    const int64_t width = parts(n_c, KERNEL_COLUMNS) * KERNEL_COLUMNS;
    const float *in = (const float *)(const void *)row_of(slope, slice, t);
    for (int64_t i = 0; i < n_t; i++) memset(sum + i * BLOCK_STRIDE, 0, (size_t)width * sizeof *sum);
    if (width > n_c) memset(block, 0, sizeof block);
    for (int64_t r = 0; r < matrix->ne[1]; r += BLOCK_ROWS) {
        const int64_t rows = least(matrix->ne[1] - r, BLOCK_ROWS);
        rows_read(matrix, product_slice(result, slice), r, rows, c, n_c, block, BLOCK_STRIDE);
        for (int64_t k = 0; k < n_c; k += KERNEL_COLUMNS) {
            kernel->multiply(sum + k, BLOCK_STRIDE, in + r, (int64_t)(slope->nb[1] / sizeof *in), block + k,
                             BLOCK_STRIDE, n_t, rows);
        }
    }
    store_sums(result, slice, t, n_t, c, n_c, sum);
}

/* Brings the lines of n rows nearer, one of each: the processor does not foresee that a few columns of every row are
 * read, and multiplies meanwhile. */
static void fetch_rows(const char *at, size_t row, int64_t n) {
    for (int64_t i = 0; i < n; i++, at += row) __builtin_prefetch(at);
}

/* The same for pairs of rows. */
static void backward_pairs(struct ggml_tensor *result, int64_t slice, int64_t t, int64_t n_t, int64_t c, int64_t n_c) {
    const struct ggml_tensor *matrix = result->src[0], *slope = result->src[1];
    enum { BLOCK = BLOCK_ROWS / 2 };
    float sum[KERNEL_COLUMNS * BLOCK_STRIDE];
    bf16_pair block[BLOCK * BLOCK_STRIDE], factor[KERNEL_COLUMNS * BLOCK];
    const int64_t width = parts(n_c, KERNEL_COLUMNS) * KERNEL_COLUMNS, at = product_slice(result, slice);
    for (int64_t i = 0; i < n_t; i++) memset(sum + i * BLOCK_STRIDE, 0, (size_t)width * sizeof *sum);
    if (width > n_c) memset(block, 0, sizeof block);
    for (int64_t r = 0; r < matrix->ne[1]; r += BLOCK_ROWS) {
        const int64_t rows = least(matrix->ne[1] - r, BLOCK_ROWS), pairs = parts(rows, 2);
        for (int64_t i = 0; i < pairs; i++) {
            const uint16_t *first = (const uint16_t *)(const void *)row_of(matrix, at, r + 2 * i) + c;
            product_pairs_join(first, 2 * i + 1 < rows ? first + matrix->nb[1] / sizeof *first : NULL,
                               block + i * BLOCK_STRIDE, n_c);
        }
        for (int64_t i = 0; i < n_t; i++) {
            product_pairs_round((const float *)(const void *)row_of(slope, slice, t + i) + r, factor + i * BLOCK, rows);
        }
        for (int64_t k = 0; k < n_c; k += KERNEL_COLUMNS) {
            fetch_rows(row_of(matrix, at, r + rows) + (size_t)(c + k) * sizeof(uint16_t), matrix->nb[1],
                       least(matrix->ne[1] - r - rows, BLOCK_ROWS));
            product_pairs_multiply(sum + k, BLOCK_STRIDE, factor, BLOCK, block + k, BLOCK_STRIDE, n_t, pairs);
        }
    }
    store_sums(result, slice, t, n_t, c, n_c, sum);
}

static void backward(struct ggml_tensor *result, int thread, int n_thread, void *data) {
    (void)data;
    const int64_t quantised = ggml_blck_size(result->src[0]->type); /* columns, which cannot be read apart */
    const int64_t unit = quantised > KERNEL_COLUMNS ? quantised : KERNEL_COLUMNS;
    product_share(result, BLOCK_COLUMNS, unit, product_is_paired(result->src[0]) ? backward_pairs : backward_part,
                  thread, n_thread);
}

struct ggml_tensor *product_add_back(struct ggml_context *context, struct ggml_tensor *matrix,
                                     struct ggml_tensor *slope) {
    struct ggml_tensor *sources[] = {matrix, slope};
    return ggml_custom_4d(context, GGML_TYPE_F32, matrix->ne[0], slope->ne[1], slope->ne[2], 1, sources, 2, backward,
                          GGML_N_TASKS_MAX, NULL);
}
