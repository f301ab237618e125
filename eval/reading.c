#include "reading.h"

#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "text.h"
#include "unicode.h"

/* Stands for an answer that is not known yet; what follows an answer does not depend on it. */
static const char ANSWER[] = "x";

/* ---- text to tokens ---------------------------------------------------------------------------------------------- */

static judgeq_status tokenize(const judgeq_model *model, const char *bytes, unsigned flags, reading_tokens *out,
                              judgeq_error *error) {
    return judgeq_tokenize(model, bytes, strlen(bytes), flags, &out->token, &out->n_token, error);
}

static judgeq_status add_token(const judgeq_model *model, int32_t token, text_buffer *out) {
    char piece[256];
    const int32_t n = judgeq_token_text(model, token, piece, sizeof piece);
    if (n > 0) text_add(out, piece, (size_t)n);
    return JUDGEQ_OK;
}

/* LongBench's rule for long prompts: the first and the last half of what is allowed. The caller's: free(). */
static judgeq_status cut_middle(const judgeq_model *model, const char *words, int32_t most, char **out,
                                judgeq_error *error) {
    reading_tokens all = {0};
    *out = NULL;
    judgeq_status status = judgeq_tokenize_for(model, 0, words, strlen(words), JUDGEQ_TEXT_BEGIN | JUDGEQ_TEXT_CONTROL,
                                               &all.token, &all.n_token, error);
    if (status != JUDGEQ_OK) return status;
    size_t n = (size_t)most, half = n / 2;
    text_buffer t = {0};
    if (all.n_token <= n) {
        text_print(&t, "%s", words);
    } else {
        for (size_t i = 0; i < half; i++) add_token(model, all.token[i], &t);
        for (size_t i = all.n_token - half; i < all.n_token; i++) add_token(model, all.token[i], &t);
    }
    judgeq_free(all.token);
    text_add(&t, "", 0);
    if (!t.failed) *out = unicode_valid(t.bytes, t.length, &n);
    text_free(&t);
    return *out ? JUDGEQ_OK : eval_fail_memory(error, "a prompt");
}

/* ---- messages to text -------------------------------------------------------------------------------------------- */

/* messages, then the follow-ups before `n_turn` with an answer before each. The caller's: judgeq_free. */
static judgeq_status chat_text(const judgeq_model *model, const sample *s, size_t n_turn, char **out,
                               judgeq_error *error) {
    const size_t n_message = json_array_size(s->messages), n = n_message + 2 * n_turn;
    judgeq_message *message = calloc(n, sizeof *message);
    if (!message) return eval_fail_memory(error, "messages");
    for (size_t i = 0; i < n_message; i++) {
        message[i].role = i % 2 == 0 ? "user" : "assistant";
        message[i].content = json_string_value(json_array_get(s->messages, i));
    }
    for (size_t i = 0; i < n_turn; i++) {
        message[n_message + 2 * i] = (judgeq_message){"assistant", ANSWER};
        message[n_message + 2 * i + 1] = (judgeq_message){"user", json_string_value(json_array_get(s->follow_ups, i))};
    }
    const judgeq_status status = judgeq_chat_text(model, message, n, out, error);
    free(message);
    return status;
}

/* The prompt's text; *chat: in the chat template. The caller's: free(). */
static judgeq_status prompt_text(const judgeq_model *model, reading_format format, const sample *s, bool *chat,
                                 char **out, judgeq_error *error) {
    text_buffer t = {0};
    char *bytes = NULL;
    *out = NULL;
    *chat = format != READING_RAW && (s->chat || format == READING_CHAT);
    if (*chat) {
        const judgeq_status status = chat_text(model, s, 0, &bytes, error);
        *chat = status == JUDGEQ_OK;
        if (status != JUDGEQ_OK && (status != JUDGEQ_ERROR_UNSUPPORTED || format == READING_CHAT)) return status;
    }
    if (bytes) text_print(&t, "%s", bytes);
    for (size_t i = 0; !bytes && i < json_array_size(s->messages); i++) {
        text_print(&t, "%s%s", i > 0 ? "\n\n" : "", json_string_value(json_array_get(s->messages, i)));
    }
    /* a template ends where an answer begins; without one, a prefix of ours is its sentence's continuation */
    if (s->answer_prefix) {
        const bool joined = bytes || s->prefix_follows || *s->answer_prefix == ' ' || *s->answer_prefix == '\n';
        text_print(&t, "%s%s", joined ? "" : " ", s->answer_prefix);
    }
    judgeq_free(bytes);
    *out = text_take(&t);
    return *out ? JUDGEQ_OK : eval_fail_memory(error, "a prompt");
}

