#include "anthropic.h"

#include <stdlib.h>

#include "job.h"
#include "openai.h"

/* ---- parts of an answer ------------------------------------------------------------------------------------------ */

/* input: of a tool call. Takes it. */
static json_t *block_json(const chat_block *b, const char *text, json_t *input) {
    if (b->kind == CHAT_CALL) {
        return json_pack("{s:s, s:s, s:s, s:o}", "type", "tool_use", "id", b->id ? b->id : "", "name",
                         b->name ? b->name : "", "input", input);
    }
    if (b->kind == CHAT_TEXT) return json_pack("{s:s, s:s}", "type", "text", "text", text);
    return json_pack("{s:s, s:s, s:s}", "type", "thinking", "thinking", text, "signature", "");
}

/* Arguments that were cut off are none. */
static json_t *input_of(const chat_block *b) {
    json_t *input = b->kind == CHAT_CALL ? json_loads(chat_block_text(b), 0, NULL) : NULL;
    if (b->kind != CHAT_CALL || json_is_object(input)) return input;
    json_decref(input);
    return json_object();
}

/* input_tokens are those that were read for this answer, as Anthropic counts them: not what was there already. */
static json_t *usage_json(int64_t n_prompt, int64_t n_cached, int64_t n_answer) {
    return json_pack("{s:I, s:i, s:I, s:I}", "input_tokens", (json_int_t)(n_prompt - n_cached),
                     "cache_creation_input_tokens", 0, "cache_read_input_tokens", (json_int_t)n_cached, "output_tokens",
                     (json_int_t)n_answer);
}

static json_t *usage_of(const exchange_answer *a) {
    return usage_json(a->result->n_prompt, a->result->n_cached, a->result->n_answer);
}

/* The stop text of the request that the answer ended before; the plan's follow them. */
static const char *stop_text(const exchange *e, const exchange_answer *a) {
    const size_t n = json_array_size(json_object_get(e->ask.body, "stop"));
    const int32_t stop = a->result->stop;
    return stop >= 0 && (size_t)stop < n ? e->ask.stop[stop] : NULL;
}

static const char *stop_reason(const exchange *e, const exchange_answer *a) {
    if (a->result->end == GENERATION_CONTEXT) return "model_context_window_exceeded";
    if (a->result->end == GENERATION_LENGTH) return "max_tokens";
    if (dialect_calls_tools(a)) return "tool_use";
    return stop_text(e, a) ? "stop_sequence" : "end_turn";
}

/* Takes content and usage. */
static json_t *message_json(const exchange *e, json_t *content, const char *reason, const char *stop, json_t *usage) {
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:s?, s:s?, s:o}", "id", e->id, "type", "message", "role", "assistant",
                     "model", e->service->name, "content", content, "stop_reason", reason, "stop_sequence", stop,
                     "usage", usage);
}

/* ---- a stream ---------------------------------------------------------------------------------------------------- */

static void begin(exchange *e, exchange_answer *a) {
    json_t *usage = usage_json(a->news.n_prompt, a->news.n_prompt - a->news.n_to_read, 0);
    json_t *message = message_json(e, json_array(), NULL, NULL, usage);
    exchange_send_typed(e, json_pack("{s:s, s:o}", "type", "message_start", "message", message));
}

static void open_block(exchange *e, exchange_answer *a, const chat_block *b) {
    (void)a;
    exchange_send_typed(e, json_pack("{s:s, s:i, s:o}", "type", "content_block_start", "index", (int)b->index,
                                     "content_block", block_json(b, "", b->kind == CHAT_CALL ? json_object() : NULL)));
}

static void add_text(exchange *e, exchange_answer *a, const chat_block *b, const char *text, size_t n) {
    static const char *const names[][2] = {[CHAT_THOUGHTS] = {"thinking_delta", "thinking"},
                                           [CHAT_TEXT] = {"text_delta", "text"},
                                           [CHAT_CALL] = {"input_json_delta", "partial_json"}};
    (void)a;
    exchange_send_typed(e, json_pack("{s:s, s:i, s:{s:s, s:s%}}", "type", "content_block_delta", "index", (int)b->index,
                                     "delta", "type", names[b->kind][0], names[b->kind][1], text, n));
}

