#include "conversation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "prompt.h"

/* ---- what is kept ------------------------------------------------------------------------------------------------ */

/* Room for n elements of `size` bytes in *array; false without memory. */
static bool reserve(void **array, size_t *capacity, size_t n, size_t size) {
    if (n <= *capacity) return true;
    const size_t larger = 2 * n + 16;
    void *moved = realloc(*array, larger * size);
    if (!moved) return false;
    *array = moved;
    *capacity = larger;
    return true;
}

static judgeq_status add_message(conversation *c, const char *role, const char *content, judgeq_error *error) {
    char *copy = strdup(content);
    if (!copy || !reserve((void **)&c->message, &c->message_capacity, c->n_message + 1, sizeof *c->message)) {
        free(copy);
        return error_memory(error, "a message");
    }
    c->message[c->n_message++] = (judgeq_message){.role = role, .content = copy};
    return JUDGEQ_OK;
}

static void drop_messages(conversation *c, size_t n) {
    while (c->n_message > n) free((void *)c->message[--c->n_message].content);
}

static judgeq_status add_tokens(conversation *c, const int32_t *token, size_t n, judgeq_error *error) {
    if (!reserve((void **)&c->token, &c->token_capacity, c->n_token + n, sizeof *c->token)) {
        return error_memory(error, "a conversation");
    }
    if (n > 0) memcpy(c->token + c->n_token, token, n * sizeof *token);
    c->n_token += n;
    return JUDGEQ_OK;
}

static void set_document(conversation *c, char *document) {
    free(c->document);
    c->document = document;
}

