/* anthropic_request: Anthropic's messages as OpenAI's chat. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "anthropic.h"
#include "dialect_input.h"

/* ---- messages ---------------------------------------------------------------------------------------------------- */

/* The result of a tool is a message of its own. */
static bool read_result(const dialect_input *in, const json_t *block) {
    const char *id = input_text_at(block, "tool_use_id");
    if (!id) return input_wrong(in, "a tool_result has no tool_use_id");
    return input_push_result(in, id, json_object_get(block, "content"));
}

static bool read_user_blocks(const dialect_input *in, const json_t *content, text_buffer *text) {
    const json_t *block;
    size_t i;
    json_array_foreach(content, i, block) {
        const bool result = input_is_type(block, "tool_result");
        if (result && (text->length > 0 || text->failed) && !input_push(in, "user", text)) return false;
        if (result && !read_result(in, block)) return false;
        if (!result && !input_is_text(in, block)) return input_refuse_part(in, block);
        if (!result && !input_add_text(in, block, "text", text)) return false;
    }
    return (text->length == 0 && !text->failed) || input_push(in, "user", text);
}

static bool read_user(const dialect_input *in, const json_t *content) {
    text_buffer text = {0};
    if (!json_is_array(content)) return input_push_content(in, "user", content) != NULL;
    const bool good = read_user_blocks(in, content, &text);
    text_free(&text);
    return good;
}

static bool read_call(const dialect_input *in, const json_t *block, json_t *message) {
    const char *id = input_text_at(block, "id"), *name = input_text_at(block, "name");
    const json_t *input = json_object_get(block, "input");
    if (!id || !name || !json_is_object(input)) return input_wrong(in, "a tool_use has no id, no name or no input");
    char *arguments = json_dumps(input, JSON_COMPACT);
    const bool added = arguments ? input_add_call(in, message, id, name, arguments) : reply_no_memory(in->f->fault);
    free(arguments);
    return added;
}

static bool read_assistant_blocks(const dialect_input *in, const json_t *content, json_t *message, text_buffer *text,
                                  text_buffer *thoughts) {
    const json_t *block;
    size_t i;
    json_array_foreach(content, i, block) {
        bool good = true;
        if (input_is_text(in, block)) {
            good = input_add_text(in, block, "text", text);
        } else if (input_is_type(block, "thinking")) {
            good = input_add_text(in, block, "thinking", thoughts);
        } else if (input_is_type(block, "tool_use")) {
            good = read_call(in, block, message);
        } else if (!input_is_type(block, "redacted_thinking")) { /* which nobody can read */
            good = input_refuse_part(in, block);
        }
        if (!good) return false;
    }
    if (text->length > 0) json_object_set_new(message, "content", json_string(text->bytes));
    if (thoughts->length > 0) json_object_set_new(message, "reasoning_content", json_string(thoughts->bytes));
    return !text->failed && !thoughts->failed;
}

static bool read_assistant(const dialect_input *in, const json_t *content) {
    text_buffer text = {0}, thoughts = {0};
    if (!json_is_array(content)) return input_push_content(in, "assistant", content) != NULL;
    json_t *message = input_push(in, "assistant", &text);
    const bool good = message && read_assistant_blocks(in, content, message, &text, &thoughts);
    text_free(&text);
    text_free(&thoughts);
    return good || reply_no_memory(in->f->fault); /* unless there is a fault */
}

static bool read_message(const dialect_input *in, const json_t *message) {
    const char *role = input_text_at(message, "role");
    const json_t *content = json_object_get(message, "content");
    if (content && role && strcmp(role, "user") == 0) return read_user(in, content);
    if (content && role && strcmp(role, "assistant") == 0) return read_assistant(in, content);
    if (content && role && strcmp(role, "system") == 0) return input_push_content(in, role, content) != NULL;
    return input_wrong(in, "expected a content, and the role user, assistant or system");
}

static void read_messages(const fields *f, json_t *inner) {
    static const char *const texts[] = {"text"};
    const json_t *system = fields_get(f, "system"), *messages = fields_array(f, "messages"), *message;
    dialect_input in = {.f = f,
                        .field = "system",
                        .item = "message",
                        .part = "block",
                        .reads = "text, and tool_use, tool_result and thinking in their messages",
                        .texts = texts,
                        .n_texts = 1,
                        .messages = json_array()};
    size_t i;
    json_object_set_new(inner, "messages", in.messages);
    if (json_array_size(messages) == 0) fields_wrong(f, "messages", "expected an array with at least one message");
    if (f->fault->status != 0 || !in.messages) return;
    const bool empty = (json_is_string(system) && json_string_length(system) == 0) ||
                       (json_is_array(system) && json_array_size(system) == 0);
    if (system && !empty && !input_push_content(&in, "system", system)) return;
    in.field = "messages";
    json_array_foreach(messages, i, message) {
        in.at = i + 1;
        if (!read_message(&in, message)) return;
    }
}

