/* ask: what a request for an answer wants beside its prompt, in OpenAI's fields and in ours. Nothing is computed. */
#ifndef JUDGEQ_SERVER_ASK_H
#define JUDGEQ_SERVER_ASK_H

#include "fields.h"
#include "service.h"

enum {
    ASK_STOPS_MOST = 16,
    ASK_PLAN_STOPS_MOST = 16,
    ASK_ANSWERS_MOST = 16,
    ASK_TOP_LOGPROBS_MOST = 20,
    ASK_BIASES_MOST = 1024
};

typedef struct ask {
    json_t *given, *body; /* the request as it came, and what was read, which texts here are of; owned, or NULL */
    int32_t n;            /* answers to each prompt */
    bool stream, include_usage;
    bool seeded; /* the seed is the request's */
    judgeq_sampler_params sampler;
    judgeq_logit_bias *bias;                                /* the sampler's; malloced, or NULL */
    const char *stop[ASK_STOPS_MOST + ASK_PLAN_STOPS_MOST]; /* the request's, then the plan's */
    size_t n_stop;
    int32_t n_answer; /* tokens, at most */
    int32_t logprobs; /* alternatives; -1: none asked for */
    const char *policy;
    int32_t rows; /* 0: `share`; 0, both: not given */
    double share;
    shared_plan *plan;   /* of a chat's answer, which `sampler` and `stop` point into; or NULL */
    const char *save;    /* the label of a session that is saved; or NULL */
    bool parsed;         /* the answer may have thoughts or tool calls: the plan reads it */
    bool kept;           /* the answer says what is held of each token */
    const char *context; /* the path of a session's file, which is `file`'s; or NULL */
    context_file *file;  /* held for the request; or NULL */
    context_file *made;  /* that it writes, likewise */
} ask;

/* A field's fault goes to f->fault. *out is to be freed in any case. */
void ask_read(const service *s, const fields *f, ask *out);
/* The ask owns both as well. */
void ask_keep(ask *a, json_t *given, json_t *body);
void ask_free(ask *a);

/* The budget of a request, or else the server's, in rows or as a share; both 0: none, as of the policy full. */
void ask_budget(const service *s, const ask *a, int32_t *rows, double *share);

/* The worker's request for answer number `index` to tokens [n]. */
worker_request ask_request(const ask *a, const int32_t *tokens, size_t n, int32_t index);

/* Fails for a field that asks for what is not done: it is neither absent, null, false, 0 nor empty. */
void ask_refuse(const fields *f, const char *name, const char *why);

#endif
