#include "flash.h"

#include <math.h>
#include <string.h>

#include "own_scale.h"
#include "parts.h"
#include "product_kernel.h"
#include "product_pairs.h"
#include "rows.h"
#include "softmax.h"

/* A tile is ROWS queries by KEYS keys. BLOCK_ROWS queries of a head and BLOCK_HEADS heads of a group share the unpacked
 * keys and values, and their outputs stay in the CPU's second cache while all keys pass. */
enum { ROWS = 8, KEYS = 128, BLOCK_ROWS = 256, BLOCK_HEADS = 4, HEAD_DIM_MOST = 256 };

typedef struct tensors {
    const product_kernel *kernel;
    struct ggml_tensor *out;
    const struct ggml_tensor *query, *keys, *values;
    int64_t head_dim, n, seen; /* seen: keys that the first query sees */
    float scale;
    bool pairs; /* products of BF16, with sums in F32 */
} tensors;

/* Queries [first, end) of heads [first_head, end_head) of one KV head, and what they have seen so far. */
typedef struct block {
    int64_t head_kv, first_head, end_head, first, end;
    float most[BLOCK_HEADS * BLOCK_ROWS], sum[BLOCK_HEADS * BLOCK_ROWS]; /* of each row's scores; of their powers */
} block;

/* Keys [first, first + n), padded with zeros: F32, or pairs of neighbours in the direction that is summed over. */
typedef struct tile_keys {
    int64_t first, n;
    float key[HEAD_DIM_MOST * KEYS];   /* [head_dim, KEYS], or pairs [head_dim / 2, KEYS] */
    float value[KEYS * HEAD_DIM_MOST]; /* [KEYS, head_dim], or pairs [KEYS / 2, head_dim] */
} tile_keys;

/* Of what is F32: queries and outputs. */
static float *floats_of(const struct ggml_tensor *tensor, int64_t head, int64_t row) {
    return (float *)(void *)row_of(tensor, head, row);
}

/* ---- one tile ---------------------------------------------------------------------------------------------------- */

/* out [n_column, n_row] = the transpose of rows [first, first + n_row) of a head, from column `column` on; or
 * [n_column / 2, n_row], pairs of columns. */
static void read_transposed(const tensors *t, const struct ggml_tensor *from, int64_t head, int64_t first,
                            int64_t n_row, int64_t column, int64_t n_column, float *out, int64_t out_row) {
    float rows[KEYS * KEYS];
    bf16_pair pairs[KEYS * KEYS / 2];
    rows_read(from, head, first, n_row, column, n_column, rows, KEYS);
    if (!t->pairs) {
        t->kernel->transpose(out, out_row, rows, KEYS, n_row, n_column);
        return;
    }
    for (int64_t i = 0; i < n_row; i++) product_pairs_round(rows + i * KEYS, pairs + i * (KEYS / 2), n_column);
    t->kernel->transpose(out, out_row, (const float *)(const void *)pairs, KEYS / 2, n_row, (n_column + 1) / 2);
}

static void read_keys(const tensors *t, int64_t head_kv, tile_keys *tile) {
    if (tile->n < KEYS) {
        memset(tile->key, 0, (size_t)(t->head_dim * KEYS) * sizeof *tile->key);
        memset(tile->value, 0, (size_t)(t->head_dim * KEYS) * sizeof *tile->value);
    }
    const int64_t step = t->pairs ? 2 : 1;
    for (int64_t d = 0; d < t->head_dim; d += KEYS) {
        const int64_t n = least(t->head_dim - d, KEYS);
        read_transposed(t, t->keys, head_kv, tile->first, tile->n, d, n, tile->key + d / step * KEYS, KEYS);
        read_transposed(t, t->values, head_kv, d, n, tile->first, tile->n, tile->value + d, t->head_dim);
    }
}

/* out [n, width] += rows [n, inner] . matrix [inner, width], a part of a tile; the rows are rounded where that is. */
static void multiply(const tensors *t, float *out, int64_t out_row, const float *rows, int64_t row, const float *matrix,
                     int64_t width, int64_t n, int64_t inner) {
    bf16_pair pairs[ROWS * HEAD_DIM_MOST / 2];
    for (int64_t i = 0; t->pairs && i < n; i++) product_pairs_round(rows + i * row, pairs + i * inner / 2, inner);
    for (int64_t c = 0; c < width; c += KERNEL_COLUMNS) {
        if (t->pairs) {
            product_pairs_multiply(out + c, out_row, pairs, inner / 2, (const bf16_pair *)(const void *)matrix + c,
                                   width, n, inner / 2);
        } else {
            t->kernel->multiply(out + c, out_row, rows, row, matrix + c, width, n, inner);
        }
    }
}

/* Scores become powers; what the rows have gathered so far shrinks to the scale of the largest score seen by now. */
static void soften(const tensors *t, const tile_keys *tile, int64_t first, int64_t n, float *score, float *out,
                   int64_t out_row, float *most, float *sum) {
    for (int64_t i = 0; i < n; i++) {
        const int64_t visible = least(t->seen + first + i - tile->first, tile->n);
        float *row = score + i * KEYS;
        if (visible > 0) {
            const float factor = softmax_part(row, visible, t->scale, &most[i], &sum[i]);
            for (int64_t d = 0; factor != 1 && d < t->head_dim; d++) out[i * out_row + d] *= factor;
        }
        for (int64_t k = visible > 0 ? visible : 0; k < KEYS; k++) row[k] = 0;
    }
}

