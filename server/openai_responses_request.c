/* openai_responses_request: OpenAI's responses as chats. */
#include <string.h>

#include "dialect_input.h"
#include "openai_responses.h"

/* ---- items ------------------------------------------------------------------------------------------------------- */

/* What the assistant has said and done between two others' messages is one message of the inner form, as long as it
 * comes in a template's order: thoughts, text, calls. `last` is one that the item can belong to; NULL: a new one. */
static json_t *assistant_turn(const dialect_input *in, bool text_follows) {
    const size_t n = json_array_size(in->messages);
    json_t *last = n > 0 ? json_array_get(in->messages, n - 1) : NULL;
    const char *role = input_text_at(last, "role"), *content = input_text_at(last, "content");
    const bool has_more = json_object_get(last, "tool_calls") || (content && content[0]);
    text_buffer none = {0};
    if (role && strcmp(role, "assistant") == 0 && !(text_follows && has_more)) return last;
    return input_push(in, "assistant", &none);
}

static bool set_text(const dialect_input *in, json_t *message, const char *name, text_buffer *text) {
    const bool set =
        !text->failed && json_object_set_new(message, name, json_string(text->bytes ? text->bytes : "")) == 0;
    text_free(text);
    return set || reply_no_memory(in->f->fault);
}

static bool read_message(const dialect_input *in, const json_t *item) {
    static const char *const roles[] = {"user", "system", "developer"};
    const char *role = input_text_at(item, "role");
    const json_t *content = json_object_get(item, "content");
    text_buffer text = {0};
    if (!content) return input_wrong(in, "a message has no content");
    for (size_t i = 0; role && i < sizeof roles / sizeof *roles; i++) {
        if (strcmp(role, roles[i]) == 0) return input_push_content(in, role, content) != NULL;
    }
    if (!role || strcmp(role, "assistant") != 0) {
        return input_wrong(in, "expected the role user, system, developer or assistant");
    }
    json_t *turn = input_read_text(in, content, &text) ? assistant_turn(in, true) : NULL;
    if (turn) return set_text(in, turn, "content", &text);
    text_free(&text);
    return false;
}

static bool read_call(const dialect_input *in, const json_t *item) {
    const char *id = input_text_at(item, "call_id"), *name = input_text_at(item, "name");
    const char *arguments = input_text_at(item, "arguments");
    if (!id || !name || !arguments) {
        return input_wrong(in, "a function_call has no call_id, no name or no arguments");
    }
    json_t *turn = assistant_turn(in, false);
    return turn && input_add_call(in, turn, id, name, arguments);
}

static bool read_output(const dialect_input *in, const json_t *item) {
    const char *id = input_text_at(item, "call_id");
    if (!id) return input_wrong(in, "a function_call_output has no call_id");
    return input_push_result(in, id, json_object_get(item, "output"));
}

/* Those that this server has written are in `content`; a summary is the next best. */
static bool read_thoughts(const dialect_input *in, const json_t *item) {
    const json_t *parts = json_object_get(item, "content"), *part;
    text_buffer text = {0};
    size_t i;
    if (json_array_size(parts) == 0) parts = json_object_get(item, "summary");
    json_array_foreach(parts, i, part) {
        if (input_add_text(in, part, "text", &text)) continue;
        text_free(&text);
        return false;
    }
    if (text.length == 0) return true;
    json_t *turn = assistant_turn(in, true);
    if (turn) return set_text(in, turn, "reasoning_content", &text);
    text_free(&text);
    return false;
}

static bool read_item(const dialect_input *in, const json_t *item) {
    const char *type = input_text_at(item, "type");
    if (!type || strcmp(type, "message") == 0) return read_message(in, item);
    if (strcmp(type, "function_call") == 0) return read_call(in, item);
    if (strcmp(type, "function_call_output") == 0) return read_output(in, item);
    if (strcmp(type, "reasoning") == 0) return read_thoughts(in, item);
    if (strcmp(type, "compaction") == 0)
        return input_wrong(in, "a compaction comes first, before what it is followed by");
    if (strcmp(type, "item_reference") == 0) {
        return input_wrong(in, "an item_reference names what is stored, and nothing is: send the item itself");
    }
    return input_wrong(in,
                       "this server does not read items of the type \"%.60s\": it reads message, function_call, "
                       "function_call_output, reasoning and compaction",
                       type);
}

/* A conversation that was compacted: the context that holds it is gone on from. */
static bool read_compaction(const dialect_input *in, const json_t *item, json_t *inner) {
    const char *content = input_text_at(item, "encrypted_content");
    const size_t n = strlen(OPENAI_COMPACTION);
    if (!content || strncmp(content, OPENAI_COMPACTION, n) != 0) {
        return input_wrong(in, "a compaction of another server's: its encrypted_content names no context of this one");
    }
    const json_t *given = json_object_get(inner, "judgeq");
    if (given && !json_is_object(given)) return true; /* which is refused where it is read */
    if (json_object_get(given, "context")) {
        return input_wrong(in, "a compaction brings its own context: leave judgeq.context out");
    }
    json_t *own = given ? json_copy((json_t *)given) : json_object();
    json_object_set_new(own, "context", json_string(content + n));
    return json_object_set_new(inner, "judgeq", own) == 0;
}

/* Its instructions were read with the conversation. */
static bool begins_compacted(const json_t *input) {
    return input_is_type(json_array_get(input, 0), "compaction");
}

