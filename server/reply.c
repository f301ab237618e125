#include "reply.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/utf8.h"
#include "base/visible.h"
#include "service.h"

static const char INVALID[] = "invalid_request_error", FAILED[] = "server_error";

bool reply_wrong(reply_fault *fault, const char *param, const char *format, ...) {
    if (fault->status != 0) return false;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(fault->message, sizeof fault->message, format, arguments);
    va_end(arguments);
    snprintf(fault->param, sizeof fault->param, "%s", param ? param : "");
    fault->status = 400;
    fault->type = INVALID;
    return false;
}

static bool set(reply_fault *fault, int status, const char *type, const char *code, const judgeq_error *error) {
    if (fault->status != 0) return false;
    fault->status = status;
    fault->type = type;
    fault->code = code;
    snprintf(fault->message, sizeof fault->message, "%s", error->message);
    return false;
}

bool reply_no_memory(reply_fault *fault) {
    judgeq_error said;
    error_memory(&said, "the request");
    return set(fault, 500, FAILED, NULL, &said);
}

/* In words by which clients know that they have to shorten what they send. */
static bool set_too_long(reply_fault *fault, const judgeq_error *error) {
    judgeq_error said;
    error_write(&said, JUDGEQ_ERROR_LIMIT, "the prompt is too long: %s", error->message);
    return set(fault, 400, "exceed_context_size_error", "context_length_exceeded", &said);
}

bool reply_failed(reply_fault *fault, judgeq_status status, const judgeq_error *error) {
    switch (status) {
    case JUDGEQ_OK:
        return true;
    case JUDGEQ_ERROR_ARGUMENT:
    case JUDGEQ_ERROR_UNSUPPORTED:
    case JUDGEQ_ERROR_MISMATCH:
    case JUDGEQ_ERROR_FORMAT:
        return set(fault, 400, INVALID, NULL, error);
    case JUDGEQ_ERROR_LIMIT:
        return set_too_long(fault, error);
    case JUDGEQ_ERROR_CANCELLED: /* by the server: whoever is told has not left */
        return set(fault, 503, FAILED, "cancelled", error);
    default:
        return set(fault, 500, FAILED, NULL, error);
    }
}

bool reply_not_taken(reply_fault *fault, worker_status status, const judgeq_error *error, int64_t n_prompt,
                     int64_t n_ctx) {
    switch (status) {
    case WORKER_OK:
        return true;
    case WORKER_INVALID:
        return set(fault, 400, INVALID, NULL, error);
    case WORKER_TOO_LONG:
        fault->n_prompt = n_prompt;
        fault->n_ctx = n_ctx;
        return set_too_long(fault, error);
    case WORKER_TOO_LARGE:
        return set(fault, 400, INVALID, "exceeds_kv_bytes", error);
    case WORKER_BUSY:
        return set(fault, 429, "rate_limit_error", "queue_full", error);
    case WORKER_STOPPING:
        return set(fault, 503, FAILED, "stopping", error);
    default:
        return set(fault, 500, FAILED, NULL, error);
    }
}

void reply_hide_folder(reply_fault *fault, const char *path) {
    enum { FORM_MOST = 4 }; /* bytes for a byte, as messages show it */
    const char *slash = path ? strrchr(path, '/') : NULL;
    if (!slash) return;
    const size_t n = (size_t)(slash + 1 - path);
    char *folder = strndup(path, n), *form = malloc(FORM_MOST * n + 1);
    if (folder && form) {
        visible_copy(folder, form, FORM_MOST * n + 1);
        const size_t length = strlen(form);
        const char *rest = fault->message + length;
        if (strncmp(fault->message, form, length) == 0) memmove(fault->message, rest, strlen(rest) + 1);
    } else {
        snprintf(fault->message, sizeof fault->message, "no memory");
    }
    free(form);
    free(folder);
}

/* Messages may quote what a client or a file wrote, cut anywhere. */
static json_t *text(const char *bytes) {
    size_t n = 0;
    char *repaired = utf8_repaired(bytes, strlen(bytes), &n);
    json_t *json = repaired ? json_stringn(repaired, n) : NULL;
    free(repaired);
    return json;
}

json_t *reply_fault_json(const reply_fault *fault, const char *model_path) {
    reply_fault shown = *fault;
    reply_hide_folder(&shown, model_path);
    json_t *inner = json_pack("{s:o, s:s, s:o, s:s?}", "message", text(shown.message), "type", fault->type, "param",
                              fault->param[0] ? text(fault->param) : json_null(), "code", fault->code);
    if (inner && fault->n_ctx > 0) {
        json_object_set_new(inner, "n_prompt_tokens", json_integer(fault->n_prompt));
        json_object_set_new(inner, "n_ctx", json_integer(fault->n_ctx));
    }
    return inner ? json_pack("{s:o}", "error", inner) : NULL;
}

static const char *anthropic_type(int status) {
    switch (status) {
    case 401:
        return "authentication_error";
    case 403:
        return "permission_error";
    case 404:
        return "not_found_error";
    case 413:
        return "request_too_large";
    case 429:
        return "rate_limit_error";
    case 503:
        return "overloaded_error";
    default:
        return status < 500 ? INVALID : "api_error";
    }
}

json_t *reply_fault_anthropic(const reply_fault *fault, const char *model_path) {
    reply_fault shown = *fault;
    reply_hide_folder(&shown, model_path);
    if (fault->n_ctx > 0) { /* clients know these words, and shorten their conversation */
        snprintf(shown.message, sizeof shown.message, "prompt is too long: %lld tokens > %lld maximum",
                 (long long)fault->n_prompt, (long long)fault->n_ctx);
    }
    return json_pack("{s:s, s:{s:s, s:o}}", "type", "error", "error", "type", anthropic_type(fault->status), "message",
                     text(shown.message));
}

static bool asks_anthropic(const http_request *request) {
    const char *path = http_path(request);
    if (strncmp(path, "/v1/", 4) == 0) path += 3;
    return strcmp(path, "/messages") == 0 || strncmp(path, "/messages/", 10) == 0;
}

json_t *reply_fault_ollama(const reply_fault *fault, const char *model_path) {
    reply_fault shown = *fault;
    reply_hide_folder(&shown, model_path);
    return json_pack("{s:o}", "error", text(shown.message));
}

/* As the API of its path has it. */
static json_t *fault_for(const http_request *request, const reply_fault *fault) {
    const service *s = http_data(request);
    if (asks_anthropic(request)) return reply_fault_anthropic(fault, s->model_path);
    if (strncmp(http_path(request), "/api/", 5) == 0) return reply_fault_ollama(fault, s->model_path);
    return reply_fault_json(fault, s->model_path);
}

void reply_json(http_request *request, int status, json_t *json) {
    char *text_of = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(REPLY_DIGITS)) : NULL;
    json_decref(json);
    http_reply(request, status, "application/json", text_of, text_of ? strlen(text_of) : 0);
}

void reply_error(http_request *request, const reply_fault *fault) {
    if (fault->status == 429 || fault->status == 503) http_header(request, "Retry-After", "2");
    if (fault->status == 401) http_header(request, "WWW-Authenticate", "Bearer");
    reply_json(request, fault->status, fault_for(request, fault));
}

void reply_refuse(http_request *request, int status, const char *message) {
    reply_fault fault = {.status = status, .type = status < 500 ? INVALID : FAILED};
    if (status == 401) fault.code = "invalid_api_key";
    if (status == 404) fault.code = "not_found";
    snprintf(fault.message, sizeof fault.message, "%s", message);
    reply_error(request, &fault);
}
