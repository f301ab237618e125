/* plan: what a model is sent in a chat with tools, how its answer is constrained and how it is read. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json_bound.h"
#include "chat.h"
#include "guard_plan.h"

struct judgeq_chat_plan {
    const judgeq_model *model;
    guard_plan *made;
    int32_t *tokens; /* [info.n_tokens] */
    judgeq_chat_plan_info info;
};

/* The turns that most models have learnt, where a file brings no template. */
static const char CHATML[] =
    "{%- for message in messages -%}\n  {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' "
    "-}}\n"
    "{%- endfor -%}\n{%- if add_generation_prompt -%}\n  {{- '<|im_start|>assistant\n' -}}\n{%- endif -%}";

const char *judgeq_chat_template(const judgeq_model *model, const char *name) {
    if (name && strcmp(name, "chatml") == 0) return CHATML;
    return llama_model_chat_template(model->vocabulary, name);
}

/* ---- what is asked ----------------------------------------------------------------------------------------------- */

static judgeq_status check_json(const judgeq_chat_plan_params *p, judgeq_error *error) {
    const char *const text[] = {p->messages, p->tools, p->json_schema, p->variables};
    static const char *const name[] = {"messages", "tools", "json_schema", "variables"};
    if (!p->messages) return error_set(error, JUDGEQ_ERROR_ARGUMENT, "messages: there are none");
    if (p->grammar && (p->tools || p->json_schema)) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "grammar: it goes neither with tools nor with json_schema");
    }
    judgeq_status status = JUDGEQ_OK;
    for (size_t i = 0; i < 4 && status == JUDGEQ_OK; i++) {
        if (text[i]) status = json_bound_check(text[i], strlen(text[i]), name[i], error);
    }
    return status;
}

/* Of a tool_choice that is an object: the function's name, in *choice, which the caller owns. */
static judgeq_status find_named(const char *text, json_t **choice, const char **name, judgeq_error *error) {
    const judgeq_status status = json_bound_check(text, strlen(text), "tool_choice", error);
    *name = NULL;
    if (status != JUDGEQ_OK) return status;
    *choice = json_loads(text, 0, NULL);
    *name = json_string_value(json_object_get(json_object_get(*choice, "function"), "name"));
    if (*name) return JUDGEQ_OK;
    return error_set(
        error, JUDGEQ_ERROR_ARGUMENT,
        "tool_choice: expected auto, none, required or {\"type\": \"function\", \"function\": {\"name\": ...}}");
}

