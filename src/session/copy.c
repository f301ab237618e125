/* copy: a second session that goes on as the first would. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "bound.h"
#include "state.h"

/* Rows beside those that are copied, as after a read: the next token's. */
enum { SPARE_ROWS = 1 };

/* A copy of an array [n] of items, or NULL: `from` is NULL, or there is no memory. */
static void *duplicate(const void *from, size_t n, size_t size) {
    void *to = from ? malloc(n * size + 1) : NULL;
    if (to) memcpy(to, from, n * size);
    return to;
}

static judgeq_status copy_logits(const judgeq_session *from, judgeq_session *to, judgeq_error *error) {
    if (!from->logits) {
        free(to->logits);
        to->logits = NULL;
        return JUDGEQ_OK;
    }
    const judgeq_status status = session_logits_room(to, error);
    if (status != JUDGEQ_OK) return status;
    memcpy(to->logits, from->logits, (size_t)from->model->info.n_vocab * sizeof *to->logits);
    return JUDGEQ_OK;
}

static judgeq_status copy_tokens(const judgeq_session *from, judgeq_session *to, judgeq_error *error) {
    const judgeq_status status = session_token_room(to, (size_t)from->n_position, error);
    if (status != JUDGEQ_OK) return status;
    if (from->n_position > 0) memcpy(to->tokens, from->tokens, (size_t)from->n_position * sizeof *to->tokens);
    to->deferred = duplicate(from->deferred, from->n_deferred, sizeof *to->deferred);
    to->n_deferred = from->n_deferred;
    return from->deferred && !to->deferred ? error_memory(error, "deferred tokens") : JUDGEQ_OK;
}

static judgeq_status copy_watched(const judgeq_session *from, judgeq_session *to, judgeq_error *error) {
    const judgeq_model_info *info = &from->model->info;
    const size_t n = (size_t)info->n_layer * (size_t)info->n_head * (size_t)from->n_prompt;
    to->watched = duplicate(from->watched, n, sizeof *to->watched);
    to->n_watched = from->n_watched;
    return from->watched && !to->watched ? error_memory(error, "the attention of a response") : JUDGEQ_OK;
}

static judgeq_status copy_layers(const judgeq_session *from, judgeq_session *to, judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    for (int32_t l = 0; status == JUDGEQ_OK && l < from->model->info.n_layer; l++) {
        const cache_layer *layer = &from->layer[l];
        if (!layer->buffer) continue;
        status = cache_layer_gather(layer, NULL, layer->type, SPARE_ROWS, &to->meter, &to->layer[l], error);
        to->layer[l].backend = graph_engine_of_layer(&to->engine->graphs, to->model, l); /* `from` may go before it */
    }
    return status;
}

static judgeq_status fill(const judgeq_session *from, judgeq_session *to, judgeq_error *error) {
    to->n_prompt = from->n_prompt;
    to->n_position = from->n_position;
    to->n_shift = from->n_shift;
    to->turn_from = from->turn_from;
    to->turn_to = from->turn_to;
    to->n_read = from->n_read;
    to->slack = from->slack;
    to->n_scored = from->n_scored;
    to->stats = from->stats;
    memcpy(to->label, from->label, sizeof to->label);
    memcpy(to->layer_budget, from->layer_budget, (size_t)from->model->info.n_layer * sizeof *to->layer_budget);
    judgeq_status status = copy_logits(from, to, error);
    if (status == JUDGEQ_OK) status = copy_tokens(from, to, error);
    if (status == JUDGEQ_OK) status = copy_watched(from, to, error);
    if (status == JUDGEQ_OK) status = copy_layers(from, to, error);
    if (status == JUDGEQ_OK) status = bound_copy(from, to, error);
    to->prefilled = from->prefilled && status == JUDGEQ_OK;
    return status;
}

judgeq_status judgeq_session_copy(const judgeq_session *session, judgeq_session **out, judgeq_error *error) {
    *out = NULL;
    if (session->failed) return error_set(error, JUDGEQ_ERROR_ARGUMENT, "after an error, a session can only be freed");
    if (session->reading) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT,
                         "the session is reading: step until it is done, or abandon it (judgeq_session_read_abandon)");
    }
    judgeq_session_params params = session->params;
    params.policy = &session->policy;
    params.engine = session->own_engine ? NULL : session->engine;
    judgeq_status status = judgeq_session_new(session->model, &params, out, error);
    if (status == JUDGEQ_OK) status = fill(session, *out, error);
    if (status == JUDGEQ_OK) return JUDGEQ_OK;
    judgeq_session_free(*out);
    *out = NULL;
    return status;
}
