/* contexts_list: GET and DELETE /v1/contexts. */
#include "contexts_list.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

static const char INVALID[] = "invalid_request_error";

bool contexts_are_there(const service *s, bool to_write, reply_fault *fault) {
    if (!s->contexts) {
        return reply_wrong(
            fault, NULL, "this server has no contexts: judgeq serve --context-dir DIR --context-bytes N gives it some");
    }
    if (!to_write || contexts_bytes_most(s->contexts) > 0) return true;
    reply_wrong(
        fault, NULL,
        "this server only reads its contexts: with judgeq serve --context-bytes N, clients can upload and delete "
        "them");
    fault->status = 403;
    return false;
}

static bool fail(reply_fault *fault, int status, const char *type, const char *code, const char *message) {
    *fault = (reply_fault){.status = status, .type = type, .code = code};
    snprintf(fault->message, sizeof fault->message, "%s", message);
    return false;
}

bool contexts_done(contexts_status status, const char *name, const contexts *all, const judgeq_error *error,
                   reply_fault *fault) {
    char message[200];
    switch (status) {
    case CONTEXTS_OK:
        return true;
    case CONTEXTS_NONE:
        snprintf(message, sizeof message, "no context has the name %.128s", name);
        return fail(fault, 404, INVALID, "context_not_found", message);
    case CONTEXTS_NOT_OURS:
        snprintf(message, sizeof message, "%.128s is no context, and is left alone", name);
        return fail(fault, 409, INVALID, "not_a_context", message);
    case CONTEXTS_EXISTS:
        snprintf(message, sizeof message, "name: %.128s is there already: take another name, or delete it first", name);
        return fail(fault, 409, INVALID, "context_exists", message);
    case CONTEXTS_IN_USE:
        snprintf(message, sizeof message, "%.128s is in use by a request: ask again later", name);
        return fail(fault, 409, INVALID, "context_in_use", error && error->message[0] ? error->message : message);
    case CONTEXTS_TOO_LARGE:
        return fail(fault, 400, INVALID, "exceeds_context_bytes", error->message);
    default:
        fail(fault, 500, "server_error", NULL, error->message);
        reply_hide_folder(fault, contexts_folder(all));
        return false;
    }
}

/* ---- as JSON ----------------------------------------------------------------------------------------------------- */

/* Why a file cannot be used, without its folder. */
static json_t *why(const service *s, const context_info *info) {
    reply_fault fault = {0};
    snprintf(fault.message, sizeof fault.message, "%s", info->error.message);
    reply_hide_folder(&fault, contexts_folder(s->contexts));
    size_t n = 0;
    char *text = utf8_repaired(fault.message, strlen(fault.message), &n);
    json_t *json = text ? json_stringn(text, n) : NULL;
    free(text);
    return json;
}

static json_t *budget_of(const judgeq_snapshot_info *info) {
    if (info->budget > 0) return json_integer(info->budget);
    return info->budget_fraction > 0 ? json_sprintf("%g%%", 100 * (double)info->budget_fraction) : json_null();
}

json_t *contexts_json(const service *s, const context_info *info) {
    const judgeq_snapshot_info *held = &info->snapshot;
    json_t *json = json_pack("{s:s, s:s, s:b, s:I, s:I, s:I, s:i}", "object", "context", "name", info->name, "usable",
                             info->status == JUDGEQ_OK, "bytes", (json_int_t)info->bytes, "created",
                             (json_int_t)info->created, "last_used", (json_int_t)info->used, "in_use", info->n_users);
    if (!json) return NULL;
    if (info->status != JUDGEQ_OK) json_object_set_new(json, "error", why(s, info));
    if (!held->policy[0]) return json;
    json_object_set_new(json, "tokens", json_integer((json_int_t)held->n_tokens));
    json_object_set_new(json, "rows", json_integer((json_int_t)held->n_rows));
    json_object_set_new(json, "kv_bytes", json_integer((json_int_t)held->kv_bytes));
    json_object_set_new(json, "policy", json_string(held->policy));
    json_object_set_new(json, "budget", budget_of(held));
    return json;
}

/* ---- the rooms --------------------------------------------------------------------------------------------------- */

static const char *name_of(const http_request *request) {
    return strstr(http_path(request), "contexts/") + strlen("contexts/");
}

void contexts_all(http_request *request) {
    const service *s = http_data(request);
    reply_fault fault = {0};
    size_t n = 0, bytes = 0;
    if (!contexts_are_there(s, false, &fault)) {
        reply_error(request, &fault);
        return;
    }
    context_info *list = contexts_list(s->contexts, &n);
    json_t *data = json_array();
    for (size_t i = 0; list && i < n; i++) {
        json_array_append_new(data, contexts_json(s, &list[i]));
        bytes += list[i].bytes;
    }
    const size_t most = contexts_bytes_most(s->contexts);
    if (list) {
        reply_json(request, 200,
                   json_pack("{s:s, s:o, s:I, s:o}", "object", "list", "data", data, "bytes", (json_int_t)bytes,
                             "bytes_most", most > 0 ? json_integer((json_int_t)most) : json_null()));
    } else {
        json_decref(data);
        reply_refuse(request, 500, "the folder of contexts cannot be read");
    }
    free(list);
}

void contexts_one(http_request *request) {
    const service *s = http_data(request);
    reply_fault fault = {0};
    context_info info = {0};
    if (contexts_are_there(s, false, &fault) && !contexts_get(s->contexts, name_of(request), &info)) {
        contexts_done(CONTEXTS_NONE, name_of(request), s->contexts, NULL, &fault);
    }
    if (fault.status == 0)
        reply_json(request, 200, contexts_json(s, &info));
    else
        reply_error(request, &fault);
}

void contexts_delete(http_request *request) {
    const service *s = http_data(request);
    reply_fault fault = {0};
    judgeq_error error = {0};
    const char *name = name_of(request);
    if (contexts_are_there(s, true, &fault)) {
        contexts_done(contexts_remove(s->contexts, name, &error), name, s->contexts, &error, &fault);
    }
    if (fault.status == 0)
        reply_json(request, 200, json_pack("{s:s, s:s, s:b}", "object", "context", "name", name, "deleted", true));
    else
        reply_error(request, &fault);
}