/* The one tool of that name, as a list; the caller's. */
static judgeq_status only_tool(const char *tools, const char *name, char **out, judgeq_error *error) {
    json_t *all = json_loads(tools ? tools : "[]", 0, NULL), *one = json_array();
    for (size_t i = 0; i < json_array_size(all); i++) {
        json_t *tool = json_array_get(all, i);
        const char *its = json_string_value(json_object_get(json_object_get(tool, "function"), "name"));
        if (its && strcmp(its, name) == 0 && json_array_size(one) == 0) json_array_append(one, tool);
    }
    const bool found = json_array_size(one) == 1;
    *out = found ? json_dumps(one, JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL;
    json_decref(one);
    json_decref(all);
    if (!found) return error_set(error, JUDGEQ_ERROR_ARGUMENT, "tool_choice: no tool is named \"%.200s\"", name);
    return *out ? JUDGEQ_OK : error_memory(error, "tools");
}

/* A choice of one function is made one tool that has to be called. *tools, the caller's, or NULL. */
static judgeq_status take_choice(const judgeq_chat_plan_params *p, guard_plan_input *in, char **tools,
                                 judgeq_error *error) {
    const char *choice = p->tool_choice ? p->tool_choice : "auto", *name = NULL;
    json_t *object = NULL;
    in->tool_choice = choice;
    if (choice[strspn(choice, " \t\r\n")] != '{') return JUDGEQ_OK;
    judgeq_status status = find_named(choice, &object, &name, error);
    if (status == JUDGEQ_OK) status = only_tool(p->tools, name, tools, error);
    json_decref(object);
    if (status != JUDGEQ_OK) return status;
    in->tools = *tools;
    in->tool_choice = "required";
    return JUDGEQ_OK;
}

/* No tools are as good as an empty list of them. */
static bool is_empty_list(const char *text) {
    text += strspn(text, " \t\r\n");
    return *text == '[' && text[1 + strspn(text + 1, " \t\r\n")] == ']';
}

static judgeq_status make_input(const judgeq_model *model, const judgeq_chat_plan_params *p, guard_plan_input *in,
                                char **tools, judgeq_error *error) {
    judgeq_status status = check_json(p, error);
    if (status != JUDGEQ_OK) return status;
    const char *own = judgeq_chat_template(model, NULL);
    *in = (guard_plan_input){.vocabulary = model->vocabulary,
                             .template_text = p->template_text ? p->template_text : own,
                             .template_tools = p->template_text ? NULL : judgeq_chat_template(model, "tool_use"),
                             .messages = p->messages,
                             .tools = p->tools && !is_empty_list(p->tools) ? p->tools : NULL,
                             .json_schema = p->json_schema,
                             .grammar = p->grammar,
                             .variables = p->variables,
                             .think = p->think,
                             .parallel = p->parallel_tool_calls,
                             .closed = p->closed,
                             .now = p->now};
    if (!in->template_text) {
        return error_set(error, JUDGEQ_ERROR_UNSUPPORTED, "%s: the file has no chat template", model->file.path);
    }
    return take_choice(p, in, tools, error);
}

/* ---- control tokens in messages ---------------------------------------------------------------------------------- */

typedef struct breaker {
    const judgeq_model *model;
    char mark[CHAT_BREAK];
    bool broke, failed; /* something had to be broken; no memory */
} breaker;

/* The string with breaks; and with one at its end where the next text could complete a control token. A new value. */
static json_t *break_string(breaker *b, const char *text) {
    char *broken = chat_break_up(b->model, text, b->mark);
    const bool open = chat_ends_open(b->model, text);
    json_t *string = broken ? json_sprintf("%s%s", broken, open ? b->mark : "") : NULL;
    b->broke = b->broke || open || (broken && strcmp(broken, text) != 0);
    b->failed = b->failed || !string;
    free(broken);
    return string;
}

static json_t *break_json(breaker *b, const json_t *value);

static json_t *break_object(breaker *b, const json_t *value) {
    json_t *object = json_object(), *item;
    const char *key;
    b->failed = b->failed || !object;
    json_object_foreach((json_t *)value, key, item) {
        char *name = chat_break_up(b->model, key, b->mark);
        const bool added = name && json_object_set_new(object, name, break_json(b, item)) == 0;
        b->broke = b->broke || (name && strcmp(name, key) != 0);
        b->failed = b->failed || !added;
        free(name);
    }
    return object;
}

static json_t *break_json(breaker *b, const json_t *value) {
    if (json_is_string(value)) return break_string(b, json_string_value(value));
    if (json_is_object(value)) return break_object(b, value);
    if (!json_is_array(value)) return json_incref((json_t *)value);
    json_t *array = json_array();
    b->failed = b->failed || !array;
    for (size_t i = 0; i < json_array_size(value); i++) {
        b->failed = json_array_append_new(array, break_json(b, json_array_get(value, i))) != 0 || b->failed;
    }
    return array;
}

/* The caller's text; NULL for none, and without memory, which it notes. */
static char *break_text(breaker *b, const char *text) {
    if (!text) return NULL;
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL), *broken = value ? break_json(b, value) : NULL;
    char *out =
        broken && !b->failed ? json_dumps(broken, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL;
    b->failed = b->failed || !out;
    json_decref(value);
    json_decref(broken);
    return out;
}

/* The same JSON with every character as it is, not as \uFDD0; free(). */
static char *plain_json(const char *text) {
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
    char *plain = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    json_decref(value);
    return plain;
}

static judgeq_status find_mark(const guard_plan_input *in, breaker *b, judgeq_error *error) {
    char *messages = plain_json(in->messages), *tools = plain_json(in->tools ? in->tools : "null");
    const char *const text[] = {messages, tools, in->template_text, in->template_tools};
    bool used = true;
    for (int k = 0; messages && tools && used && chat_break_at(k, b->mark); k++) {
        used = false;
        for (size_t i = 0; i < 4; i++) used = used || (text[i] && strstr(text[i], b->mark));
    }
    const bool memory = messages && tools;
    free(messages);
    free(tools);
    if (!memory) return error_memory(error, "messages");
    if (!used) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_ARGUMENT, "messages: they hold all of Unicode's noncharacters");
}

