#include "decode.h"

#include <stdlib.h>

#include "base/error.h"
#include "bound.h"

static judgeq_status reserve(judgeq_session *session, judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    for (int32_t l = 0; status == JUDGEQ_OK && l < session->model->info.n_layer; l++) {
        status = cache_layer_reserve(&session->layer[l], 1, error);
    }
    if (status == JUDGEQ_OK) status = session_token_room(session, (size_t)session->n_position + 1, error);
    return status == JUDGEQ_OK ? bound_reserve(session, error) : status;
}

/* The graph has written the token's rows; logits [n, n_vocab] has the session's in `row`. */
static judgeq_status take(judgeq_session *session, int32_t token, const struct ggml_tensor *logits, size_t row,
                          judgeq_error *error) {
    const judgeq_status status = session_logits_room(session, error);
    if (status != JUDGEQ_OK) return status;
    ggml_backend_tensor_get(logits, session->logits, row * logits->nb[1], logits->nb[1]);
    for (int32_t l = 0; l < session->model->info.n_layer; l++) {
        cache_layer_append(&session->layer[l], 1, session->n_position);
    }
    session->tokens[session->n_position++] = token;
    bound_count(session);
    return session_check_logits(session, error);
}

/* ---- one session, ggml's operations ------------------------------------------------------------------------------ */

judgeq_status decode_plainly(judgeq_session *session, int32_t token, block_want want, block_result *blocks,
                             judgeq_error *error) {
    const judgeq_model *model = session->model;
    judgeq_status status = reserve(session, error);
    if (status != JUDGEQ_OK) return status;
    graph *g = graph_begin(&session->engine->graphs);
    struct ggml_tensor *id = graph_input(g, GGML_TYPE_I32, 1, 1), *position = graph_input(g, GGML_TYPE_I32, 1, 1);
    struct ggml_tensor *x = block_add_embedding(g, model, id);
    for (int32_t l = 0; l < model->info.n_layer; l++) {
        block_want own = want;
        if (want.by_run) own.by_run = want.by_run + (size_t)l * (size_t)model->info.n_head_kv;
        const block_result block =
            block_add(g, &model->layer[l], attention_over_cache(&session->layer[l]), x, position, own);
        if (blocks) blocks[l] = block;
        x = block.output;
    }
    struct ggml_tensor *logits = block_add_logits(g, model, x);
    status = graph_allocate(&session->engine->graphs, logits, error);
    if (status != JUDGEQ_OK) return status;
    ggml_backend_tensor_set(id, &token, 0, sizeof token);
    const int32_t at = session->n_position - session->n_shift;
    graph_set(position, &at, 0, sizeof at);
    status = graph_compute(&session->engine->graphs, GRAPH_TOKEN, 1, error);
    return status == JUDGEQ_OK ? take(session, token, logits, 0, error) : status;
}

/* ---- sessions together ------------------------------------------------------------------------------------------- */

void decoder_free(decoder *d) {
    attend_batch_free(&d->batch);
    free(d->layer);
    free(d->query);
    *d = (decoder){0};
}

static judgeq_status decoder_init(decoder *d, const judgeq_model *model, judgeq_error *error) {
    const int32_t n_layer = model->info.n_layer;
    if (d->layer) return JUDGEQ_OK;
    d->layer = calloc((size_t)n_layer, sizeof *d->layer);
    d->query = calloc((size_t)n_layer, sizeof(struct ggml_tensor *));
    if (!d->layer || !d->query) {
        decoder_free(d);
        return error_memory(error, "a decoder");
    }
    for (int32_t l = 0; l < n_layer; l++) d->layer[l] = (attend_layer){&d->batch, l, model->layer[l].scale};
    return JUDGEQ_OK;
}

/* From so many sequences on, expanded weights are faster than ggml's products with quantised ones: below, they are more
 * bytes to read. They are not faster than those of cpu/dots.h before there are more. */
enum { EXPANDED_SEQUENCES = 8, EXPANDED_AFTER_DOTS = 24 };

static bool uses_expanded(const graph_engine *engine, const judgeq_model *model, int64_t n) {
    if (!model->expanded) return false;
    return n >=
           (engine->dots[model->layer[0].matrix[MODEL_UP].weight->type] ? EXPANDED_AFTER_DOTS : EXPANDED_SEQUENCES);
}

static judgeq_status build(decoder *d, graph_engine *engine, const judgeq_model *model, int64_t n,
                           judgeq_error *error) {
    graph *g = graph_begin(engine);
    d->graph = 0;
    d->token = graph_input(g, GGML_TYPE_I32, n, 1);
    d->position = graph_input(g, GGML_TYPE_I32, n, 1);
    struct ggml_tensor *x = block_add_embedding(g, model, d->token);
    const block_want want = {.output = true, .query = true};
    const bool expanded = uses_expanded(engine, model, n);
    for (int32_t l = 0; l < model->info.n_layer; l++) {
        const model_layer *weights = expanded ? &model->expanded[l].layer : &model->layer[l];
        const block_result block = block_add(g, weights, attention_over_batch(&d->layer[l]), x, d->position, want);
        d->query[l] = block.query;
        x = block.output;
    }
    d->logits = block_add_logits(g, model, x);
    judgeq_status status = graph_allocate(engine, d->logits, error);
    if (status == JUDGEQ_OK) d->graph = engine->n_graph;
    return status;
}

static judgeq_status prepare(judgeq_session *const *session, size_t n, const int32_t *token, judgeq_error *error) {
    judgeq_session *first = session[0];
    judgeq_engine *engine = first->engine;
    decoder *d = &engine->decoder;
    const judgeq_model_info *info = &first->model->info;
    judgeq_status status = decoder_init(d, first->model, error);
    if (status == JUDGEQ_OK) status = attend_batch_resize(&d->batch, (int64_t)n, error);
    for (size_t i = 0; status == JUDGEQ_OK && i < n; i++) {
        status = reserve(session[i], error);
        d->batch.layers[i] = session[i]->layer;
        d->batch.sums[i] = bound_wants_attention(session[i]) ? session[i]->sum : NULL;
    }
    if (status == JUDGEQ_OK) {
        status = attend_batch_prepare(&d->batch, info->n_layer, engine->graphs.threads.most,
                                      info->n_head / info->n_head_kv, error);
    }
    const bool built = d->graph > 0 && d->graph == engine->graphs.n_graph && d->token->ne[0] == (int64_t)n;
    if (status == JUDGEQ_OK && !built) status = build(d, &engine->graphs, first->model, (int64_t)n, error);
    if (status != JUDGEQ_OK) return status;
    ggml_backend_tensor_set(d->token, token, 0, ggml_nbytes(d->token));
    for (size_t i = 0; i < n; i++) {
        const int32_t at = session[i]->n_position - session[i]->n_shift;
        graph_set(d->position, &at, i * sizeof at, sizeof at);
    }
    return JUDGEQ_OK;
}

judgeq_status decode_together(judgeq_session *const *session, size_t n, const int32_t *token, judgeq_error *error) {
    judgeq_status status = prepare(session, n, token, error);
    if (status == JUDGEQ_OK) {
        status = graph_compute(&session[0]->engine->graphs, n > 1 ? GRAPH_BATCH : GRAPH_TOKEN, (double)n, error);
    }
    for (size_t i = 0; status == JUDGEQ_OK && i < n; i++) {
        status = take(session[i], token[i], session[0]->engine->decoder.logits, i, error);
    }
    return status;
}
