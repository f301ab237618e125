#include "score.h"

#include "base/error.h"
#include "rank.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Columns reduced at a time, over all probe rows: this piece of the map stays in the first-level cache (16 KiB). */
enum { SCORE_BLOCK = 4096 };

/* A map that must grow gets so much more room. */
enum { GROW_SHARE = 4 };

judgeq_status score_map_init(score_map *map, int32_t n_head, int32_t n_head_kv, int64_t n_row,
                             policy_reduce reduce_rows, judgeq_error *error) {
    memset(map, 0, sizeof *map);
    if (n_head <= 0 || n_head_kv <= 0 || n_head % n_head_kv || n_row <= 0) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT,
                         "scores of %lld rows for %d query heads and %d KV heads: needs at least one row, and as many "
                         "query heads as KV heads or a multiple",
                         (long long)n_row, n_head, n_head_kv);
    }
    float *value =
        (uint64_t)n_row > SIZE_MAX / sizeof(float) ? NULL : calloc((size_t)n_head, sizeof(float) * (size_t)n_row);
    if (!value) return error_memory(error, "the scores of the prompt's rows");
    *map = (score_map){n_head, n_head_kv, n_row, 0, reduce_rows, value};
    return JUDGEQ_OK;
}

void score_map_free(score_map *map) {
    free(map->value);
    memset(map, 0, sizeof *map);
}

void score_maps_free(score_map *maps, int32_t n) {
    for (int32_t i = 0; maps && i < n; i++) score_map_free(&maps[i]);
    free(maps);
}

float *score_map_head(const score_map *map, int32_t head) {
    return map->value + (size_t)head * (size_t)map->n_row;
}

/* The two hot loops: for the probe `all` they read n_head * n_row^2 / 2 floats per layer. Written so that the compiler
 * makes them vector code at -O3 (gcc) or -O2 (clang). */
static void block_add(float *restrict to, const float *restrict from, int64_t n) {
    for (int64_t i = 0; i < n; i++) to[i] += from[i];
}

static void block_max(float *restrict to, const float *restrict from, int64_t n) {
    for (int64_t i = 0; i < n; i++) to[i] = from[i] > to[i] ? from[i] : to[i];
}

void score_map_add(score_map *map, const float *attention, int32_t n_query, int64_t stride_query, int64_t stride_head,
                   int64_t first_row, int64_t n_row) {
    for (int32_t head = 0; head < map->n_head; head++) {
        float *row = map->value + head * map->n_row + first_row;
        for (int64_t start = 0; start < n_row; start += SCORE_BLOCK) {
            int64_t n = n_row - start < SCORE_BLOCK ? n_row - start : SCORE_BLOCK;
            const float *from = attention + head * stride_head + start;
            for (int32_t query = 0; query < n_query; query++, from += stride_query) {
                if (map->reduce_rows == POLICY_MAX)
                    block_max(row + start, from, n);
                else
                    block_add(row + start, from, n);
            }
        }
    }
}

/* Sums side by side, so that the compiler makes them vector code. */
enum { LANES = 8 };

static float sum_of(const float *x, int64_t n) {
    float lane[LANES] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int k = 0; k < LANES; k++) lane[k] += x[i + k];
    }
    for (; i < n; i++) sum += x[i];
    for (int k = 0; k < LANES; k++) sum += lane[k];
    return sum;
}

static void block_max_scaled(float *restrict to, const float *restrict from, int64_t n, float scale) {
    for (int64_t i = 0; i < n; i++) to[i] = from[i] * scale > to[i] ? from[i] * scale : to[i];
}

void score_map_add_among(score_map *map, const float *attention, int32_t n_query, int64_t stride_query,
                         int64_t stride_head, score_among among) {
    const bool everything = among.before == among.first && among.end == among.own; /* the sum is 1 */
    const int64_t n = among.end - among.first;
    for (int32_t head = 0; head < map->n_head; head++) {
        const float *from = attention + head * stride_head;
        for (int32_t query = 0; query < n_query; query++, from += stride_query) {
            const float sum = everything ? 1
                                         : sum_of(from, among.before) + sum_of(from + among.first, n) +
                                               sum_of(from + among.own, among.stop - among.own);
            /* a probe sees itself; but its own share may be too small for a float */
            const float scale = sum > 0 ? 1 / sum : 0;
            block_max_scaled(map->value + head * map->n_row + among.first, from + among.first, n, scale);
        }
    }
}

judgeq_status score_map_reserve(score_map *map, int64_t n_row, judgeq_error *error) {
    score_map larger;
    if (n_row <= map->n_row) return JUDGEQ_OK;
    judgeq_status status =
        score_map_init(&larger, map->n_head, map->n_head_kv, n_row + n_row / GROW_SHARE, map->reduce_rows, error);
    if (status != JUDGEQ_OK) return status;
    larger.n_probe = map->n_probe;
    for (int32_t h = 0; h < map->n_head; h++) {
        memcpy(score_map_head(&larger, h), score_map_head(map, h), (size_t)map->n_row * sizeof *map->value);
    }
    score_map_free(map);
    *map = larger;
    return JUDGEQ_OK;
}

