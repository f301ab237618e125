#include "chat_plan.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* The texts of a judgeq_chat_plan_params. */
typedef struct texts {
    char *messages, *tools, *tool_choice, *schema, *variables; /* malloced, or NULL */
} texts;

static char *dump(const fields *f, const json_t *json) {
    char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!text) reply_no_memory(f->fault);
    return text;
}

/* ---- the fields -------------------------------------------------------------------------------------------------- */

static void remove_nulls(json_t *object) {
    const char *key;
    json_t *value;
    void *next;
    json_object_foreach_safe(object, next, key, value) {
        if (json_is_null(value)) json_object_del(object, key);
    }
}

/* As they came, but for what is null, with roles that templates know and, with a context, the document's stand-in in
 * the first one. */
static char *messages_text(const fields *f, const chat_messages *m) {
    const json_t *given = json_object_get(f->object, "messages");
    json_t *list = json_array();
    for (size_t i = 0; i < json_array_size(given); i++) {
        json_t *message = json_copy(json_array_get(given, i));
        remove_nulls(message);
        if (!json_object_get(message, "content")) json_object_set_new(message, "content", json_null());
        if (m->message[i].developer) json_object_set_new(message, "role", json_string("system"));
        json_array_append_new(list, message);
    }
    if (m->document) json_object_set_new(json_array_get(list, 0), "content", json_string(m->message[0].text.content));
    char *text = dump(f, list);
    json_decref(list);
    return text;
}

/* As they came, but for what clients do not know, and write as null. */
static char *tools_text(const fields *f, const json_t *given) {
    json_t *list = json_deep_copy(given), *tool;
    size_t i;
    json_array_foreach(list, i, tool) {
        remove_nulls(json_object_get(tool, "function"));
    }
    char *text = dump(f, list);
    json_decref(list);
    return text;
}

/* {"type": "json_object"}, or {"type": "json_schema", "json_schema": {"schema": {...}}}. */
static char *schema_text(const fields *f) {
    static const char name[] = "response_format";
    const char *type = NULL;
    const fields format = fields_object(f, name);
    fields_text(&format, "type", &type);
    if (!type || strcmp(type, "text") == 0) return NULL;
    const json_t *schema = json_object_get(format.object, "schema");
    if (strcmp(type, "json_schema") == 0) {
        const json_t *within = json_object_get(json_object_get(format.object, "json_schema"), "schema");
        if (within) schema = within;
        if (!json_is_object(schema)) fields_wrong(f, name, "json_schema.schema: expected an object");
    } else if (strcmp(type, "json_object") != 0) {
        fields_wrong(f, name, "expected the type text, json_object or json_schema");
    }
    if (f->fault->status != 0) return NULL;
    return schema ? dump(f, schema) : strdup("{\"type\": \"object\"}");
}

static char *choice_text(const fields *f) {
    const json_t *choice = fields_get(f, "tool_choice");
    if (!choice) return NULL;
    if (json_is_string(choice)) return strdup(json_string_value(choice));
    if (json_is_object(choice)) return dump(f, choice);
    fields_wrong(f, "tool_choice", "expected auto, none, required, or an object that names a function");
    return NULL;
}

/* For the template. OpenAI's field has the name that templates know it by. */
static char *variables_text(const fields *f) {
    const fields given = fields_object(f, "chat_template_kwargs");
    json_t *all = given.object ? json_copy((json_t *)given.object) : json_object();
    json_t *effort = fields_get(f, "reasoning_effort");
    if (effort) json_object_set(all, "reasoning_effort", effort);
    json_object_del(all, "enable_thinking");
    char *text = json_object_size(all) > 0 ? dump(f, all) : NULL;
    json_decref(all);
    return text;
}

static texts texts_of(const fields *f, const chat_messages *m) {
    texts t = {.messages = messages_text(f, m)};
    const json_t *tools = fields_array(f, "tools");
    if (json_array_size(tools) > 0) {
        t.tools = tools_text(f, tools);
        t.tool_choice = choice_text(f);
    }
    t.schema = schema_text(f);
    t.variables = variables_text(f);
    return t;
}

static void texts_free(texts *t) {
    free(t->messages);
    free(t->tools);
    free(t->tool_choice);
    free(t->schema);
    free(t->variables);
}

bool chat_plan_needed(const fields *f) {
    const char *type = NULL;
    const fields format = fields_object(f, "response_format");
    fields_text(&format, "type", &type);
    return json_array_size(fields_get(f, "tools")) > 0 || fields_get(f, "grammar") ||
           (type && strcmp(type, "text") != 0);
}

/* ---- the plan ---------------------------------------------------------------------------------------------------- */

static bool add_stops(const fields *f, const judgeq_chat_plan_info *info, ask *a) {
    for (size_t i = 0; i < info->n_stops; i++) {
        if (a->n_stop == ASK_STOPS_MOST + ASK_PLAN_STOPS_MOST) {
            return fields_wrong(f, "messages", "the chat template has more than %d stop texts", ASK_PLAN_STOPS_MOST);
        }
        a->stop[a->n_stop++] = info->stops[i];
    }
    return true;
}

const judgeq_chat_plan_info *chat_plan_make(const service *s, const fields *f, const chat_messages *m, bool closed,
                                            ask *a) {
    texts t = texts_of(f, m);
    bool parallel = true;
    judgeq_chat_plan_params params = {.messages = t.messages,
                                      .tools = t.tools,
                                      .tool_choice = t.tool_choice,
                                      .json_schema = t.schema,
                                      .variables = t.variables,
                                      .think = m->params.think,
                                      .closed = closed,
                                      .n_ctx = s->n_ctx};
    fields_text(f, "grammar", &params.grammar);
    fields_bool(f, "parallel_tool_calls", &parallel);
    params.parallel_tool_calls = parallel;
    judgeq_chat_plan *plan = NULL;
    judgeq_error error = {0};
    if (f->fault->status == 0) {
        const judgeq_status status = judgeq_chat_plan_new(s->model, &params, &plan, &error);
        if (status == JUDGEQ_ERROR_LIMIT) chat_prompt_too_long(s, f->fault);
        reply_failed(f->fault, status, &error);
    }
    const bool formed = t.tools || t.schema;
    texts_free(&t);
    if (!plan) return NULL;
    a->plan = shared_plan_new(plan);
    if (!a->plan) {
        reply_no_memory(f->fault);
        return NULL;
    }
    const judgeq_chat_plan_info *info = judgeq_chat_plan_get_info(plan);
    if (info->grammar.text) a->sampler.grammar = &info->grammar;
    a->parsed = formed || info->thinks;
    return add_stops(f, info, a) ? info : NULL;
}
