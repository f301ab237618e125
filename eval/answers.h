/* answers: several sessions that have read one prompt answer it, greedily and in step: one token each, then the next.
 */
#ifndef JUDGEQ_EVAL_ANSWERS_H
#define JUDGEQ_EVAL_ANSWERS_H

#include "app/generation.h"
#include "base/text.h"
#include "reading.h"

typedef struct answer {
    judgeq_session *session;
    int32_t *token; /* [n_token], of all turns, without what ended them */
    size_t n_token;
    size_t n_first;              /* tokens of the first turn's answer */
    generation generation;       /* of the turn at hand, where its model is set */
    text_buffer scored;          /* what counts of the turns before */
    size_t turn;                 /* 0: the prompt's answer */
    int32_t unread;              /* read before the next answer: the end of the last one, or -1, */
    const reading_tokens *queue; /* and then these */
    size_t n_read;               /* tokens of the queue that were */
    bool done;
} answer;

/* What all of them share. */
typedef struct answers {
    const judgeq_model *model;
    const sample *sample;
    const reading *reading;
    int32_t n_tokens; /* of each turn's answer, at most */
    bool reads_on;    /* later turns are read, so that the policies choose again; otherwise they are decoded */
    judgeq_progress progress;
    void *progress_data;
    judgeq_sampler *sampler; /* answers_decode's */
    answer *answer;          /* [n_answer] */
    size_t n_answer;
} answers;

/* Decodes until every answer is done. answer[i].session is set, the rest zero. */
judgeq_status answers_decode(answers *a, judgeq_error *error);

/* What is scored: the last turn's answer or all of them, line by line, as the sample says, [*n], terminated. The
 * caller's: free(). NULL without memory. */
char *answer_scored(const answer *own, size_t *n);
void answer_free(answer *own);

#endif
