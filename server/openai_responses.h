/* openai_responses: OpenAI's responses as a dialect: POST /v1/responses. Nothing is stored. */
#ifndef JUDGEQ_SERVER_OPENAI_RESPONSES_H
#define JUDGEQ_SERVER_OPENAI_RESPONSES_H

#include "dialect.h"

/* The dialect's `inner`. */
json_t *openai_responses_inner(const fields *f);

enum { N_OPENAI_RESPONSES_NAMES = 4 };
extern const dialect_name openai_responses_names[N_OPENAI_RESPONSES_NAMES];
extern const dialect openai_responses_dialect;

/* null, before it has ended. */
json_t *openai_responses_usage(const exchange *e, const exchange_answer *a);

/* What a compaction item's content begins with; the name of a context follows. */
#define OPENAI_COMPACTION "judgeq:"

#endif
