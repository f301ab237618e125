/* Answers of chats in each dialect, from what a model writes, in pieces of any size: a thought, a text and two calls.
 */
#include "check.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/anthropic.h"
#include "server/ollama.h"
#include "server/openai_responses.h"
#include "tiny_model.h"

static service all;

/* What Qwen3 writes, as its makers' template reads it back. */
static const char WRITTEN[] =
    "<think>\nHm, two cities.\n</think>\n\nI look it up.\n<tool_call>\n{\"name\": \"weather\", "
    "\"arguments\": {\"city\": \"Oslo\"}}\n</tool_call>\n<tool_call>\n{\"name\": \"weather\", "
    "\"arguments\": {\"city\": \"Bergen\"}}\n</tool_call>";
static const char THOUGHT[] = "Hm, two cities.", TEXT[] = "I look it up.";
static const char *const CITIES[] = {"Oslo", "Bergen"};

static int set_up(void **state) {
    tiny_spec spec = tiny_spec_base();
    judgeq_model *model = NULL;
    spec.vocabulary = TINY_VOCABULARY_BPE;
    if (fixture_set_up(state) != 0 || tiny_model_write(&spec, path_in("model.gguf")) != 0) return -1;
    if (judgeq_model_load(path_in("model.gguf"), &model, NULL) != JUDGEQ_OK) return -1;
    all = (service){.model = model, .name = "tiny", .policy = "full", .n_ctx = 1024};
    return 0;
}

static int tear_down(void **state) {
    judgeq_model_free((judgeq_model *)all.model);
    return fixture_tear_down(state);
}

/* ---- an answer without a job ------------------------------------------------------------------------------------- */

static shared_plan *plan_with_tools(void) {
    size_t size;
    judgeq_chat_plan *plan = NULL;
    char *text = fixture_read(JUDGEQ_PLAN_DATA "/qwen-3.jinja", &size);
    assert_non_null(text);
    const judgeq_chat_plan_params params = {
        .messages = "[{\"role\": \"user\", \"content\": \"What is it like?\"}]",
        .tools =
            "[{\"type\": \"function\", \"function\": {\"name\": \"weather\", \"parameters\": {\"type\": \"object\", "
            "\"properties\": {\"city\": {\"type\": \"string\"}}, \"required\": [\"city\"]}}}]",
        .parallel_tool_calls = true,
        .template_text = text};
    CHECK(judgeq_chat_plan_new(all.model, &params, &plan, error));
    free(text);
    return shared_plan_new(plan);
}

/* Writes text[n] in pieces of `piece` bytes: a stream's events in e->out, or what was written in the answer's blocks.
 */
static exchange *answer(const dialect *d, bool stream, const char *text, size_t piece) {
    static const worker_result result = {
        .end = GENERATION_STOP, .stop = -1, .n_prompt = 9, .n_cached = 4, .n_answer = 7};
    exchange *e = calloc(1, sizeof *e);
    assert_non_null(e);
    *e = (exchange){.service = &all,
                    .shape = &d->shape,
                    .ask = {.n = 1, .stream = stream, .parsed = true, .plan = plan_with_tools()},
                    .n_answer = 1,
                    .id = "id_1",
                    .event = -1};
    ask_keep(&e->ask, json_pack("{}"), json_pack("{}"));
    json_decref(e->ask.given);
    json_decref(e->ask.body);
    exchange_answer *a = &e->answer[0];
    a->news = (worker_news){.state = WORKER_ANSWERING, .n_prompt = 9, .n_to_read = 5};
    if (stream && d->shape.begin) d->shape.begin(e, a);
    for (size_t at = 0; at < strlen(text); at += piece) {
        const size_t n = strnlen(text + at, piece);
        text_add(&a->text, text + at, n);
        if (stream) d->shape.more(e, a, text + at, n, NULL);
    }
    a->result = &result;
    if (stream) d->shape.end(e, a);
    if (stream) d->shape.last(e);
    return e;
}

static void answer_free(exchange *e) {
    chat_blocks_free(&e->answer[0].chat);
    text_free(&e->answer[0].text);
    text_free(&e->out);
    ask_free(&e->ask);
    free(e);
}

/* The data of a stream's events, those that are JSON, or its lines; and that each is named by its type. */
static json_t *events_of(const exchange *e) {
    json_t *events = json_array();
    char *all_text = strdup(e->out.bytes), *rest = all_text, *line, name[64] = "";
    assert_false(e->out.failed);
    while ((line = strsep(&rest, "\n"))) {
        if (strncmp(line, "event: ", 7) == 0) snprintf(name, sizeof name, "%s", line + 7);
        const char *text = strncmp(line, "data: ", 6) == 0 ? line + 6 : line;
        if (text[0] != '{') continue;
        json_t *event = json_loads(text, 0, NULL);
        assert_non_null(event);
        if (name[0]) assert_string_equal(json_string_value(json_object_get(event, "type")), name);
        json_array_append_new(events, event);
    }
    free(all_text);
    return events;
}

