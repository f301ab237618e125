#include "openai_responses.h"

#include <stdio.h>
#include <string.h>

/* ---- items ------------------------------------------------------------------------------------------------------- */

typedef struct item_name {
    char text[80];
} item_name;

/* An item's id: the answer's with another beginning, and a number. */
static item_name name_of(const exchange *e, const chat_block *b) {
    static const char *const begin[] = {[CHAT_THOUGHTS] = "rs", [CHAT_TEXT] = "msg", [CHAT_CALL] = "fc"};
    item_name name;
    snprintf(name.text, sizeof name.text, "%s_%s_%zu", begin[b->kind], e->id + strlen(e->shape->id), b->index);
    return name;
}

static json_t *part_json(const chat_block *b, const char *text) {
    if (b->kind == CHAT_THOUGHTS) return json_pack("{s:s, s:s}", "type", "reasoning_text", "text", text);
    return json_pack("{s:s, s:s, s:[], s:[]}", "type", "output_text", "text", text, "annotations", "logprobs");
}

/* text: so far. content: takes it. */
static json_t *item_json(const exchange *e, const chat_block *b, const char *status, const char *text,
                         json_t *content) {
    const item_name id = name_of(e, b);
    switch (b->kind) {
    case CHAT_THOUGHTS:
        return json_pack("{s:s, s:s, s:[], s:o, s:s}", "type", "reasoning", "id", id.text, "summary", "content",
                         content, "status", status);
    case CHAT_TEXT:
        return json_pack("{s:s, s:s, s:s, s:s, s:o}", "type", "message", "id", id.text, "status", status, "role",
                         "assistant", "content", content);
    default:
        json_decref(content);
        return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "type", "function_call", "id", id.text, "call_id",
                         b->id ? b->id : "", "name", b->name ? b->name : "", "arguments", text, "status", status);
    }
}

/* The last item of an answer that was cut off is incomplete. */
static json_t *whole_item(const exchange *e, const exchange_answer *a, const chat_block *b) {
    const bool cut = b->index + 1 == a->chat.n && strcmp(exchange_finish(a), "length") == 0;
    const char *text = chat_block_text(b);
    return item_json(e, b, cut ? "incomplete" : "completed", text, json_pack("[o]", part_json(b, text)));
}

/* ---- the response ------------------------------------------------------------------------------------------------ */

/* Thoughts are counted as text. */
static json_int_t thought_tokens(const exchange *e, const exchange_answer *a) {
    json_int_t all = 0;
    for (size_t i = 0; i < a->chat.n; i++) {
        const chat_block *b = &a->chat.block[i];
        int32_t *tokens = NULL;
        size_t n = 0;
        if (b->kind != CHAT_THOUGHTS) continue;
        judgeq_tokenize_for(e->service->model, 0, chat_block_text(b), b->text.length, 0, &tokens, &n, NULL);
        judgeq_free(tokens);
        all += (json_int_t)n;
    }
    return all;
}

json_t *openai_responses_usage(const exchange *e, const exchange_answer *a) {
    const worker_result *r = a->result;
    if (!r || r->status != JUDGEQ_OK) return json_null();
    const json_int_t n_prompt = r->n_prompt, n_cached = r->n_cached, n_answer = r->n_answer;
    return json_pack("{s:I, s:{s:I, s:i}, s:I, s:{s:I}, s:I}", "input_tokens", n_prompt, "input_tokens_details",
                     "cached_tokens", n_cached, "cache_write_tokens", 0, "output_tokens", n_answer,
                     "output_tokens_details", "reasoning_tokens", thought_tokens(e, a), "total_tokens",
                     n_prompt + n_answer);
}

/* The request's field, or what stands in its place. Takes `otherwise`. */
static void echo(const exchange *e, json_t *response, const char *name, json_t *otherwise) {
    json_t *given = json_object_get(e->ask.given, name);
    if (given && !json_is_null(given)) {
        json_object_set(response, name, given);
        json_decref(otherwise);
    } else {
        json_object_set_new(response, name, otherwise);
    }
}

/* With the items that are closed. */
static json_t *response_json(const exchange *e, const char *status) {
    const exchange_answer *a = &e->answer[0];
    json_t *output = json_array();
    for (size_t i = 0; i < a->chat.n; i++) {
        if (a->chat.block[i].closed) json_array_append_new(output, whole_item(e, a, &a->chat.block[i]));
    }
    json_t *response =
        json_pack("{s:s, s:s, s:I, s:s, s:n, s:n, s:s, s:o, s:o, s:b, s:n, s:s}", "id", e->id, "object", "response",
                  "created_at", (json_int_t)e->created, "status", status, "error", "incomplete_details", "model",
                  e->service->name, "output", output, "usage", openai_responses_usage(e, a), "store", false,
                  "previous_response_id", "truncation", "disabled");
    if (!response) return NULL;
    echo(e, response, "instructions", json_null());
    echo(e, response, "max_output_tokens", json_null());
    echo(e, response, "metadata", json_object());
    echo(e, response, "parallel_tool_calls", json_true());
    echo(e, response, "reasoning", json_null());
    echo(e, response, "temperature", json_real((double)e->ask.sampler.temperature));
    echo(e, response, "text", json_pack("{s:{s:s}}", "format", "type", "text"));
    echo(e, response, "tool_choice", json_string("auto"));
    echo(e, response, "tools", json_array());
    echo(e, response, "top_p", json_real((double)e->ask.sampler.top_p));
    return response;
}

