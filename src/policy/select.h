/* select: scores, policy and budget -> the rows to keep. A layer's rows are ragged: every KV head holds its own. */
#ifndef JUDGEQ_SRC_SELECT_H
#define JUDGEQ_SRC_SELECT_H

#include "policy.h"

/* The rows that one layer holds. The arrays are the caller's. */
typedef struct select_rows {
    int32_t n_head_kv;
    const int64_t *n_row;           /* [n_head_kv] */
    const int32_t *const *position; /* [n_head_kv][n_row], in the sequence, ascending */
    const float *const *score;      /* [n_head_kv][n_row]; NULL where the policy ranks without scores */
    int32_t turn_from, turn_to;     /* positions [from, to) of the latest turn; the same: there is none */
} select_rows;

/* Which of them stay: indices into the held rows (not positions), ascending. */
typedef struct select_kept {
    int32_t n_head_kv;
    int64_t *n_row; /* [n_head_kv] */
    int32_t **row;  /* [n_head_kv][n_row], an allocation per head: may be resized by realloc */
} select_kept;

/* Selects for one layer. `budget`: this layer's rows per KV head; n_position: the sequence's length, from which sink
 * (positions < S) and recent (positions >= n_position - R) count. seed and layer matter to the probe `random` only.
 *   uniform, pyramid: every head keeps min(budget, held) rows: its sink and recent rows, then its best.
 *   ada: the layer keeps n_head_kv * budget rows together: sink and recent, then each head's best until it has
 *        ceil(floor * budget), then the best of all heads (Ada-KV, section 3). A head may keep more than `budget`.
 * keep=turn:P%: after sink and recent rows, every head keeps its best rows of the turn until P % of its layer's budget
 * are rows of the turn. The others come from all that are left.
 * Sink and recent rows are cut to the budget (policy_keep_rows); a budget of no row is refused.
 * Of equal scores the earlier position wins, then the lower head. Without scores the latest positions are the best.
 * out: all zero on failure; otherwise select_kept_free. */
judgeq_status select_kept_rows(const judgeq_policy *policy, const select_rows *rows, int32_t budget, int32_t n_position,
                               uint64_t seed, int32_t layer, select_kept *out, judgeq_error *error);
/* Without rows: NULL of each head. */
judgeq_status select_kept_new(int32_t n_head_kv, select_kept *out, judgeq_error *error);
judgeq_status select_kept_copy(const select_kept *from, select_kept *out, judgeq_error *error);
/* Accepts a zeroed struct. */
void select_kept_free(select_kept *kept);

/* Rows per KV head for every layer, out [n_layer]. uniform, ada: `budget` each. judge: each layer gets ada's floor of
 * `budget`, and layers share out the rest as `share` says [n_layer], whose mean is 1 (NULL: evenly); one row at least,
 * n_layer * budget in all, but no more than n_prompt each. pyramid: decreasing in equal steps from
 * the first layer to the last, n_layer * budget in all (or n_prompt each, if that is less), never above n_prompt. */
void select_layer_budgets(const judgeq_policy *policy, const float *share, int32_t n_layer, int32_t budget,
                          int64_t n_prompt, int32_t *out);

#endif
