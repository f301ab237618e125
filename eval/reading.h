/* reading: a sample as the tokens that a model reads. */
#ifndef JUDGEQ_EVAL_READING_H
#define JUDGEQ_EVAL_READING_H

#include "sample.h"

typedef enum reading_format {
    READING_AUTO, /* in the chat template, where the sample allows it */
    READING_CHAT, /* in the chat template, even where the sample should not */
    READING_RAW   /* as it is */
} reading_format;

enum { READING_TURNS_MOST = 8 };

typedef struct reading_style {
    reading_format format;
    bool control;  /* as it is: control tokens that are written out are control tokens */
    bool no_think; /* the template is told that the model answers without thinking first */
} reading_style;

typedef struct reading_tokens {
    int32_t *token; /* [n_token] */
    size_t n_token;
} reading_tokens;

typedef struct reading {
    reading_tokens prompt;
    reading_tokens turn[READING_TURNS_MOST]; /* [n_turn]: what is read after each answer */
    size_t n_turn;
    reading_tokens continuation; /* what a text goes on with after the prompt */
    /* Of samples whose questions are not known when rows are dropped: read on after the prompt, one after the other; */
    reading_tokens part[READING_TURNS_MOST]; /* [n_part] */
    size_t n_part;
    reading_tokens question[READING_TURNS_MOST]; /* [n_question]: and each after all of these */
    size_t n_question;
} reading;

judgeq_status reading_make(const judgeq_model *model, const reading_style *style, const sample *sample, reading *out,
                           judgeq_error *error);
void reading_free(reading *reading);

/* Tokens of what is read before any question: the prompt and its parts. */
size_t reading_context(const reading *reading);
/* Tokens of all that is read before the first answer: the context, and the longest of the questions after it. */
size_t reading_first(const reading *reading);
/* Tokens after these, at most: of every turn and of its answer. */
size_t reading_later(const reading *reading, int32_t n_answer);
/* Fails with LIMIT, beginning with `name`, where prompt and answers may be longer than what the model was trained for.
 */
judgeq_status reading_check(const judgeq_model *model, const reading *reading, int32_t n_answer, const char *name,
                            judgeq_error *error);

/* Tokens of reading_first, which here is without turns; below 0 on failure. */
int64_t reading_count(const judgeq_model *model, const reading_style *style, const sample *sample, judgeq_error *error);

#endif
