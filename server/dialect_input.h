/* dialect_input: what dialects share where they read conversations: texts in parts, tool calls, messages in the inner
 * form. */
#ifndef JUDGEQ_SERVER_DIALECT_INPUT_H
#define JUDGEQ_SERVER_DIALECT_INPUT_H

#include "base/text.h"
#include "fields.h"

typedef struct dialect_input {
    const fields *f;
    const char *field;        /* of the request, that is read */
    const char *item, *part;  /* how clients call what is in it, and what that consists of */
    const char *reads;        /* types of parts, for people */
    const char *const *texts; /* [n_texts], types of parts that are text */
    size_t n_texts;
    json_t *messages; /* of the inner form */
    size_t at;        /* the number of the item, from 1; 0: the field is none of several */
} dialect_input;

/* NULL where it is no text. */
const char *input_text_at(const json_t *object, const char *name);
bool input_is_type(const json_t *object, const char *type);

/* A fault that names the item. */
__attribute__((format(printf, 2, 3))) bool input_wrong(const dialect_input *in, const char *format, ...);
/* The same of a part that is not read. */
bool input_refuse_part(const dialect_input *in, const json_t *part);

/* Whether it is of one of `texts`. */
bool input_is_text(const dialect_input *in, const json_t *part);
/* Adds the text `name` of a part as a line of its own. */
bool input_add_text(const dialect_input *in, const json_t *part, const char *name, text_buffer *text);
/* Of a text, or an array of text parts; empty where there is none. */
bool input_read_text(const dialect_input *in, const json_t *content, text_buffer *text);

/* Adds {"role": role, "content": text} to the messages and empties the text. NULL after a fault. */
json_t *input_push(const dialect_input *in, const char *role, text_buffer *text);
/* A message of the content's text. */
json_t *input_push_content(const dialect_input *in, const char *role, const json_t *content);
/* The result of a tool. */
bool input_push_result(const dialect_input *in, const char *id, const json_t *content);
/* Adds a call to a message; arguments: JSON. */
bool input_add_call(const dialect_input *in, json_t *message, const char *id, const char *name, const char *arguments);

/* {"type": "function", "function": {...}}; description: or NULL. */
json_t *input_function(const char *name, const char *description, json_t *parameters);
/* The form of an answer that the schema allows. */
json_t *input_schema_form(json_t *schema);

#endif
