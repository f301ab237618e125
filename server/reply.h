/* reply: answers in JSON, and errors as OpenAI's clients read them, or Anthropic's, by the path that they ask. */
#ifndef JUDGEQ_SERVER_REPLY_H
#define JUDGEQ_SERVER_REPLY_H

#include <jansson.h>

#include "http.h"
#include "worker.h"

enum { REPLY_DIGITS = 7 }; /* of numbers: those of a float */

/* Why a request is refused or has failed. */
typedef struct reply_fault {
    int status;              /* HTTP's; 0: there is none */
    const char *type, *code; /* constants; code: or NULL */
    char param[64];          /* the field at fault, or "" */
    char message[600];
    int64_t n_prompt, n_ctx; /* of a prompt that does not fit; 0 */
} reply_fault;

/* 400, once: a fault that is there stays. param: or NULL. False, so that `return fault(...)` reads well. */
__attribute__((format(printf, 3, 4))) bool reply_wrong(reply_fault *fault, const char *param, const char *format, ...);
/* 500, once, and false. */
bool reply_no_memory(reply_fault *fault);
/* What the library says of something that a client has asked for. */
bool reply_failed(reply_fault *fault, judgeq_status status, const judgeq_error *error);
/* What the worker says of a job that it does not take. n_prompt: its tokens. */
bool reply_not_taken(reply_fault *fault, worker_status status, const judgeq_error *error, int64_t n_prompt,
                     int64_t n_ctx);

/* Messages begin with the path of the file at fault. Where that lies is nobody's business: its name stays. path: of a
 * file in the same folder, or NULL. */
void reply_hide_folder(reply_fault *fault, const char *path);

/* {"error": {...}}; NULL without memory. model_path: whose folder is hidden, or NULL. */
json_t *reply_fault_json(const reply_fault *fault, const char *model_path);

/* The same as Anthropic's clients read it: {"type": "error", "error": {"type", "message"}}. */
json_t *reply_fault_anthropic(const reply_fault *fault, const char *model_path);
/* {"error": MESSAGE}. */
json_t *reply_fault_ollama(const reply_fault *fault, const char *model_path);

/* Takes `json`; NULL: without memory. */
void reply_json(http_request *request, int status, json_t *json);
void reply_error(http_request *request, const reply_fault *fault);
/* An http_params' `refuse`. */
void reply_refuse(http_request *request, int status, const char *message);

#endif
