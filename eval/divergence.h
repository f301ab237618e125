/* divergence: how far policies' predictions are from the full cache's, over the full cache's own answer. */
#ifndef JUDGEQ_EVAL_DIVERGENCE_H
#define JUDGEQ_EVAL_DIVERGENCE_H

#include "judgeq.h"

typedef struct divergence {
    double kl;         /* KL(full || policy) of the next token, mean over the answer, nats */
    double perplexity; /* of the answer */
} divergence;

/* Rewinds all sessions to the prompt's end and lets them read token[n_token], the full cache's answer; session[0] is
 * the full cache's. Over the second token and those after it: the first follows from the prompt alone, where all
 * agree. NaN for an answer of fewer than two tokens. out [n_session]. progress may stop it, as in answers. */
judgeq_status divergence_measure(const judgeq_model *model, judgeq_session *const *session, size_t n_session,
                                 const int32_t *token, size_t n_token, judgeq_progress progress, void *progress_data,
                                 divergence *out, judgeq_error *error);

#endif
