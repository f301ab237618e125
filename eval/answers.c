#include "answers.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* ---- turns ------------------------------------------------------------------------------------------------------- */

/* Only the first line counts, and it has ended with something in it. */
static bool has_line(const answers *a, const text_stream *t) {
    size_t i = 0;
    while (i < t->length && t->text[i] == '\n') i++;
    return a->sample->first_line && t->length > i && memchr(t->text + i, '\n', t->length - i) != NULL;
}

static judgeq_status begin_turn(const answers *a, answer *own, judgeq_error *error) {
    judgeq_stats stats;
    judgeq_session_get_stats(own->session, &stats);
    const generation_params params = {
        .sampler = a->sampler, .n_tokens = a->n_tokens, .n_before = (size_t)stats.n_position, .logprobs = -1};
    return generation_init(&own->generation, a->model, &params, error);
}

/* The turn's text, cut to what counts, joins what is scored. */
static void score_text(const answers *a, answer *own) {
    const char *bytes = own->generation.text.text;
    size_t n = own->generation.text.length;
    if (a->sample->first_line) {
        while (n > 0 && *bytes == '\n') bytes++, n--;
        const char *end = memchr(bytes, '\n', n);
        if (end) n = (size_t)(end - bytes);
    }
    if (a->sample->last_answer) text_free(&own->scored);
    if (own->scored.length > 0) text_print(&own->scored, "\n");
    text_add(&own->scored, bytes, n);
}

static judgeq_status keep_tokens(answer *own, judgeq_error *error) {
    const generation *g = &own->generation;
    int32_t *larger = realloc(own->token, (own->n_token + g->n_token + 1) * sizeof *larger); /* never 0 bytes */
    if (!larger) return error_memory(error, "an answer");
    own->token = larger;
    if (g->n_token > 0) memcpy(own->token + own->n_token, g->token, g->n_token * sizeof *larger);
    own->n_token += g->n_token;
    return JUDGEQ_OK;
}

/* unread: the turn's last token, where the session has not read it, or -1. */
static judgeq_status end_turn(const answers *a, answer *own, int32_t unread, judgeq_error *error) {
    judgeq_status status = generation_finish(&own->generation, error);
    if (status == JUDGEQ_OK) status = keep_tokens(own, error);
    if (status == JUDGEQ_OK) score_text(a, own);
    if (status == JUDGEQ_OK && own->scored.failed) status = error_memory(error, "an answer");
    generation_free(&own->generation);
    if (own->turn == 0) own->n_first = own->n_token;
    /* nothing comes after the last token of the last turn: nobody needs to read it */
    own->done = own->turn == a->reading->n_turn;
    if (own->done) return status;
    own->unread = unread;
    own->queue = &a->reading->turn[own->turn++];
    own->n_read = 0;
    return status;
}

/* Reads a turn at once. A session that keeps everything gets the same by decoding, and may be watched. */
static judgeq_status read_turn(answer *own, judgeq_error *error) {
    judgeq_stats stats;
    judgeq_session_get_stats(own->session, &stats);
    if (!own->queue || own->n_read > 0 || stats.budget == 0) return JUDGEQ_OK;
    const size_t n_unread = own->unread >= 0 ? 1 : 0, n = n_unread + own->queue->n_token;
    int32_t *token = malloc(n * sizeof *token);
    if (!token) return error_memory(error, "a turn");
    if (n_unread > 0) token[0] = own->unread;
    memcpy(token + n_unread, own->queue->token, own->queue->n_token * sizeof *token);
    own->unread = -1;
    own->n_read = own->queue->n_token;
    const judgeq_status status = judgeq_session_read(own->session, token, n, error);
    free(token);
    return status;
}

/* What is read before the next answer, or -1. */
static int32_t next_queued(answer *own) {
    const int32_t unread = own->unread;
    own->unread = -1;
    if (unread >= 0) return unread;
    return own->queue && own->n_read < own->queue->n_token ? own->queue->token[own->n_read++] : -1;
}

/* The next token that the session reads, or -1: it is done. */
static judgeq_status next_token(const answers *a, answer *own, int32_t *token, judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    *token = -1;
    while (status == JUDGEQ_OK && !own->done) {
        if (a->reads_on && (status = read_turn(own, error)) != JUDGEQ_OK) return status;
        if ((*token = next_queued(own)) >= 0) return JUDGEQ_OK;
        generation *g = &own->generation;
        if (!g->model) status = begin_turn(a, own, error);
        if (status == JUDGEQ_OK) status = generation_next(g, judgeq_session_logits(own->session), token, error);
        if (status != JUDGEQ_OK || (*token >= 0 && !has_line(a, &g->text))) return status;
        status = end_turn(a, own, *token >= 0 ? *token : g->unread, error);
        *token = -1;
    }
    return status;
}

/* ---- steps ------------------------------------------------------------------------------------------------------- */

/* The sessions that go on, and the token that each reads. */
typedef struct step {
    judgeq_session **session; /* [n] */
    int32_t *token;           /* [n] */
    size_t n;
} step;

static judgeq_status next_step(const answers *a, step *out, judgeq_error *error) {
    out->n = 0;
    for (size_t i = 0; i < a->n_answer; i++) {
        int32_t token;
        const judgeq_status status = next_token(a, &a->answer[i], &token, error);
        if (status != JUDGEQ_OK) return status;
        if (token < 0) continue;
        out->session[out->n] = a->answer[i].session;
        out->token[out->n++] = token;
    }
    return JUDGEQ_OK;
}

static judgeq_status run_steps(const answers *a, step *next, judgeq_error *error) {
    judgeq_status status = next_step(a, next, error);
    while (status == JUDGEQ_OK && next->n > 0) {
        status = judgeq_session_decode_all(next->session, next->token, next->n, error);
        if (status == JUDGEQ_OK && a->progress && !a->progress(a->progress_data, 1, 1)) {
            status = error_set(error, JUDGEQ_ERROR_CANCELLED, "interrupted");
        }
        if (status == JUDGEQ_OK) status = next_step(a, next, error);
    }
    return status;
}

judgeq_status answers_decode(answers *a, judgeq_error *error) {
    const judgeq_sampler_params greedy = {.temperature = 0};
    step next = {malloc(a->n_answer * sizeof(judgeq_session *)), malloc(a->n_answer * sizeof *next.token), 0};
    for (size_t i = 0; i < a->n_answer; i++) a->answer[i].unread = -1;
    judgeq_status status = judgeq_sampler_new(&greedy, &a->sampler, error);
    if (status == JUDGEQ_OK && (!next.session || !next.token)) status = error_memory(error, "answers");
    if (status == JUDGEQ_OK) status = run_steps(a, &next, error);
    judgeq_sampler_free(a->sampler);
    free((void *)next.session);
    free(next.token);
    return status;
}

char *answer_scored(const answer *own, size_t *n) {
    char *scored = malloc(own->scored.length + 1);
    if (!scored) return NULL;
    *n = own->scored.length;
    if (*n > 0) memcpy(scored, own->scored.bytes, *n);
    scored[*n] = '\0';
    return scored;
}

void answer_free(answer *own) {
    free(own->token);
    generation_free(&own->generation);
    text_free(&own->scored);
}