/* Of an answer that has ended. */
static json_t *ended_response(const exchange *e) {
    const exchange_answer *a = &e->answer[0];
    const bool cut = strcmp(exchange_finish(a), "length") == 0;
    json_t *response = response_json(e, cut ? "incomplete" : "completed");
    if (cut) {
        json_object_set_new(response, "incomplete_details", json_pack("{s:s}", "reason", "max_output_tokens"));
    }
    json_object_set_new(response, "judgeq", exchange_kept(e, a));
    return response;
}

/* ---- a stream ---------------------------------------------------------------------------------------------------- */

/* Takes `event`. */
static void send_event(exchange *e, json_t *event) {
    json_object_set_new(event, "sequence_number", json_integer((json_int_t)e->answer[0].n_sent++));
    exchange_send_typed(e, event);
}

static void send_response(exchange *e, const char *type, json_t *response) {
    send_event(e, json_pack("{s:s, s:o}", "type", type, "response", response));
}

/* An event of an item's text. */
static json_t *text_event(const exchange *e, const chat_block *b, const char *what) {
    static const char *const of[] = {
        [CHAT_THOUGHTS] = "reasoning_text", [CHAT_TEXT] = "output_text", [CHAT_CALL] = "function_call_arguments"};
    json_t *event = json_pack("{s:o, s:s, s:i}", "type", json_sprintf("response.%s.%s", of[b->kind], what), "item_id",
                              name_of(e, b).text, "output_index", (int)b->index);
    if (b->kind != CHAT_CALL) json_object_set_new(event, "content_index", json_integer(0));
    if (b->kind == CHAT_TEXT) json_object_set_new(event, "logprobs", json_array());
    return event;
}

static void send_item(exchange *e, const chat_block *b, const char *type, json_t *item) {
    send_event(e, json_pack("{s:s, s:i, s:o}", "type", type, "output_index", (int)b->index, "item", item));
}

static void send_part(exchange *e, const chat_block *b, const char *type, const char *text) {
    if (b->kind == CHAT_CALL) return;
    send_event(e, json_pack("{s:s, s:s, s:i, s:i, s:o}", "type", type, "item_id", name_of(e, b).text, "output_index",
                            (int)b->index, "content_index", 0, "part", part_json(b, text)));
}

static void begin(exchange *e, exchange_answer *a) {
    (void)a;
    send_response(e, "response.created", response_json(e, "in_progress"));
    send_response(e, "response.in_progress", response_json(e, "in_progress"));
}

static void open_item(exchange *e, exchange_answer *a, const chat_block *b) {
    (void)a;
    send_item(e, b, "response.output_item.added", item_json(e, b, "in_progress", "", json_array()));
    send_part(e, b, "response.content_part.added", "");
}

static void add_text(exchange *e, exchange_answer *a, const chat_block *b, const char *text, size_t n) {
    (void)a;
    json_t *event = text_event(e, b, "delta");
    json_object_set_new(event, "delta", json_stringn(text, n));
    send_event(e, event);
}

static void close_item(exchange *e, exchange_answer *a, const chat_block *b) {
    const char *text = chat_block_text(b);
    json_t *event = text_event(e, b, "done");
    json_object_set_new(event, b->kind == CHAT_CALL ? "arguments" : "text", json_string(text));
    if (b->kind == CHAT_CALL) json_object_set_new(event, "name", json_string(b->name ? b->name : ""));
    send_event(e, event);
    send_part(e, b, "response.content_part.done", text);
    send_item(e, b, "response.output_item.done", whole_item(e, a, b));
}

static void last(exchange *e) {
    json_t *response = ended_response(e);
    const char *status = json_string_value(json_object_get(response, "status"));
    const bool cut = status && strcmp(status, "incomplete") == 0;
    send_response(e, cut ? "response.incomplete" : "response.completed", response);
}

static void fail(exchange *e) {
    json_t *fault = reply_fault_json(&e->fault, e->service->model_path), *response = response_json(e, "failed");
    const json_t *said = json_object_get(json_object_get(fault, "error"), "message");
    json_object_set_new(response, "error", json_pack("{s:s, s:O}", "code", "server_error", "message", (json_t *)said));
    json_decref(fault);
    send_response(e, "response.failed", response);
}

static json_t *whole(exchange *e) {
    dialect_end(e, &e->answer[0]);
    return ended_response(e);
}

const dialect_name openai_responses_names[N_OPENAI_RESPONSES_NAMES] = {{"messages", "input"},
                                                                       {"max_tokens", "max_output_tokens"},
                                                                       {"response_format", "text.format"},
                                                                       {"reasoning_effort", "reasoning.effort"}};

const dialect openai_responses_dialect = {.shape = {.id = "resp_",
                                                    .begin = begin,
                                                    .more = dialect_more,
                                                    .end = dialect_end,
                                                    .last = last,
                                                    .fail = fail,
                                                    .whole = whole},
                                          .inner = openai_responses_inner,
                                          .names = openai_responses_names,
                                          .n_names = N_OPENAI_RESPONSES_NAMES,
                                          .open = open_item,
                                          .add = add_text,
                                          .close = close_item};

void openai_responses(http_request *request) {
    dialect_run(request, &openai_responses_dialect);
}