/* What stands between answer `turn` and the next. The caller's: free(). */
static judgeq_status turn_text(const judgeq_model *model, const sample *s, size_t turn, bool chat, char **out,
                               judgeq_error *error) {
    text_buffer t = {0};
    char *before = NULL, *after = NULL;
    judgeq_status status = JUDGEQ_OK;
    *out = NULL;
    if (!chat) {
        text_print(&t, "\n\n%s\n", json_string_value(json_array_get(s->follow_ups, turn)));
    } else {
        status = chat_text(model, s, turn, &before, error);
        if (status == JUDGEQ_OK) status = chat_text(model, s, turn + 1, &after, error);
        const size_t n = before ? strlen(before) : 0, m = strlen(ANSWER);
        if (before && after && (strncmp(after, before, n) != 0 || strncmp(after + n, ANSWER, m) != 0)) {
            status = eval_fail(error, JUDGEQ_ERROR_UNSUPPORTED,
                               "task %s: this model's chat template writes earlier turns anew when a later one comes; "
                               "use --raw",
                               s->task);
        }
        if (status == JUDGEQ_OK && after) text_print(&t, "%s", after + n + m);
        judgeq_free(before);
        judgeq_free(after);
    }
    if (status == JUDGEQ_OK) *out = text_take(&t);
    return status == JUDGEQ_OK && !*out ? eval_fail_memory(error, "a turn") : status;
}

/* ---- public ------------------------------------------------------------------------------------------------------ */

/* The sample itself, or a copy whose only message lost its middle: `own` holds it then. */
static judgeq_status shorten(const judgeq_model *model, const sample *s, sample *own, judgeq_error *error) {
    *own = *s;
    if (s->cut_to <= 0) {
        json_incref(own->messages);
        return JUDGEQ_OK;
    }
    char *cut = NULL;
    const judgeq_status status =
        cut_middle(model, json_string_value(json_array_get(s->messages, 0)), s->cut_to, &cut, error);
    own->messages = status == JUDGEQ_OK ? json_pack("[s]", cut) : NULL;
    free(cut);
    return status == JUDGEQ_OK && !own->messages ? eval_fail_memory(error, "a prompt") : status;
}

static judgeq_status make(const judgeq_model *model, reading_format format, const sample *s, bool turns, reading *out,
                          judgeq_error *error) {
    sample own;
    char *bytes = NULL;
    bool chat = false;
    *out = (reading){0};
    judgeq_status status = shorten(model, s, &own, error);
    if (status == JUDGEQ_OK) status = prompt_text(model, format, &own, &chat, &bytes, error);
    if (status == JUDGEQ_OK) {
        status = tokenize(model, bytes, JUDGEQ_TEXT_BEGIN | JUDGEQ_TEXT_CONTROL, &out->prompt, error);
    }
    free(bytes);
    for (size_t i = 0; turns && status == JUDGEQ_OK && i < json_array_size(s->follow_ups); i++) {
        char *turn = NULL;
        status = turn_text(model, &own, i, chat, &turn, error);
        if (status == JUDGEQ_OK) status = tokenize(model, turn, JUDGEQ_TEXT_CONTROL, &out->turn[i], error);
        if (status == JUDGEQ_OK) out->n_turn++;
        free(turn);
    }
    json_decref(own.messages);
    if (status != JUDGEQ_OK) reading_free(out);
    return status;
}

judgeq_status reading_make(const judgeq_model *model, reading_format format, const sample *s, reading *out,
                           judgeq_error *error) {
    return make(model, format, s, true, out, error);
}

int64_t reading_count(const judgeq_model *model, reading_format format, const sample *s, judgeq_error *error) {
    reading r;
    if (make(model, format, s, false, &r, error) != JUDGEQ_OK) return -1;
    const int64_t n = (int64_t)r.prompt.n_token;
    reading_free(&r);
    return n;
}

judgeq_status reading_check(const judgeq_model *model, const reading *r, int32_t n_answer, const char *name,
                            judgeq_error *error) {
    const int32_t n_ctx = judgeq_model_get_info(model)->n_ctx_train;
    const size_t n = r->prompt.n_token + reading_later(r, n_answer);
    if (n <= (size_t)n_ctx) return JUDGEQ_OK;
    return eval_fail(error, JUDGEQ_ERROR_LIMIT,
                     "%s: prompt and answers may have %zu tokens, the model was trained for %d", name, n, n_ctx);
}

size_t reading_later(const reading *r, int32_t n_answer) {
    size_t n = (r->n_turn + 1) * (size_t)n_answer;
    for (size_t i = 0; i < r->n_turn; i++) n += r->turn[i].n_token;
    return n;
}

void reading_free(reading *r) {
    judgeq_free(r->prompt.token);
    for (size_t i = 0; i < READING_TURNS_MOST; i++) judgeq_free(r->turn[i].token);
    *r = (reading){0};
}
