#include "product.h"

#include <string.h>

#include "parts.h"
#include "product_kernel.h"
#include "product_pairs.h"
#include "rows.h"

/* Blocks that a thread keeps on its stack: columns of the matrix (every quantisation's blocks divide their number), and
 * the sums of so many of its rows. */
enum { BLOCK_COLUMNS = 512, FORWARD_ROWS = 768, TILE_ROWS_READ = 8 };

bool product_is_paired(const struct ggml_tensor *matrix) {
    return matrix->type == GGML_TYPE_BF16 && matrix->ne[0] % 2 == 0 && matrix->nb[1] % sizeof(bf16_pair) == 0 &&
           matrix->nb[2] % sizeof(bf16_pair) == 0 && product_pairs_available();
}

int64_t product_slice(const struct ggml_tensor *result, int64_t slice) {
    return slice / (result->ne[2] / result->src[0]->ne[2]);
}

void product_share(struct ggml_tensor *result, int64_t most, int64_t unit, product_part *part, int thread,
                   int n_thread) {
    const int64_t n_column = result->ne[0], n = result->ne[1], across = parts(n, KERNEL_COLUMNS);
    const int64_t size = part_size(n_column, most, unit, across * result->ne[2], n_thread);
    const int64_t down = parts(n_column, size), all = across * down * result->ne[2];
    for (int64_t i = thread * all / n_thread; i < (thread + 1) * all / n_thread; i++) {
        const int64_t t = i / down % across * KERNEL_COLUMNS, c = i % down * size;
        part(result, i / down / across, t, least(n - t, KERNEL_COLUMNS), c, least(n_column - c, size));
    }
}

/* A part of the result: rows [t, t + n_t) of x against rows [r, r + n_r) of the matrix. The sums are stored transposed,
 * so that the lanes of a vector are rows of x, whatever their number. */
static void forward_part(struct ggml_tensor *result, int64_t slice, int64_t t, int64_t n_t, int64_t r, int64_t n_r) {
    const product_kernel *kernel = product_kernel_best();
    const struct ggml_tensor *matrix = result->src[0], *x = result->src[1];
    float sum[FORWARD_ROWS * KERNEL_COLUMNS], columns[BLOCK_COLUMNS * KERNEL_COLUMNS];
    float block[TILE_ROWS_READ * BLOCK_COLUMNS];
    memset(sum, 0, (size_t)n_r * KERNEL_COLUMNS * sizeof *sum);
    if (n_t < KERNEL_COLUMNS) memset(columns, 0, sizeof columns);
    const char *in = row_of(x, slice, t);
    for (int64_t first = 0; first < matrix->ne[0]; first += BLOCK_COLUMNS) {
        const int64_t n = least(matrix->ne[0] - first, BLOCK_COLUMNS);
        kernel->transpose(columns, KERNEL_COLUMNS, (const float *)(const void *)in + first,
                          (int64_t)(x->nb[1] / sizeof(float)), n_t, n);
        for (int64_t i = 0; i < n_r; i += TILE_ROWS_READ) {
            const int64_t rows = least(n_r - i, TILE_ROWS_READ);
            rows_read(matrix, product_slice(result, slice), r + i, rows, first, n, block, BLOCK_COLUMNS);
            kernel->multiply(sum + i * KERNEL_COLUMNS, KERNEL_COLUMNS, block, BLOCK_COLUMNS, columns, KERNEL_COLUMNS,
                             rows, n);
        }
    }
    kernel->transpose((float *)(void *)row_of(result, slice, t) + r, (int64_t)(result->nb[1] / sizeof(float)), sum,
                      KERNEL_COLUMNS, n_r, n_t);
}

/* The same for pairs along the columns. */
static void forward_pairs(struct ggml_tensor *result, int64_t slice, int64_t t, int64_t n_t, int64_t r, int64_t n_r) {
    const product_kernel *kernel = product_kernel_best();
    const struct ggml_tensor *matrix = result->src[0], *x = result->src[1];
    enum { BLOCK = BLOCK_COLUMNS / 2 };
    float sum[FORWARD_ROWS * KERNEL_COLUMNS];
    bf16_pair rows[KERNEL_COLUMNS * BLOCK], columns[BLOCK * KERNEL_COLUMNS];
    memset(sum, 0, (size_t)n_r * KERNEL_COLUMNS * sizeof *sum);
    if (n_t < KERNEL_COLUMNS) memset(rows, 0, sizeof rows);
    const char *in = row_of(x, slice, t);
    const bf16_pair *factor = (const bf16_pair *)(const void *)row_of(matrix, product_slice(result, slice), r);
    const int64_t factor_row = (int64_t)(matrix->nb[1] / sizeof *factor);
    for (int64_t first = 0; first < matrix->ne[0]; first += BLOCK_COLUMNS) {
        const int64_t n = least(matrix->ne[0] - first, BLOCK_COLUMNS);
        for (int64_t i = 0; i < n_t; i++) {
            product_pairs_round((const float *)(const void *)(in + (size_t)i * x->nb[1]) + first, rows + i * BLOCK, n);
        }
        kernel->transpose((float *)columns, KERNEL_COLUMNS, (const float *)rows, BLOCK, KERNEL_COLUMNS, n / 2);
        product_pairs_multiply(sum, KERNEL_COLUMNS, factor + first / 2, factor_row, columns, KERNEL_COLUMNS, n_r,
                               n / 2);
    }
    kernel->transpose((float *)(void *)row_of(result, slice, t) + r, (int64_t)(result->nb[1] / sizeof(float)), sum,
                      KERNEL_COLUMNS, n_r, n_t);
}

/* result [slices, n, rows] = x * matrix^T, as ggml_mul_mat(matrix [slices, rows, columns], x [slices, n, columns])
 * defines it. */
static void forward(struct ggml_tensor *result, int thread, int n_thread, void *data) {
    (void)data;
    product_share(result, FORWARD_ROWS, TILE_ROWS_READ,
                  product_is_paired(result->src[0]) ? forward_pairs : forward_part, thread, n_thread);
}

/* ---- graphs ------------------------------------------------------------------------------------------------------ */

static bool is_constant(const struct ggml_tensor *tensor) {
    const struct ggml_tensor *base = tensor->view_src ? tensor->view_src : tensor;
    return base->buffer != NULL;
}

void product_replace(struct ggml_context *context, struct ggml_cgraph *nodes, bool only_pairs) {
    for (int i = 0; i < ggml_graph_n_nodes(nodes); i++) {
        struct ggml_tensor *old = ggml_graph_node(nodes, i);
        if (old->op != GGML_OP_MUL_MAT || !is_constant(old->src[0])) continue;
        if (only_pairs && !product_is_paired(old->src[0])) continue;
        struct ggml_tensor *sources[] = {old->src[0], old->src[1]};
        const struct ggml_tensor *custom = ggml_custom_4d(context, GGML_TYPE_F32, old->ne[0], old->ne[1], old->ne[2],
                                                          old->ne[3], sources, 2, forward, GGML_N_TASKS_MAX, NULL);
        old->op = custom->op;
        memcpy(old->op_params, custom->op_params, sizeof old->op_params);
    }
}
