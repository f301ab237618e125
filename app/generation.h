/* generation: a response, token by token: draws the next token from a session's logits, keeps it and its text, and says
 * where the response ends. The caller decodes in between, one session or many together, so that many responses can take
 * steps in turn:
 *
 *     status = generation_init(&g, model, &params, error);
 *     while (status == JUDGEQ_OK) {
 *         status = generation_next(&g, judgeq_session_logits(session), &token, error);
 *         if (status != JUDGEQ_OK || token < 0) break;
 *         status = judgeq_session_decode(session, token, error); // or judgeq_session_decode_all
 *     }
 *     generation_finish(&g, error);
 */
#ifndef JUDGEQ_APP_GENERATION_H
#define JUDGEQ_APP_GENERATION_H

#include <jansson.h>

#include "judgeq.h"
#include "text_stream.h"

typedef enum generation_end {
    GENERATION_OPEN = 0,
    GENERATION_STOP,      /* the model ended the response, or a stop text or the control token that is one came */
    GENERATION_LENGTH,    /* as many tokens as were asked for */
    GENERATION_CONTEXT,   /* the context is full */
    GENERATION_CANCELLED, /* go_on said so */
} generation_end;

typedef struct generation_params {
    judgeq_sampler *sampler; /* a greedy one may be shared by several responses */
    /* [n_stop], none of them empty: the response ends before this text, or before the control token that it is */
    const char *const *stop;
    size_t n_stop;
    const judgeq_chat_plan *plan; /* of an answer in a chat, whose control tokens have a text; or NULL */
    int32_t n_tokens;             /* at most */
    int32_t n_ctx;                /* tokens that the context holds; 0: what the model was trained for */
    size_t n_before;              /* tokens of the sequence before the response */
    /* [n_known], tokens that the response begins with and that the session has read: judgeq_session_deferred */
    const int32_t *known;
    size_t n_known;
    int32_t logprobs;          /* alternatives per token; below 0: no log-probabilities. Not with known tokens */
    double started;            /* on clock_seconds: what the time to the first token counts from */
    text_put put;              /* gets the text as it comes; or NULL */
    bool (*go_on)(void *data); /* asked after every token; or NULL */
    void *data;                /* of put and go_on */
} generation_params;

typedef struct generation {
    const judgeq_model *model;
    generation_params params;
    size_t limit;        /* tokens of the response, at most */
    int32_t *stop_token; /* [n_stop], of the stop texts that are a control token, which has no text; -1: of others */
    int32_t *token;      /* [n_token], without the one that ended the response */
    size_t n_token, capacity;
    generation_end end;
    int32_t end_token;      /* that ended the response, or -1 */
    const char *stopped_by; /* the stop text that did, one of params.stop; or NULL */
    int32_t unread;         /* the response's last token, where nobody was told to decode it; or -1 */
    double ttft_s;          /* until the first token was known; -1 where none was */
    json_t *logprobs;       /* an object per token, as logprobs.h says; or NULL */
    text_stream text;
} generation;

/* Model, sampler, stop texts and known tokens must outlive it. *g is to be freed in any case. */
judgeq_status generation_init(generation *g, const judgeq_model *model, const generation_params *params,
                              judgeq_error *error);
/* Draws the next token. *token: the one that the session is to decode before the next call; -1 where there is none,
 * because the response has ended, `end` says by what, or a call has failed. The last token is not decoded, since
 * nothing comes after it: whoever reads on in the same session, another turn for instance, decodes `unread` first. */
judgeq_status generation_next(generation *g, const float *logits, int32_t *token, judgeq_error *error);
/* Gives out the text that was held back: nothing more comes. After a failure too: what came before it is good. */
judgeq_status generation_finish(generation *g, judgeq_error *error);
/* Accepts a zeroed one. */
void generation_free(generation *g);

#endif
