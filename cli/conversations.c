#include "conversations.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

static const char *role_named(const char *name) {
    static const char *const names[][2] = {
        {"human", "user"},        {"user", "user"},           {"prompter", "user"},      {"gpt", "assistant"},
        {"chatgpt", "assistant"}, {"assistant", "assistant"}, {"model", "assistant"},    {"bot", "assistant"},
        {"bing", "assistant"},    {"bard", "assistant"},      {"system", "system"},      {"developer", "system"},
        {"tool", "tool"},         {"function", "tool"},       {"function_call", "tool"}, {"function_response", "tool"},
        {"observation", "tool"},  {"ipython", "tool"}};
    for (size_t i = 0; name && i < sizeof names / sizeof names[0]; i++) {
        if (strcasecmp(name, names[i][0]) == 0) return names[i][1];
    }
    return NULL;
}

static const char *role_of(const json_t *turn) {
    const char *name = json_string_value(json_object_get(turn, "role"));
    return role_named(name ? name : json_string_value(json_object_get(turn, "from")));
}

static bool has_role(const json_t *turn, const char *wanted) {
    const char *role = role_of(turn);
    return role && strcmp(role, wanted) == 0;
}

/* A list of texts and of {"type": "text", "text"}, joined; NULL where a part is something else, or without memory. */
static json_t *join_parts(const json_t *parts) {
    text_buffer t = {0};
    bool texts = true;
    for (size_t i = 0; texts && i < json_array_size(parts); i++) {
        const json_t *part = json_array_get(parts, i);
        const char *text = json_string_value(json_is_object(part) ? json_object_get(part, "text") : part);
        texts = text != NULL;
        if (texts) text_add(&t, text, strlen(text));
    }
    char *joined = text_take(&t);
    json_t *value = texts && joined ? json_string(joined) : NULL;
    free(joined);
    return value;
}

/* The text of a turn, the caller's; NULL where it has none. */
static json_t *text_of(const json_t *value) {
    if (json_is_array(value)) return join_parts(value);
    return json_is_string(value) ? json_incref((json_t *)value) : NULL;
}

static json_t *content_of(const json_t *turn) {
    const json_t *content = json_object_get(turn, "content");
    if (!content || json_is_null(content)) content = json_object_get(turn, "value");
    return text_of(content && !json_is_null(content) ? content : json_object_get(turn, "text"));
}

static json_t *message(const char *role, json_t *content) {
    return json_pack("{s:s, s:O}", "role", role, "content", content);
}

/* What is wrong with a turn, or NULL. Of a system message without text nothing is left. */
static const char *take_turn(const json_t *turn, json_t *messages) {
    const char *role = role_of(turn);
    if (!role) return "has a turn of an unknown role";
    if (strcmp(role, "tool") == 0) return "has a turn of a tool, for which prompts have no place";
    if (json_array_size(json_object_get(turn, "tool_calls")) > 0 ||
        json_is_object(json_object_get(turn, "function_call")))
        return "has a turn that calls a tool, for which prompts have no place";
    json_t *content = content_of(turn);
    const bool empty = json_string_length(content) == 0, system = strcmp(role, "system") == 0;
    const char *wrong = NULL;
    if (!content && json_is_array(json_object_get(turn, "content")))
        wrong = "has a turn with a part that is no text";
    else if (empty && !system)
        wrong = "has a turn without text";
    else if (!empty && json_array_append_new(messages, message(role, content)) != 0)
        wrong = "does not fit into memory";
    json_decref(content);
    return wrong;
}

/* The system message beside the turns, where they do not begin with one. */
static const char *take_system(const json_t *record, json_t *messages) {
    const json_t *beside = json_object_get(record, "system");
    if (!beside) beside = json_object_get(record, "system_prompt");
    json_t *content = has_role(json_array_get(messages, 0), "system") ? NULL : text_of(beside);
    const bool taken =
        json_string_length(content) == 0 || json_array_insert_new(messages, 0, message("system", content)) == 0;
    json_decref(content);
    return taken ? NULL : "does not fit into memory";
}

