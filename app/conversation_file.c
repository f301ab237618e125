#include "conversation_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/utf8.h"

enum { VERSION = 1 };

static judgeq_status beside(const char *path, char **out, judgeq_error *error) {
    if (asprintf(out, "%s.json", path) >= 0) return JUDGEQ_OK;
    *out = NULL;
    return error_memory(error, "a path");
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

/* What users write need not be UTF-8; it is read as U+FFFD, and written so. NULL: null. */
static json_t *text_json(const char *text) {
    size_t length = 0;
    char *valid = text ? utf8_repaired(text, strlen(text), &length) : NULL;
    json_t *value = valid ? json_stringn(valid, length) : text ? NULL : json_null();
    free(valid);
    return value;
}

static json_t *messages_json(const conversation *c) {
    json_t *array = json_array();
    for (size_t i = 0; i < c->n_message; i++) {
        json_array_append_new(
            array, json_pack("{s:s, s:o}", "role", c->message[i].role, "content", text_json(c->message[i].content)));
    }
    return array;
}

static json_t *tokens_json(const conversation *c) {
    json_t *array = json_array();
    for (size_t i = 0; i < c->n_token; i++) json_array_append_new(array, json_integer(c->token[i]));
    return array;
}

static json_t *turns_json(const conversation *c) {
    json_t *array = json_array();
    for (size_t i = 0; i < c->n_turn; i++) json_array_append_new(array, json_integer((json_int_t)c->turn[i]));
    return array;
}

/* NULL without memory: a part that could not be made is missing. */
static json_t *conversation_json(const conversation *c) {
    json_t *object = json_pack("{s:i, s:o, s:o, s:o, s:I, s:o}", "judgeq_conversation", VERSION, "messages",
                               messages_json(c), "tokens", tokens_json(c), "turns", turns_json(c), "turn_begin",
                               (json_int_t)c->turn_begin, "document", text_json(c->document));
    if (object && json_array_size(json_object_get(object, "messages")) == c->n_message &&
        json_array_size(json_object_get(object, "tokens")) == c->n_token &&
        json_array_size(json_object_get(object, "turns")) == c->n_turn) {
        return object;
    }
    json_decref(object);
    return NULL;
}

judgeq_status conversation_save(const conversation *c, const char *path, judgeq_error *error) {
    char *name = NULL;
    json_t *object = conversation_json(c);
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    if (!text) return error_memory(error, "a conversation's file");
    judgeq_status status = beside(path, &name, error);
    if (status == JUDGEQ_OK) status = judgeq_session_save(c->session, path, error);
    if (status == JUDGEQ_OK) status = file_write_atomic(name, text, strlen(text), error);
    free(name);
    free(text);
    return status;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* What is read, beside what it is read into. */
typedef struct reader {
    const char *name; /* of the file */
    json_t *object;
    conversation *c;
    judgeq_error *error;
} reader;

static judgeq_status damaged(const reader *r, const char *what) {
    return error_file(r->error, JUDGEQ_ERROR_FORMAT, r->name, what);
}

static const json_t *array_of(const reader *r, const char *key) {
    const json_t *array = json_object_get(r->object, key);
    return json_is_array(array) ? array : NULL;
}

static bool is_role(const json_t *message, const char *role) {
    const char *text = json_string_value(json_object_get(message, "role"));
    return text && strcmp(text, role) == 0;
}

/* A system message, perhaps; then users and assistants in turn. */
static judgeq_status read_messages(const reader *r) {
    static const char *const roles[] = {"system", "user", "assistant"};
    const json_t *array = array_of(r, "messages");
    const size_t n = array ? json_array_size(array) : 0;
    const size_t first = n > 0 && is_role(json_array_get(array, 0), "system") ? 1 : 0;
    r->c->message = calloc(n + 1, sizeof *r->c->message);
    r->c->message_capacity = n + 1;
    if (!r->c->message) return error_memory(r->error, "messages");
    for (size_t i = 0; i < n; i++) {
        const json_t *message = json_array_get(array, i);
        const char *role = i < first ? roles[0] : roles[1 + (i - first) % 2];
        const char *content = json_string_value(json_object_get(message, "content"));
        if (!content || !is_role(message, role)) return damaged(r, "a message is not what it should be");
        char *copy = strdup(content);
        if (!copy) return error_memory(r->error, "a message");
        r->c->message[r->c->n_message++] = (judgeq_message){.role = role, .content = copy};
    }
    return array && (n - first) % 2 == 0 ? JUDGEQ_OK : damaged(r, "the messages are not whole turns");
}

static judgeq_status read_tokens(const reader *r) {
    const json_t *array = array_of(r, "tokens");
    const size_t n = array ? json_array_size(array) : 0;
    const int32_t n_vocab = judgeq_model_get_info(r->c->model)->n_vocab;
    r->c->token = calloc(n + 1, sizeof *r->c->token);
    r->c->token_capacity = n + 1;
    if (!r->c->token) return error_memory(r->error, "tokens");
    for (; r->c->n_token < n; r->c->n_token++) {
        const json_t *token = json_array_get(array, r->c->n_token);
        const json_int_t id = json_integer_value(token);
        if (!json_is_integer(token) || id < 0 || id >= n_vocab) return damaged(r, "a token is not in the vocabulary");
        r->c->token[r->c->n_token] = (int32_t)id;
    }
    return n > 0 ? JUDGEQ_OK : damaged(r, "there are no tokens");
}

static judgeq_status read_turns(const reader *r) {
    conversation *c = r->c;
    const json_t *array = array_of(r, "turns");
    const size_t n = array ? json_array_size(array) : 0, n_said = c->n_message - conversation_first_turn(c);
    const json_int_t begin = json_integer_value(json_object_get(r->object, "turn_begin"));
    c->turn = calloc(n + 1, sizeof *c->turn);
    c->turn_capacity = n + 1;
    if (!c->turn) return error_memory(r->error, "turns");
    json_int_t last = -1;
    for (; c->n_turn < n; c->n_turn++) {
        const json_int_t at = json_integer_value(json_array_get(array, c->n_turn));
        if (at <= last || (c->n_turn == 0 && at != 0)) return damaged(r, "the turns do not follow each other");
        c->turn[c->n_turn] = (size_t)(last = at);
    }
    if (begin <= last || (size_t)begin > c->n_token || 2 * n != n_said || (n == 0 && begin != 0)) {
        return damaged(r, "the turns are not those of the messages");
    }
    c->turn_begin = (size_t)begin;
    return JUDGEQ_OK;
}

static judgeq_status read_document(const reader *r) {
    const char *text = json_string_value(json_object_get(r->object, "document"));
    if (!text && r->c->n_token != r->c->turn_begin) return damaged(r, "the tokens do not end with a turn");
    r->c->document = text ? strdup(text) : NULL;
    return !text || r->c->document ? JUDGEQ_OK : error_memory(r->error, "a document");
}

static judgeq_status read_object(reader *r) {
    json_error_t why;
    r->object = json_load_file(r->name, 0, &why);
    if (!r->object) {
        return error_set(r->error, JUDGEQ_ERROR_FORMAT, "%.*s: %s (a conversation is two files, PATH and PATH.json)",
                         VISIBLE_FIT(r->name, 300), why.text);
    }
    if (json_integer_value(json_object_get(r->object, "judgeq_conversation")) != VERSION) {
        return damaged(r, "is no conversation that this version of judgeq can read");
    }
    judgeq_status status = read_messages(r);
    if (status == JUDGEQ_OK) status = read_tokens(r);
    if (status == JUDGEQ_OK) status = read_turns(r);
    if (status == JUDGEQ_OK) status = read_document(r);
    return status;
}

/* The session has seen a beginning of the conversation. */
static judgeq_status check_together(const reader *r, const char *path) {
    size_t n = 0;
    const int32_t *token = judgeq_session_tokens(r->c->session, &n);
    if (n <= r->c->n_token && memcmp(token, r->c->token, n * sizeof *token) == 0) return JUDGEQ_OK;
    return error_set(r->error, JUDGEQ_ERROR_FORMAT, "%.*s: its session is not that of %.*s", VISIBLE_FIT(path, 200),
                     VISIBLE_FIT(r->name, 200));
}

judgeq_status conversation_load(conversation *c, const judgeq_session_params *params, const char *path,
                                judgeq_error *error) {
    char *name = NULL;
    conversation loaded = {
        .model = c->model, .params = c->params, .plain = c->plain, .noted = c->noted, .session_params = *params};
    judgeq_status status = beside(path, &name, error);
    reader r = {.name = name, .c = &loaded, .error = error};
    if (status == JUDGEQ_OK) status = read_object(&r);
    if (status == JUDGEQ_OK) status = judgeq_session_load(c->model, params, path, &loaded.session, error);
    if (status == JUDGEQ_OK) status = check_together(&r, path);
    json_decref(r.object);
    free(name);
    if (status != JUDGEQ_OK) {
        conversation_free(&loaded);
        return status;
    }
    conversation_free(c);
    *c = loaded;
    return JUDGEQ_OK;
}