/* ---- tools ------------------------------------------------------------------------------------------------------- */

static void read_tools(const fields *f, json_t *inner) {
    const json_t *tools = fields_array(f, "tools"), *tool;
    json_t *functions = json_array();
    size_t i;
    json_array_foreach(tools, i, tool) {
        const char *type = input_text_at(tool, "type"), *name = input_text_at(tool, "name");
        json_t *schema = json_object_get(tool, "input_schema");
        if (type && strcmp(type, "custom") != 0) {
            fields_wrong(f, "tools",
                         "tool %zu is Anthropic's own \"%.60s\", which this server does not have: give it "
                         "a name and an input_schema, without a type",
                         i + 1, type);
        } else if (!name || !json_is_object(schema)) {
            fields_wrong(f, "tools", "tool %zu: expected a name and an input_schema", i + 1);
        } else {
            json_array_append_new(functions, input_function(name, input_text_at(tool, "description"), schema));
        }
    }
    json_object_set_new(inner, "tools", functions);
}

static void read_tool_choice(const fields *f, json_t *inner) {
    static const char *const kinds[][2] = {{"auto", "auto"}, {"any", "required"}, {"none", "none"}};
    const char *type = NULL, *name = NULL;
    bool single = false;
    const fields choice = fields_object(f, "tool_choice");
    fields_text(&choice, "type", &type);
    fields_text(&choice, "name", &name);
    fields_bool(&choice, "disable_parallel_tool_use", &single);
    if (single) json_object_set_new(inner, "parallel_tool_calls", json_false());
    if (!choice.object) return;
    for (size_t i = 0; type && i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(type, kinds[i][0]) != 0) continue;
        json_object_set_new(inner, "tool_choice", json_string(kinds[i][1]));
        return;
    }
    if (!type || strcmp(type, "tool") != 0 || !name) {
        fields_wrong(f, "tool_choice", "expected the type auto, any, none, or tool with a name");
        return;
    }
    json_object_set_new(inner, "tool_choice",
                        json_pack("{s:s, s:{s:s}}", "type", "function", "function", "name", name));
}

/* ---- the answer -------------------------------------------------------------------------------------------------- */

/* A model thinks where it is asked to only, as Anthropic's do. How long is its own affair. */
static void read_thinking(const fields *f, json_t *inner) {
    const fields thinking = fields_object(f, "thinking");
    const char *type = NULL;
    fields_text(&thinking, "type", &type);
    if (thinking.object && !type) fields_wrong(f, "thinking", "expected a type: enabled, adaptive or disabled");
    json_t *given = json_object_get(inner, "chat_template_kwargs");
    json_t *variables = json_is_object(given) ? json_copy(given) : json_object();
    if (type || !json_object_get(variables, "enable_thinking")) {
        json_object_set_new(variables, "enable_thinking", json_boolean(type && strcmp(type, "disabled") != 0));
    }
    if (!given || json_is_object(given)) json_object_set(inner, "chat_template_kwargs", variables);
    json_decref(variables);
}

static void read_form(const fields *f, json_t *inner) {
    const fields config = fields_object(f, "output_config");
    json_t *effort = fields_get(&config, "effort"), *format = fields_get(&config, "format");
    if (!format) format = fields_get(f, "output_format"); /* its name until 2025 */
    if (effort) json_object_set(inner, "reasoning_effort", effort);
    if (!format) return;
    json_t *schema = json_object_get(format, "schema");
    if (!input_is_type(format, "json_schema") || !json_is_object(schema)) {
        fields_wrong(f, "output_config", "format: expected the type json_schema and a schema");
        return;
    }
    json_object_set_new(inner, "response_format", input_schema_form(schema));
}

json_t *anthropic_inner_to_count(const fields *f) {
    json_t *inner = dialect_common_fields(f), *stops = fields_get(f, "stop_sequences");
    json_t *most = fields_get(f, "max_tokens");
    if (!inner) return NULL;
    read_messages(f, inner);
    read_tools(f, inner);
    read_tool_choice(f, inner);
    read_thinking(f, inner);
    read_form(f, inner);
    ask_refuse(f, "mcp_servers", "is not done: this server runs no tools itself");
    ask_refuse(f, "container", "is not done: this server runs no tools itself");
    if (stops && !json_is_array(stops)) fields_wrong(f, "stop_sequences", "expected an array of texts");
    if (stops) json_object_set(inner, "stop", stops);
    if (most) json_object_set(inner, "max_tokens", most);
    if (f->fault->status == 0) return inner;
    json_decref(inner);
    return NULL;
}

json_t *anthropic_inner(const fields *f) {
    if (!fields_get(f, "max_tokens")) fields_wrong(f, "max_tokens", "is missing: tokens of the answer, at most");
    return anthropic_inner_to_count(f);
}
