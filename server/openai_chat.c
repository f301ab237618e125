/* openai_chat: POST /v1/chat/completions. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chat_plan.h"
#include "chat_prompt.h"
#include "exchange.h"
#include "openai.h"

/* ---- what the plan reads in an answer ---------------------------------------------------------------------------- */

/* Of all of it, or of what there is so far; NULL where that cannot be read. */
static judgeq_reply *read_reply(const exchange *e, const exchange_answer *a, bool partial) {
    char ids[64];
    judgeq_reply *reply = NULL;
    snprintf(ids, sizeof ids, "%s_%zu_", e->id + strlen(e->shape->id), a->index);
    const char *text = a->text.bytes ? a->text.bytes : "";
    judgeq_chat_plan_parse(shared_plan_get(e->ask.plan), text, a->text.length, partial, ids, &reply, NULL);
    return reply;
}

/* One that was cut off, or is not in the format, is read as far as it goes. */
static judgeq_reply *read_whole(const exchange *e, const exchange_answer *a) {
    judgeq_reply *reply = read_reply(e, a, false);
    return reply ? reply : read_reply(e, a, true);
}

static const char *finish_of(const exchange_answer *a, const judgeq_reply *reply) {
    const char *finish = exchange_finish(a);
    return reply && reply->n_calls > 0 && strcmp(finish, "stop") == 0 ? "tool_calls" : finish;
}

/* ---- a stream ---------------------------------------------------------------------------------------------------- */

/* {"index", "delta", "logprobs", "finish_reason"} in a chunk. Takes delta. */
static void send(exchange *e, const exchange_answer *a, json_t *delta, const json_t *logprobs, const char *finish) {
    json_t *choice = json_pack("{s:i, s:o, s:o, s:s?}", "index", (int)a->index, "delta", delta, "logprobs",
                               openai_chat_logprobs(logprobs), "finish_reason", finish);
    json_t *chunk = openai_chunk(e, "chat.completion.chunk", choice);
    if (chunk && finish) json_object_set_new(chunk, "judgeq", exchange_kept(e, a));
    exchange_send(e, chunk);
}

static void begin(exchange *e, exchange_answer *a) {
    send(e, a, json_pack("{s:s, s:s}", "role", "assistant", "content", ""), NULL, NULL);
}

static json_t *call_delta(const judgeq_reply_delta *d) {
    const bool named = d->name && d->name[0];
    json_t *function = json_pack("{s:s}", "arguments", d->arguments ? d->arguments : "");
    if (named) json_object_set_new(function, "name", json_string(d->name));
    json_t *call = json_pack("{s:i, s:o}", "index", (int)d->call, "function", function);
    if (d->id && d->id[0]) json_object_set_new(call, "id", json_string(d->id));
    if (named) json_object_set_new(call, "type", json_string("function"));
    return call;
}

static json_t *delta_json(const judgeq_reply_delta *d) {
    json_t *delta = json_object();
    if (d->reasoning[0]) json_object_set_new(delta, "reasoning_content", json_string(d->reasoning));
    if (d->content[0]) json_object_set_new(delta, "content", json_string(d->content));
    if (d->has_call) json_object_set_new(delta, "tool_calls", json_pack("[o]", call_delta(d)));
    return delta;
}

/* Sends what `reply` has more than the one before, and keeps it in its place. */
static void advance(exchange *e, exchange_answer *a, judgeq_reply *reply, const json_t *logprobs) {
    judgeq_reply_delta *deltas = NULL;
    size_t n = 0;
    if (!reply || judgeq_reply_deltas(a->reply, reply, &deltas, &n, NULL) != JUDGEQ_OK) {
        judgeq_reply_free(reply); /* what comes next shows what it means */
        if (logprobs) send(e, a, json_object(), logprobs, NULL);
        return;
    }
    for (size_t i = 0; i < n; i++) send(e, a, delta_json(&deltas[i]), i == 0 ? logprobs : NULL, NULL);
    if (n == 0 && logprobs) send(e, a, json_object(), logprobs, NULL);
    judgeq_free(deltas);
    judgeq_reply_free(a->reply);
    a->reply = reply;
}

static void more(exchange *e, exchange_answer *a, const char *text, size_t n, const json_t *logprobs) {
    if (e->ask.parsed) {
        advance(e, a, read_reply(e, a, true), logprobs);
    } else {
        send(e, a, json_pack("{s:s%}", "content", text, n), logprobs, NULL);
    }
}

static void end(exchange *e, exchange_answer *a) {
    if (e->ask.parsed) advance(e, a, read_whole(e, a), NULL);
    send(e, a, json_object(), NULL, finish_of(a, a->reply));
}

static void last(exchange *e) {
    openai_stream_end(e, "chat.completion.chunk");
}

/* ---- a whole answer ---------------------------------------------------------------------------------------------- */