/* Queries [first, first + n) of a head with the tile's keys. */
static void attend_tile(const tensors *t, const tile_keys *tile, int64_t head, int64_t first, int64_t n, float *most,
                        float *sum) {
    const int64_t query_row = (int64_t)(t->query->nb[1] / sizeof(float)),
                  out_row = (int64_t)(t->out->nb[1] / sizeof(float));
    float score[ROWS * KEYS] = {0}, *out = floats_of(t->out, head, first);
    multiply(t, score, KEYS, floats_of(t->query, head, first), query_row, tile->key, KEYS, n, t->head_dim);
    soften(t, tile, first, n, score, out, out_row, most, sum);
    multiply(t, out, out_row, score, KEYS, tile->value, t->head_dim, n, KEYS);
}

/* ---- one block --------------------------------------------------------------------------------------------------- */

static int64_t row_in_block(const block *b, int64_t head, int64_t query) {
    return (head - b->first_head) * BLOCK_ROWS + query - b->first;
}

static void begin_block(const tensors *t, block *b) {
    for (int64_t h = b->first_head; h < b->end_head; h++) {
        for (int64_t i = b->first; i < b->end; i++) {
            const int64_t at = row_in_block(b, h, i);
            b->most[at] = -INFINITY;
            b->sum[at] = 0;
            memset(floats_of(t->out, h, i), 0, (size_t)t->head_dim * sizeof(float));
        }
    }
}

static void end_block(const tensors *t, const block *b) {
    for (int64_t h = b->first_head; h < b->end_head; h++) {
        for (int64_t i = b->first; i < b->end; i++) {
            const float share = 1 / b->sum[row_in_block(b, h, i)];
            float *out = floats_of(t->out, h, i);
            for (int64_t d = 0; d < t->head_dim; d++) out[d] *= share;
        }
    }
}

static void attend_block(const tensors *t, block *b, tile_keys *tile) {
    begin_block(t, b);
    const int64_t n_key = t->seen + b->end - 1;
    for (tile->first = 0; tile->first < n_key; tile->first += KEYS) {
        tile->n = least(n_key - tile->first, KEYS);
        read_keys(t, b->head_kv, tile);
        for (int64_t h = b->first_head; h < b->end_head; h++) {
            for (int64_t i = b->first; i < b->end; i += ROWS) {
                const int64_t n = least(b->end - i, ROWS), at = row_in_block(b, h, i);
                if (tile->first >= t->seen + i + n - 1) continue; /* none of them sees any */
                attend_tile(t, tile, h, i, n, b->most + at, b->sum + at);
            }
        }
    }
    end_block(t, b);
}

/* ---- the operation ----------------------------------------------------------------------------------------------- */

/* The first query of part `part` of `n_part` that see as many keys together: query i sees seen + i. Whole tiles. */
static int64_t part_first(const tensors *t, int64_t part, int64_t n_part) {
    const double seen = (double)t->seen, n = (double)t->n,
                 work = (seen * n + n * n / 2) * (double)part / (double)n_part;
    const int64_t first = (int64_t)((sqrt(seen * seen + 2 * work) - seen) / ROWS + 0.5) * ROWS;
    return part == n_part ? t->n : least(first, t->n);
}

static void attend_part(const tensors *t, int64_t head_kv, int64_t first, int64_t end) {
    const int64_t group = t->query->ne[2] / t->keys->ne[2];
    block b = {.head_kv = head_kv};
    tile_keys tile;
    for (int64_t g = 0; g < group; g += BLOCK_HEADS) {
        b.first_head = head_kv * group + g;
        b.end_head = head_kv * group + least(g + BLOCK_HEADS, group);
        for (b.first = first; b.first < end; b.first = b.end) {
            b.end = least(b.first + BLOCK_ROWS, end);
            attend_block(t, &b, &tile);
        }
    }
}

/* Every KV head in as many parts as let all threads work on the same number of them. */
static void compute(struct ggml_tensor *out, int thread, int n_thread, bool rounded) {
    tensors t = {
        .kernel = product_kernel_best(), .out = out, .query = out->src[1], .keys = out->src[2], .values = out->src[3]};
    t.head_dim = t.query->ne[0];
    t.n = t.query->ne[1];
    t.seen = t.keys->ne[1] - t.n + 1;
    t.scale = own_scale(out);
    t.pairs = rounded && t.keys->type == GGML_TYPE_F16 && product_pairs_available();
    const int64_t n_head_kv = t.keys->ne[2], n_part = part_count(1, n_thread, n_head_kv, n_thread);
    for (int64_t task = thread; task < n_head_kv * n_part; task += n_thread) {
        const int64_t part = task % n_part;
        attend_part(&t, task / n_part, part_first(&t, part, n_part), part_first(&t, part + 1, n_part));
    }
}

static void compute_exactly(struct ggml_tensor *out, int thread, int n_thread, void *data) {
    (void)data;
    compute(out, thread, n_thread, false);
}

static void compute_rounded(struct ggml_tensor *out, int thread, int n_thread, void *data) {
    (void)data;
    compute(out, thread, n_thread, true);
}

bool flash_available(enum ggml_type type, int64_t head_dim) {
    return (type == GGML_TYPE_F16 || type == GGML_TYPE_F32) && head_dim % KERNEL_COLUMNS == 0 &&
           head_dim <= HEAD_DIM_MOST;
}

struct ggml_tensor *flash_add(struct ggml_context *context, struct ggml_tensor *out, struct ggml_tensor *query,
                              struct ggml_tensor *keys, struct ggml_tensor *values, float scale, bool rounded) {
    struct ggml_tensor *from[] = {query, keys, values};
    struct ggml_tensor *flash =
        ggml_custom_inplace(context, out, from, 3, rounded ? compute_rounded : compute_exactly, GGML_N_TASKS_MAX, NULL);
    own_scale_set(flash, scale);
    return flash;
}
