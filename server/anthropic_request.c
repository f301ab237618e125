/* anthropic_request: Anthropic's messages as OpenAI's chat. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "anthropic.h"

/* Where messages are read. */
typedef struct reading {
    const fields *f;
    json_t *messages; /* of the inner form */
    size_t at;        /* the number of the message, from 1; 0: system */
} reading;

static const char *text_at(const json_t *object, const char *name) {
    return json_string_value(json_object_get(object, name));
}

static bool is_type(const json_t *block, const char *type) {
    const char *its = text_at(block, "type");
    return its && strcmp(its, type) == 0;
}

/* ---- contents ---------------------------------------------------------------------------------------------------- */

static bool refuse_block(const reading *r, const json_t *block) {
    const char *type = text_at(block, "type");
    const char *name = r->at > 0 ? "messages" : "system";
    if (!type) return fields_wrong(r->f, name, "message %zu has a block without a type", r->at);
    return fields_wrong(r->f, name,
                        "message %zu has a block of the type \"%.40s\" that this server does not read there: it reads "
                        "text, and tool_use, tool_result and thinking in their messages",
                        r->at, type);
}

/* Texts of several blocks are lines of one. */
static bool add_text(const reading *r, const json_t *block, const char *name, text_buffer *text) {
    const char *words = text_at(block, name);
    if (!words) return refuse_block(r, block);
    if (text->length > 0) text_add(text, "\n", 1);
    text_add(text, words, strlen(words));
    return true;
}

/* Of a text, or an array of text blocks; empty where there is none. */
static bool read_text(const reading *r, const json_t *content, text_buffer *text) {
    const json_t *block;
    size_t i;
    if (json_is_string(content)) text_add(text, json_string_value(content), json_string_length(content));
    if (!content || json_is_null(content) || json_is_string(content)) return true;
    if (!json_is_array(content)) {
        return fields_wrong(r->f, r->at > 0 ? "messages" : "system",
                            "message %zu has a content that is neither a text nor an array of blocks", r->at);
    }
    json_array_foreach(content, i, block) {
        if (!is_type(block, "text")) return refuse_block(r, block);
        if (!add_text(r, block, "text", text)) return false;
    }
    return true;
}