size_t conversation_first_turn(const conversation *c) {
    return c->n_message > 0 && strcmp(c->message[0].role, "system") == 0 ? 1 : 0;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

/* The template, a note in its place, or a failure where a system message needs it. */
static judgeq_status check_template(conversation *c, judgeq_error *error) {
    judgeq_error why = {0};
    const judgeq_status status = prompt_check_template(c->model, c->params.template_text, &why);
    c->plain = status == JUDGEQ_ERROR_UNSUPPORTED;
    if (status == JUDGEQ_OK && c->params.no_think) {
        const prompt_params params = {.template_text = c->params.template_text, .notes = c->params.notes};
        const judgeq_message message = {"user", "x"};
        return prompt_note_think(c->model, &params, &message, 1, error);
    }
    if (!c->plain || c->params.system) return error_set(error, status, "%s", why.message);
    notes_add(c->params.notes, "what you write is continued as it is, without turns: %s", why.message);
    return JUDGEQ_OK;
}

judgeq_status conversation_init(conversation *c, const judgeq_model *model, const conversation_params *params,
                                judgeq_error *error) {
    *c = (conversation){.model = model, .params = *params};
    const judgeq_status status = check_template(c, error);
    if (status != JUDGEQ_OK || !params->system) return status;
    return add_message(c, "system", params->system, error);
}

void conversation_free(conversation *c) {
    judgeq_session_free(c->session);
    drop_messages(c, 0);
    free(c->message);
    free(c->token);
    free(c->turn);
    free(c->document_before);
    set_document(c, NULL);
    *c = (conversation){0};
}

/* An empty session in the place of the present one, which stays where that fails. */
static judgeq_status renew(conversation *c, judgeq_error *error) {
    judgeq_session *session = NULL;
    const judgeq_status status = judgeq_session_new(c->model, &c->session_params, &session, error);
    if (status != JUDGEQ_OK) return status;
    judgeq_session_free(c->session);
    c->session = session;
    return JUDGEQ_OK;
}

judgeq_status conversation_use(conversation *c, const judgeq_session_params *params, judgeq_error *error) {
    const judgeq_session_params before = c->session_params;
    c->session_params = *params;
    const judgeq_status status = renew(c, error);
    if (status != JUDGEQ_OK) c->session_params = before;
    return status;
}

static int64_t position(const conversation *c) {
    judgeq_stats stats;
    judgeq_session_get_stats(c->session, &stats);
    return stats.n_position;
}

size_t conversation_seen(const conversation *c) {
    return (size_t)position(c);
}

/* ---- rendering --------------------------------------------------------------------------------------------------- */

static judgeq_chat_params chat_params(const conversation *c) {
    return (judgeq_chat_params){.template_text = c->params.template_text,
                                .think = c->params.no_think ? JUDGEQ_THINK_OFF : JUDGEQ_THINK_DEFAULT,
                                .n_ctx = c->params.n_ctx};
}

/* Without a template: every turn as it is, a blank line before the user's. The caller's; NULL without memory. */
static char *join(const judgeq_message *message, size_t n) {
    size_t length = 1;
    for (size_t i = 0; i < n; i++) length += strlen(message[i].content) + 2;
    char *text = calloc(length, 1), *end = text;
    for (size_t i = 0; text && i < n; i++) {
        end = stpcpy(end, i > 0 && strcmp(message[i].role, "user") == 0 ? "\n\n" : "");
        end = stpcpy(end, message[i].content);
    }
    return text;
}

static judgeq_status tokenize_plain(const conversation *c, const char *text, unsigned flags, int32_t **token, size_t *n,
                                    judgeq_error *error) {
    const int32_t n_ctx = c->params.n_ctx > 0 ? c->params.n_ctx : judgeq_model_get_info(c->model)->n_ctx_train;
    return judgeq_tokenize_for(c->model, n_ctx, text, strlen(text), flags, token, n, error);
}

/* The whole conversation, with the opening of the assistant's turn. */
static judgeq_status whole_tokens(const conversation *c, int32_t **token, size_t *n, judgeq_error *error) {
    const judgeq_chat_params params = chat_params(c);
    if (!c->plain) return judgeq_chat_tokens(c->model, c->message, c->n_message, &params, token, n, error);
    char *text = join(c->message, c->n_message);
    if (!text) return error_memory(error, "a conversation");
    const judgeq_status status = tokenize_plain(c, text, JUDGEQ_TEXT_BEGIN, token, n, error);
    free(text);
    return status;
}

enum { PROBE_SIZE = 32 };

/* A text that occurs in none of the messages. */
static void find_probe(const conversation *c, char probe[PROBE_SIZE]) {
    bool used = true;
    for (unsigned k = 0; used; k++) {
        snprintf(probe, PROBE_SIZE, "ProbeOfAnswer%u", k);
        used = false;
        for (size_t i = 0; !used && i < c->n_message; i++) used = strstr(c->message[i].content, probe);
    }
}

/* Bytes of the rendering up to the end of `probe` in it. */
static judgeq_status rendered_end(const conversation *c, const char *probe, size_t *end, judgeq_error *error) {
    const judgeq_chat_params params = chat_params(c);
    char *text = NULL;
    const judgeq_status status = judgeq_chat_text(c->model, c->message, c->n_message, &params, &text, error);
    if (status != JUDGEQ_OK) return status;
    const char *found = strstr(text, probe);
    *end = found ? (size_t)(found - text) + strlen(probe) : 0;
    judgeq_free(text);
    if (found) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_UNSUPPORTED,
                     "the chat template leaves the last answer out, so it cannot be told where the next turn begins");
}

static judgeq_status plain_after_answer(const conversation *c, int32_t **token, size_t *n, judgeq_error *error) {
    char *text = NULL;
    if (asprintf(&text, "\n\n%s", c->message[c->n_message - 1].content) < 0) return error_memory(error, "a turn");
    const judgeq_status status = tokenize_plain(c, text, JUDGEQ_TEXT_PLAIN, token, n, error);
    free(text);
    return status;
}

/* What comes after the last answer: the end of that turn, and the user's new one. It is taken from a rendering in which
 * the answer is a word, because templates leave parts of earlier answers out, and because the tokens that the model
 * wrote need not be those that its text is read as. */
