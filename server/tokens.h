/* tokens: arrays of tokens from JSON, and their texts. */
#ifndef JUDGEQ_SERVER_TOKENS_H
#define JUDGEQ_SERVER_TOKENS_H

#include <jansson.h>

#include "judgeq.h"

/* [*n], judgeq_free; NULL where it is no array of tokens of the vocabulary, is empty, or there is no memory. */
int32_t *tokens_of_json(const judgeq_model *model, const json_t *array, size_t *n);
/* The texts of tokens [n], as an array: a token has the characters that it completes, and a control token none. NULL
 * without memory. */
json_t *tokens_pieces(const judgeq_model *model, const int32_t *tokens, size_t n);
/* What is text in tokens [n], as UTF-8, terminated: free(). NULL without memory. */
char *tokens_text(const judgeq_model *model, const int32_t *tokens, size_t n);

#endif