/* Adds {"role": role, "content": text}, with what else the message has. Empties the text. */
static json_t *push(const reading *r, const char *role, text_buffer *text) {
    json_t *message = dialect_text_message(role, text->bytes ? text->bytes : "");
    if (!message || text->failed || json_array_append_new(r->messages, message) != 0) {
        fields_wrong(r->f, "messages", "no memory");
        message = NULL;
    }
    text_free(text);
    return message;
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

static bool read_plain(const reading *r, const char *role, const json_t *content) {
    text_buffer text = {0};
    if (read_text(r, content, &text)) return push(r, role, &text) != NULL;
    text_free(&text);
    return false;
}

/* The result of a tool is a message of its own. */
static bool read_result(const reading *r, const json_t *block) {
    const char *id = text_at(block, "tool_use_id");
    text_buffer text = {0};
    if (!id) return fields_wrong(r->f, "messages", "message %zu has a tool_result without a tool_use_id", r->at);
    json_t *message = read_text(r, json_object_get(block, "content"), &text) ? push(r, "tool", &text) : NULL;
    text_free(&text);
    if (message) json_object_set_new(message, "tool_call_id", json_string(id));
    return message != NULL;
}

static bool read_user_blocks(const reading *r, const json_t *content, text_buffer *text) {
    const json_t *block;
    size_t i;
    json_array_foreach(content, i, block) {
        const bool result = is_type(block, "tool_result");
        if (result && text->length > 0 && !push(r, "user", text)) return false;
        if (result && !read_result(r, block)) return false;
        if (!result && !is_type(block, "text")) return refuse_block(r, block);
        if (!result && !add_text(r, block, "text", text)) return false;
    }
    return text->length == 0 || push(r, "user", text);
}

static bool read_user(const reading *r, const json_t *content) {
    text_buffer text = {0};
    if (!json_is_array(content)) return read_plain(r, "user", content);
    const bool good = read_user_blocks(r, content, &text);
    text_free(&text);
    return good;
}

static bool add_call(const reading *r, const json_t *block, json_t *calls) {
    const char *id = text_at(block, "id"), *name = text_at(block, "name");
    const json_t *input = json_object_get(block, "input");
    if (!id || !name || !json_is_object(input)) {
        return fields_wrong(r->f, "messages", "message %zu has a tool_use without an id, a name or an input", r->at);
    }
    char *arguments = json_dumps(input, JSON_COMPACT);
    json_t *call = json_pack("{s:s, s:s, s:{s:s, s:s}}", "id", id, "type", "function", "function", "name", name,
                             "arguments", arguments ? arguments : "{}");
    free(arguments);
    json_array_append_new(calls, call);
    return true;
}

static bool read_assistant_blocks(const reading *r, const json_t *content, text_buffer *text, text_buffer *thoughts,
                                  json_t *calls) {
    const json_t *block;
    size_t i;
    json_array_foreach(content, i, block) {
        bool good = true;
        if (is_type(block, "text")) {
            good = add_text(r, block, "text", text);
        } else if (is_type(block, "thinking")) {
            good = add_text(r, block, "thinking", thoughts);
        } else if (is_type(block, "tool_use")) {
            good = add_call(r, block, calls);
        } else if (!is_type(block, "redacted_thinking")) { /* which nobody can read */
            good = refuse_block(r, block);
        }
        if (!good) return false;
    }
    return true;
}

static bool read_assistant(const reading *r, const json_t *content) {
    text_buffer text = {0}, thoughts = {0};
    if (!json_is_array(content)) return read_plain(r, "assistant", content);
    json_t *calls = json_array();
    const bool good = read_assistant_blocks(r, content, &text, &thoughts, calls);
    json_t *message = good ? push(r, "assistant", &text) : NULL;
    if (message && thoughts.length > 0) {
        json_object_set_new(message, "reasoning_content", json_string(thoughts.bytes));
    }
    if (message && json_array_size(calls) > 0) json_object_set(message, "tool_calls", calls);
    json_decref(calls);
    text_free(&text);
    text_free(&thoughts);
    return message != NULL;
}

static bool read_message(const reading *r, const json_t *message) {
    const char *role = text_at(message, "role");
    const json_t *content = json_object_get(message, "content");
    if (content && role && strcmp(role, "user") == 0) return read_user(r, content);
    if (content && role && strcmp(role, "assistant") == 0) return read_assistant(r, content);
    if (content && role && strcmp(role, "system") == 0) return read_plain(r, role, content);
    return fields_wrong(r->f, "messages", "message %zu: expected a content, and the role user, assistant or system",
                        r->at);
}

static void read_messages(const fields *f, json_t *inner) {
    const json_t *system = fields_get(f, "system"), *messages = fields_array(f, "messages"), *message;
    reading r = {.f = f, .messages = json_array()};
    size_t i;
    json_object_set_new(inner, "messages", r.messages);
    if (json_array_size(messages) == 0) fields_wrong(f, "messages", "expected an array with at least one message");
    if (f->fault->status != 0 || !r.messages) return;
    if (system && (json_string_length(system) > 0 || json_array_size(system) > 0)) {
        if (!read_plain(&r, "system", system)) return;
    } else if (system && !json_is_string(system) && !json_is_array(system)) {
        fields_wrong(f, "system", "expected a text or an array of text blocks");
    }
    json_array_foreach(messages, i, message) {
        r.at = i + 1;
        if (!read_message(&r, message)) return;
    }
}

/* ---- tools ------------------------------------------------------------------------------------------------------- */

static void read_tools(const fields *f, json_t *inner) {
    const json_t *tools = fields_array(f, "tools"), *tool;
    json_t *functions = json_array();
    size_t i;
    json_array_foreach(tools, i, tool) {
        const char *type = text_at(tool, "type"), *name = text_at(tool, "name");
        json_t *schema = json_object_get(tool, "input_schema");
        if (type && strcmp(type, "custom") != 0) {
            fields_wrong(f, "tools",
                         "tool %zu is Anthropic's own \"%.60s\", which this server does not have: give it "
                         "a name and an input_schema, without a type",
                         i + 1, type);
        } else if (!name || !json_is_object(schema)) {
            fields_wrong(f, "tools", "tool %zu: expected a name and an input_schema", i + 1);
        } else {
            const char *description = text_at(tool, "description");
            json_array_append_new(functions, json_pack("{s:s, s:{s:s, s:s*, s:O}}", "type", "function", "function",
                                                       "name", name, "description", description, "parameters", schema));
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
    if (!is_type(format, "json_schema") || !json_is_object(schema)) {
        fields_wrong(f, "output_config", "format: expected the type json_schema and a schema");
        return;
    }
    json_object_set_new(inner, "response_format",
                        json_pack("{s:s, s:{s:O}}", "type", "json_schema", "json_schema", "schema", schema));
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