/* A role's text as a turn of OpenAI's form; what is wrong, or NULL. */
static const char *add_turn(json_t *turns, const char *role, const json_t *text) {
    return json_array_append_new(turns, json_pack("{s:s, s:O}", "role", role, "content", text)) == 0
               ? NULL
               : "does not fit into memory";
}

/* Texts that are the user's and the assistant's in turn. */
static const char *add_alternating(json_t *turns, const json_t *texts) {
    const char *wrong = NULL;
    for (size_t i = 0; !wrong && i < json_array_size(texts); i++) {
        const json_t *text = json_array_get(texts, i);
        wrong =
            json_is_string(text) ? add_turn(turns, i % 2 == 0 ? "user" : "assistant", text) : "has a turn without text";
    }
    return wrong;
}

/* Alpaca's "instruction" with its "input", Dolly's with its "context". */
static const char *add_instruction(json_t *turns, const json_t *record) {
    static const char *const asked[] = {"instruction", "prompt"}, *const about[] = {"input", "context"};
    text_buffer t = {0};
    for (size_t i = 0; t.length == 0 && i < 2; i++) {
        const char *text = json_string_value(json_object_get(record, asked[i]));
        if (text) text_add(&t, text, strlen(text));
    }
    for (size_t i = 0; i < 2; i++) {
        const char *text = json_string_value(json_object_get(record, about[i]));
        if (text && *text) text_print(&t, "%s%s", t.length > 0 ? "\n" : "", text);
    }
    char *whole = text_take(&t);
    json_t *content = whole ? json_string(whole) : NULL;
    const char *wrong = content ? add_turn(turns, "user", content) : "does not fit into memory";
    json_decref(content);
    free(whole);
    return wrong;
}

/* What was said before it: pairs of a question and an answer. */
static const char *add_history(json_t *turns, const json_t *history) {
    const char *wrong = NULL;
    for (size_t i = 0; !wrong && i < json_array_size(history); i++) {
        const json_t *pair = json_array_get(history, i);
        wrong =
            json_array_size(pair) == 2 ? add_alternating(turns, pair) : "has a history that is not of pairs of texts";
    }
    return wrong;
}

/* The record's turns in the form of OpenAI's or ShareGPT's, in *turns, the caller's; what is wrong, or NULL. */
static const char *find_turns(const json_t *record, json_t **turns) {
    static const char *const names[] = {"messages", "conversations", "conversation", "prompt"};
    json_t *list = NULL;
    for (size_t i = 0; !list && i < sizeof names / sizeof names[0]; i++) {
        json_t *value = json_object_get(record, names[i]);
        if (json_is_array(value)) list = value;
    }
    json_t *data = json_object_get(record, "data"); /* of UltraChat: texts; elsewhere it may be anything */
    if (!list && json_is_string(json_array_get(data, 0))) list = data;
    if (list) {
        const bool plain = json_is_string(json_array_get(list, 0));
        *turns = plain ? json_array() : json_incref(list);
        return plain ? add_alternating(*turns, list) : NULL;
    }
    if (!json_is_string(json_object_get(record, "instruction")) && !json_is_string(json_object_get(record, "prompt")))
        return "has neither \"messages\" nor \"conversations\", \"conversation\", \"instruction\" or \"prompt\"";
    *turns = json_array();
    const char *wrong = add_history(*turns, json_object_get(record, "history"));
    return wrong ? wrong : add_instruction(*turns, record);
}

const char *conversation_take(const json_t *record, json_t *messages) {
    json_t *turns = NULL;
    const char *wrong = find_turns(record, &turns);
    size_t n = json_array_size(turns);
    while (n > 0 && !has_role(json_array_get(turns, n - 1), "user")) n--;
    if (!wrong && n == 0) wrong = "has no turn of a user";
    for (size_t i = 0; !wrong && i < n; i++) wrong = take_turn(json_array_get(turns, i), messages);
    if (!wrong) wrong = take_system(record, messages);
    json_decref(turns);
    return wrong;
}
