#include "answers.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/utf8.h"

/* Where the answer's first line ends with something in it. */
static bool has_line(const text_buffer *t) {
    size_t i = 0;
    while (i < t->length && t->bytes[i] == '\n') i++;
    return t->length > i && memchr(t->bytes + i, '\n', t->length - i) != NULL;
}

/* The turn's text, cut to what counts, joins what is scored. */
static void end_turn(const answers *a, answer *own) {
    const char *bytes = own->text.bytes ? own->text.bytes : "";
    size_t n = own->text.length;
    if (a->sample->first_line) {
        while (n > 0 && *bytes == '\n') bytes++, n--;
        const char *end = memchr(bytes, '\n', n);
        if (end) n = (size_t)(end - bytes);
    }
    if (a->sample->last_answer) text_free(&own->scored);
    if (own->scored.length > 0) text_print(&own->scored, "\n");
    text_add(&own->scored, bytes, n);
    text_free(&own->text);
    if (own->turn == 0) own->n_first = own->n_token;
    own->n_turn_token = 0;
    own->done = own->turn == a->reading->n_turn;
    if (own->done) return;
    own->queue = &a->reading->turn[own->turn++];
    own->n_read = 0;
}

static bool take_token(const answers *a, answer *own, int32_t token) {
    char piece[256];
    int32_t *larger = realloc(own->token, (own->n_token + 1) * sizeof *larger);
    if (!larger) return false;
    own->token = larger;
    own->token[own->n_token++] = token;
    own->n_turn_token++;
    const int32_t n = judgeq_token_text(a->model, token, piece, sizeof piece);
    if (n > 0) text_add(&own->text, piece, (size_t)n);
    return !own->text.failed;
}

static bool turn_is_full(const answers *a, const answer *own) {
    return own->n_turn_token >= (size_t)a->n_tokens || (a->sample->first_line && has_line(&own->text));
}

/* The next token that the session reads, or -1: it is done. -2: no memory. */
static int32_t next_token(const answers *a, answer *own, judgeq_sampler *sampler) {
    const int32_t n_vocab = judgeq_model_get_info(a->model)->n_vocab;
    while (!own->done) {
        if (own->queue && own->n_read < own->queue->n_token) return own->queue->token[own->n_read++];
        if (turn_is_full(a, own)) {
            end_turn(a, own);
            continue;
        }
        const int32_t token = judgeq_sampler_sample(sampler, judgeq_session_logits(own->session), n_vocab);
        if (token < 0) return -2;
        if (judgeq_token_ends(a->model, token)) {
            end_turn(a, own);
            continue;
        }
        if (!take_token(a, own, token)) return -2;
        /* nothing comes after the last token of the last turn: nobody needs to read it */
        if (turn_is_full(a, own) && own->turn == a->reading->n_turn) continue;
        return token;
    }
    return -1;
}

/* The sessions that go on, and the token that each reads. */
typedef struct step {
    judgeq_session **session; /* [n] */
    int32_t *token;           /* [n] */
    size_t n;
} step;

static judgeq_status next_step(const answers *a, judgeq_sampler *sampler, step *out, judgeq_error *error) {
    out->n = 0;
    for (size_t i = 0; i < a->n_answer; i++) {
        const int32_t token = next_token(a, &a->answer[i], sampler);
        if (token == -2) return error_memory(error, "an answer");
        if (token < 0) continue;
        out->session[out->n] = a->answer[i].session;
        out->token[out->n++] = token;
    }
    return JUDGEQ_OK;
}

static judgeq_status run_steps(const answers *a, judgeq_sampler *sampler, step *next, judgeq_error *error) {
    judgeq_status status = next_step(a, sampler, next, error);
    while (status == JUDGEQ_OK && next->n > 0) {
        status = judgeq_session_decode_all(next->session, next->token, next->n, error);
        if (status == JUDGEQ_OK && a->progress && !a->progress(a->progress_data, 1, 1)) {
            status = error_set(error, JUDGEQ_ERROR_CANCELLED, "interrupted");
        }
        if (status == JUDGEQ_OK) status = next_step(a, sampler, next, error);
    }
    return status;
}

judgeq_status answers_decode(answers *a, judgeq_error *error) {
    const judgeq_sampler_params greedy = {.temperature = 0};
    judgeq_sampler *sampler = NULL;
    step next = {malloc(a->n_answer * sizeof(judgeq_session *)), malloc(a->n_answer * sizeof *next.token), 0};
    judgeq_status status = judgeq_sampler_new(&greedy, &sampler, error);
    if (status == JUDGEQ_OK && (!next.session || !next.token)) status = error_memory(error, "answers");
    if (status == JUDGEQ_OK) status = run_steps(a, sampler, &next, error);
    judgeq_sampler_free(sampler);
    free((void *)next.session);
    free(next.token);
    return status;
}

char *answer_scored(const answer *own, size_t *n) {
    return utf8_repaired(own->scored.bytes ? own->scored.bytes : "", own->scored.length, n);
}

void answer_free(answer *own) {
    free(own->token);
    text_free(&own->text);
    text_free(&own->scored);
}