score_map score_map_part(const score_map *map, int32_t first, int32_t n) {
    const int32_t group = map->n_head / map->n_head_kv;
    score_map part = *map;
    part.n_head = n * group;
    part.n_head_kv = n;
    part.value += (size_t)(first * group) * (size_t)map->n_row;
    return part;
}

void score_map_counts(score_map *map, int64_t n) {
    map->n_probe += n;
}

void score_heads(const score_map *map, policy_reduce reduce_heads, float *out) {
    int32_t group = map->n_head / map->n_head_kv;
    double divisor = reduce_heads == POLICY_MEAN ? group : 1;
    if (map->reduce_rows == POLICY_MEAN && map->n_probe > 0) divisor *= (double)map->n_probe;
    float scale = (float)(1 / divisor);
    for (int32_t head = 0; head < map->n_head_kv; head++) {
        float *to = out + head * map->n_row;
        const float *from = map->value + (int64_t)head * group * map->n_row;
        memcpy(to, from, (size_t)map->n_row * sizeof(float));
        for (int32_t query_head = 1; query_head < group; query_head++) {
            if (reduce_heads == POLICY_MAX)
                block_max(to, from + query_head * map->n_row, map->n_row);
            else
                block_add(to, from + query_head * map->n_row, map->n_row);
        }
        for (int64_t i = 0; i < map->n_row; i++) to[i] *= scale;
    }
}

/* ---- smoothing --------------------------------------------------------------------------------------------------- */

static double join(bool is_max, double a, double b) {
    if (!is_max) return a + b;
    return b > a ? b : a;
}

/* van Herk's and Gil and Werman's algorithm, for any way to join numbers: the positions are cut into blocks of `width`;
 * the window that ends at position j is the end of the block before j's and the start of j's own. So three joins per
 * position, whatever the width, and no difference of sums, which would smear rounding along the row. */
void score_smooth(policy_smooth smooth, int32_t width, const float *in, int64_t n, float *out) {
    if (smooth == POLICY_SMOOTH_NONE || width <= 1) {
        memmove(out, in, (size_t)n * sizeof(float));
        return;
    }
    bool is_max = smooth == POLICY_SMOOTH_MAX;
    double outside = is_max ? -INFINITY : 0, scale = is_max ? 1 : 1.0 / width, start = outside;
    double block[POLICY_SMOOTH_WIDTH_MAX],
        end[POLICY_SMOOTH_WIDTH_MAX + 1]; /* end[k]: the last block's from its k-th on */
    int32_t half = width / 2, k = 0;
    for (int32_t i = 0; i <= width; i++) end[i] = outside;
    for (int64_t j = 0; j < n + half; j++) {
        block[k] = j < n ? in[j] : outside;
        start = join(is_max, start, block[k++]);
        if (j >= half) out[j - half] = (float)(join(is_max, end[k], start) * scale);
        if (k < width) continue;
        for (start = outside; k > 0; k--) end[k - 1] = join(is_max, end[k], block[k - 1]);
    }
}

size_t score_line_size(int32_t width, int64_t n, int64_t n_position) {
    const int64_t most = 2 * (int64_t)width * n;
    return (size_t)(most < n_position ? most : n_position);
}

/* The positions between two rows of the line: whole widths of a wider gap are left out, so that every row stays at the
 * same place of its block, and its sum is added in the same order. */
static int64_t gap_on_line(int64_t gap, int64_t width) {
    return gap < 2 * width ? gap : width + gap % width;
}

void score_smooth_rows(policy_smooth smooth, int32_t width, const int32_t *position, int64_t n, float *score,
                       float *line) {
    int64_t end = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t gap = gap_on_line(i > 0 ? position[i] - position[i - 1] - 1 : position[0], width);
        while (gap-- > 0) line[end++] = 0;
        line[end++] = score[i];
    }
    score_smooth(smooth, width, line, end, line);
    for (int64_t i = n - 1; i >= 0; i--) {
        score[i] = line[--end];
        if (i > 0) end -= gap_on_line(position[i] - position[i - 1] - 1, width);
    }
}

/* ---- measures ---------------------------------------------------------------------------------------------------- */

double score_hit_rate(const float *method, const float *target, int64_t n, int32_t budget) {
    if (n <= 0 || budget <= 0) return NAN;
    uint64_t *key = (uint64_t)n > SIZE_MAX / (2 * sizeof *key) ? NULL : malloc(2 * (size_t)n * sizeof *key);
    if (!key) return NAN;
    for (int64_t i = 0; i < n; i++) {
        key[i] = rank_key(method[i], (int32_t)i);
        key[n + i] = rank_key(target[i], (int32_t)i);
    }
    int64_t taken = rank_take(key, n, budget), hits = 0;
    rank_take(key + n, n, budget);
    for (int64_t i = 0; i < n; i++) hits += key[i] == 0 && key[n + i] == 0;
    free(key);
    return (double)hits / (double)taken;
}

double score_mass_kept(const float *target, int64_t n, const int32_t *kept, int64_t n_kept) {
    double mass = 0, held = 0;
    for (int64_t i = 0; i < n; i++) mass += target[i];
    for (int64_t i = 0; i < n_kept; i++) held += target[kept[i]];
    return mass > 0 ? held / mass : NAN;
}
