/* outcome: what a session answered to a sample, its score, and what that took. */
#ifndef JUDGEQ_EVAL_OUTCOME_H
#define JUDGEQ_EVAL_OUTCOME_H

#include "answers.h"

typedef struct outcome {
    text_buffer said; /* what was scored, line by line where there are several answers */
    json_t *scores;   /* of each answer, where they are scored */
    size_t n_answer;
    size_t n_token;
    size_t bytes_held; /* sum over the answers of the bytes at their end */
    size_t bytes_peak, bytes_full;
    double decode_s;
    int64_t n_decoded;
    judgeq_stats before; /* of the answer to come; zero: it is the session's first */
} outcome;

/* Notes what the session has done before an answer that is not its first. */
void outcome_begin(outcome *o, const judgeq_session *session);
/* Adds an answer of this session's. */
judgeq_status outcome_add(outcome *o, const sample *sample, const json_t *references, const answer *answer,
                          judgeq_error *error);
/* Adds n tokens that the session has read in the place of an answer: nothing is scored. */
void outcome_note(outcome *o, const judgeq_session *session, size_t n_token);
/* The mean over the answers; NaN where nothing is scored. */
double outcome_score(const outcome *o);
void outcome_free(outcome *o);

#endif
