/* service: what the requests of all clients share. */
#ifndef JUDGEQ_SERVER_SERVICE_H
#define JUDGEQ_SERVER_SERVICE_H

#include "contexts.h"
#include "http.h"
#include "worker.h"

typedef struct service {
    const judgeq_model *model;
    worker *worker;
    http *http; /* NULL until it listens */

    const char *name;       /* of the model, as clients see it */
    const char *model_path; /* which they do not */
    const char *policy;     /* where a request names none */
    const char *later;      /* of a document whose questions come later, likewise; NULL: the same */
    int32_t rows;           /* its budget; 0: `share` */
    double share;           /* 0, both: none */
    int32_t n_ctx;          /* tokens of prompt and answer */
    int32_t n_parallel;     /* jobs at once; 0: any number */
    size_t kv_bytes;        /* of all sessions; 0: any */
    judgeq_kv_type kv_type;
    contexts *contexts; /* or NULL: none can be used */

    /* Where a request says nothing. */
    int32_t n_answer;
    judgeq_sampler_params sampler;

    double ping_s;      /* a stream with nothing to say says that it is there, so often */
    double started;     /* on clock_seconds */
    int64_t started_at; /* seconds since 1970 */
} service;

/* All endpoints: service_routes[service_n_routes]. */
extern const http_route service_routes[];
extern const size_t service_n_routes;

/* ---- the rooms --------------------------------------------------------------------------------------------------- */

http_handler web_page;
http_handler openai_chat, openai_completions, openai_responses, openai_responses_compact;
http_handler anthropic_messages, anthropic_count_tokens;
http_handler ollama_chat, ollama_generate, ollama_tags, ollama_show, ollama_version;
http_handler contexts_upload, contexts_all, contexts_one, contexts_delete;
http_handler info_models, info_model, info_health, info_openapi, info_props, info_slots, info_metrics, info_tokenize,
    info_detokenize, info_apply_template;

#endif
