/* haystack: sentences to hide things in: a few dull ones over and over (noise), generated prose of our own, or the
 * sentences of the user's own files. */
#ifndef JUDGEQ_EVAL_HAYSTACK_H
#define JUDGEQ_EVAL_HAYSTACK_H

#include "base/text.h"
#include "chance.h"
#include "judgeq.h"

/* Sentences of files; all zero: there are none, and generated prose takes their place. */
typedef struct haystack_source {
    char **sentence; /* [n_sentence] */
    size_t n_sentence, capacity;
    uint64_t hash; /* of them all */
} haystack_source;

/* Reads a text file, or a folder's .txt and .md files in the order of their names, with its folders' files. */
judgeq_status haystack_source_read(const char *path, haystack_source *out, judgeq_error *error);
void haystack_source_free(haystack_source *source);

typedef struct haystack {
    const haystack_source *source; /* NULL: generated */
    bool noise;
    chance draw;
    chance breaks;   /* apart, so that what is hidden between sentences does not change them */
    size_t next;     /* sentence of the source or of the noise */
    int until_break; /* sentences left in this paragraph */
    bool started;
    const char *last; /* template used last, not to repeat it */
} haystack;

/* Where it starts, and what is generated, follows from the draw. */
haystack haystack_from(const haystack_source *source, bool noise, chance d);
/* Adds one sentence, and what separates it from the text before it. */
void haystack_add(haystack *h, text_buffer *out);
/* The same for a sentence of the caller's. */
void haystack_hide(haystack *h, text_buffer *out, const char *sentence);

#endif
