/* anthropic: Anthropic's messages as a dialect: POST /v1/messages and /v1/messages/count_tokens. */
#ifndef JUDGEQ_SERVER_ANTHROPIC_H
#define JUDGEQ_SERVER_ANTHROPIC_H

#include "dialect.h"

/* A dialect's `inner`: of a request for an answer, and of one for the number of its tokens. */
json_t *anthropic_inner(const fields *f);
json_t *anthropic_inner_to_count(const fields *f);

extern const dialect anthropic_dialect;

#endif
