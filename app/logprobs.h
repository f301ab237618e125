/* logprobs: how likely a token was, and which tokens were likelier, as OpenAI's chat API writes it. */
#ifndef JUDGEQ_APP_LOGPROBS_H
#define JUDGEQ_APP_LOGPROBS_H

#include <jansson.h>

#include "judgeq.h"

/* Appends {token, logprob, bytes, top_logprobs: [k of {token, logprob, bytes}]} to the array. logits [n_vocab] are
 * those that the token was drawn from, before temperature and cuts; logprob is a natural logarithm. A token that is a
 * part of a character has its bytes in `bytes`, and U+FFFD in `token`. False without memory. */
bool logprobs_append(json_t *array, const judgeq_model *model, const float *logits, int32_t token, int32_t k);

#endif
