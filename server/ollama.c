#include "ollama.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "chat_prompt.h"
#include "openai.h"

/* ---- parts of an answer ------------------------------------------------------------------------------------------ */

void ollama_time(char out[OLLAMA_TIME], int64_t seconds, long nanoseconds) {
    const time_t at = (time_t)seconds;
    struct tm utc;
    gmtime_r(&at, &utc);
    const size_t n = strftime(out, OLLAMA_TIME, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(out + n, OLLAMA_TIME - n, ".%06ldZ", nanoseconds / 1000);
}

/* {"model", "created_at", "done": false}. */
static json_t *head(const service *s) {
    char at[OLLAMA_TIME];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    ollama_time(at, now.tv_sec, now.tv_nsec);
    return json_pack("{s:s, s:s, s:b}", "model", s->name, "created_at", at, "done", false);
}

static bool is_chat(const exchange *e) {
    return e->shape == &ollama_chat_dialect.shape;
}

/* Puts a text, thoughts and calls where this API has them; takes `calls`, which may be NULL. */
static json_t *put_parts(json_t *answer, bool chat, json_t *text, json_t *thoughts, json_t *calls) {
    json_t *within = chat ? json_pack("{s:s}", "role", "assistant") : answer;
    json_object_set_new(within, chat ? "content" : "response", text);
    if (thoughts) json_object_set_new(within, "thinking", thoughts);
    if (calls) json_object_set_new(within, "tool_calls", calls);
    if (chat) json_object_set_new(answer, "message", within);
    return answer;
}

/* Arguments that were cut off are none. */
static json_t *call_json(const chat_block *b) {
    json_t *arguments = json_loads(chat_block_text(b), 0, NULL);
    if (!json_is_object(arguments)) {
        json_decref(arguments);
        arguments = json_object();
    }
    return json_pack("{s:{s:i, s:s, s:o}}", "function", "index", (int)b->call, "name", b->name ? b->name : "",
                     "arguments", arguments);
}

static json_int_t nanoseconds(double seconds) {
    return (json_int_t)(seconds * 1e9);
}

/* Counts and times of an answer that has ended. The model is there already: load_duration is the time in the queue. */
static void put_end(const exchange *e, const exchange_answer *a, json_t *answer) {
    const worker_result *r = a->result;
    json_object_set_new(answer, "done", json_true());
    json_object_set_new(answer, "done_reason", json_string(exchange_finish(a)));
    json_object_set_new(answer, "total_duration", json_integer(nanoseconds(r->waited_s + r->read_s + r->answer_s)));
    json_object_set_new(answer, "load_duration", json_integer(nanoseconds(r->waited_s)));
    json_object_set_new(answer, "prompt_eval_count", json_integer((json_int_t)r->n_prompt));
    json_object_set_new(answer, "prompt_eval_duration", json_integer(nanoseconds(r->read_s)));
    json_object_set_new(answer, "eval_count", json_integer((json_int_t)r->n_answer));
    json_object_set_new(answer, "eval_duration", json_integer(nanoseconds(r->answer_s)));
    json_object_set_new(answer, "judgeq", exchange_kept(e, a));
}

/* ---- a stream ---------------------------------------------------------------------------------------------------- */

/* A line with a part of the answer, and log-probabilities that were not told yet. */
static void send_part(exchange *e, exchange_answer *a, json_t *text, json_t *thoughts, json_t *calls) {
    json_t *line = put_parts(head(e->service), is_chat(e), text, thoughts, calls);
    if (line && a->unsent) json_object_set(line, "logprobs", (json_t *)a->unsent);
    a->unsent = NULL;
    exchange_send(e, line);
}

static void add_text(exchange *e, exchange_answer *a, const chat_block *b, const char *text, size_t n) {
    if (b->kind == CHAT_TEXT) send_part(e, a, json_stringn(text, n), NULL, NULL);
    if (b->kind == CHAT_THOUGHTS) send_part(e, a, json_string(""), json_stringn(text, n), NULL);
}

/* A call is told once it is complete. */
static void close_block(exchange *e, exchange_answer *a, const chat_block *b) {
    if (b->kind == CHAT_CALL) send_part(e, a, json_string(""), NULL, json_pack("[o]", call_json(b)));
}

static void more(exchange *e, exchange_answer *a, const char *text, size_t n, const json_t *logprobs) {
    a->unsent = logprobs;
    dialect_more(e, a, text, n, logprobs);
    if (a->unsent) send_part(e, a, json_string(""), NULL, NULL);
}

static void last(exchange *e) {
    json_t *line = put_parts(head(e->service), is_chat(e), json_string(""), NULL, NULL);
    put_end(e, &e->answer[0], line);
    exchange_send(e, line);
}

static json_t *fault_json(const exchange *e) {
    return reply_fault_ollama(&e->fault, e->service->model_path);
}

static void fail(exchange *e) {
    exchange_send(e, fault_json(e));
}

/* Lines of JSON have no comments: an empty part of the answer. */
static void ping(exchange *e) {
    send_part(e, &e->answer[0], json_string(""), NULL, NULL);
}

/* ---- a whole answer ---------------------------------------------------------------------------------------------- */

static json_t *whole(exchange *e) {
    exchange_answer *a = &e->answer[0];
    text_buffer text[CHAT_CALL] = {0};
    json_t *calls = json_array();
    dialect_end(e, a);
    for (size_t i = 0; i < a->chat.n; i++) {
        const chat_block *b = &a->chat.block[i];
        if (b->kind == CHAT_CALL)
            json_array_append_new(calls, call_json(b));
        else
            text_add(&text[b->kind], chat_block_text(b), b->text.length);
    }
    const text_buffer *said = &text[CHAT_TEXT], *thought = &text[CHAT_THOUGHTS];
    json_t *thoughts = thought->length > 0 ? json_stringn(thought->bytes, thought->length) : NULL;
    json_t *answer = put_parts(head(e->service), is_chat(e), json_stringn(said->bytes ? said->bytes : "", said->length),
                               thoughts, json_array_size(calls) > 0 ? json_incref(calls) : NULL);
    json_decref(calls);
    for (int i = 0; i < CHAT_CALL; i++) text_free(&text[i]);
    if (a->logprobs) json_object_set(answer, "logprobs", a->logprobs);
    put_end(e, a, answer);
    return answer;
}

/* ---- the dialects ------------------------------------------------------------------------------------------------ */

#define SHAPE                                                                                                          \
    {                                                                                                                  \
        .id = "ollama-", .lines = true, .more = more, .end = dialect_end, .last = last, .fail = fail, .ping = ping,    \
        .whole = whole                                                                                                 \
    }

static const dialect_name NAMES[] = {{"max_tokens", "options.num_predict"},
                                     {"temperature", "options.temperature"},
                                     {"top_p", "options.top_p"},
                                     {"top_k", "options.top_k"},
                                     {"min_p", "options.min_p"},
                                     {"seed", "options.seed"},
                                     {"stop", "options.stop"},
                                     {"repeat_penalty", "options.repeat_penalty"},
                                     {"presence_penalty", "options.presence_penalty"},
                                     {"frequency_penalty", "options.frequency_penalty"},
                                     {"response_format", "format"},
                                     {"reasoning_effort", "think"}};
enum { N_NAMES = sizeof NAMES / sizeof *NAMES };

const dialect ollama_chat_dialect = {.shape = SHAPE,
                                     .inner = ollama_inner_chat,
                                     .names = NAMES,
                                     .n_names = N_NAMES,
                                     .add = add_text,
                                     .close = close_block};
const dialect ollama_generate_dialect = {.shape = SHAPE,
                                         .inner = ollama_inner_generate,
                                         .names = NAMES,
                                         .n_names = N_NAMES,
                                         .add = add_text,
                                         .close = close_block};

/* ---- the rooms --------------------------------------------------------------------------------------------------- */

/* Nothing to answer: the model was to be loaded, or, with "keep_alive": 0, to leave. It does neither. Takes `body`, as
 * answer_raw does. */
static void answer_nothing(http_request *request, json_t *body, bool chat) {
    const json_t *keep = json_object_get(body, "keep_alive");
    const bool leaves = json_is_number(keep) && json_number_value(keep) == 0;
    json_t *answer = put_parts(head(http_data(request)), chat, json_string(""), NULL, NULL);
    json_object_set_new(answer, "done", json_true());
    json_object_set_new(answer, "done_reason", json_string(leaves ? "unload" : "load"));
    json_decref(body);
    reply_json(request, 200, answer);
}

/* A prompt as it is. */
static bool read_raw(const service *s, json_t *body, ask *a, exchange_prompt *prompt, reply_fault *fault) {
    const fields given = {.object = body, .within = "", .fault = fault};
    json_t *inner = ollama_inner_options(&given), *text = json_object_get(body, "prompt");
    const fields f = {.object = inner, .within = "", .fault = fault};
    ask_read(s, &f, a);
    ask_keep(a, body, inner);
    dialect_read_logprobs(&f, a);
    ollama_refuse_others(&given);
    ask_refuse(&given, "system", "does not go with \"raw\": true: write it into the prompt");
    ask_refuse(&f, "response_format", "does not go with \"raw\": true");
    json_decref(inner);
    if (fault->status != 0) return false;
    return chat_prompt_raw(s, text, a->context != NULL, &prompt->tokens, &prompt->n, fault);
}

static void answer_raw(http_request *request, json_t *body) {
    reply_fault fault = {0};
    ask a = {0};
    exchange_prompt *prompt = calloc(1, sizeof *prompt);
    const bool good = prompt && read_raw(http_data(request), body, &a, prompt, &fault);
    json_decref(body);
    if (!good) dialect_rename_fault(&ollama_generate_dialect, &fault);
    exchange_run(request, &ollama_generate_dialect.shape, good, &a, prompt, 1, &fault);
}

void ollama_chat(http_request *request) {
    reply_fault fault = {0};
    json_t *body = openai_body(request, &fault);
    const json_t *messages = json_object_get(body, "messages");
    if (body && (!messages || json_is_null(messages) || (json_is_array(messages) && json_array_size(messages) == 0)))
        answer_nothing(request, body, true);
    else
        dialect_run_body(request, &ollama_chat_dialect, body, &fault);
}

void ollama_generate(http_request *request) {
    reply_fault fault = {0};
    json_t *body = openai_body(request, &fault);
    const json_t *prompt = json_object_get(body, "prompt");
    if (body && (!prompt || json_is_null(prompt) || (json_is_string(prompt) && json_string_length(prompt) == 0)))
        answer_nothing(request, body, false);
    else if (json_is_string(prompt) && json_is_true(json_object_get(body, "raw")))
        answer_raw(request, body);
    else
        dialect_run_body(request, &ollama_generate_dialect, body, &fault);
}
