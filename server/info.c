/* info: what a client can ask about the server and its model, and text and tokens without an answer. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "chat_plan.h"
#include "chat_prompt.h"
#include "openai.h"
#include "reply.h"
#include "report/page.h"
#include "tokens.h"

extern const page page_openapi; /* server/openapi.json */

/* ---- the model --------------------------------------------------------------------------------------------------- */

static json_t *model_json(const service *s) {
    const judgeq_model_info *info = judgeq_model_get_info(s->model);
    json_t *meta = json_pack("{s:i, s:i, s:i, s:i, s:I, s:s}", "n_ctx_train", (int)info->n_ctx_train, "n_ctx",
                             (int)s->n_ctx, "n_vocab", (int)info->n_vocab, "n_embd", (int)info->n_embd, "size",
                             (json_int_t)info->weight_bytes, "ftype", info->weight_type);
    return json_pack("{s:s, s:s, s:I, s:s, s:i, s:i, s:o}", "id", s->name, "object", "model", "created",
                     (json_int_t)s->started_at, "owned_by", "judgeq", "context_length", (int)s->n_ctx, "max_model_len",
                     (int)s->n_ctx, "meta", meta);
}

void info_models(http_request *request) {
    json_t *list = json_pack("{s:s, s:[o]}", "object", "list", "data", model_json(http_data(request)));
    reply_json(request, 200, list);
}

void info_model(http_request *request) {
    const service *s = http_data(request);
    const char *name = strstr(http_path(request), "models/") + strlen("models/");
    if (strcmp(name, s->name) == 0) {
        reply_json(request, 200, model_json(s));
        return;
    }
    reply_fault fault = {.status = 404, .type = "invalid_request_error", .code = "model_not_found"};
    snprintf(fault.message, sizeof fault.message, "there is one model here, %s", s->name);
    reply_error(request, &fault);
}

void info_health(http_request *request) {
    reply_json(request, 200, json_pack("{s:s}", "status", "ok"));
}

/* Those that a request can name: without a judge, some cannot. */
static json_t *policies_json(const service *s) {
    json_t *list = json_array();
    for (size_t i = 0; judgeq_preset_at(i); i++) {
        const judgeq_preset *preset = judgeq_preset_at(i);
        judgeq_policy *policy = NULL;
        if (judgeq_policy_parse(preset->name, &policy, NULL) != JUDGEQ_OK) continue;
        if (worker_has_judge(s->worker) || judgeq_policy_soft_tokens(policy) == 0) {
            json_array_append_new(list, json_pack("{s:s, s:s}", "name", preset->name, "summary", preset->summary));
        }
        judgeq_policy_free(policy);
    }
    return list;
}

void info_openapi(http_request *request) {
    char *text = strndup((const char *)page_openapi.bytes, page_openapi.size);
    http_reply(request, 200, "application/json", text, text ? page_openapi.size : 0);
}

static json_t *method_json(const service *s) {
    json_t *budget = s->rows > 0    ? json_integer(s->rows)
                     : s->share > 0 ? json_sprintf("%g%%", 100 * s->share)
                                    : json_null();
    return json_pack("{s:s, s:o, s:I, s:b, s:s, s:o}", "policy", s->policy, "budget", budget, "kv_bytes",
                     (json_int_t)s->kv_bytes, "judge", worker_has_judge(s->worker), "version", judgeq_version(),
                     "policies", policies_json(s));
}

void info_props(http_request *request) {
    const service *s = http_data(request);
    const judgeq_model_info *info = judgeq_model_get_info(s->model);
    json_t *params = json_pack("{s:f, s:i, s:f, s:f, s:i}", "temperature", (double)s->sampler.temperature, "top_k",
                               (int)s->sampler.top_k, "top_p", (double)s->sampler.top_p, "min_p",
                               (double)s->sampler.min_p, "n_predict", (int)s->n_answer);
    json_t *settings = json_pack("{s:i, s:o}", "n_ctx", (int)s->n_ctx, "params", params);
    reply_json(request, 200,
               json_pack("{s:o, s:i, s:s, s:s, s:b, s:o}", "default_generation_settings", settings, "total_slots",
                         (int)s->n_parallel, "model_alias", s->name, "architecture", info->architecture,
                         "chat_template", (int)info->chat_template, "judgeq", method_json(s)));
}

/* ---- the jobs ---------------------------------------------------------------------------------------------------- */