static void close_block(exchange *e, exchange_answer *a, const chat_block *b) {
    (void)a;
    exchange_send_typed(e, json_pack("{s:s, s:i}", "type", "content_block_stop", "index", (int)b->index));
}

static void last(exchange *e) {
    const exchange_answer *a = &e->answer[0];
    json_t *event =
        json_pack("{s:s, s:{s:s, s:s?}, s:o, s:o}", "type", "message_delta", "delta", "stop_reason", stop_reason(e, a),
                  "stop_sequence", stop_text(e, a), "usage", usage_of(a), "judgeq", exchange_kept(e, a));
    exchange_send_typed(e, event);
    exchange_send_typed(e, json_pack("{s:s}", "type", "message_stop"));
}

static void fail(exchange *e) {
    exchange_send_typed(e, reply_fault_anthropic(&e->fault, e->service->model_path));
}

static void ping(exchange *e) {
    exchange_send_typed(e, json_pack("{s:s}", "type", "ping"));
}

/* ---- a whole answer ---------------------------------------------------------------------------------------------- */

static json_t *whole(exchange *e) {
    exchange_answer *a = &e->answer[0];
    json_t *content = json_array();
    dialect_end(e, a);
    for (size_t i = 0; i < a->chat.n; i++) {
        const chat_block *b = &a->chat.block[i];
        json_array_append_new(content, block_json(b, chat_block_text(b), input_of(b)));
    }
    json_t *message = message_json(e, content, stop_reason(e, a), stop_text(e, a), usage_of(a));
    if (message) json_object_set_new(message, "judgeq", exchange_kept(e, a));
    return message;
}

static const dialect_name NAMES[] = {{"stop", "stop_sequences"},
                                     {"response_format", "output_config.format"},
                                     {"reasoning_effort", "output_config.effort"}};
enum { N_NAMES = sizeof NAMES / sizeof *NAMES };

const dialect anthropic_dialect = {.shape = {.id = "msg_",
                                             .begin = begin,
                                             .more = dialect_more,
                                             .end = dialect_end,
                                             .last = last,
                                             .fail = fail,
                                             .ping = ping,
                                             .whole = whole},
                                   .inner = anthropic_inner,
                                   .names = NAMES,
                                   .n_names = N_NAMES,
                                   .open = open_block,
                                   .add = add_text,
                                   .close = close_block};

void anthropic_messages(http_request *request) {
    dialect_run(request, &anthropic_dialect);
}

/* ---- counting ---------------------------------------------------------------------------------------------------- */

/* Those of the context that they follow, too. */
static bool count(const ask *a, const exchange_prompt *prompt, int64_t *n, reply_fault *fault) {
    judgeq_snapshot_info info = {0};
    judgeq_error error = {0};
    const judgeq_status status = a->context ? job_read_context(a->context, &info, NULL, &error) : JUDGEQ_OK;
    *n = (int64_t)prompt->n + info.n_tokens;
    reply_failed(fault, status, &error);
    reply_hide_folder(fault, a->context);
    return status == JUDGEQ_OK;
}

void anthropic_count_tokens(http_request *request) {
    static const dialect counting = {
        .shape = {.id = ""}, .inner = anthropic_inner_to_count, .names = NAMES, .n_names = N_NAMES};
    reply_fault fault = {0};
    ask a = {0};
    exchange_prompt *prompt = calloc(1, sizeof *prompt);
    int64_t n = 0;
    json_t *body = openai_body(request, &fault);
    const bool good = body && prompt && dialect_read(http_data(request), &counting, body, &a, prompt, &fault) &&
                      count(&a, prompt, &n, &fault);
    if (good) {
        reply_json(request, 200, json_pack("{s:I}", "input_tokens", (json_int_t)n));
    } else {
        if (!prompt) reply_no_memory(&fault);
        reply_error(request, &fault);
    }
    exchange_prompts_free(prompt, prompt ? 1 : 0);
    ask_free(&a);
    json_decref(body);
}
