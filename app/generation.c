#include "generation.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "logprobs.h"

/* ---- beginning --------------------------------------------------------------------------------------------------- */

/* The stop texts that no text can hold, as tokens. */
static judgeq_status find_stop_tokens(generation *g, judgeq_error *error) {
    const generation_params *p = &g->params;
    judgeq_status status = JUDGEQ_OK;
    g->stop_token = calloc(p->n_stop + 1, sizeof *g->stop_token); /* never 0 bytes */
    if (!g->stop_token) return error_memory(error, "stop tokens");
    for (size_t i = 0; i < p->n_stop && status == JUDGEQ_OK; i++) {
        int32_t *token = NULL;
        size_t n = 0;
        status = judgeq_tokenize(g->model, p->stop[i], strlen(p->stop[i]), JUDGEQ_TEXT_CONTROL, &token, &n, error);
        const bool control = n == 1 && judgeq_token_text(g->model, token[0], NULL, 0) == 0;
        g->stop_token[i] = control ? token[0] : -1;
        judgeq_free(token);
    }
    return status;
}

/* What has no place in the context is not written. */
static size_t room_of(const generation *g) {
    const generation_params *p = &g->params;
    const size_t n_ctx = (size_t)(p->n_ctx > 0 ? p->n_ctx : judgeq_model_get_info(g->model)->n_ctx_train);
    return n_ctx > p->n_before ? n_ctx - p->n_before : 0;
}

/* Ends a response that is as long as it can be. */
static void check_limit(generation *g) {
    if (g->n_token < g->limit) return;
    g->end = g->limit == (size_t)g->params.n_tokens ? GENERATION_LENGTH : GENERATION_CONTEXT;
}

judgeq_status generation_init(generation *g, const judgeq_model *model, const generation_params *params,
                              judgeq_error *error) {
    *g = (generation){.model = model, .params = *params, .end_token = -1, .unread = -1, .ttft_s = -1};
    g->text = (text_stream){
        .put = params->put, .data = params->data, .stop = params->stop, .n_stop = params->n_stop, .plan = params->plan};
    if (params->logprobs >= 0 && params->n_known > 0) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT,
                         "the probabilities of tokens that a lookahead decoded are gone: ask for no logprobs");
    }
    const size_t room = room_of(g), wanted = params->n_tokens > 0 ? (size_t)params->n_tokens : 0;
    g->limit = wanted < room ? wanted : room;
    check_limit(g);
    if (params->logprobs >= 0 && !(g->logprobs = json_array())) return error_memory(error, "log-probabilities");
    return find_stop_tokens(g, error);
}

/* ---- tokens ------------------------------------------------------------------------------------------------------ */

static bool ends_response(generation *g, int32_t token) {
    for (size_t i = 0; i < g->params.n_stop; i++) {
        if (g->stop_token[i] == token) g->stopped_by = g->params.stop[i];
    }
    return g->stopped_by || judgeq_token_ends(g->model, token);
}

static judgeq_status append(generation *g, int32_t token, judgeq_error *error) {
    if (g->n_token == g->capacity) {
        const size_t capacity = 2 * g->capacity + 64;
        int32_t *larger = realloc(g->token, capacity * sizeof *larger);
        if (!larger) return error_memory(error, "a response");
        g->token = larger;
        g->capacity = capacity;
    }
    g->token[g->n_token++] = token;
    return JUDGEQ_OK;
}

/* One more token; `end` says whether the response ends with it, or before it. */
static judgeq_status take(generation *g, const float *logits, int32_t token, judgeq_error *error) {
    if (g->n_token == 0) g->ttft_s = clock_seconds() - g->params.started;
    if (ends_response(g, token)) {
        g->end = GENERATION_STOP;
        g->end_token = token;
        return JUDGEQ_OK;
    }
    if (g->logprobs && !logprobs_append(g->logprobs, g->model, logits, token, g->params.logprobs)) {
        return error_memory(error, "log-probabilities");
    }
    judgeq_status status = append(g, token, error);
    if (status == JUDGEQ_OK) status = text_stream_add_token(&g->text, g->model, token, error);
    if (status != JUDGEQ_OK) return status;
    if (g->text.stopped) {
        g->end = GENERATION_STOP;
        g->stopped_by = g->params.stop[g->text.stopped_by];
    } else if (g->params.go_on && !g->params.go_on(g->params.data)) {
        g->end = GENERATION_CANCELLED;
    } else {
        check_limit(g);
    }
    return JUDGEQ_OK;
}

judgeq_status generation_next(generation *g, const float *logits, int32_t *token, judgeq_error *error) {
    const int32_t n_vocab = judgeq_model_get_info(g->model)->n_vocab;
    judgeq_status status = JUDGEQ_OK;
    *token = -1;
    while (status == JUDGEQ_OK && g->end == GENERATION_OPEN && g->n_token < g->params.n_known) {
        const int32_t known = g->params.known[g->n_token];
        status = judgeq_sampler_accept(g->params.sampler, known, error);
        if (status == JUDGEQ_OK) status = take(g, logits, known, error);
    }
    if (status != JUDGEQ_OK || g->end != GENERATION_OPEN) return status;
    int32_t drawn;
    status = judgeq_sampler_draw(g->params.sampler, logits, n_vocab, &drawn, error);
    if (status == JUDGEQ_OK) status = take(g, logits, drawn, error);
    if (status != JUDGEQ_OK || g->end_token >= 0) return status;
    if (g->end == GENERATION_OPEN)
        *token = drawn;
    else
        g->unread = drawn;
    return JUDGEQ_OK;
}

/* ---- end --------------------------------------------------------------------------------------------------------- */

judgeq_status generation_finish(generation *g, judgeq_error *error) {
    return text_stream_end(&g->text, error);
}

void generation_free(generation *g) {
    free(g->stop_token);
    free(g->token);
    json_decref(g->logprobs);
    text_stream_free(&g->text);
    *g = (generation){0};
}
