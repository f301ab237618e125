/* dialect: one answer in a chat, in whatever API it is asked for.
 *
 * Inside there is one form of a request, the JSON of OpenAI's chat completions, and one form of an answer, blocks
 * (chat_block.h). A dialect maps a request to that form, and blocks to its JSON and its events: openai_chat,
 * openai_responses, anthropic. */
#ifndef JUDGEQ_SERVER_DIALECT_H
#define JUDGEQ_SERVER_DIALECT_H

#include "exchange.h"

/* How clients call a field of the inner form. */
typedef struct dialect_name {
    const char *inner, *outer;
} dialect_name;

typedef struct dialect {
    exchange_shape shape; /* first; its `more` and `end` are dialect_more and dialect_end, or call them */
    /* The request in the inner form, a new object; NULL after a fault. NULL: it has that form. */
    json_t *(*inner)(const fields *given);
    bool closed;               /* the prompt ends with the last message: it is read for what comes later */
    const dialect_name *names; /* [n_names], for faults */
    size_t n_names;
    /* What a stream says of a block: there is one, more of its text has come, it is complete; or NULL. Of a tool call,
     * id and name are complete as well by then. */
    void (*open)(exchange *e, exchange_answer *a, const chat_block *b);
    void (*add)(exchange *e, exchange_answer *a, const chat_block *b, const char *text, size_t n);
    void (*close)(exchange *e, exchange_answer *a, const chat_block *b);
} dialect;

extern const dialect openai_chat_dialect;

/* Reads a whole request, for fuzzers too. On failure, what was made is the caller's to free all the same. */
bool dialect_read(const service *s, const dialect *d, json_t *body, ask *a, exchange_prompt *prompt,
                  reply_fault *fault);
/* Replies. */
void dialect_run(http_request *request, const dialect *d);
/* Of a body that was parsed already, which it takes; NULL: it could not be, as `fault` says. */
void dialect_run_body(http_request *request, const dialect *d, json_t *body, reply_fault *fault);

/* ---- for dialects ------------------------------------------------------------------------------------------------ */

/* A new object with the fields of an answer that have the same name and meaning in all dialects. */
json_t *dialect_common_fields(const fields *given);
/* Of the inner form. */
void dialect_read_logprobs(const fields *f, ask *a);
/* A fault names the field as the client knows it. */
void dialect_rename_fault(const dialect *d, reply_fault *fault);

void dialect_more(exchange *e, exchange_answer *a, const char *text, size_t n, const json_t *logprobs);
/* All of the answer is in a->chat from here on, in a stream or not; all blocks are closed. */
void dialect_end(exchange *e, exchange_answer *a);
/* Whether it is complete, and calls tools. */
bool dialect_calls_tools(const exchange_answer *a);

#endif
