/* exchange: from prompts to a reply: hands the jobs to the worker, and makes of their news a whole answer or a stream
 * of events, in the shape of one API or another. */
#ifndef JUDGEQ_SERVER_EXCHANGE_H
#define JUDGEQ_SERVER_EXCHANGE_H

#include "ask.h"
#include "base/text.h"
#include "chat_block.h"

enum { EXCHANGE_ANSWERS_MOST = 32 };

typedef struct exchange exchange;

typedef struct exchange_prompt {
    int32_t *tokens; /* [n], judgeq_free */
    size_t n;
    char *echo; /* malloced text that the answers begin with, or NULL */
} exchange_prompt;

typedef struct exchange_answer {
    size_t index, prompt; /* among all, and to which prompt */
    worker_job *job;
    text_buffer text;            /* all of it */
    json_t *logprobs;            /* of all its tokens, as app/logprobs.h writes them; or NULL */
    worker_news news;            /* the latest, without text */
    chat_blocks chat;            /* of an answer in a chat: what was read in it */
    bool begun;                  /* its job has */
    size_t n_sent;               /* events, as a dialect counts them */
    const json_t *unsent;        /* log-probabilities that were not told yet, of these news; or NULL */
    const worker_result *result; /* NULL before it has ended */
} exchange_answer;

typedef struct exchange_shape {
    const char *id; /* what the answer's name begins with */
    /* What a stream says of an answer, by exchange_send: its job has begun to read or to answer (or NULL: nothing);
     * text[n], or tokens, have come; it has ended. */
    void (*begin)(exchange *e, exchange_answer *a);
    void (*more)(exchange *e, exchange_answer *a, const char *text, size_t n, const json_t *logprobs);
    void (*end)(exchange *e, exchange_answer *a);
    void (*last)(exchange *e); /* all have ended */
    void (*fail)(exchange *e); /* instead of that: e->fault */
    void (*ping)(exchange *e); /* nothing is new since the first answer has begun; NULL: a comment */
    bool lines; /* a stream is JSON, an object a line, without comments: `ping` is called from the first */
    /* The whole answer; NULL without memory. */
    json_t *(*whole)(exchange *e);
} exchange_shape;

struct exchange {
    http_request *request;
    const service *service;
    const exchange_shape *shape;
    ask ask;
    exchange_prompt *prompt; /* [n_prompt] */
    size_t n_prompt;
    exchange_answer answer[EXCHANGE_ANSWERS_MOST]; /* [n_answer] */
    size_t n_answer, n_ended;
    char id[48];
    int64_t created; /* seconds since 1970 */
    int event;       /* readable once there is news */
    text_buffer out; /* events that were not given out yet */
    double told_at;  /* when some were, on clock_seconds */
    bool done;
    reply_fault fault; /* of an answer that has failed */
};

/* Replies: with an answer where `good`, what was asked could be read; otherwise with the fault, or, where there is
 * none, that there was no memory. Takes what `ask` owns and prompts, a malloced array or NULL. */
void exchange_run(http_request *request, const exchange_shape *shape, bool good, const ask *ask,
                  exchange_prompt *prompts, size_t n_prompts, reply_fault *fault);

/* ---- for shapes -------------------------------------------------------------------------------------------------- */

/* Adds "data: JSON", or a line, to a stream. Takes `event`; NULL: without memory, which ends the stream. */
void exchange_send(exchange *e, json_t *event);
/* The same after "event: TYPE", the event's own type. */
void exchange_send_typed(exchange *e, json_t *event);
/* "stop" or "length", once it has ended. */
const char *exchange_finish(const exchange_answer *a);
/* Tokens of all prompts, each once, and of all answers. */
json_t *exchange_usage(const exchange *e);
/* What was kept of the prompt: our own field of an answer that has ended. */
json_t *exchange_kept(const exchange *e, const exchange_answer *a);

void exchange_prompts_free(exchange_prompt *prompts, size_t n);

#endif
