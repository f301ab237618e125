/* needle: facts to hide, questions about them, and documents that hide them. */
#ifndef JUDGEQ_EVAL_NEEDLE_H
#define JUDGEQ_EVAL_NEEDLE_H

#include "haystack.h"

enum { NEEDLE_TEXT = 256, NEEDLES_MOST = 16 };

/* A sentence, a question that it answers, and the answer. Two facts of the same kind have the same form. */
typedef struct needle_fact {
    char sentence[NEEDLE_TEXT], question[NEEDLE_TEXT], key[NEEDLE_TEXT], value[NEEDLE_TEXT];
} needle_fact;

typedef enum needle_kind {
    NEEDLE_HULL,                /* 7 digits of a barge */
    NEEDLE_INGREDIENT,          /* a word */
    NEEDLE_INN,                 /* two words */
    NEEDLE_PRICE,               /* 5 digits */
    NEEDLE_KINDS,               /* that go with a sample's index; the others are only drawn by name */
    NEEDLE_SEAL = NEEDLE_KINDS, /* a UUID */
    NEEDLE_EVENT,               /* a month and a year */
    NEEDLE_LOCKER,              /* 5 digits of a key */
    NEEDLE_HOME,                /* a city */
    NEEDLE_SPECIMEN,            /* 16 hexadecimal digits in three groups */
} needle_kind;

/* n facts of one kind with different keys and values, out [n]. n: at most 16. */
void needle_draw(chance *d, needle_kind kind, size_t n, needle_fact *out);

/* Sentences to hide, at depths 0 (beginning) to 1 (end). */
typedef struct needle_place {
    double depth;
    const char *sentence;
} needle_place;

/* n_unit sentences of the haystack with place[0..n) between them. Sorts `place`. */
void needle_document(haystack h, int32_t n_unit, needle_place *place, size_t n, text_buffer *out);

/* n digits, the first not 0, into out [n + 1]. */
void needle_digits(chance *d, int n, char *out);

#endif