static judgeq_status tokens_after_answer(const conversation *c, int32_t **token, size_t *n, judgeq_error *error) {
    char probe[PROBE_SIZE];
    if (c->plain) return plain_after_answer(c, token, n, error);
    judgeq_chat_params params = chat_params(c);
    judgeq_message *answer = &c->message[c->n_message - 2];
    const char *content = answer->content;
    find_probe(c, probe);
    answer->content = probe;
    judgeq_status status = rendered_end(c, probe, &params.skip, error);
    if (status == JUDGEQ_OK) {
        status = judgeq_chat_tokens(c->model, c->message, c->n_message, &params, token, n, error);
    }
    answer->content = content;
    return status;
}

static bool begins_with(const int32_t *token, size_t n, const int32_t *with, size_t n_with) {
    return n_with <= n && (n_with == 0 || memcmp(token, with, n_with * sizeof *with) == 0);
}

static bool text_begins_with(const char *text, const char *with, const char *then) {
    const size_t n = strlen(with);
    return strncmp(text, with, n) == 0 && strncmp(text + n, then, strlen(then)) == 0;
}

/* Says once that the template renders the last answer's turn otherwise than the model has read and written it. */
static judgeq_status compare_renderings(conversation *c, judgeq_error *error) {
    const judgeq_chat_params params = chat_params(c);
    char *now = NULL, *before = NULL;
    if (c->plain || c->noted || !c->params.notes.take) return JUDGEQ_OK;
    judgeq_status status = judgeq_chat_text(c->model, c->message, c->n_message, &params, &now, error);
    if (status == JUDGEQ_OK) {
        status = judgeq_chat_text(c->model, c->message, c->n_message - 2, &params, &before, error);
    }
    if (status == JUDGEQ_OK && !text_begins_with(now, before, c->message[c->n_message - 2].content)) {
        notes_add(c->params.notes,
                  "note: the chat template writes earlier turns otherwise than they were read and written (without "
                  "their thinking, for instance); the model goes on from what it has read and written");
        c->noted = true;
    }
    judgeq_free(now);
    judgeq_free(before);
    return status;
}

/* The new turn, whose message is the last one, from `turn_begin` on: the rest of the whole rendering where that begins
 * with the sequence so far. */
