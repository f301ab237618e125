/* ollama_request: Ollama's chats and prompts as OpenAI's chat. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dialect_input.h"
#include "ollama.h"

/* ---- the answer -------------------------------------------------------------------------------------------------- */

/* Fields of `options` that have another name inside, or the same. The others, of which many are about memory and
 * threads, are the server's affair. */
static const char *const OPTIONS[][2] = {{"temperature", "temperature"},
                                         {"top_p", "top_p"},
                                         {"top_k", "top_k"},
                                         {"min_p", "min_p"},
                                         {"seed", "seed"},
                                         {"stop", "stop"},
                                         {"repeat_penalty", "repeat_penalty"},
                                         {"presence_penalty", "presence_penalty"},
                                         {"frequency_penalty", "frequency_penalty"},
                                         {"num_predict", "max_tokens"}};

static void read_options(const fields *f, json_t *inner) {
    const fields options = fields_object(f, "options");
    for (size_t i = 0; options.object && i < sizeof OPTIONS / sizeof *OPTIONS; i++) {
        json_t *value = fields_get(&options, OPTIONS[i][0]);
        if (value) json_object_set(inner, OPTIONS[i][1], value);
    }
    const json_t *n = json_object_get(inner, "max_tokens"), *stop = json_object_get(inner, "stop");
    if (json_is_number(n) && json_number_value(n) < 0)
        json_object_del(inner, "max_tokens"); /* as many as there may be */
    if (json_is_array(stop) && json_array_size(stop) == 0) json_object_del(inner, "stop");
}

/* "json", or a schema. */
static void read_format(const fields *f, json_t *inner) {
    json_t *format = fields_get(f, "format");
    if (json_is_object(format)) {
        json_object_set_new(inner, "response_format", input_schema_form(format));
    } else if (json_is_string(format) && strcmp(json_string_value(format), "json") == 0) {
        json_object_set_new(inner, "response_format", json_pack("{s:s}", "type", "json_object"));
    } else if (format && !(json_is_string(format) && json_string_length(format) == 0)) {
        fields_wrong(f, "format", "expected \"json\" or a schema");
    }
}

/* true, false, or how much. */
static void read_think(const fields *f, json_t *inner) {
    json_t *think = fields_get(f, "think");
    if (!think) return;
    if (!json_is_boolean(think) && !json_is_string(think)) {
        fields_wrong(f, "think", "expected true, false, or \"low\", \"medium\", \"high\"");
        return;
    }
    json_object_set_new(inner, "chat_template_kwargs", json_pack("{s:b}", "enable_thinking", !json_is_false(think)));
    if (json_is_string(think)) json_object_set(inner, "reasoning_effort", think);
}

json_t *ollama_inner_options(const fields *f) {
    static const char *const same[] = {"logprobs", "top_logprobs", "grammar", "tool_choice", "judgeq"};
    json_t *inner = json_object();
    bool stream = true;
    if (!inner) return NULL;
    fields_bool(f, "stream", &stream);
    json_object_set_new(inner, "stream", json_boolean(stream));
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        json_t *value = fields_get(f, same[i]);
        if (value) json_object_set(inner, same[i], value);
    }
    read_options(f, inner);
    read_format(f, inner);
    read_think(f, inner);
    return inner;
}

/* Takes `inner`. */
static json_t *unless_wrong(const fields *f, json_t *inner) {
    if (f->fault->status == 0) return inner;
    json_decref(inner);
    return NULL;
}

/* ---- a chat ------------------------------------------------------------------------------------------------------ */

/* Calls have no names in this API: their results come in their order. */
typedef struct calling {
    size_t n_calls, n_results;
} calling;

static bool add_call(const dialect_input *in, json_t *message, const json_t *given, calling *c) {
    char id[32];
    const json_t *function = json_object_get(given, "function"), *arguments = json_object_get(function, "arguments");
    const char *name = input_text_at(function, "name");
    char *text = json_is_string(arguments) ? strdup(json_string_value(arguments)) : json_dumps(arguments, JSON_COMPACT);
    snprintf(id, sizeof id, "call_%zu", c->n_calls++);
    const bool added = name && text ? input_add_call(in, message, id, name, text)
                                    : input_wrong(in, "a tool call has no function's name or no arguments");
    free(text);
    return added;
}

static bool add_message(const dialect_input *in, const json_t *given, calling *c) {
    const char *role = input_text_at(given, "role"), *tool = input_text_at(given, "tool_name");
    json_t *thoughts = json_object_get(given, "thinking");
    const json_t *calls = json_object_get(given, "tool_calls"), *call;
    size_t i;
    if (json_array_size(json_object_get(given, "images")) > 0) {
        return input_wrong(in, "has images, and this server reads only text");
    }
    if (!role) return input_wrong(in, "has no role");
    json_t *message = input_push_content(in, role, json_object_get(given, "content"));
    if (!message) return false;
    if (json_string_length(thoughts) > 0) json_object_set(message, "reasoning_content", thoughts);
    if (strcmp(role, "tool") == 0) {
        json_object_set_new(message, "tool_call_id", json_sprintf("call_%zu", c->n_results++));
        if (tool) json_object_set_new(message, "name", json_string(tool));
    }
    json_array_foreach(calls, i, call) {
        if (!add_call(in, message, call, c)) return false;
    }
    return true;
}

static json_t *read_messages(const fields *f) {
    static const char *const texts[] = {"text"};
    const json_t *given = fields_array(f, "messages"), *one;
    dialect_input in = {.f = f,
                        .field = "messages",
                        .item = "message",
                        .part = "part",
                        .reads = "text",
                        .texts = texts,
                        .n_texts = 1,
                        .messages = json_array()};
    calling c = {0};
    size_t i;
    json_array_foreach((json_t *)given, i, one) {
        in.at = i + 1;
        if (!add_message(&in, one, &c)) break;
    }
    return in.messages;
}

json_t *ollama_inner_chat(const fields *f) {
    json_t *inner = ollama_inner_options(f), *tools = fields_get(f, "tools");
    if (tools) json_object_set(inner, "tools", tools);
    json_object_set_new(inner, "messages", read_messages(f));
    return unless_wrong(f, inner);
}

/* ---- a prompt ---------------------------------------------------------------------------------------------------- */

void ollama_refuse_others(const fields *f) {
    ask_refuse(f, "suffix", "is not done: the model writes what follows a prompt only");
    ask_refuse(f, "images", "are not done: this server reads only text");
    ask_refuse(f, "template", "is not done: the model's own counts, or none with \"raw\": true");
    ask_refuse(f, "context", "is not done: /api/chat has conversations");
}

json_t *ollama_inner_generate(const fields *f) {
    const dialect_input in = {.f = f, .field = "prompt", .part = "part", .reads = "text", .messages = json_array()};
    json_t *inner = ollama_inner_options(f), *system = fields_get(f, "system"), *prompt = fields_get(f, "prompt");
    ollama_refuse_others(f);
    if (json_string_length(system) > 0) input_push_content(&in, "system", system);
    input_push_content(&in, "user", prompt);
    json_object_set_new(inner, "messages", in.messages);
    return unless_wrong(f, inner);
}
