/* sample: one question to a model: what it reads, what it should answer, and how the answer is scored. */
#ifndef JUDGEQ_EVAL_SAMPLE_H
#define JUDGEQ_EVAL_SAMPLE_H

#include <jansson.h>

#include "judgeq.h"
#include "metric.h"

typedef enum sample_family { SAMPLE_OWN, SAMPLE_GRID, SAMPLE_RULER, SAMPLE_LONGBENCH } sample_family;

typedef struct sample {
    char *key;  /* unique within a run */
    char *task; /* the task's name */
    sample_family family;
    const metric *metric;
    int32_t length;           /* tokens asked for; 0: the file decides */
    const char *length_group; /* "0-4k", "4-8k", "8k+": scored apart, as LongBench-E is; or NULL */
    double depth;             /* of the needle, 0..1; NaN: there is no single place */
    uint64_t seed;
    int32_t index;

    json_t *messages;   /* array of texts: user and assistant in turns, the user's last; what is prefilled */
    json_t *follow_ups; /* array of texts: what the user says after each answer; not known at prefill */
    /* Where what is asked is not known when rows are dropped, or else NULL. The one message is then a document, not yet
     * ended, and `parts` are documents that are read on. Or it is a turn, the follow-ups are the turns after it, and
     * `given` are the answers before each of these; the last turn asks. */
    json_t *parts, *given; /* arrays of texts */
    json_t *asked;         /* array of {"words": what is read, "question": of them, what is asked, "references"}: asked
                              one after the other, each after all that comes before, and without the others */
    char *answer_prefix;   /* what the answer begins with, or NULL; the model reads it, and it is not scored */
    bool prefix_follows;   /* the prefix comes right after the prompt, as the file has both */
    char *question;        /* what is asked, for readers of the results; NULL: the prompt's end says it */
    bool continues;        /* the text goes on: after its first `length` tokens, n_tokens are predicted */
    bool chat;             /* false: never in a chat template */
    bool whole;            /* it is a prompt in a template already, whose control tokens are written out in it */
    bool first_line;       /* only the answer's first line counts, without the line ends before it */
    bool last_answer;      /* only the last answer counts; false: all of them, line by line */
    json_t *references;    /* array of texts */
    json_t *classes;       /* array of all classes, for classification; or NULL */
    int32_t n_tokens;      /* of each answer, at most */
    int32_t cut_to;        /* longer prompts lose their middle, before any template (LongBench); 0: they do not */
} sample;

void sample_free(sample *sample);

/* "own", "grid", "ruler", "longbench" */
const char *sample_family_name(sample_family family);

#endif
