#include "back_product.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "every_cpu.h"

/* A tile of the matrix: TILE_ROWS of its rows, TILE_COLUMNS of its columns, which every block size divides. */
enum { TILE_ROWS = 4, TILE_COLUMNS = 256 };

/* out[t][c] += sum over the tile's rows r of slope[t][r] * tile[r][c], for two tokens t: a row that was loaded serves
 * both. */
FOR_EVERY_CPU
static void add_rows(float *restrict out0, float *restrict out1, const float tile[restrict TILE_ROWS][TILE_COLUMNS],
                     const float slope[2][TILE_ROWS], int64_t n) {
    const float a0 = slope[0][0], a1 = slope[0][1], a2 = slope[0][2], a3 = slope[0][3];
    const float b0 = slope[1][0], b1 = slope[1][1], b2 = slope[1][2], b3 = slope[1][3];
    for (int64_t c = 0; c < n; c++) {
        const float w0 = tile[0][c], w1 = tile[1][c], w2 = tile[2][c], w3 = tile[3][c];
        out0[c] += a0 * w0 + a1 * w1 + a2 * w2 + a3 * w3;
        out1[c] += b0 * w0 + b1 * w1 + b2 * w2 + b3 * w3;
    }
}

/* F16 to F32 without a table, so that it becomes vector code: the bits moved to their places make a number that is too
 * small by 2^112, subnormal or not. Infinity and NaN become finite: a model that holds them never comes this far, its
 * logits are checked first. */
FOR_EVERY_CPU
static void read_half(const uint16_t *restrict in, float *restrict out, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        const uint32_t bits = (uint32_t)(in[i] & 0x7fff) << 13;
        const uint32_t sign = (uint32_t)(in[i] & 0x8000) << 16;
        float value;
        memcpy(&value, &bits, sizeof value);
        value *= 0x1p112f;
        uint32_t signed_bits;
        memcpy(&signed_bits, &value, sizeof value);
        signed_bits |= sign;
        memcpy(&out[i], &signed_bits, sizeof value);
    }
}

/* Row r of the matrix in slice `slice`, columns [first, first + n), as floats. */
static void read_row(const struct ggml_tensor *matrix, int64_t r, int64_t slice, int64_t first, int64_t n, float *out) {
    const char *row = (const char *)matrix->data + (size_t)r * matrix->nb[1] + (size_t)slice * matrix->nb[2] +
                      (size_t)(first / ggml_blck_size(matrix->type)) * ggml_type_size(matrix->type);
    if (matrix->type == GGML_TYPE_F32) {
        memcpy(out, row, (size_t)n * sizeof *out);
    } else if (matrix->type == GGML_TYPE_F16) {
        read_half((const uint16_t *)(const void *)row, out, n);
    } else {
        ggml_get_type_traits(matrix->type)->to_float(row, out, n);
    }
}

/* Columns [first, first + n) of one slice of the result. */
static void compute_tile(struct ggml_tensor *result, int64_t slice, int64_t first, int64_t n) {
    const struct ggml_tensor *matrix = result->src[0], *slope = result->src[1];
    float unused[TILE_COLUMNS] = {0}; /* the second of a pair where the number of tokens is odd */
    char *out = (char *)result->data + (size_t)slice * result->nb[2] + (size_t)first * sizeof(float);
    const char *in = (const char *)slope->data + (size_t)slice * slope->nb[2];
    for (int64_t t = 0; t < result->ne[1]; t++) memset(out + (size_t)t * result->nb[1], 0, (size_t)n * sizeof(float));
    for (int64_t r = 0; r < matrix->ne[1]; r += TILE_ROWS) {
        float tile[TILE_ROWS][TILE_COLUMNS] = {{0}};
        const int64_t rows = matrix->ne[1] - r < TILE_ROWS ? matrix->ne[1] - r : TILE_ROWS;
        for (int64_t i = 0; i < rows; i++) read_row(matrix, r + i, slice, first, n, tile[i]);
        for (int64_t t = 0; t < result->ne[1]; t += 2) {
            const bool pair = t + 1 < result->ne[1];
            float factor[2][TILE_ROWS] = {{0}};
            for (int64_t i = 0; i < rows; i++) {
                const char *at = in + (size_t)t * slope->nb[0] + (size_t)(r + i) * slope->nb[1];
                memcpy(&factor[0][i], at, sizeof(float));
                if (pair) memcpy(&factor[1][i], at + slope->nb[0], sizeof(float));
            }
            float *row = (float *)(void *)(out + (size_t)t * result->nb[1]);
            add_rows(row, pair ? (float *)(void *)((char *)row + result->nb[1]) : unused, tile, factor, n);
        }
    }
}

/* result [slices, n, columns] = slope^T * matrix, as ggml_out_prod(matrix [slices, rows, columns], slope [slices, rows,
 * n]) defines it. */
static void compute(struct ggml_tensor *result, int thread, int n_thread, void *data) {
    (void)data;
    const int64_t tiles = (result->ne[0] + TILE_COLUMNS - 1) / TILE_COLUMNS;
    for (int64_t i = thread; i < tiles * result->ne[2]; i += n_thread) {
        const int64_t first = i % tiles * TILE_COLUMNS, left = result->ne[0] - first;
        compute_tile(result, i / tiles, first, left < TILE_COLUMNS ? left : TILE_COLUMNS);
    }
}

static bool is_constant(const struct ggml_tensor *tensor) {
    const struct ggml_tensor *base = tensor->view_src ? tensor->view_src : tensor;
    return base->buffer != NULL;
}

void back_product_replace(struct ggml_context *context, struct ggml_cgraph *nodes) {
    struct ggml_tensor **node = ggml_graph_nodes(nodes);
    const int n = ggml_graph_n_nodes(nodes);
    for (int i = 0; i < n; i++) {
        struct ggml_tensor *old = node[i];
        if (old->op != GGML_OP_OUT_PROD || !is_constant(old->src[0])) continue;
        struct ggml_tensor *sources[] = {old->src[0], old->src[1]};
        struct ggml_tensor *new = ggml_custom_4d(context, GGML_TYPE_F32, old->ne[0], old->ne[1], old->ne[2], old->ne[3],
                                                 sources, 2, compute, GGML_N_TASKS_MAX, NULL);
        new->flags = old->flags; /* among them that it is to be computed */
        node[i] = new;
        for (int k = i + 1; k < n; k++) {
            if (node[k]->view_src == old) node[k]->view_src = new;
            for (int s = 0; s < GGML_MAX_SRC; s++) {
                if (node[k]->src[s] == old) node[k]->src[s] = new;
            }
        }
    }
}
