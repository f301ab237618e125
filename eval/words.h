/* words: lists of words with known counts. */
#ifndef JUDGEQ_EVAL_WORDS_H
#define JUDGEQ_EVAL_WORDS_H

#include "base/text.h"
#include "chance.h"

enum { WORDS_NAMES = 24, WORDS_COMMON = 5, WORDS_FREQUENT = 3, WORDS_CODED = 8 };

/* Names in random order, out [WORDS_NAMES]. */
void words_names(chance *d, const char **out);

/* A numbered list of n words. Half of them are the common ones, in equal parts; every other word comes up at most a
 * fifth as often as a common one. */
void words_common(chance *d, int32_t n, const char *common[WORDS_COMMON], text_buffer *out);

/* n words of an invented language; the word of rank r has a share that falls with 1 / r^2, as in RULER. */
void words_frequent(chance *d, int32_t n, char frequent[WORDS_FREQUENT][WORDS_CODED], text_buffer *out);

#endif
