/* asking: what comes after the prompt of a sample whose questions are not known when rows are dropped. Its parts are
 * read on; then each question is read and answered from the state that the sessions have then, as by judgeq run
 * --context: a file of every session that evicts brings it back, and those that keep everything are cut. */
#ifndef JUDGEQ_EVAL_ASKING_H
#define JUDGEQ_EVAL_ASKING_H

#include "outcome.h"

typedef struct asking {
    const judgeq_model *model;
    const sample *sample;
    const reading *reading;
    int32_t n_tokens; /* of each answer, at most */
    size_t n_step;    /* sessions that decode in step */
    judgeq_progress progress;
    void *progress_data;
    judgeq_session **session;            /* [n], which have read the prompt; replaced by others where they evict */
    const judgeq_session_params *params; /* [n], of which they were made */
    outcome *outcome;                    /* [n] */
    size_t n;
} asking;

/* Reads the parts. */
judgeq_status asking_read_parts(const asking *a, judgeq_error *error);
/* Asks all questions. The sessions are in the end as before the first. */
judgeq_status asking_run(asking *a, judgeq_error *error);

#endif
