/* score: attention rows of the probes -> one importance score per KV head and row, and the measures of a choice.
 * No tensors: plain arrays of floats, so that every backend's attention can be fed in. */
#ifndef JUDGEQ_SRC_SCORE_H
#define JUDGEQ_SRC_SCORE_H

#include "policy.h"

/* Attention reduced over probe rows, query head by query head. Rows may come in pieces and from several probes. */
typedef struct score_map {
    int32_t n_head, n_head_kv;
    int64_t n_row;             /* rows that are scored: the prompt's */
    int64_t n_probe;           /* probe rows counted so far: what the mean divides by */
    policy_reduce reduce_rows; /* over probe rows */
    float *value;              /* [n_head, n_row]: sum or maximum over the probe rows so far */
} score_map;

/* All zero. n_head must be a multiple of n_head_kv. */
judgeq_status score_map_init(score_map *map, int32_t n_head, int32_t n_head_kv, int64_t n_row,
                             policy_reduce reduce_rows, judgeq_error *error);
void score_map_free(score_map *map);
/* Frees n maps and what holds them; NULL is accepted. */
void score_maps_free(score_map *maps, int32_t n);

/* Adds the attention of n_query probe rows, probabilities (>= 0) in [n_head, n_query, stride_query] floats with
 * stride_head floats from one head to the next. Their first n_row columns are the map's rows first_row, first_row + 1,
 * ...; columns after those (a probe's own rows, say) are not read. */
void score_map_add(score_map *map, const float *attention, int32_t n_query, int64_t stride_query, int64_t stride_head,
                   int64_t first_row, int64_t n_row);

/* The columns that a probe's attention is shared out among: [0, before), [first, end), and its own, [own, stop). */
typedef struct score_among {
    int64_t before, first, end, own, stop;
} score_among;

/* score_map_add for a map of maxima, of columns [first, end) only, as if the probes had seen none but those of `among`:
 * each probability is divided by the sum over these. Of columns that a probe does not see, the attention is 0. */
void score_map_add_among(score_map *map, const float *attention, int32_t n_query, int64_t stride_query,
                         int64_t stride_head, score_among among);

/* What a map says of one of its heads' rows, [n_row]. */
float *score_map_head(const score_map *map, int32_t head);

/* Makes room for n_row rows; new ones are 0. */
judgeq_status score_map_reserve(score_map *map, int64_t n_row, judgeq_error *error);

/* The part of a map that belongs to KV heads [first, first + n), for score_map_add; the map's own memory. */
score_map score_map_part(const score_map *map, int32_t first, int32_t n);

/* Counts n probe rows for the mean. Apart from score_map_add, because one probe row may be added in several pieces. */
void score_map_counts(score_map *map, int64_t n);

/* The scores, out [n_head_kv, n_row]: the mean or maximum over probe rows, reduced over the query heads of each KV
 * head. Query head h belongs to KV head h / (n_head / n_head_kv). */
void score_heads(const score_map *map, policy_reduce reduce_heads, float *out);

/* Smooths in[n] along positions into out[n] (which may be `in`): stride 1, window i - width/2 ... i + width/2.
 * At the ends, max takes what is inside; avg divides by `width` all the same, as if zeros stood outside, which is what
 * PyTorch's avg_pool1d does by default and SnapKV's code with it. width: odd, 1..POLICY_SMOOTH_WIDTH_MAX. */
void score_smooth(policy_smooth smooth, int32_t width, const float *in, int64_t n, float *out);

/* Smooths the scores (>= 0) of n rows along their positions, ascending, where rows that are missing count as 0: as
 * score_smooth would smooth a score for every position, but in time and memory for the rows. line: score_line_size
 * floats for rows at positions below n_position. */
void score_smooth_rows(policy_smooth smooth, int32_t width, const int32_t *position, int64_t n, float *score,
                       float *line);
size_t score_line_size(int32_t width, int64_t n, int64_t n_position);

/* Critical KV hit rate of one KV head (Judge Q, section 4): the share of target's `budget` best rows that are also
 * among method's `budget` best; of equal scores the earlier row counts as better. NaN without rows or memory. */
double score_hit_rate(const float *method, const float *target, int64_t n, int32_t budget);

/* Share of target's mass [n] that falls on the rows kept[n_kept]; NaN where target has none. */
double score_mass_kept(const float *target, int64_t n, const int32_t *kept, int64_t n_kept);

#endif
