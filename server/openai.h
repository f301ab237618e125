/* openai: what answers of OpenAI's two APIs, chat and completions, have in common. */
#ifndef JUDGEQ_SERVER_OPENAI_H
#define JUDGEQ_SERVER_OPENAI_H

#include "exchange.h"

/* The request's JSON, or NULL and a fault. */
json_t *openai_body(const http_request *request, reply_fault *fault);

/* Reads a whole request, for fuzzers too. On failure, what was made is the caller's to free all the same. *prompts:
 * malloced [*n]. */
bool openai_completions_read(const service *s, json_t *body, ask *a, exchange_prompt **prompts, size_t *n,
                             reply_fault *fault);

/* A chunk with one choice, which it takes, or, NULL, without one. */
json_t *openai_chunk(const exchange *e, const char *object, json_t *choice);
/* The chunk with the usage, where it was asked for, and [DONE]. */
void openai_stream_end(exchange *e, const char *object);
/* A shape's `fail`. */
void openai_stream_fail(exchange *e);
/* A whole answer; takes `choices`. */
json_t *openai_answer(const exchange *e, const char *object, json_t *choices);
/* Takes `choice`; where there are several, each has what was kept. */
void openai_add_choice(const exchange *e, json_t *choices, json_t *choice, const exchange_answer *a);
/* {"content": [...]}, or null. */
json_t *openai_chat_logprobs(const json_t *logprobs);

#endif
