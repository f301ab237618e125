#include "chat_prompt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/context.h"
#include "base/error.h"
#include "base/text.h"

/* ---- messages ---------------------------------------------------------------------------------------------------- */

/* The role as templates know it; NULL: none. */
static const char *role_of(const json_t *message) {
    static const char *const roles[][2] = {
        {"system", "system"}, {"developer", "system"}, {"user", "user"}, {"assistant", "assistant"}, {"tool", "tool"}};
    const char *role = json_string_value(json_object_get(message, "role"));
    for (size_t i = 0; role && i < sizeof roles / sizeof *roles; i++) {
        if (strcmp(role, roles[i][0]) == 0) return roles[i][1];
    }
    return NULL;
}

/* The text of a part of a content; NULL: it is none. */
static const char *part_text(const json_t *part) {
    const char *type = json_string_value(json_object_get(part, "type"));
    if (!type || strcmp(type, "text") != 0) return NULL;
    return json_string_value(json_object_get(part, "text"));
}

/* malloced; NULL after a fault. */
static char *content_of(const fields *f, const json_t *message, size_t index) {
    const json_t *content = json_object_get(message, "content"), *part;
    text_buffer text = {0};
    size_t i;
    if (json_is_string(content)) {
        text_add(&text, json_string_value(content), json_string_length(content));
    } else if (json_is_array(content)) {
        json_array_foreach(content, i, part) {
            const char *words = part_text(part);
            if (!words) {
                fields_wrong(f, "messages", "part %zu of message %zu is no text, and this server reads only text",
                             i + 1, index + 1);
                text_free(&text);
                return NULL;
            }
            text_add(&text, words, strlen(words));
        }
    } else if (content && !json_is_null(content)) {
        fields_wrong(f, "messages", "the content of message %zu is neither a text nor an array of parts", index + 1);
        return NULL;
    }
    char *whole = text_take(&text);
    if (!whole) reply_no_memory(f->fault);
    return whole;
}

static bool add_message(const fields *f, const json_t *message, chat_messages *out) {
    const char *role = role_of(message);
    if (!json_is_object(message) || !role) {
        return fields_wrong(f, "messages",
                            "message %zu: expected an object with a role: system, developer, user, assistant or tool",
                            out->n + 1);
    }
    char *content = content_of(f, message, out->n);
    if (!content) return false;
    out->message[out->n++] = (chat_message){
        .text = {role, content},
        .developer = strcmp(json_string_value(json_object_get(message, "role")), "developer") == 0,
        .tools = json_array_size(json_object_get(message, "tool_calls")) > 0 || strcmp(role, "tool") == 0};
    return true;
}

/* Whether the model shall think: llama.cpp's and vLLM's field, and OpenAI's where it says so. */
static judgeq_think think_of(const fields *f) {
    const fields more = fields_object(f, "chat_template_kwargs");
    const json_t *thinks = fields_get(&more, "enable_thinking");
    const char *effort = NULL;
    fields_text(f, "reasoning_effort", &effort);
    if (json_is_boolean(thinks)) return json_is_true(thinks) ? JUDGEQ_THINK_ON : JUDGEQ_THINK_OFF;
    return effort && strcmp(effort, "none") == 0 ? JUDGEQ_THINK_OFF : JUDGEQ_THINK_DEFAULT;
}

void chat_messages_read(const service *s, const fields *f, chat_messages *out) {
    const json_t *messages = fields_array(f, "messages"), *message;
    size_t i;
    *out = (chat_messages){.params = {.n_ctx = s->n_ctx}};
    const size_t n = json_array_size(messages);
    if (n == 0) {
        fields_wrong(f, "messages", "expected an array with at least one message");
        return;
    }
    out->message = calloc(n, sizeof *out->message);
    if (!out->message) {
        reply_no_memory(f->fault);
        return;
    }
    json_array_foreach(messages, i, message) {
        if (!add_message(f, message, out)) return;
    }
    out->params.think = think_of(f);
    const chat_message *last = &out->message[n - 1];
    if (!last->text.role) return; /* cannot be */
    out->goes_on = n > 1 && strcmp(last->text.role, "assistant") == 0 && !last->tools;
    if (out->goes_on) out->params.answer = last->text.content;
}