static judgeq_status turn_tokens(conversation *c, int32_t **token, size_t *n, judgeq_error *error) {
    judgeq_status status = whole_tokens(c, token, n, error);
    if (status != JUDGEQ_OK) return status;
    if (begins_with(*token, *n, c->token, c->turn_begin)) {
        *n -= c->turn_begin;
        memmove(*token, *token + c->turn_begin, *n * sizeof **token);
        return JUDGEQ_OK;
    }
    judgeq_free(*token);
    *token = NULL;
    status = compare_renderings(c, error);
    return status == JUDGEQ_OK ? tokens_after_answer(c, token, n, error) : status;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* Back to where the turn was begun. A session that has read a part of it all the same, as unbounded ones read in
 * pieces, is made anew; where even that fails, the next turn tries it again. */
static void withdraw(conversation *c) {
    judgeq_session_read_abandon(c->session);
    c->n_token = c->n_token_before;
    if (c->asking) drop_messages(c, c->n_message - 1);
    if (c->documenting) set_document(c, c->document_before);
    c->document_before = NULL;
    c->asking = c->documenting = false;
    if (position(c) != c->n_seen_before) (void)renew(c, NULL);
}

static void note_place(conversation *c) {
    c->n_token_before = c->n_token;
    c->n_seen_before = position(c);
}

/* The sequence becomes what it was up to `turn_begin`, and the turn. What was read of a document is its beginning, or
 * else all is read again: what a session has read cannot be taken back. */
static judgeq_status append_turn(conversation *c, const int32_t *token, size_t n, judgeq_error *error) {
    const size_t n_read = c->n_token - c->turn_begin;
    if (begins_with(token, n, c->token + c->turn_begin, n_read))
        return add_tokens(c, token + n_read, n - n_read, error);
    const judgeq_status status = renew(c, error);
    if (status != JUDGEQ_OK) return status;
    c->n_seen_before = 0;
    c->n_token = c->n_token_before = c->turn_begin;
    return add_tokens(c, token, n, error);
}

/* Begins to read what the session has not seen. */
static judgeq_status read_rest(conversation *c, size_t *n_tokens, judgeq_error *error) {
    const size_t seen = conversation_seen(c);
    *n_tokens = c->n_token - seen;
    return judgeq_session_read_begin(c->session, c->token + seen, *n_tokens, error);
}

/* A session that could not be made anew after a failure has seen what is not in the sequence. */
static judgeq_status check_session(conversation *c, judgeq_error *error) {
    return position(c) <= (int64_t)c->n_token ? JUDGEQ_OK : renew(c, error);
}

static judgeq_status reserve_turn(conversation *c, judgeq_error *error) {
    const bool room = reserve((void **)&c->turn, &c->turn_capacity, c->n_turn + 1, sizeof *c->turn);
    return room ? JUDGEQ_OK : error_memory(error, "a turn");
}

/* The document that waits, and `text` after it; the caller's, NULL without memory. */
static char *with_document(const conversation *c, const char *text) {
    char *whole = NULL;
    if (!c->document) return strdup(text);
    return asprintf(&whole, "%s%s", c->document, text) >= 0 ? whole : NULL;
}

static judgeq_status add_user(conversation *c, const char *text, judgeq_error *error) {
    char *content = with_document(c, text);
    if (!content) return error_memory(error, "a turn");
    const judgeq_status status = add_message(c, "user", content, error);
    free(content);
    c->asking = status == JUDGEQ_OK;
    return status;
}

judgeq_status conversation_ask_begin(conversation *c, const char *text, size_t *n_tokens, judgeq_error *error) {
    int32_t *token = NULL;
    size_t n = 0;
    judgeq_status status = check_session(c, error);
    if (status != JUDGEQ_OK) return status;
    note_place(c);
    status = reserve_turn(c, error);
    if (status == JUDGEQ_OK) status = add_user(c, text, error);
    if (status == JUDGEQ_OK) status = turn_tokens(c, &token, &n, error);
    if (status == JUDGEQ_OK) status = append_turn(c, token, n, error);
    if (status == JUDGEQ_OK) status = read_rest(c, n_tokens, error);
    judgeq_free(token);
    if (status != JUDGEQ_OK) withdraw(c);
    return status;
}

judgeq_status conversation_ask_step(conversation *c, bool *done, judgeq_error *error) {
    const judgeq_status status = judgeq_session_read_step(c->session, done, error);
    if (status != JUDGEQ_OK) withdraw(c);
    if (!*done) return status;
    free(c->document_before);
    c->document_before = NULL;
    c->documenting = false;
    return status;
}

void conversation_ask_abandon(conversation *c) {
    withdraw(c);
}

judgeq_status conversation_ask(conversation *c, const char *text, judgeq_error *error) {
    size_t n_tokens;
    bool done = false;
    judgeq_status status = conversation_ask_begin(c, text, &n_tokens, error);
    while (status == JUDGEQ_OK && !done) status = conversation_ask_step(c, &done, error);
    return status;
}

judgeq_status conversation_answer(conversation *c, const generation *g, bool failed, judgeq_error *error) {
    const char *text = g->text.text ? g->text.text : "";
    judgeq_status status = add_message(c, "assistant", text, error);
    if (status == JUDGEQ_OK) status = add_tokens(c, g->token, g->n_token, error);
    if (status == JUDGEQ_OK && failed) status = renew(c, error);
    if (status != JUDGEQ_OK) return status;
    c->turn[c->n_turn++] = c->turn_begin;
    c->turn_begin = c->n_token;
    c->asking = false;
    set_document(c, NULL);
    return JUDGEQ_OK;
}

/* ---- documents --------------------------------------------------------------------------------------------------- */

/* What may come after a document: whatever it is, the tokens before it stay. */
static const char *const QUESTIONS[] = {"A", "7", "\n\n", " (", "\xe4\xb8\x80"};

/* The turn, if this were the question. */
static judgeq_status question_tokens(conversation *c, const char *question, int32_t **token, size_t *n,
                                     judgeq_error *error) {
    judgeq_status status = add_user(c, question, error);
    if (status != JUDGEQ_OK) return status;
    status = turn_tokens(c, token, n, error);
    drop_messages(c, c->n_message - 1);
    c->asking = false;
    return status;
}

/* The beginning that the turn has with all of these questions. */
static judgeq_status common_tokens(conversation *c, int32_t **token, size_t *n, judgeq_error *error) {
    judgeq_status status = question_tokens(c, QUESTIONS[0], token, n, error);
    for (size_t i = 1; status == JUDGEQ_OK && i < sizeof QUESTIONS / sizeof QUESTIONS[0]; i++) {
        int32_t *other = NULL;
        size_t n_other = 0, same = 0;
        status = question_tokens(c, QUESTIONS[i], &other, &n_other, error);
        if (status != JUDGEQ_OK) break;
        while (same < *n && same < n_other && (*token)[same] == other[same]) same++;
        *n = same;
        judgeq_free(other);
    }
    return status;
}

/* Reads the document that c has now. */
static judgeq_status begin_document(conversation *c, size_t *n_tokens, judgeq_error *error) {
    int32_t *token = NULL;
    size_t n = 0;
    judgeq_status status = common_tokens(c, &token, &n, error);
    if (status == JUDGEQ_OK) status = append_turn(c, token, n, error);
    if (status == JUDGEQ_OK) status = read_rest(c, n_tokens, error);
    judgeq_free(token);
    return status;
}

judgeq_status conversation_document_begin(conversation *c, const char *text, size_t *n_tokens, judgeq_error *error) {
    char *document = NULL;
    judgeq_status status = check_session(c, error);
    if (status != JUDGEQ_OK) return status;
    if (asprintf(&document, "%s%s\n\n", c->document ? c->document : "", text) < 0) {
        return error_memory(error, "a document");
    }
    note_place(c);
    c->document_before = c->document;
    c->document = document;
    c->documenting = true;
    status = begin_document(c, n_tokens, error);
    if (status != JUDGEQ_OK) withdraw(c);
    return status;
}

/* ---- back -------------------------------------------------------------------------------------------------------- */

judgeq_status conversation_catch_up_begin(conversation *c, size_t *n_tokens, judgeq_error *error) {
    *n_tokens = 0;
    const judgeq_status status = check_session(c, error);
    if (status != JUDGEQ_OK || position(c) > 0 || c->n_token == 0) return status;
    note_place(c);
    return read_rest(c, n_tokens, error);
}

judgeq_status conversation_undo(conversation *c, judgeq_error *error) {
    if (!c->document && c->n_turn == 0) return error_set(error, JUDGEQ_ERROR_ARGUMENT, "there is no turn to undo");
    const judgeq_status status = renew(c, error);
    if (status != JUDGEQ_OK) return status;
    if (!c->document) {
        drop_messages(c, c->n_message - 2);
        c->turn_begin = c->turn[--c->n_turn];
    }
    set_document(c, NULL);
    c->n_token = c->turn_begin;
    return JUDGEQ_OK;
}

judgeq_status conversation_reset(conversation *c, judgeq_error *error) {
    const judgeq_status status = renew(c, error);
    if (status != JUDGEQ_OK) return status;
    drop_messages(c, conversation_first_turn(c));
    set_document(c, NULL);
    c->n_token = c->n_turn = c->turn_begin = 0;
    return JUDGEQ_OK;
}
