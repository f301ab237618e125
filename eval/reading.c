#include "reading.h"

#include <stdlib.h>
#include <string.h>

#include "app/context.h"
#include "app/text_stream.h"
#include "base/error.h"
#include "base/text.h"

/* Stands for an answer that is not known yet; what follows an answer does not depend on it. */
static const char ANSWER[] = "AnswerToCome";

/* ---- text to tokens ---------------------------------------------------------------------------------------------- */

static judgeq_status tokenize(const judgeq_model *model, const char *bytes, unsigned flags, reading_tokens *out,
                              judgeq_error *error) {
    return judgeq_tokenize(model, bytes, strlen(bytes), flags, &out->token, &out->n_token, error);
}

/* LongBench's rule for long prompts: the first and the last half of what is allowed. The caller's: free(). */
static judgeq_status cut_middle(const judgeq_model *model, const char *words, int32_t most, char **out,
                                judgeq_error *error) {
    reading_tokens all = {0};
    *out = NULL;
    judgeq_status status =
        judgeq_tokenize_for(model, 0, words, strlen(words), JUDGEQ_TEXT_PLAIN, &all.token, &all.n_token, error);
    if (status != JUDGEQ_OK) return status;
    const size_t n = (size_t)most, half = n / 2;
    text_stream text = {0};
    if (all.n_token <= n) status = text_stream_add(&text, words, strlen(words), error);
    for (size_t i = 0; status == JUDGEQ_OK && all.n_token > n && i < 2 * half; i++) {
        const int32_t token = all.token[i < half ? i : all.n_token - 2 * half + i];
        status = text_stream_add_token(&text, model, token, error);
    }
    judgeq_free(all.token);
    if (status == JUDGEQ_OK) status = text_stream_end(&text, error);
    if (status == JUDGEQ_OK)
        *out = text.text;
    else
        text_stream_free(&text);
    return status;
}

/* ---- in the chat template ---------------------------------------------------------------------------------------- */

typedef struct conversation {
    judgeq_message *message; /* [n] */
    size_t n;
} conversation;

/* The sample's messages, then the follow-ups before `n_turn` with an answer before each, given or not; free
 * conversation.message. */
static judgeq_status converse(const sample *s, size_t n_turn, conversation *out, judgeq_error *error) {
    const size_t n_message = json_array_size(s->messages);
    *out = (conversation){calloc(n_message + 2 * n_turn + 1, sizeof *out->message), n_message + 2 * n_turn};
    if (!out->message) return error_memory(error, "messages");
    for (size_t i = 0; i < n_message; i++) {
        out->message[i].role = i % 2 == 0 ? "user" : "assistant";
        out->message[i].content = json_string_value(json_array_get(s->messages, i));
    }
    for (size_t i = 0; i < n_turn; i++) {
        const char *words = json_string_value(json_array_get(s->follow_ups, i));
        const char *given = json_string_value(json_array_get(s->given, i));
        out->message[n_message + 2 * i] = (judgeq_message){"assistant", given ? given : ANSWER};
        out->message[n_message + 2 * i + 1] = (judgeq_message){"user", words};
    }
    return JUDGEQ_OK;
}

static judgeq_chat_params params_of(const reading_style *style) {
    return (judgeq_chat_params){.think = style->no_think ? JUDGEQ_THINK_OFF : JUDGEQ_THINK_DEFAULT};
}

static judgeq_status chat_prompt(const judgeq_model *model, const reading_style *style, const sample *s,
                                 reading_tokens *out, judgeq_error *error) {
    conversation c;
    judgeq_chat_params params = params_of(style);
    params.answer = s->answer_prefix;
    judgeq_status status = converse(s, 0, &c, error);
    if (status == JUDGEQ_OK) {
        status = judgeq_chat_tokens(model, c.message, c.n, &params, &out->token, &out->n_token, error);
    }
    free(c.message);
    return status;
}

static judgeq_status chat_text(const judgeq_model *model, const sample *s, size_t n_turn,
                               const judgeq_chat_params *params, char **out, judgeq_error *error) {
    conversation c;
    *out = NULL;
    judgeq_status status = converse(s, n_turn, &c, error);
    if (status == JUDGEQ_OK) status = judgeq_chat_text(model, c.message, c.n, params, out, error);
    free(c.message);
    return status;
}

/* Where, in the text with one turn more, the answer to the text without it ends; 0: the texts have not the same
 * beginning. The opening of an answer may differ from that of an answer given: it may hold an empty thought. */