/* The prompt as it is, or where messages or tools hold control tokens, rendered again with breaks in them. */
static judgeq_status marked_prompt(const judgeq_model *model, const guard_plan_input *in, const guard_plan *made,
                                   guard_chat_text *out, judgeq_error *error) {
    breaker b = {.model = model};
    guard_plan_input broken = *in;
    guard_plan *again = NULL;
    judgeq_status status = find_mark(in, &b, error);
    if (status != JUDGEQ_OK) return status;
    char *messages = break_text(&b, in->messages), *tools = break_text(&b, in->tools); /* or NULL */
    broken.messages = messages;
    broken.tools = tools;
    status = b.failed ? error_memory(error, "messages") : JUDGEQ_OK;
    if (status == JUDGEQ_OK && b.broke) status = guard_plan_new(&broken, &again, error);
    if (status == JUDGEQ_OK) {
        const guard_plan_view *view = guard_plan_get_view(b.broke ? again : made);
        *out = (guard_chat_text){.text = malloc(view->prompt_length + 1),
                                 .length = view->prompt_length,
                                 .input = calloc(view->prompt_length + 1, 1)};
        if (out->text) memcpy(out->text, view->prompt, view->prompt_length + 1);
        if (!out->text || !out->input) status = error_memory(error, "a prompt");
    }
    if (status == JUDGEQ_OK && b.broke) chat_take_breaks_out(out, b.mark);
    guard_plan_free(again);
    free(messages);
    free(tools);
    return status;
}

/* ---- plans ------------------------------------------------------------------------------------------------------- */

static judgeq_status tokenise(judgeq_chat_plan *plan, const guard_plan_input *in, int32_t n_ctx, judgeq_error *error) {
    guard_chat_text text = {0};
    judgeq_status status = marked_prompt(plan->model, in, plan->made, &text, error);
    if (status == JUDGEQ_OK) {
        status = chat_tokenise(plan->model, &text, 0, n_ctx, &plan->tokens, &plan->info.n_tokens, error);
    }
    guard_chat_text_free(&text);
    return status;
}

static void fill_info(judgeq_chat_plan *plan) {
    const guard_plan_view *view = guard_plan_get_view(plan->made);
    plan->info = (judgeq_chat_plan_info){.prompt = view->prompt,
                                         .prompt_length = view->prompt_length,
                                         .tokens = plan->tokens,
                                         .n_tokens = plan->info.n_tokens,
                                         .grammar = view->grammar,
                                         .preserved = view->preserved,
                                         .n_preserved = view->n_preserved,
                                         .stops = view->stops,
                                         .n_stops = view->n_stops,
                                         .format = view->format,
                                         .thinks = view->thinks,
                                         .calls = view->calls};
}

judgeq_status judgeq_chat_plan_new(const judgeq_model *model, const judgeq_chat_plan_params *params,
                                   judgeq_chat_plan **out, judgeq_error *error) {
    guard_plan_input in;
    char *tools = NULL;
    *out = NULL;
    judgeq_chat_plan *plan = calloc(1, sizeof *plan);
    if (!plan) return error_memory(error, "a chat plan");
    plan->model = model;
    judgeq_status status = make_input(model, params, &in, &tools, error);
    if (status == JUDGEQ_OK) status = guard_plan_new(&in, &plan->made, error);
    if (status == JUDGEQ_OK) status = tokenise(plan, &in, params->n_ctx, error);
    free(tools);
    if (status != JUDGEQ_OK) {
        judgeq_chat_plan_free(plan);
        return status;
    }
    fill_info(plan);
    *out = plan;
    return JUDGEQ_OK;
}

void judgeq_chat_plan_free(judgeq_chat_plan *plan) {
    if (!plan) return;
    guard_plan_free(plan->made);
    free(plan->tokens);
    free(plan);
}

const judgeq_chat_plan_info *judgeq_chat_plan_get_info(const judgeq_chat_plan *plan) {
    return &plan->info;
}

int32_t judgeq_chat_plan_token_text(const judgeq_chat_plan *plan, int32_t token, char *text, int32_t size) {
    for (size_t i = 0; i < plan->info.n_preserved; i++) {
        if (plan->info.preserved[i] != token) continue;
        const char *whole = llama_vocab_get_text(llama_model_get_vocab(plan->model->vocabulary), token);
        const int32_t length = (int32_t)strlen(whole);
        if (length > size) return -length;
        memcpy(text, whole, (size_t)length);
        return length;
    }
    return judgeq_token_text(plan->model, token, text, size);
}

/* ---- replies ----------------------------------------------------------------------------------------------------- */

judgeq_status judgeq_chat_plan_parse(const judgeq_chat_plan *plan, const char *text, size_t length, bool partial,
                                     const char *ids, judgeq_reply **out, judgeq_error *error) {
    return guard_plan_parse(plan->made, text, length, partial, ids, out, error);
}

void judgeq_reply_free(judgeq_reply *reply) {
    guard_reply_free(reply);
}

judgeq_status judgeq_reply_deltas(const judgeq_reply *before, const judgeq_reply *after, judgeq_reply_delta **deltas,
                                  size_t *n, judgeq_error *error) {
    return guard_reply_deltas(before, after, deltas, n, error);
}