static const char *text_at(const json_t *object, const char *name) {
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

/* ---- Anthropic's ------------------------------------------------------------------------------------------------- */

static void check_call(const json_t *block, const char *city) {
    assert_string_equal(text_at(block, "type"), "tool_use");
    assert_string_equal(text_at(block, "name"), "weather");
    assert_string_not_equal(text_at(block, "id"), "");
    assert_string_equal(text_at(json_object_get(block, "input"), "city"), city);
}

static void check_content(const json_t *content) {
    assert_int_equal(json_array_size(content), 4);
    const json_t *thought = json_array_get(content, 0), *text = json_array_get(content, 1);
    assert_string_equal(text_at(thought, "type"), "thinking");
    assert_string_equal(text_at(thought, "thinking"), THOUGHT);
    assert_string_equal(text_at(text, "type"), "text");
    assert_string_equal(text_at(text, "text"), TEXT);
    for (size_t i = 0; i < 2; i++) check_call(json_array_get(content, 2 + i), CITIES[i]);
}

/* As a client does: what its deltas add to is what it had been told of, and what is stopped is not added to. */
static json_t *content_of_events(const json_t *events) {
    json_t *content = json_array(), *event;
    size_t i, n_stopped = 0;
    char *arguments[8] = {0};
    json_array_foreach(events, i, event) {
        const char *type = text_at(event, "type");
        const size_t index = (size_t)json_integer_value(json_object_get(event, "index"));
        json_t *delta = json_object_get(event, "delta"), *block = json_array_get(content, index);
        if (strcmp(type, "content_block_start") == 0) {
            assert_int_equal(index, json_array_size(content));
            assert_int_equal(index, n_stopped);
            json_array_append(content, json_object_get(event, "content_block"));
        } else if (strcmp(type, "content_block_delta") == 0) {
            const char *name = strcmp(text_at(delta, "type"), "thinking_delta") == 0 ? "thinking" : "text";
            const bool part = strcmp(text_at(delta, "type"), "input_json_delta") == 0;
            assert_int_equal(index, n_stopped);
            char *before = part ? arguments[index] : NULL;
            if (part && asprintf(&arguments[index], "%s%s", before ? before : "", text_at(delta, "partial_json")) < 0) {
                fail();
            }
            free(before);
            if (part) continue;
            json_object_set_new(block, name, json_sprintf("%s%s", text_at(block, name), text_at(delta, name)));
        } else if (strcmp(type, "content_block_stop") == 0) {
            assert_int_equal(index, n_stopped++);
            if (!arguments[index]) continue;
            json_object_set_new(block, "input", json_loads(arguments[index], 0, NULL));
            free(arguments[index]);
        }
    }
    assert_int_equal(n_stopped, json_array_size(content));
    return content;
}

static void test_anthropic(void **state) {
    (void)state;
    exchange *e = answer(&anthropic_dialect, false, WRITTEN, sizeof WRITTEN);
    json_t *message = e->shape->whole(e);
    check_content(json_object_get(message, "content"));
    assert_string_equal(text_at(message, "stop_reason"), "tool_use");
    const json_t *usage = json_object_get(message, "usage");
    assert_int_equal(json_integer_value(json_object_get(usage, "input_tokens")), 5);
    assert_int_equal(json_integer_value(json_object_get(usage, "cache_read_input_tokens")), 4);
    json_decref(message);
    answer_free(e);
    for (size_t piece = 1; piece < sizeof WRITTEN; piece = 3 * piece + 1) {
        e = answer(&anthropic_dialect, true, WRITTEN, piece);
        json_t *events = events_of(e), *content = content_of_events(events);
        check_content(content);
        json_decref(content);
        json_decref(events);
        answer_free(e);
    }
}

/* ---- OpenAI's chat ----------------------------------------------------------------------------------------------- */

static void check_message(const json_t *message) {
    const json_t *calls = json_object_get(message, "tool_calls");
    assert_string_equal(text_at(message, "content"), TEXT);
    assert_string_equal(text_at(message, "reasoning_content"), THOUGHT);
    assert_int_equal(json_array_size(calls), 2);
    for (size_t i = 0; i < 2; i++) {
        const json_t *call = json_array_get(calls, i), *function = json_object_get(call, "function");
        json_t *arguments = json_loads(text_at(function, "arguments"), 0, NULL);
        assert_string_not_equal(text_at(call, "id"), "");
        assert_string_equal(text_at(function, "name"), "weather");
        assert_string_equal(text_at(arguments, "city"), CITIES[i]);
        json_decref(arguments);
    }
}

/* Adds a text of `delta` to that of `object`. */
static void add_to(json_t *object, const json_t *delta, const char *name) {
    const json_t *more = json_object_get(delta, name);
    if (json_is_string(more)) {
        json_object_set_new(object, name, json_sprintf("%s%s", text_at(object, name), json_string_value(more)));
    }
}

static json_t *message_of_chunks(const json_t *chunks) {
    json_t *message = json_pack("{s:[]}", "tool_calls"), *chunk;
    json_t *calls = json_object_get(message, "tool_calls");
    size_t i;
    json_array_foreach(chunks, i, chunk) {
        const json_t *delta = json_object_get(json_array_get(json_object_get(chunk, "choices"), 0), "delta");
        const json_t *part = json_array_get(json_object_get(delta, "tool_calls"), 0);
        add_to(message, delta, "content");
        add_to(message, delta, "reasoning_content");
        if (!part) continue;
        const size_t index = (size_t)json_integer_value(json_object_get(part, "index"));
        if (index == json_array_size(calls)) json_array_append_new(calls, json_pack("{s:{}}", "function"));
        json_t *call = json_array_get(calls, index);
        assert_non_null(call);
        add_to(call, part, "id");
        add_to(json_object_get(call, "function"), json_object_get(part, "function"), "name");
        add_to(json_object_get(call, "function"), json_object_get(part, "function"), "arguments");
    }
    return message;
}

static void test_openai_chat(void **state) {
    (void)state;
    exchange *e = answer(&openai_chat_dialect, false, WRITTEN, sizeof WRITTEN);
    json_t *whole = e->shape->whole(e);
    check_message(json_object_get(json_array_get(json_object_get(whole, "choices"), 0), "message"));
    json_decref(whole);
    answer_free(e);
    for (size_t piece = 1; piece < sizeof WRITTEN; piece = 3 * piece + 1) {
        e = answer(&openai_chat_dialect, true, WRITTEN, piece);
        json_t *chunks = events_of(e), *message = message_of_chunks(chunks);
        check_message(message);
        json_decref(message);
        json_decref(chunks);
        answer_free(e);
    }
}

/* ---- Ollama's ---------------------------------------------------------------------------------------------------- */

static void check_parts(const json_t *within, const char *content) {
    const json_t *calls = json_object_get(within, "tool_calls");
    assert_string_equal(text_at(within, content), TEXT);
    assert_string_equal(text_at(within, "thinking"), THOUGHT);
    assert_int_equal(json_array_size(calls), 2);
    for (size_t i = 0; i < 2; i++) {
        const json_t *function = json_object_get(json_array_get(calls, i), "function");
        assert_string_equal(text_at(function, "name"), "weather");
        assert_string_equal(text_at(json_object_get(function, "arguments"), "city"), CITIES[i]);
    }
}

/* A client adds the texts of all parts up; each call is in one of them. */
static json_t *sum_of_lines(const json_t *lines, const char *content, bool chat) {
    json_t *sum = json_pack("{s:[]}", "tool_calls"), *line;
    size_t i;
    json_array_foreach(lines, i, line) {
        const json_t *part = chat ? json_object_get(line, "message") : line;
        assert_true(json_is_boolean(json_object_get(line, "done")));
        assert_int_equal(json_is_true(json_object_get(line, "done")), i + 1 == json_array_size(lines));
        add_to(sum, part, content);
        add_to(sum, part, "thinking");
        json_array_extend(json_object_get(sum, "tool_calls"), json_object_get(part, "tool_calls"));
    }
    return sum;
}

static void check_ollama(const dialect *d, const char *content, bool chat) {
    exchange *e = answer(d, false, WRITTEN, sizeof WRITTEN);
    json_t *whole = e->shape->whole(e);
    check_parts(chat ? json_object_get(whole, "message") : whole, content);
    assert_string_equal(text_at(whole, "done_reason"), "stop");
    assert_int_equal(json_integer_value(json_object_get(whole, "prompt_eval_count")), 9);
    assert_int_equal(json_integer_value(json_object_get(whole, "eval_count")), 7);
    json_decref(whole);
    answer_free(e);
    for (size_t piece = 1; piece < sizeof WRITTEN; piece = 3 * piece + 1) {
        e = answer(d, true, WRITTEN, piece);
        json_t *lines = events_of(e), *sum = sum_of_lines(lines, content, chat);
        check_parts(sum, content);
        json_decref(sum);
        json_decref(lines);
        answer_free(e);
    }
}

static void test_ollama(void **state) {
    (void)state;
    check_ollama(&ollama_chat_dialect, "content", true);
    check_ollama(&ollama_generate_dialect, "response", false);
}

/* ---- OpenAI's responses ------------------------------------------------------------------------------------------ */

static const char *part_text(const json_t *item) {
    assert_int_equal(json_array_size(json_object_get(item, "content")), 1);
    return text_at(json_array_get(json_object_get(item, "content"), 0), "text");
}

static void check_output(const json_t *response) {
    const json_t *output = json_object_get(response, "output");
    static const char *const types[] = {"reasoning", "message", "function_call", "function_call"};
    assert_string_equal(text_at(response, "status"), "completed");
    assert_int_equal(json_array_size(output), 4);
    for (size_t i = 0; i < 4; i++) {
        const json_t *item = json_array_get(output, i);
        assert_string_equal(text_at(item, "type"), types[i]);
        assert_string_equal(text_at(item, "status"), "completed");
        if (i < 2) assert_string_equal(part_text(item), i == 0 ? THOUGHT : TEXT);
        if (i < 2) continue;
        json_t *arguments = json_loads(text_at(item, "arguments"), 0, NULL);
        assert_string_not_equal(text_at(item, "call_id"), "");
        assert_string_equal(text_at(item, "name"), "weather");
        assert_string_equal(text_at(arguments, "city"), CITIES[i - 2]);
        json_decref(arguments);
    }
}

/* Items come one after the other, named by their ids; deltas add to what is said to be done. */
static void check_events(const json_t *events) {
    json_t *event, *item = NULL;
    char *text = strdup("");
    size_t i, n_done = 0;
    json_array_foreach(events, i, event) {
        const char *type = text_at(event, "type");
        assert_int_equal(json_integer_value(json_object_get(event, "sequence_number")), i);
        if (!json_object_get(event, "output_index")) continue;
        assert_int_equal(json_integer_value(json_object_get(event, "output_index")), n_done);
        if (json_object_get(event, "item_id")) assert_string_equal(text_at(event, "item_id"), text_at(item, "id"));
        if (strcmp(type, "response.output_item.added") == 0) item = json_object_get(event, "item");
        if (strstr(type, ".delta")) {
            char *before = text;
            if (asprintf(&text, "%s%s", before, text_at(event, "delta")) < 0) fail();
            free(before);
        }
        if (strstr(type, "_text.done")) assert_string_equal(text_at(event, "text"), text);
        if (strstr(type, "arguments.done")) assert_string_equal(text_at(event, "arguments"), text);
        if (strcmp(type, "response.output_item.done") != 0) continue;
        assert_string_equal(text_at(json_object_get(event, "item"), "id"), text_at(item, "id"));
        text[0] = '\0';
        n_done++;
    }
    free(text);
    assert_int_equal(n_done, 4);
}

static void test_openai_responses(void **state) {
    (void)state;
    exchange *e = answer(&openai_responses_dialect, false, WRITTEN, sizeof WRITTEN);
    json_t *whole = e->shape->whole(e);
    check_output(whole);
    json_decref(whole);
    answer_free(e);
    for (size_t piece = 1; piece < sizeof WRITTEN; piece = 3 * piece + 1) {
        e = answer(&openai_responses_dialect, true, WRITTEN, piece);
        json_t *events = events_of(e);
        check_events(events);
        const json_t *last = json_array_get(events, json_array_size(events) - 1);
        assert_string_equal(text_at(last, "type"), "response.completed");
        check_output(json_object_get(last, "response"));
        json_decref(events);
        answer_free(e);
    }
}

/* A stream that fails says so in its own words, and has what was complete by then. */
static void test_failures(void **state) {
    (void)state;
    const struct {
        const dialect *d;
        const char *type;
    } cases[] = {{&anthropic_dialect, "error"},
                 {&openai_responses_dialect, "response.failed"},
                 {&openai_chat_dialect, ""},
                 {&ollama_chat_dialect, ""}};
    for (size_t i = 0; i < 4; i++) {
        exchange *e = answer(cases[i].d, true, WRITTEN, 5);
        text_clear(&e->out);
        reply_wrong(&e->fault, NULL, "it is over");
        (e->shape->fail)(e); /* cmocka has a macro of this name */
        json_t *events = events_of(e);
        assert_int_equal(json_array_size(events), 1);
        const json_t *event = json_array_get(events, 0), *response = json_object_get(event, "response");
        const json_t *error = json_object_get(response ? response : event, "error");
        assert_string_equal(text_at(event, "type"), cases[i].type);
        const char *said = json_is_string(error) ? json_string_value(error) : text_at(error, "message");
        assert_string_equal(said, "it is over");
        json_decref(events);
        answer_free(e);
    }
}

TESTS_MAIN(set_up, tear_down, cmocka_unit_test(test_ollama), cmocka_unit_test(test_openai_chat),
           cmocka_unit_test(test_anthropic), cmocka_unit_test(test_openai_responses), cmocka_unit_test(test_failures))