static size_t find_answer_end(const char *before, const char *after, const char *words) {
    const size_t n = strlen(before);
    if (strncmp(before, after, n) != 0) return 0;
    const char *answer = strstr(after + n, words);
    return answer ? (size_t)(answer - after) + strlen(words) : 0;
}

/* What stands between answer `turn` and the next. */
static judgeq_status chat_turn(const judgeq_model *model, const reading_style *style, const sample *s, size_t turn,
                               reading_tokens *out, judgeq_error *error) {
    const char *given = json_string_value(json_array_get(s->given, turn));
    judgeq_chat_params params = params_of(style);
    char *after = NULL;
    conversation c;
    judgeq_status status = chat_text(model, s, turn + 1, &params, &after, error);
    for (int open = 1; status == JUDGEQ_OK && params.skip == 0 && open >= 0; open--) {
        judgeq_chat_params before_params = params_of(style);
        char *before = NULL;
        before_params.closed = !open;
        status = chat_text(model, s, turn, &before_params, &before, error);
        if (status == JUDGEQ_OK) params.skip = find_answer_end(before, after, given ? given : ANSWER);
        judgeq_free(before);
    }
    judgeq_free(after);
    if (status == JUDGEQ_OK && params.skip == 0) {
        return error_set(error, JUDGEQ_ERROR_UNSUPPORTED,
                         "task %s: this model's chat template writes earlier turns anew when a later one comes; "
                         "use --raw",
                         s->task);
    }
    if (status == JUDGEQ_OK) status = converse(s, turn + 1, &c, error);
    if (status != JUDGEQ_OK) return status;
    status = judgeq_chat_tokens(model, c.message, c.n, &params, &out->token, &out->n_token, error);
    free(c.message);
    return status;
}

/* ---- as it is ---------------------------------------------------------------------------------------------------- */

static judgeq_status raw_prompt(const judgeq_model *model, const reading_style *style, const sample *s,
                                reading_tokens *out, judgeq_error *error) {
    text_buffer t = {0};
    for (size_t i = 0; i < json_array_size(s->messages); i++) {
        text_print(&t, "%s%s", i > 0 ? "\n\n" : "", json_string_value(json_array_get(s->messages, i)));
    }
    /* a prefix of the answer is its sentence's continuation */
    if (s->answer_prefix) {
        const bool joined = s->prefix_follows || *s->answer_prefix == ' ' || *s->answer_prefix == '\n';
        text_print(&t, "%s%s", joined ? "" : " ", s->answer_prefix);
    }
    char *bytes = text_take(&t);
    if (!bytes) return error_memory(error, "a prompt");
    const unsigned control = s->whole || style->control ? JUDGEQ_TEXT_CONTROL : JUDGEQ_TEXT_PLAIN;
    const judgeq_status status = tokenize(model, bytes, JUDGEQ_TEXT_BEGIN | control, out, error);
    free(bytes);
    return status;
}

static judgeq_status raw_turn(const judgeq_model *model, const sample *s, size_t turn, reading_tokens *out,
                              judgeq_error *error) {
    text_buffer t = {0};
    text_print(&t, "\n\n%s\n", json_string_value(json_array_get(s->follow_ups, turn)));
    char *bytes = text_take(&t);
    if (!bytes) return error_memory(error, "a turn");
    const judgeq_status status = tokenize(model, bytes, JUDGEQ_TEXT_PLAIN, out, error);
    free(bytes);
    return status;
}

/* ---- a text that goes on ----------------------------------------------------------------------------------------- */

static judgeq_status read_continued(const judgeq_model *model, const sample *s, reading *out, judgeq_error *error) {
    const char *words = json_string_value(json_array_get(s->messages, 0));
    const size_t n = (size_t)s->length, n_more = (size_t)s->n_tokens;
    reading_tokens *all = &out->prompt;
    const judgeq_status status =
        judgeq_tokenize_for(model, 0, words, strlen(words), JUDGEQ_TEXT_BEGIN, &all->token, &all->n_token, error);
    if (status != JUDGEQ_OK) return status;
    if (all->n_token < n + n_more) {
        return error_set(error, JUDGEQ_ERROR_LIMIT,
                         "task %s: the text has %zu tokens, and %zu are needed: --length and %zu that follow", s->task,
                         all->n_token, n + n_more, n_more);
    }
    out->continuation.token = malloc((n_more + 1) * sizeof *all->token);
    if (!out->continuation.token) return error_memory(error, "a text");
    memcpy(out->continuation.token, all->token + n, n_more * sizeof *all->token);
    out->continuation.n_token = n_more;
    all->n_token = n;
    return JUDGEQ_OK;
}

