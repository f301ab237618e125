/* openai_chat: POST /v1/chat/completions. Its request is the inner form of all dialects, but for what is checked. */
#include <string.h>

#include "dialect.h"
#include "openai.h"

/* ---- a stream ---------------------------------------------------------------------------------------------------- */

/* {"index", "delta", "logprobs", "finish_reason"} in a chunk. Takes delta. Log-probabilities go with the first delta
 * that comes after them. */
static void send_delta(exchange *e, exchange_answer *a, json_t *delta, const char *finish) {
    json_t *choice = json_pack("{s:i, s:o, s:o, s:s?}", "index", (int)a->index, "delta", delta, "logprobs",
                               openai_chat_logprobs(a->unsent), "finish_reason", finish);
    json_t *chunk = openai_chunk(e, "chat.completion.chunk", choice);
    if (chunk && finish) json_object_set_new(chunk, "judgeq", exchange_kept(e, a));
    exchange_send(e, chunk);
    a->unsent = NULL;
}

/* With the answer's first news: clients take the time until then for that of the first token. */
static void send_role(exchange *e, exchange_answer *a) {
    const json_t *logprobs = a->unsent;
    if (a->n_sent++ > 0) return;
    a->unsent = NULL;
    send_delta(e, a, json_pack("{s:s, s:s}", "role", "assistant", "content", ""), NULL);
    a->unsent = logprobs;
}

static void open_block(exchange *e, exchange_answer *a, const chat_block *b) {
    if (b->kind != CHAT_CALL) return;
    json_t *call = json_pack("{s:i, s:s, s:s, s:{s:s, s:s}}", "index", (int)b->call, "id", b->id ? b->id : "", "type",
                             "function", "function", "name", b->name ? b->name : "", "arguments", "");
    send_delta(e, a, json_pack("{s:[o]}", "tool_calls", call), NULL);
}

static void add_text(exchange *e, exchange_answer *a, const chat_block *b, const char *text, size_t n) {
    json_t *delta = NULL;
    switch (b->kind) {
    case CHAT_THOUGHTS:
        delta = json_pack("{s:s%}", "reasoning_content", text, n);
        break;
    case CHAT_TEXT:
        delta = json_pack("{s:s%}", "content", text, n);
        break;
    case CHAT_CALL:
        delta =
            json_pack("{s:[{s:i, s:{s:s%}}]}", "tool_calls", "index", (int)b->call, "function", "arguments", text, n);
        break;
    }
    send_delta(e, a, delta, NULL);
}

static void more(exchange *e, exchange_answer *a, const char *text, size_t n, const json_t *logprobs) {
    a->unsent = logprobs;
    send_role(e, a);
    dialect_more(e, a, text, n, logprobs);
    if (a->unsent) send_delta(e, a, json_object(), NULL);
}

static const char *finish_of(const exchange_answer *a) {
    return dialect_calls_tools(a) ? "tool_calls" : exchange_finish(a);
}

static void end(exchange *e, exchange_answer *a) {
    send_role(e, a);
    dialect_end(e, a);
    send_delta(e, a, json_object(), finish_of(a));
}

static void last(exchange *e) {
    openai_stream_end(e, "chat.completion.chunk");
}

/* ---- a whole answer ---------------------------------------------------------------------------------------------- */

static json_t *message_json(const exchange_answer *a) {
    text_buffer text[CHAT_CALL] = {0};
    json_t *calls = json_array();
    for (size_t i = 0; i < a->chat.n; i++) {
        const chat_block *b = &a->chat.block[i];
        if (b->kind != CHAT_CALL) {
            text_add(&text[b->kind], chat_block_text(b), b->text.length);
            continue;
        }
        json_array_append_new(calls,
                              json_pack("{s:s, s:s, s:{s:s, s:s}}", "id", b->id ? b->id : "", "type", "function",
                                        "function", "name", b->name ? b->name : "", "arguments", chat_block_text(b)));
    }
    const bool called = json_array_size(calls) > 0;
    const text_buffer *content = &text[CHAT_TEXT], *thoughts = &text[CHAT_THOUGHTS];
    json_t *message = json_pack("{s:s, s:n, s:n}", "role", "assistant", "content", "refusal");
    if (!called || content->length > 0) {
        json_object_set_new(message, "content", json_stringn(content->bytes ? content->bytes : "", content->length));
    }
    if (thoughts->length > 0) {
        json_object_set_new(message, "reasoning_content", json_stringn(thoughts->bytes, thoughts->length));
    }
    if (called) json_object_set(message, "tool_calls", calls);
    json_decref(calls);
    for (int i = 0; i < CHAT_CALL; i++) text_free(&text[i]);
    return message;
}

static json_t *whole(exchange *e) {
    json_t *choices = json_array();
    for (size_t i = 0; i < e->n_answer; i++) {
        exchange_answer *a = &e->answer[i];
        dialect_end(e, a);
        json_t *choice = json_pack("{s:i, s:o, s:o, s:s}", "index", (int)i, "message", message_json(a), "logprobs",
                                   openai_chat_logprobs(a->logprobs), "finish_reason", finish_of(a));
        openai_add_choice(e, choices, choice, a);
    }
    return openai_answer(e, "chat.completion", choices);
}

const dialect openai_chat_dialect = {
    .shape = {.id = "chatcmpl-", .more = more, .end = end, .last = last, .fail = openai_stream_fail, .whole = whole},
    .open = open_block,
    .add = add_text};

void openai_chat(http_request *request) {
    dialect_run(request, &openai_chat_dialect);
}
