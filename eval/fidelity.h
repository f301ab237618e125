/* fidelity: how much of what the full cache's response attends to a policy has kept. */
#ifndef JUDGEQ_EVAL_FIDELITY_H
#define JUDGEQ_EVAL_FIDELITY_H

#include "judgeq.h"

/* The response's attention per KV head, the mean over the query heads that share it, and its order. */
typedef struct fidelity_target {
    int32_t n_layer, n_head_kv;
    int32_t n_prompt;
    float *mass;   /* [n_layer, n_head_kv, n_prompt] */
    int32_t *rank; /* the same shape: 0 for the row with most attention; of equal rows the earlier one comes first */
} fidelity_target;

/* full: a watched session. mass stays NULL where its response was empty. */
judgeq_status fidelity_target_make(const judgeq_model *model, const judgeq_session *full, int32_t n_prompt,
                                   fidelity_target *out, judgeq_error *error);
void fidelity_target_free(fidelity_target *target);

/* Critical KV hit rate (Judge Q, section 4) and attention mass kept of every layer and KV head, each
 * [n_layer, n_head_kv]: of the `budget` rows that the response attends to most, the share that the session holds; and
 * the share of the response's attention to the prompt that falls on rows held. A head that gets no attention counts as
 * kept.
 */
void fidelity_measure(const fidelity_target *target, const judgeq_session *session, int32_t budget, double *hit_rate,
                      double *mass_kept);

#endif