/* ---- questions that are not known when rows are dropped ---------------------------------------------------------- */

/* As judgeq ingest and judgeq run --context have it. */
static prompt_params context_params(const reading_style *style, bool chat) {
    return (prompt_params){.format = chat             ? PROMPT_CHAT
                                     : style->control ? PROMPT_RAW
                                                      : PROMPT_PLAIN,
                           .no_think = style->no_think};
}

static const char *text_at(const json_t *array, size_t index) {
    return json_string_value(json_array_get(array, index));
}

static judgeq_status read_documents(const judgeq_model *model, const prompt_params *params, const sample *s,
                                    reading *out, judgeq_error *error) {
    reading_tokens *to = &out->prompt;
    judgeq_status status =
        context_document_tokens(model, params, NULL, text_at(s->messages, 0), &to->token, &to->n_token, error);
    for (size_t i = 0; status == JUDGEQ_OK && i < json_array_size(s->parts); i++) {
        to = &out->part[out->n_part++];
        status = context_more_tokens(model, params, text_at(s->parts, i), &to->token, &to->n_token, error);
    }
    for (size_t i = 0; status == JUDGEQ_OK && i < json_array_size(s->asked); i++) {
        const char *words = json_string_value(json_object_get(json_array_get(s->asked, i), "words"));
        to = &out->question[out->n_question++];
        status = context_question_tokens(model, params, words, &to->token, &to->n_token, error);
    }
    return status;
}

/* Puts other tokens before those that are there, and takes them. */
static judgeq_status put_before(reading_tokens *to, reading_tokens *before, judgeq_error *error) {
    const size_t n = before->n_token + to->n_token;
    int32_t *both = realloc(before->token, (n + 1) * sizeof *both);
    if (!both) return error_memory(error, "a turn");
    if (to->n_token > 0) memcpy(both + before->n_token, to->token, to->n_token * sizeof *both);
    judgeq_free(to->token);
    *to = (reading_tokens){both, n};
    *before = (reading_tokens){0};
    return JUDGEQ_OK;
}

static judgeq_status answer_and_turn(const judgeq_model *model, const reading_style *style, bool chat, const sample *s,
                                     size_t turn, reading_tokens *out, judgeq_error *error) {
    reading_tokens answer = {0};
    judgeq_status status = chat ? chat_turn(model, style, s, turn, out, error) : raw_turn(model, s, turn, out, error);
    if (status == JUDGEQ_OK) {
        status = tokenize(model, text_at(s->given, turn), JUDGEQ_TEXT_PLAIN, &answer, error);
    }
    if (status == JUDGEQ_OK) status = put_before(out, &answer, error);
    judgeq_free(answer.token);
    return status;
}

static bool begins_with(const reading_tokens *whole, size_t at, const reading_tokens *with) {
    return at + with->n_token <= whole->n_token &&
           memcmp(whole->token + at, with->token, with->n_token * sizeof *with->token) == 0;
}

/* Takes what was read before from the beginning of the whole; false: it begins with something else. */
static bool cut_before(const reading *before, reading_tokens *whole) {
    size_t at = 0;
    for (size_t i = 0; i <= before->n_part; i++) {
        const reading_tokens *next = i == 0 ? &before->prompt : &before->part[i - 1];
        if (!begins_with(whole, at, next)) return false;
        at += next->n_token;
    }
    whole->n_token -= at;
    memmove(whole->token, whole->token + at, whole->n_token * sizeof *whole->token);
    return true;
}

/* A given answer and the turn after it: as in judgeq chat, the rest of the whole conversation where that begins with
 * what was read before, and else the answer by itself and what follows an answer. */
static judgeq_status read_turn(const judgeq_model *model, const reading_style *style, bool chat, const sample *s,
                               size_t turn, const reading *before, reading_tokens *out, judgeq_error *error) {
    const judgeq_chat_params params = params_of(style);
    conversation c;
    if (!chat) return answer_and_turn(model, style, chat, s, turn, out, error);
    judgeq_status status = converse(s, turn + 1, &c, error);
    if (status != JUDGEQ_OK) return status;
    status = judgeq_chat_tokens(model, c.message, c.n, &params, &out->token, &out->n_token, error);
    free(c.message);
    if (status != JUDGEQ_OK || cut_before(before, out)) return status;
    judgeq_free(out->token);
    *out = (reading_tokens){0};
    return answer_and_turn(model, style, chat, s, turn, out, error);
}

