/* bound: the fixed amount of KV cache while a session decodes. Every token adds a row to each head; after `slack` of
 * them the policy chooses again among all rows. What it scores by then: soft tokens, which are read again, though not
 * for every second choice (second.h); the queries of the last tokens, for policies that probe from a window; the
 * attention summed so far, for those that probe by every row (H2O); lookaheads as after a read. What earlier choices
 * gave the rows counts for policies that remember. */
#ifndef JUDGEQ_SRC_BOUND_H
#define JUDGEQ_SRC_BOUND_H

#include "engine/block.h"
#include "state.h"

/* What a session needs for it; once its policies are known. */
judgeq_status bound_init(judgeq_session *session, judgeq_error *error);
void bound_free(judgeq_session *session);
/* The same of another session, whose other fields are already there. */
judgeq_status bound_copy(const judgeq_session *from, judgeq_session *to, judgeq_error *error);

/* Lets the policy choose again where another row would pass the bound. The session is what it was after an error. */
judgeq_status bound_hold(judgeq_session *session, judgeq_error *error);

/* Of a session that is unbounded: before n more tokens, and what is computed beside them, pass the context, the rows
 * held get positions from 0 on. After an error the session can only be freed. */
judgeq_status bound_make_room(judgeq_session *session, int32_t n, judgeq_error *error);
/* The most tokens that such a session reads at once; and any such session. */
int32_t bound_piece(const judgeq_session *session);
int32_t bound_piece_most(void);
/* Whether it can go on: there is room in the context for the slack that is left, and a piece. */
bool bound_fits(const judgeq_session *session);
/* Fails where an unbounded session's context has no room for its budget, slack and a piece. */
judgeq_status bound_check(const judgeq_session *session, judgeq_error *error);

/* Gives back the memory that the next token makes again. */
void bound_trim(judgeq_session *session);

/* Before a token is decoded: room for what bound_note adds. */
judgeq_status bound_reserve(judgeq_session *session, judgeq_error *error);
/* What a token decoded alone must return for bound_note. */
bool bound_wants_query(const judgeq_session *session);
bool bound_wants_attention(const judgeq_session *session);
/* Stores the queries of the token just decoded: row `row` of query[n_layer]. */
void bound_note_queries(judgeq_session *session, struct ggml_tensor *const *query, size_t row);
/* Adds its attention, where attend.h has not; by_run [n_layer, n_head_kv]. */
judgeq_status bound_note_attention(judgeq_session *session, struct ggml_tensor *const *by_run, judgeq_error *error);
/* Counts it. */
void bound_count(judgeq_session *session);

/* Heads of `sum` for each KV head: its query heads, or one where scores are remembered. */
int32_t bound_sum_group(const judgeq_policy *policy, int32_t group);

/* Forgets what was added for tokens that are no longer there. */
void bound_rewind(judgeq_session *session);

/* What a file of the session holds of it, and puts back. The latest queries: how many are stored, and those of a layer,
 * [n, n_head, head_dim], by position; `from` is ring_from. */
int32_t bound_n_queries(const judgeq_session *session);
void bound_get_queries(const judgeq_session *session, int32_t layer, float *out);
judgeq_status bound_set_queries(judgeq_session *session, int32_t from, const float *query, int32_t n,
                                judgeq_error *error);
/* What `sum` says of a layer, one head after the other, each [rows of its KV head]; n_probe tokens are in it. */
void bound_get_sum(const judgeq_session *session, int32_t layer, float *out);
judgeq_status bound_set_sum(judgeq_session *session, int32_t layer, const float *from, int64_t n_probe,
                            judgeq_error *error);

/* Adds to the map of a policy with a window, for a layer whose rows end with those of the last tokens: the attention of
 * these tokens' queries. */
judgeq_status bound_score(judgeq_session *session, int32_t index, const cache_layer *cache, int32_t window,
                          score_map *map, judgeq_error *error);

#endif
