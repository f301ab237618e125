/* generate: the response: decodes token by token until it ends. */
#ifndef JUDGEQ_CLI_GENERATE_H
#define JUDGEQ_CLI_GENERATE_H

#include <jansson.h>

#include "run_options.h"
#include "text_stream.h"

typedef enum generate_reason {
    GENERATE_STOP,    /* the model ended the response, or a stop text or the control token that is one came */
    GENERATE_LENGTH,  /* as many tokens as were asked for */
    GENERATE_CONTEXT, /* the context is full */
    GENERATE_INTERRUPTED,
} generate_reason;

typedef struct generation {
    int32_t *token; /* [n_token], without the one that ended the response. Owned */
    size_t n_token;
    generate_reason reason;
    double ttft_s;    /* until the first token was known; -1 where none was */
    json_t *logprobs; /* one object per token, or NULL. Owned */
} generation;

/* Decodes after prefill; the response goes to `stream`. n_prompt: tokens prefilled. started: when the work on the
 * prompt began, on clock_seconds. Ctrl-C ends it with CANCELLED; a stream that takes no more, with IO. */
judgeq_status generate(const judgeq_model *model, judgeq_session *session, const options *options, size_t n_prompt,
                       double started, text_stream *stream, generation *out, judgeq_error *error);
void generation_free(generation *response);

#endif
