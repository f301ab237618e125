#include "generate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "interrupt.h"
#include "logprobs.h"

/* What every step needs. */
typedef struct generator {
    const judgeq_model *model;
    judgeq_session *session;
    const options *options;
    judgeq_sampler *sampler;
    text_stream *stream;
    int32_t stop[OPTIONS_STOPS_MOST]; /* [n_stop], of the stop texts that are a control token: they have no text */
    size_t n_stop;
    size_t limit; /* tokens of the response, at most */
    double started;
    generation *out;
} generator;

static judgeq_status failed(judgeq_error *error, judgeq_status status, const char *message) {
    error->code = status;
    snprintf(error->message, sizeof error->message, "%s", message);
    return status;
}

static judgeq_status stream_failed(judgeq_error *error) {
    error->code = JUDGEQ_ERROR_IO;
    snprintf(error->message, sizeof error->message, "cannot write to standard output: %s", strerror(errno));
    return JUDGEQ_ERROR_IO;
}

/* A token's text goes into `text`, or into `longer`, which is the caller's, where it needs more room. */
static judgeq_status put_token(const generator *g, int32_t token, judgeq_error *error) {
    char text[128], *longer = NULL;
    int32_t n = judgeq_token_text(g->model, token, text, sizeof text);
    if (n < 0) {
        longer = malloc((size_t)-n);
        if (!longer) return failed(error, JUDGEQ_ERROR_MEMORY, "no memory for a token's text");
        n = judgeq_token_text(g->model, token, longer, -n);
    }
    const bool put = text_stream_put(g->stream, longer ? longer : text, n > 0 ? (size_t)n : 0);
    const judgeq_status status = put ? JUDGEQ_OK : stream_failed(error);
    free(longer);
    return status;
}

/* The stop texts that no text can hold, as tokens. */
static judgeq_status find_stop_tokens(generator *g, judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    for (size_t i = 0; i < g->options->n_stop && status == JUDGEQ_OK; i++) {
        const char *text = g->options->stop[i];
        int32_t *token = NULL;
        size_t n = 0;
        status = judgeq_tokenize(g->model, text, strlen(text), JUDGEQ_TEXT_CONTROL, &token, &n, error);
        const bool control = n == 1 && judgeq_token_text(g->model, token[0], NULL, 0) == 0;
        if (control) g->stop[g->n_stop++] = token[0];
        judgeq_free(token);
    }
    return status;
}

static bool ends_response(const generator *g, int32_t token) {
    bool ends = judgeq_token_ends(g->model, token);
    for (size_t i = 0; i < g->n_stop; i++) ends = ends || g->stop[i] == token;
    return ends;
}

/* One more token of the response; *done where it ends with or before this one. deferred: it is in the cache. */
static judgeq_status take_token(generator *g, int32_t token, bool deferred, bool *done, judgeq_error *error) {
    generation *out = g->out;
    if (out->n_token == 0) out->ttft_s = clock_seconds() - g->started;
    *done = ends_response(g, token);
    if (*done) return JUDGEQ_OK;
    if (out->logprobs &&
        !logprobs_append(out->logprobs, g->model, judgeq_session_logits(g->session), token, g->options->logprobs)) {
        return failed(error, JUDGEQ_ERROR_MEMORY, "no memory for log-probabilities");
    }
    out->token[out->n_token++] = token;
    judgeq_status status = put_token(g, token, error);
    *done = g->stream->stopped;
    if (status != JUDGEQ_OK || *done) return status;
    if (interrupt_seen()) {
        out->reason = GENERATE_INTERRUPTED;
        return failed(error, JUDGEQ_ERROR_CANCELLED, "interrupted");
    }
    /* the last token is not decoded: nothing comes after it */
    if (!deferred && out->n_token < g->limit) status = judgeq_session_decode(g->session, token, error);
    return status;
}

static judgeq_status decode(generator *g, judgeq_error *error) {
    size_t n_deferred;
    const int32_t *deferred = judgeq_session_deferred(g->session, &n_deferred);
    const int32_t n_vocab = judgeq_model_get_info(g->model)->n_vocab;
    generation *out = g->out;
    while (out->n_token < g->limit) {
        const bool known = out->n_token < n_deferred;
        const int32_t token = known ? deferred[out->n_token]
                                    : judgeq_sampler_sample(g->sampler, judgeq_session_logits(g->session), n_vocab);
        bool done;
        if (token < 0) return failed(error, JUDGEQ_ERROR_MEMORY, "no memory to draw a token");
        const judgeq_status status = take_token(g, token, known, &done, error);
        if (status != JUDGEQ_OK) return status;
        if (done) {
            out->reason = GENERATE_STOP;
            return JUDGEQ_OK;
        }
    }
    return JUDGEQ_OK;
}

/* How many tokens the response can have. n_prompt is not above the context: prefill has refused that. */
static void set_limit(generator *g, size_t n_prompt) {
    const options *o = g->options;
    const size_t n_ctx = (size_t)(o->n_ctx > 0 ? o->n_ctx : judgeq_model_get_info(g->model)->n_ctx_train);
    const size_t room = n_ctx > n_prompt ? n_ctx - n_prompt : 0;
    g->limit = (size_t)o->n_tokens < room ? (size_t)o->n_tokens : room;
    g->out->reason = (size_t)o->n_tokens <= room ? GENERATE_LENGTH : GENERATE_CONTEXT;
}

judgeq_status generate(const judgeq_model *model, judgeq_session *session, const options *o, size_t n_prompt,
                       double started, text_stream *stream, generation *out, judgeq_error *error) {
    generator g = {.model = model, .session = session, .options = o, .stream = stream, .started = started, .out = out};
    *out = (generation){.ttft_s = -1, .logprobs = o->logprobs >= 0 ? json_array() : NULL};
    set_limit(&g, n_prompt);
    out->token = malloc((g.limit + 1) * sizeof *out->token);
    if (!out->token || (o->logprobs >= 0 && !out->logprobs)) {
        return failed(error, JUDGEQ_ERROR_MEMORY, "no memory for the response");
    }
    judgeq_status status = find_stop_tokens(&g, error);
    if (status == JUDGEQ_OK) status = judgeq_sampler_new(&o->sampler, &g.sampler, error);
    if (status == JUDGEQ_OK) status = decode(&g, error);
    judgeq_sampler_free(g.sampler);
    /* what came before a failure is good: it stays in sight, and on a line of its own */
    if (!text_stream_end(stream) && status == JUDGEQ_OK) status = stream_failed(error);
    return status;
}

void generation_free(generation *response) {
    free(response->token);
    json_decref(response->logprobs);
}