static json_t *calls_json(const judgeq_reply *reply) {
    json_t *calls = json_array();
    for (size_t i = 0; i < reply->n_calls; i++) {
        const judgeq_tool_call *c = &reply->calls[i];
        json_array_append_new(calls, json_pack("{s:s, s:s, s:{s:s, s:s}}", "id", c->id ? c->id : "", "type", "function",
                                               "function", "name", c->name, "arguments", c->arguments));
    }
    return calls;
}

static json_t *message_json(const exchange_answer *a, const judgeq_reply *reply) {
    if (!reply) {
        return json_pack("{s:s, s:s%, s:n}", "role", "assistant", "content", a->text.bytes ? a->text.bytes : "",
                         a->text.length, "refusal");
    }
    const char *content = reply->n_calls > 0 && !reply->content[0] ? NULL : reply->content;
    json_t *message = json_pack("{s:s, s:s?, s:n}", "role", "assistant", "content", content, "refusal");
    if (reply->reasoning[0]) json_object_set_new(message, "reasoning_content", json_string(reply->reasoning));
    if (reply->n_calls > 0) json_object_set_new(message, "tool_calls", calls_json(reply));
    return message;
}

static json_t *whole(exchange *e) {
    json_t *choices = json_array();
    for (size_t i = 0; i < e->n_answer; i++) {
        exchange_answer *a = &e->answer[i];
        if (e->ask.parsed) a->reply = read_whole(e, a);
        json_t *choice =
            json_pack("{s:i, s:o, s:o, s:s}", "index", (int)i, "message", message_json(a, a->reply), "logprobs",
                      openai_chat_logprobs(a->logprobs), "finish_reason", finish_of(a, a->reply));
        openai_add_choice(e, choices, choice, a);
    }
    return openai_answer(e, "chat.completion", choices);
}

static const exchange_shape SHAPE = {
    .id = "chatcmpl-", .begin = begin, .more = more, .end = end, .last = last, .whole = whole};

/* ---- the request ------------------------------------------------------------------------------------------------- */

static void read_logprobs(const fields *f, ask *a) {
    bool wanted = false;
    int32_t n = 0;
    fields_bool(f, "logprobs", &wanted);
    fields_int32(f, "top_logprobs", 0, ASK_TOP_LOGPROBS_MOST, &n);
    if (n > 0 && !wanted) fields_wrong(f, "top_logprobs", "goes with \"logprobs\": true only");
    if (wanted) a->logprobs = n;
}

static bool copy_tokens(const judgeq_chat_plan_info *info, exchange_prompt *prompt, reply_fault *fault) {
    prompt->tokens = malloc(info->n_tokens * sizeof *prompt->tokens + 1);
    if (!prompt->tokens) return reply_wrong(fault, "messages", "no memory");
    if (info->n_tokens > 0) memcpy(prompt->tokens, info->tokens, info->n_tokens * sizeof *prompt->tokens);
    prompt->n = info->n_tokens;
    return true;
}

static bool read_prompt(const service *s, const fields *f, chat_messages *m, ask *a, exchange_prompt *prompt) {
    if (a->context && !chat_messages_put_document(m, f->fault)) return false;
    if (m->goes_on && chat_plan_needed(f)) {
        return fields_wrong(f, "messages",
                            "an answer that is gone on with, at the end, goes neither with tools nor "
                            "with a format or a grammar");
    }
    if (m->goes_on) {
        if (!chat_messages_tokens(s, m, &prompt->tokens, &prompt->n, f->fault)) return false;
    } else {
        const judgeq_chat_plan_info *info = chat_plan_make(s, f, m, a);
        if (!info || !copy_tokens(info, prompt, f->fault)) return false;
    }
    return !a->context || chat_messages_cut_document(s, m, prompt->tokens, &prompt->n, f->fault);
}

bool openai_chat_read(const service *s, const json_t *body, ask *a, exchange_prompt *prompt, reply_fault *fault) {
    const fields f = {.object = body, .within = "", .fault = fault};
    chat_messages messages;
    ask_read(s, &f, a);
    read_logprobs(&f, a);
    chat_messages_read(s, &f, &messages);
    const bool good = fault->status == 0 && read_prompt(s, &f, &messages, a, prompt);
    chat_messages_free(&messages);
    return good && fault->status == 0;
}

void openai_chat(http_request *request) {
    const service *s = http_data(request);
    reply_fault fault = {0};
    ask a = {0};
    exchange_prompt *prompt = calloc(1, sizeof *prompt);
    json_t *body = openai_body(request, &fault);
    if (prompt && body && openai_chat_read(s, body, &a, prompt, &fault)) {
        exchange_run(request, &SHAPE, body, &a, prompt, 1);
        return;
    }
    if (!prompt) reply_wrong(&fault, NULL, "no memory");
    reply_error(request, &fault);
    exchange_prompts_free(prompt, prompt ? 1 : 0);
    ask_free(&a);
    json_decref(body);
}
