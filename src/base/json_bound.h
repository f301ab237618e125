/* json_bound: JSON of others, bounded before anything reads it that recurses over it or keeps several copies of it. */
#ifndef JUDGEQ_SRC_JSON_BOUND_H
#define JUDGEQ_SRC_JSON_BOUND_H

#include <stddef.h>

#include "judgeq.h"

enum { JSON_BOUND_BYTES = 64 << 20, JSON_BOUND_DEPTH = 100 };

typedef struct json_extent {
    size_t depth, n_values;
} json_extent;

/* How deep brackets are nested, and more values than there are: what is wrong with them is the parser's to say. */
json_extent json_bound_measure(const char *text, size_t length);

/* ARGUMENT where text[length] is longer, is nested more deeply, or is no JSON; `what` begins the message. */
judgeq_status json_bound_check(const char *text, size_t length, const char *what, judgeq_error *error);

#endif