/* The last turn asks. */
static judgeq_status read_turns(const judgeq_model *model, const reading_style *style, bool chat, const sample *s,
                                reading *out, judgeq_error *error) {
    const size_t n = json_array_size(s->given);
    judgeq_status status =
        chat ? chat_prompt(model, style, s, &out->prompt, error) : raw_prompt(model, style, s, &out->prompt, error);
    for (size_t i = 0; status == JUDGEQ_OK && i < n; i++) {
        reading_tokens next = {0};
        status = read_turn(model, style, chat, s, i, out, &next, error);
        *(i + 1 < n ? &out->part[out->n_part++] : &out->question[out->n_question++]) = next;
    }
    return status;
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
    return status == JUDGEQ_OK && !own->messages ? error_memory(error, "a prompt") : status;
}

static judgeq_status make(const judgeq_model *model, const reading_style *style, const sample *s, bool turns,
                          reading *out, judgeq_error *error) {
    const bool chat = style->format != READING_RAW && (s->chat || style->format == READING_CHAT);
    sample own;
    *out = (reading){0};
    if (s->continues) {
        const judgeq_status status = read_continued(model, s, out, error);
        if (status != JUDGEQ_OK) reading_free(out);
        return status;
    }
    if (s->asked) {
        const prompt_params params = context_params(style, chat);
        const judgeq_status status = json_array_size(s->given) > 0 ? read_turns(model, style, chat, s, out, error)
                                                                   : read_documents(model, &params, s, out, error);
        if (status != JUDGEQ_OK) reading_free(out);
        return status;
    }
    judgeq_status status = shorten(model, s, &own, error);
    if (status == JUDGEQ_OK) {
        status = chat ? chat_prompt(model, style, &own, &out->prompt, error)
                      : raw_prompt(model, style, &own, &out->prompt, error);
    }
    for (size_t i = 0; turns && status == JUDGEQ_OK && i < json_array_size(s->follow_ups); i++) {
        reading_tokens *turn = &out->turn[out->n_turn++];
        status = chat ? chat_turn(model, style, &own, i, turn, error) : raw_turn(model, &own, i, turn, error);
    }
    json_decref(own.messages);
    if (status != JUDGEQ_OK) reading_free(out);
    return status;
}

judgeq_status reading_make(const judgeq_model *model, const reading_style *style, const sample *s, reading *out,
                           judgeq_error *error) {
    return make(model, style, s, true, out, error);
}

int64_t reading_count(const judgeq_model *model, const reading_style *style, const sample *s, judgeq_error *error) {
    reading r;
    if (make(model, style, s, false, &r, error) != JUDGEQ_OK) return -1;
    const int64_t n = (int64_t)reading_first(&r);
    reading_free(&r);
    return n;
}

judgeq_status reading_check(const judgeq_model *model, const reading *r, int32_t n_answer, const char *name,
                            judgeq_error *error) {
    const int32_t n_ctx = judgeq_model_get_info(model)->n_ctx_train;
    const size_t n = reading_first(r) + reading_later(r, n_answer);
    if (n <= (size_t)n_ctx) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_LIMIT,
                     "%s: prompt and answers may have %zu tokens, the model was trained for %d", name, n, n_ctx);
}

size_t reading_context(const reading *r) {
    size_t n = r->prompt.n_token;
    for (size_t i = 0; i < r->n_part; i++) n += r->part[i].n_token;
    return n;
}

size_t reading_first(const reading *r) {
    size_t longest = 0;
    for (size_t i = 0; i < r->n_question; i++) {
        if (r->question[i].n_token > longest) longest = r->question[i].n_token;
    }
    return reading_context(r) + longest;
}

size_t reading_later(const reading *r, int32_t n_answer) {
    size_t n = (r->n_turn + 1) * (size_t)n_answer;
    for (size_t i = 0; i < r->n_turn; i++) n += r->turn[i].n_token;
    return n;
}

void reading_free(reading *r) {
    judgeq_free(r->prompt.token);
    judgeq_free(r->continuation.token);
    for (size_t i = 0; i < READING_TURNS_MOST; i++) {
        judgeq_free(r->turn[i].token);
        judgeq_free(r->part[i].token);
        judgeq_free(r->question[i].token);
    }
    *r = (reading){0};
}
