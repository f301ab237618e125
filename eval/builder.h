/* builder: a sample of one of our own tasks while it is made, and its parts. */
#ifndef JUDGEQ_EVAL_BUILDER_H
#define JUDGEQ_EVAL_BUILDER_H

#include "needle.h"
#include "task.h"

/* A builder writes messages, what comes after them, and references; the rest comes from the task. */
typedef struct builder {
    const task_request *request;
    int32_t n_unit; /* sentences, or words of a list */
    double depth;
    chance facts; /* the same for every n_unit */
    haystack haystack;
    sample *out;
    bool failed; /* memory ran out */
} builder;

/* Adds a text to one of the sample's arrays, and takes it. */
void builder_take(builder *b, json_t *array, text_buffer *text);
void builder_add(builder *b, json_t *array, const char *words);
void builder_add_message(builder *b, text_buffer *text);
void builder_add_follow_up(builder *b, const char *words);
void builder_add_reference(builder *b, const char *reference);
/* What is asked, for readers of the results; follow-ups are there anyway. */
void builder_set_question(builder *b, const char *words);
/* How the answer begins, as in RULER's templates: a small model that is made to begin does not evade the question. */
void builder_begin_answer(builder *b, const char *words);

/* Places of n sentences: the first at the sample's depth, the others in even steps, around the end to the beginning. */
size_t builder_spread(const builder *b, const needle_fact *fact, size_t n, needle_place *place);
/* A kind of fact that goes with the index, so that a few samples see them all. */
needle_kind builder_kind(const builder *b);

#endif