static json_t *slot_json(const worker_slot *slot) {
    static const char *const states[] = {[WORKER_WAITING] = "waiting",
                                         [WORKER_READING] = "reading",
                                         [WORKER_ANSWERING] = "answering",
                                         [WORKER_ENDED] = "ended"};
    const char *state = slot->idle ? "idle" : states[slot->state];
    return json_pack("{s:I, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:i}", "id", (json_int_t)slot->id,
                     "state", state, "is_processing", !slot->idle, "n_prompt", (json_int_t)slot->n_prompt, "n_cached",
                     (json_int_t)slot->n_cached, "n_read", (json_int_t)slot->n_done, "n_answer",
                     (json_int_t)slot->n_answer, "tokens_seen", (json_int_t)slot->n_seen, "rows_held",
                     (json_int_t)slot->n_rows, "kv_bytes", (json_int_t)slot->kv_bytes, "policy", slot->policy, "budget",
                     (int)slot->budget);
}

void info_slots(http_request *request) {
    enum { MOST = 1024 };
    const service *s = http_data(request);
    worker_slot *slots = calloc(MOST, sizeof *slots);
    if (!slots) return;
    const size_t all = worker_get_slots(s->worker, slots, MOST);
    json_t *list = json_array();
    for (size_t i = 0; i < all && i < MOST; i++) json_array_append_new(list, slot_json(&slots[i]));
    free(slots);
    reply_json(request, 200, list);
}

/* ---- text and tokens --------------------------------------------------------------------------------------------- */

static json_t *pieces(const judgeq_model *model, const int32_t *tokens, size_t n) {
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        char *text = tokens_text(model, &tokens[i], 1);
        json_array_append_new(list, json_pack("{s:i, s:s}", "id", (int)tokens[i], "piece", text ? text : ""));
        free(text);
    }
    return list;
}

static json_t *numbers(const int32_t *tokens, size_t n) {
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(list, json_integer(tokens[i]));
    return list;
}

static json_t *tokenize(const service *s, const fields *f) {
    const char *text = NULL;
    bool begins = false, control = true, with_pieces = false;
    fields_text(f, "content", &text);
    fields_bool(f, "add_special", &begins);
    fields_bool(f, "parse_special", &control);
    fields_bool(f, "with_pieces", &with_pieces);
    if (!text) fields_wrong(f, "content", "expected a text");
    if (f->fault->status != 0 || !text) return NULL;
    const unsigned flags = (begins ? JUDGEQ_TEXT_BEGIN : 0) | (control ? JUDGEQ_TEXT_CONTROL : 0);
    int32_t *tokens = NULL;
    size_t n = 0;
    judgeq_error error = {0};
    const judgeq_status status = judgeq_tokenize_for(s->model, 0, text, strlen(text), flags, &tokens, &n, &error);
    if (!reply_failed(f->fault, status, &error)) return NULL;
    json_t *list = with_pieces ? pieces(s->model, tokens, n) : numbers(tokens, n);
    judgeq_free(tokens);
    return json_pack("{s:o}", "tokens", list);
}

static json_t *detokenize(const service *s, const fields *f) {
    size_t n = 0;
    const json_t *given = fields_array(f, "tokens");
    int32_t *tokens = tokens_of_json(s->model, given, &n);
    if (!tokens && (!given || n > 0)) fields_wrong(f, "tokens", "expected an array of tokens of the vocabulary");
    char *text = f->fault->status == 0 ? tokens_text(s->model, tokens, n) : NULL;
    free(tokens);
    json_t *answer = text ? json_pack("{s:s}", "content", text) : NULL;
    free(text);
    return answer;
}

static json_t *apply_template(const service *s, const fields *f) {
    chat_messages messages;
    char *text = NULL;
    json_t *answer = NULL;
    chat_messages_read(s, f, &messages);
    if (f->fault->status == 0 && !messages.goes_on) {
        ask a = {0};
        const judgeq_chat_plan_info *info = chat_plan_make(s, f, &messages, false, &a);
        if (info) answer = json_pack("{s:s%}", "prompt", info->prompt, info->prompt_length);
        ask_free(&a);
    } else if (f->fault->status == 0 && chat_messages_text(s, &messages, &text, f->fault)) {
        answer = json_pack("{s:s}", "prompt", text);
    }
    judgeq_free(text);
    chat_messages_free(&messages);
    return answer;
}

static void answer(http_request *request, json_t *(*make)(const service *s, const fields *f)) {
    reply_fault fault = {0};
    json_t *body = openai_body(request, &fault);
    const fields f = {.object = body, .within = "", .fault = &fault};
    json_t *made = body ? make(http_data(request), &f) : NULL;
    json_decref(body);
    if (fault.status == 0)
        reply_json(request, 200, made);
    else
        reply_error(request, &fault);
}

void info_tokenize(http_request *request) {
    answer(request, tokenize);
}

void info_detokenize(http_request *request) {
    answer(request, detokenize);
}

void info_apply_template(http_request *request) {
    answer(request, apply_template);
}