static void read_input(const fields *f, json_t *inner) {
    static const char *const texts[] = {"input_text", "output_text", "text"};
    const json_t *input = fields_get(f, "input"), *item;
    json_t *instructions = fields_get(f, "instructions");
    dialect_input in = {.f = f,
                        .field = "instructions",
                        .item = "item",
                        .part = "part",
                        .reads = "input_text and output_text",
                        .texts = texts,
                        .n_texts = sizeof texts / sizeof *texts,
                        .messages = json_array()};
    size_t i;
    json_object_set_new(inner, "messages", in.messages);
    if (instructions && !begins_compacted(input) && !input_push_content(&in, "system", instructions)) return;
    in.field = "input";
    if (json_is_string(input)) {
        input_push_content(&in, "user", input);
    } else if (json_array_size(input) == 0) {
        fields_wrong(f, "input", "expected a text, or an array with at least one item");
    }
    if (!json_is_array(input)) return;
    json_array_foreach(input, i, item) {
        in.at = i + 1;
        const bool read = i == 0 && begins_compacted(input) ? read_compaction(&in, item, inner) : read_item(&in, item);
        if (!read) return;
    }
    if (json_array_size(in.messages) == 0) fields_wrong(f, "input", "expected an item after the compaction");
}

/* ---- tools ------------------------------------------------------------------------------------------------------- */

static void read_tools(const fields *f, json_t *inner) {
    const json_t *tools = fields_array(f, "tools"), *tool;
    json_t *functions = json_array(), *none = json_pack("{s:s, s:{}}", "type", "object", "properties");
    size_t i;
    json_array_foreach(tools, i, tool) {
        const char *type = input_text_at(tool, "type"), *name = input_text_at(tool, "name");
        json_t *parameters = json_object_get(tool, "parameters");
        if (!type || strcmp(type, "function") != 0) {
            fields_wrong(f, "tools",
                         "tool %zu is of the type \"%.60s\", which this server does not have: a tool is a "
                         "function",
                         i + 1, type ? type : "");
        } else if (!name || (parameters && !json_is_null(parameters) && !json_is_object(parameters))) {
            fields_wrong(f, "tools", "tool %zu: expected a name, and parameters that are a schema", i + 1);
        } else {
            json_array_append_new(functions, input_function(name, input_text_at(tool, "description"),
                                                            json_is_object(parameters) ? parameters : none));
        }
    }
    json_decref(none);
    json_object_set_new(inner, "tools", functions);
}

static void read_tool_choice(const fields *f, json_t *inner) {
    json_t *choice = fields_get(f, "tool_choice");
    const char *name = input_text_at(choice, "name");
    if (json_is_string(choice)) {
        json_object_set(inner, "tool_choice", choice);
    } else if (input_is_type(choice, "function") && name) {
        json_object_set_new(inner, "tool_choice",
                            json_pack("{s:s, s:{s:s}}", "type", "function", "function", "name", name));
    } else if (choice) {
        fields_wrong(f, "tool_choice", "expected auto, none, required, or {\"type\": \"function\", \"name\": ...}");
    }
}

/* ---- the answer -------------------------------------------------------------------------------------------------- */

static void read_form(const fields *f, json_t *inner) {
    const fields text = fields_object(f, "text");
    json_t *format = fields_get(&text, "format");
    json_t *schema = json_object_get(format, "schema");
    if (!format || input_is_type(format, "text")) return;
    if (input_is_type(format, "json_object")) {
        json_object_set_new(inner, "response_format", json_pack("{s:s}", "type", "json_object"));
    } else if (input_is_type(format, "json_schema") && json_is_object(schema)) {
        json_object_set_new(inner, "response_format", input_schema_form(schema));
    } else {
        fields_wrong(f, "text.format", "expected the type text, json_object, or json_schema with a schema");
    }
}

static void refuse(const fields *f) {
    const json_t *include = fields_array(f, "include"), *what;
    size_t i;
    ask_refuse(f, "previous_response_id",
               "nothing is stored here: send all items so far in input, and those that were read are not read again");
    ask_refuse(f, "conversation", "nothing is stored here: send all items so far in input");
    ask_refuse(f, "background", "is not done, since nothing is stored: ask for a stream");
    ask_refuse(f, "prompt", "is not done, since nothing is stored: send its text in instructions or input");
    ask_refuse(f, "top_logprobs", "is not done here: /v1/chat/completions has log-probabilities");
    json_array_foreach(include, i, what) {
        const char *name = json_string_value(what);
        if (name && strcmp(name, "message.output_text.logprobs") == 0) {
            fields_wrong(f, "include", "message.output_text.logprobs is not done here: /v1/chat/completions has them");
        }
    }
}

json_t *openai_responses_inner(const fields *f) {
    json_t *inner = dialect_common_fields(f);
    const fields reasoning = fields_object(f, "reasoning");
    json_t *effort = fields_get(&reasoning, "effort"), *most = fields_get(f, "max_output_tokens");
    if (!inner) return NULL;
    refuse(f);
    if (f->fault->status == 0) read_input(f, inner);
    read_tools(f, inner);
    read_tool_choice(f, inner);
    read_form(f, inner);
    if (effort) json_object_set(inner, "reasoning_effort", effort);
    if (most) json_object_set(inner, "max_tokens", most);
    if (f->fault->status == 0) return inner;
    json_decref(inner);
    return NULL;
}
