#include "divergence.h"

#include <math.h>
#include <stdlib.h>

#include "base/error.h"

/* log of the sum of exponentials */
static double log_sum(const float *logits, int32_t n) {
    float most = logits[0];
    double sum = 0;
    for (int32_t i = 1; i < n; i++) most = logits[i] > most ? logits[i] : most;
    for (int32_t i = 0; i < n; i++) sum += exp((double)logits[i] - (double)most);
    return (double)most + log(sum);
}

/* Adds one position: what session `own` expects there, against the full cache's probabilities p[n]. */
static void add_position(divergence *out, const float *own, const float *full, const double *p, double full_sum,
                         int32_t n, int32_t next) {
    const double own_sum = log_sum(own, n);
    for (int32_t i = 0; i < n; i++) out->kl += p[i] * ((double)full[i] - full_sum - (double)own[i] + own_sum);
    out->perplexity += own_sum - (double)own[next];
}

static judgeq_status rewind_all(judgeq_session *const *session, size_t n, judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    for (size_t i = 0; status == JUDGEQ_OK && i < n; i++) status = judgeq_session_rewind(session[i], 0, error);
    return status;
}

/* token[at] was read by all: the next one is predicted. */
static void add_step(judgeq_session *const *session, size_t n_session, int32_t n_vocab, int32_t next, double *p,
                     divergence *out) {
    const float *full = judgeq_session_logits(session[0]);
    const double full_sum = log_sum(full, n_vocab);
    for (int32_t i = 0; i < n_vocab; i++) p[i] = exp((double)full[i] - full_sum);
    for (size_t s = 0; s < n_session; s++) {
        add_position(&out[s], judgeq_session_logits(session[s]), full, p, full_sum, n_vocab, next);
    }
}

judgeq_status divergence_measure(const judgeq_model *model, judgeq_session *const *session, size_t n_session,
                                 const int32_t *token, size_t n_token, judgeq_progress progress, void *progress_data,
                                 divergence *out, judgeq_error *error) {
    const int32_t n_vocab = judgeq_model_get_info(model)->n_vocab;
    for (size_t s = 0; s < n_session; s++) out[s] = (divergence){n_token < 2 ? NAN : 0, n_token < 2 ? NAN : 0};
    if (n_token < 2) return JUDGEQ_OK;
    int32_t *same = malloc((n_session + 1) * sizeof *same);
    double *p = malloc((size_t)n_vocab * sizeof *p);
    judgeq_status status = same && p ? rewind_all(session, n_session, error) : error_memory(error, "distributions");
    for (size_t at = 0; status == JUDGEQ_OK && at + 1 < n_token; at++) {
        for (size_t s = 0; s < n_session; s++) same[s] = token[at];
        status = judgeq_session_decode_all(session, same, n_session, error);
        if (status == JUDGEQ_OK && progress && !progress(progress_data, 1, 1)) {
            status = error_set(error, JUDGEQ_ERROR_CANCELLED, "interrupted");
        }
        if (status == JUDGEQ_OK) add_step(session, n_session, n_vocab, token[at + 1], p, out);
    }
    for (size_t s = 0; s < n_session; s++) {
        out[s].kl /= (double)(n_token - 1);
        out[s].perplexity = exp(out[s].perplexity / (double)(n_token - 1));
    }
    free(same);
    free(p);
    return status;
}
