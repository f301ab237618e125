/* rescore: queries -> scores -> cut, of a cache as it is: from the attention that a layer's rows receive to the rows
 * that stay. What is scored are the rows of positions before n_prompt. */
#ifndef JUDGEQ_SRC_RESCORE_H
#define JUDGEQ_SRC_RESCORE_H

#include "state.h"

/* Rows of one KV head that are scored. */
int64_t rescore_rows(const judgeq_session *session, const cache_layer *cache, int32_t head);

/* Adds the attention of queries [n, n_head, head_dim], rotated (RoPE), to the rows of `cache`, of layer `index`, to a
 * map. causal: they are the queries of the last n rows; otherwise, of tokens after all of them. */
judgeq_status rescore_queries(judgeq_session *session, int32_t index, const cache_layer *cache, const float *query,
                              int32_t n, bool causal, score_map *map, judgeq_error *error);

/* Adds the attention of one token, as its block returned it for each run of heads (by_run [n_head_kv]), to as many rows
 * as the map has. */
judgeq_status rescore_add(const cache_layer *cache, struct ggml_tensor *const *by_run, score_map *map,
                          judgeq_error *error);

/* The scores of the rows of `cache`, of layer `index`, as a map with one head for each KV head: the attention in `map`,
 * reduced over heads and smoothed; of a policy that remembers, no less than what the session remembers. map NULL: there
 * are none, and *score is all zero. */
judgeq_status rescore_score(judgeq_session *session, const judgeq_policy *policy, const score_map *map,
                            const cache_layer *cache, int32_t index, score_map *score, judgeq_error *error);

/* The rows of `cache`, among those that are scored, that a policy keeps under `budget`. second, unless NULL: those of
 * them, as indices into them, that it keeps of these under the smaller budget `later`; for policies with scores. score:
 * as rescore_score makes it. */
judgeq_status rescore_select(judgeq_session *session, const judgeq_policy *policy, const score_map *score,
                             const cache_layer *cache, int32_t index, int32_t budget, select_kept *kept, int32_t later,
                             select_kept *second, judgeq_error *error);

/* What a map says of the rows that are kept: value[h][i] = from[h][kept row i of h's KV head]; 0 for rows that it has
 * not. */
judgeq_status rescore_take(const score_map *from, const select_kept *kept, score_map *out, judgeq_error *error);

/* The same of scores that are remembered: as shares of the best in their head. */
judgeq_status rescore_remember(const score_map *score, const select_kept *kept, score_map *out, judgeq_error *error);

/* out = the rows of `from`, a cache of layer `index`, that are kept (NULL: all), as `type`, with room to decode. Rows
 * that the session held before, in that type, keep their bytes. */
judgeq_status rescore_gather(judgeq_session *session, int32_t index, const cache_layer *from, const select_kept *kept,
                             enum ggml_type type, cache_layer *out, judgeq_error *error);

/* Adds the rows that are not scored (of tokens decoded since) to a choice among those that are. */
judgeq_status rescore_keep_decoded(const judgeq_session *session, const cache_layer *layer, select_kept *kept,
                                   judgeq_error *error);

/* Cuts the session's layer down to what its policy keeps, by the attention in `map`, as the session's KV type. Rows
 * that are not scored stay. */
judgeq_status rescore_cut(judgeq_session *session, int32_t index, const score_map *map, judgeq_error *error);

#endif