void chat_messages_free(chat_messages *m) {
    for (size_t i = 0; i < m->n; i++) free((char *)m->message[i].text.content);
    free(m->message);
    *m = (chat_messages){0};
}

/* ---- tokens ------------------------------------------------------------------------------------------------------ */

void chat_prompt_too_long(const service *s, reply_fault *fault) {
    if (fault->status != 0) return;
    fault->n_prompt = (int64_t)s->n_ctx + 1;
    fault->n_ctx = s->n_ctx;
}

bool chat_prompt_raw(const service *s, const json_t *text, bool follows, int32_t **tokens, size_t *n,
                     reply_fault *fault) {
    judgeq_error error = {0};
    const unsigned flags = JUDGEQ_TEXT_CONTROL | (follows ? 0 : JUDGEQ_TEXT_BEGIN);
    const judgeq_status status = judgeq_tokenize_for(s->model, s->n_ctx, json_string_value(text),
                                                     json_string_length(text), flags, tokens, n, &error);
    if (status == JUDGEQ_ERROR_LIMIT) chat_prompt_too_long(s, fault);
    return reply_failed(fault, status, &error);
}

/* What is rendered, without an answer that is gone on with: malloced [*n]; NULL without memory. */
static judgeq_message *plain(const chat_messages *m, size_t *n) {
    judgeq_message *messages = malloc(m->n * sizeof *messages);
    *n = m->n - m->goes_on;
    for (size_t i = 0; messages && i < *n; i++) messages[i] = m->message[i].text;
    return messages;
}

/* Stands for the document that the first user's message begins with. */
static const char DOCUMENT[] = "k";

bool chat_messages_put_document(chat_messages *m, reply_fault *fault) {
    chat_message *first = &m->message[0];
    if (strcmp(first->text.role, "user") != 0) {
        return reply_wrong(fault, "messages",
                           "with a context, the first message is the user's: the context has what "
                           "comes before its document");
    }
    char *text = NULL;
    if (asprintf(&text, "%s\n\n%s", DOCUMENT, first->text.content) < 0) {
        return reply_no_memory(fault);
    }
    free((char *)first->text.content);
    first->text.content = text;
    m->document = true;
    return true;
}

bool chat_messages_cut_document(const service *s, const chat_messages *m, int32_t *tokens, size_t *n,
                                reply_fault *fault) {
    const prompt_params params = {
        .format = PROMPT_CHAT, .no_think = m->params.think == JUDGEQ_THINK_OFF, .n_ctx = s->n_ctx};
    int32_t *before = NULL;
    size_t n_before = 0, same = 0;
    judgeq_error error = {0};
    const judgeq_status status = context_document_tokens(s->model, &params, NULL, DOCUMENT, &before, &n_before, &error);
    while (same < n_before && same < *n && before[same] == tokens[same]) same++;
    judgeq_free(before);
    if (status != JUDGEQ_OK) return reply_failed(fault, status, &error);
    memmove(tokens, tokens + same, (*n - same) * sizeof *tokens);
    *n -= same;
    return true;
}

bool chat_messages_tokens(const service *s, const chat_messages *m, int32_t **tokens, size_t *n, reply_fault *fault) {
    judgeq_error error = {0};
    size_t n_message = 0;
    judgeq_message *messages = plain(m, &n_message);
    *tokens = NULL;
    if (!messages) return reply_no_memory(fault);
    const judgeq_status status = judgeq_chat_tokens(s->model, messages, n_message, &m->params, tokens, n, &error);
    free(messages);
    if (status == JUDGEQ_ERROR_LIMIT) chat_prompt_too_long(s, fault);
    return reply_failed(fault, status, &error);
}

bool chat_messages_text(const service *s, const chat_messages *m, char **text, reply_fault *fault) {
    judgeq_error error = {0};
    size_t n_message = 0;
    judgeq_message *messages = plain(m, &n_message);
    *text = NULL;
    if (!messages) return reply_no_memory(fault);
    const judgeq_status status = judgeq_chat_text(s->model, messages, n_message, &m->params, text, &error);
    free(messages);
    return reply_failed(fault, status, &error);
}
