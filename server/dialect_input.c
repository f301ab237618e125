#include "dialect_input.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *input_text_at(const json_t *object, const char *name) {
    return json_string_value(json_object_get(object, name));
}

bool input_is_type(const json_t *object, const char *type) {
    const char *its = input_text_at(object, "type");
    return its && strcmp(its, type) == 0;
}

bool input_wrong(const dialect_input *in, const char *format, ...) {
    char what[320];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    if (in->at == 0) return fields_wrong(in->f, in->field, "%s", what);
    return fields_wrong(in->f, in->field, "%s %zu: %s", in->item, in->at, what);
}

bool input_refuse_part(const dialect_input *in, const json_t *part) {
    const char *type = input_text_at(part, "type");
    if (!type) return input_wrong(in, "a %s has no type", in->part);
    return input_wrong(in, "this server does not read a %s of the type \"%.40s\" there: it reads %s", in->part, type,
                       in->reads);
}

/* ---- texts ------------------------------------------------------------------------------------------------------- */

bool input_is_text(const dialect_input *in, const json_t *part) {
    for (size_t i = 0; i < in->n_texts; i++) {
        if (input_is_type(part, in->texts[i])) return true;
    }
    return false;
}

bool input_add_text(const dialect_input *in, const json_t *part, const char *name, text_buffer *text) {
    const char *words = input_text_at(part, name);
    if (!words) return input_wrong(in, "a %s has no %s", in->part, name);
    if (text->length > 0) text_add(text, "\n", 1);
    text_add(text, words, strlen(words));
    return true;
}

bool input_read_text(const dialect_input *in, const json_t *content, text_buffer *text) {
    const json_t *part;
    size_t i;
    if (json_is_string(content)) text_add(text, json_string_value(content), json_string_length(content));
    if (!content || json_is_null(content) || json_is_string(content)) return true;
    if (!json_is_array(content)) return input_wrong(in, "expected a text or an array of %ss", in->part);
    json_array_foreach(content, i, part) {
        if (!input_is_text(in, part)) return input_refuse_part(in, part);
        if (!input_add_text(in, part, "text", text)) return false;
    }
    return true;
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

json_t *input_push(const dialect_input *in, const char *role, text_buffer *text) {
    json_t *message = json_pack("{s:s, s:s}", "role", role, "content", text->bytes ? text->bytes : "");
    if (!message || text->failed || json_array_append_new(in->messages, message) != 0) {
        reply_no_memory(in->f->fault);
        message = NULL;
    }
    text_free(text);
    return message;
}

json_t *input_push_content(const dialect_input *in, const char *role, const json_t *content) {
    text_buffer text = {0};
    json_t *message = input_read_text(in, content, &text) ? input_push(in, role, &text) : NULL;
    text_free(&text);
    return message;
}

bool input_push_result(const dialect_input *in, const char *id, const json_t *content) {
    json_t *message = input_push_content(in, "tool", content);
    if (message) json_object_set_new(message, "tool_call_id", json_string(id));
    return message != NULL;
}

bool input_add_call(const dialect_input *in, json_t *message, const char *id, const char *name, const char *arguments) {
    if (!json_object_get(message, "tool_calls")) json_object_set_new(message, "tool_calls", json_array());
    json_t *calls = json_object_get(message, "tool_calls"); /* NULL without memory */
    json_t *call = json_pack("{s:s, s:s, s:{s:s, s:s}}", "id", id, "type", "function", "function", "name", name,
                             "arguments", arguments);
    return json_array_append_new(calls, call) == 0 || reply_no_memory(in->f->fault);
}

/* ---- tools and forms --------------------------------------------------------------------------------------------- */

json_t *input_function(const char *name, const char *description, json_t *parameters) {
    return json_pack("{s:s, s:{s:s, s:s*, s:O}}", "type", "function", "function", "name", name, "description",
                     description, "parameters", parameters);
}

json_t *input_schema_form(json_t *schema) {
    return json_pack("{s:s, s:{s:O}}", "type", "json_schema", "json_schema", "schema", schema);
}
