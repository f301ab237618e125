/* lookahead: policies that decode tokens first, and score the prompt with what those tokens look at.
 *   lookahead  pseudo tokens, decoded from the cache that a draft policy makes; their queries score every row held,
 * which is the full cache (LAQ, section 3) or the draft's own candidates (judge-laq). response   the answer itself,
 * decoded from the full cache; its attention scores the prompt (the oracle). Both run after prefill, over
 * session->layer; prefill has left the attention of the policy's other probes in `prior`. */
#include "lookahead.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "decode.h"
#include "error.h"
#include "evict.h"

static int32_t best_token(const float *logits, int32_t n_vocab) {
    int32_t best = 0;
    for (int32_t i = 1; i < n_vocab; i++) best = logits[i] > logits[best] ? i : best;
    return best;
}

typedef struct lookahead {
    judgeq_session *session;
    int32_t n_most, n_step;    /* tokens to decode, and decoded */
    float *query;              /* [n_layer, n_most, n_head, head_dim], rotated */
    graph_block *block;        /* [n_layer] */
    float *attention;          /* of one layer */
    size_t attention_capacity; /* floats */
} lookahead;

static size_t query_size(const lookahead *look) {
    const judgeq_model_info *info = &look->session->model->info;
    return (size_t)info->n_head * (size_t)info->head_dim;
}

static judgeq_status attention_room(lookahead *look, size_t n, judgeq_error *error) {
    if (n <= look->attention_capacity) return JUDGEQ_OK;
    float *larger = realloc(look->attention, n * sizeof *larger);
    if (!larger) return error_memory(error, "attention rows");
    look->attention = larger;
    look->attention_capacity = n;
    return JUDGEQ_OK;
}

static judgeq_status prior_init(judgeq_session *session, int32_t index, judgeq_error *error) {
    score_map *map = &session->prior[index];
    const judgeq_model_info *info = &session->model->info;
    if (map->value) return JUDGEQ_OK;
    int64_t most = 1;
    for (int32_t h = 0; h < info->n_head_kv; h++) {
        const int64_t n = evict_prompt_rows(session, &session->layer[index], h);
        most = n > most ? n : most;
    }
    return score_map_init(map, info->n_head, info->n_head_kv, most, session->policy.reduce_rows, error);
}

/* ---- decoding ---------------------------------------------------------------------------------------------------- */

/* What a step has looked at, for all layers: queries are kept, a response's attention is added up at once. */
static judgeq_status take_step(lookahead *look, judgeq_error *error) {
    judgeq_session *session = look->session;
    for (int32_t l = 0; l < session->model->info.n_layer; l++) {
        const graph_block *block = &look->block[l];
        if (block->query) {
            float *to = look->query + ((size_t)l * (size_t)look->n_most + (size_t)look->n_step) * query_size(look);
            ggml_backend_tensor_get(block->query, to, 0, query_size(look) * sizeof *to);
        } else {
            score_map *map = &session->prior[l];
            judgeq_status status = attention_room(look, (size_t)ggml_nelements(block->attention), error);
            if (status != JUDGEQ_OK) return status;
            ggml_backend_tensor_get(block->attention, look->attention, 0, ggml_nbytes(block->attention));
            score_map_add(map, look->attention, 1, block->attention->ne[0], block->attention->ne[0], 0, map->n_row);
            score_map_counts(map, 1);
        }
    }
    return JUDGEQ_OK;
}

static judgeq_status check_cancelled(const judgeq_session *session, judgeq_error *error) {
    const judgeq_session_params *params = &session->params;
    const int64_t all = (int64_t)session->n_prompt * session->model->info.n_layer;
    if (!params->progress || params->progress(params->progress_data, all, all)) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_CANCELLED, "cancelled while decoding ahead");
}

/* One token; what `want` asks for ends up in look->block. */
static judgeq_status step(lookahead *look, int32_t token, graph_want want, judgeq_error *error) {
    judgeq_session *session = look->session;
    if (want.attention || session->params.plain_weights) {
        return decode_plainly(session, token, want, look->block, error);
    }
    judgeq_status status = decode_together(&session, 1, &token, error);
    if (status != JUDGEQ_OK) return status;
    for (int32_t l = 0; l < session->model->info.n_layer; l++) look->block[l].query = session->decoder.query[l];
    return JUDGEQ_OK;
}

/* Decodes greedily from session->layer until n_most tokens or the end of the response. The first token is the prompt's
 * own prediction and is decoded in any case. */
static judgeq_status decode_ahead(lookahead *look, graph_want want, judgeq_error *error) {
    judgeq_session *session = look->session;
    const int32_t n_vocab = session->model->info.n_vocab;
    int32_t token = best_token(session->logits, n_vocab);
    judgeq_status status = JUDGEQ_OK;
    while (status == JUDGEQ_OK && look->n_step < look->n_most) {
        session->deferred[look->n_step] = token;
        status = check_cancelled(session, error);
        if (status == JUDGEQ_OK) status = step(look, token, want, error);
        if (status == JUDGEQ_OK) status = take_step(look, error);
        look->n_step++;
        token = best_token(session->logits, n_vocab);
        if (judgeq_token_ends(session->model, token)) break;
    }
    return status;
}

/* Pseudo tokens come from the draft's cache: session->layer itself if it holds the candidates, a copy of the draft's
 * choice if it holds everything. The copies are gone afterwards. */
static judgeq_status decode_drafted(lookahead *look, graph_want want, judgeq_error *error) {
    judgeq_session *session = look->session;
    const int32_t n_layer = session->model->info.n_layer;
    cache_layer *full = session->layer;
    cache_layer *draft = calloc((size_t)n_layer, sizeof *draft);
    if (!draft) return error_memory(error, "a draft's cache");
    judgeq_status status = JUDGEQ_OK;
    for (int32_t l = 0; status == JUDGEQ_OK && l < n_layer; l++) {
        status = cache_layer_gather(&full[l], &session->drafted[l], full[l].type, look->n_most, &session->meter,
                                    &draft[l], error);
    }
    session->layer = draft;
    if (status == JUDGEQ_OK) status = decode_ahead(look, want, error);
    session->layer = full;
    for (int32_t l = 0; l < n_layer; l++) cache_layer_free(&draft[l]);
    free(draft);
    return status;
}

/* ---- scoring ----------------------------------------------------------------------------------------------------- */

/* Adds the attention of all pseudo queries to a run's prompt rows to the layer's map. */
static judgeq_status score_run(lookahead *look, int32_t index, cache_run run, judgeq_error *error) {
    judgeq_session *session = look->session;
    const judgeq_model_info *info = &session->model->info;
    const int64_t group = info->n_head / info->n_head_kv, n_head = run.n_head * group;
    const float *from = look->query + (size_t)index * (size_t)look->n_most * query_size(look);
    graph *g = graph_begin(&session->engine);
    struct ggml_tensor *query =
        ggml_new_tensor_3d(g->context, GGML_TYPE_F32, info->head_dim, info->n_head, look->n_step);
    ggml_set_input(query);
    struct ggml_tensor *heads = ggml_view_3d(g->context, query, info->head_dim, n_head, look->n_step, query->nb[1],
                                             query->nb[2], (size_t)(run.first_head * group) * query->nb[1]);
    struct ggml_tensor *attention = graph_add_attention(g, session->model, &session->layer[index], run,
                                                        ggml_permute(g->context, heads, 0, 2, 1, 3));
    judgeq_status status = graph_allocate(&session->engine, attention, error);
    if (status == JUDGEQ_OK) status = attention_room(look, (size_t)ggml_nelements(attention), error);
    if (status != JUDGEQ_OK) return status;
    ggml_backend_tensor_set(query, from, 0, ggml_nbytes(query));
    status = graph_compute(&session->engine, GRAPH_ROWS, 0, error);
    if (status != JUDGEQ_OK) return status;
    ggml_backend_tensor_get(attention, look->attention, 0, ggml_nbytes(attention));

    score_map *map = &session->prior[index], part = *map;
    part.n_head = (int32_t)n_head;
    part.n_head_kv = run.n_head;
    part.value += (size_t)(run.first_head * group) * (size_t)map->n_row;
    const int64_t n_key = attention->ne[0];
    score_map_add(&part, look->attention, look->n_step, n_key, n_key * look->n_step, 0, run.n_row);
    return JUDGEQ_OK;
}

static judgeq_status score_layer(lookahead *look, int32_t index, judgeq_error *error) {
    judgeq_session *session = look->session;
    const cache_layer *layer = &session->layer[index];
    judgeq_status status = JUDGEQ_OK;
    cache_run run;
    for (int32_t h = 0; status == JUDGEQ_OK && h < layer->n_head_kv; h += run.n_head) {
        run = cache_layer_run(layer, h);
        run.n_row = evict_prompt_rows(session, layer, h);
        if (run.n_row > 0) status = score_run(look, index, run, error);
    }
    score_map_counts(&session->prior[index], look->n_step);
    return status;
}

/* Adds the rows behind the prompt's (deferred tokens) to a choice among the prompt's rows. */
static judgeq_status keep_decoded(const judgeq_session *session, const cache_layer *layer, select_kept *kept,
                                  judgeq_error *error) {
    for (int32_t h = 0; h < layer->n_head_kv; h++) {
        const int64_t first = evict_prompt_rows(session, layer, h), n = layer->head[h].n_row - first;
        int32_t *row = realloc(kept->row[h], (size_t)(kept->n_row[h] + n + 1) * sizeof *row);
        if (!row) return error_memory(error, "kept rows");
        kept->row[h] = row;
        for (int64_t i = 0; i < n; i++) row[kept->n_row[h]++] = (int32_t)(first + i);
    }
    return JUDGEQ_OK;
}

static judgeq_status finish_layer(lookahead *look, int32_t index, judgeq_error *error) {
    judgeq_session *session = look->session;
    const double start = clock_seconds();
    judgeq_status status = JUDGEQ_OK;
    if (look->query) {
        status = score_layer(look, index, error);
        session->stats.score_s += clock_seconds() - start;
    }
    if (status != JUDGEQ_OK) return status;
    score_map *map = &session->prior[index];
    if (session->score_hook) session->score_hook(session->score_hook_data, index, map);
    select_kept kept;
    status = evict_select(session, &session->policy, map, &session->layer[index], index, session->layer_budget[index],
                          &kept, error);
    score_map_free(map);
    *map = (score_map){0};
    if (status != JUDGEQ_OK) return status;
    status = keep_decoded(session, &session->layer[index], &kept, error);
    cache_layer small;
    if (status == JUDGEQ_OK) {
        status = evict_gather(session, &session->layer[index], &kept, session->kv_type, &small, error);
    }
    if (status == JUDGEQ_OK) {
        cache_layer_free(&session->layer[index]);
        session->layer[index] = small;
    }
    select_kept_free(&kept);
    return status;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static judgeq_status lookahead_init(lookahead *look, judgeq_session *session, judgeq_error *error) {
    const policy_probe *probe = &session->policy.probe;
    const size_t n_layer = (size_t)session->model->info.n_layer;
    *look = (lookahead){.session = session, .n_most = probe->lookahead > 0 ? probe->lookahead : probe->response};
    look->block = calloc(n_layer, sizeof *look->block);
    session->deferred = calloc((size_t)look->n_most, sizeof *session->deferred);
    if (probe->lookahead > 0) {
        look->query = malloc(n_layer * (size_t)look->n_most * query_size(look) * sizeof *look->query);
    }
    if (!look->block || !session->deferred || (probe->lookahead > 0 && !look->query)) {
        return error_memory(error, "a lookahead");
    }
    for (int32_t l = 0; l < (int32_t)n_layer; l++) {
        judgeq_status status = prior_init(session, l, error);
        if (status != JUDGEQ_OK) return status;
    }
    return JUDGEQ_OK;
}

static void lookahead_free(lookahead *look) {
    free(look->query);
    free(look->block);
    free(look->attention);
}

/* Back to the prompt's end, as if nothing had been decoded. */
static void forget_decoded(judgeq_session *session, const float *logits) {
    const judgeq_model_info *info = &session->model->info;
    for (int32_t l = 0; l < info->n_layer; l++) cache_layer_truncate(&session->layer[l], session->n_prompt);
    memcpy(session->logits, logits, (size_t)info->n_vocab * sizeof *logits);
    session->n_position = session->n_prompt;
}

static judgeq_status look_ahead(lookahead *look, judgeq_error *error) {
    judgeq_session *session = look->session;
    const policy_probe *probe = &session->policy.probe;
    const graph_want want = {.output = true, .query = look->query != NULL, .attention = look->query == NULL};
    const size_t n_vocab = (size_t)session->model->info.n_vocab;
    float *logits = malloc(n_vocab * sizeof *logits);
    if (!logits) return error_memory(error, "logits");
    memcpy(logits, session->logits, n_vocab * sizeof *logits);
    const double start = clock_seconds();
    const bool copy = probe->draft && probe->among == 0;
    judgeq_status status = copy ? decode_drafted(look, want, error) : decode_ahead(look, want, error);
    session->stats.lookahead_s += clock_seconds() - start;
    if (status == JUDGEQ_OK && !session->params.defer) forget_decoded(session, logits);
    if (status == JUDGEQ_OK && session->params.defer) session->n_deferred = (size_t)look->n_step;
    free(logits);
    for (int32_t l = 0; status == JUDGEQ_OK && l < session->model->info.n_layer; l++) {
        status = finish_layer(look, l, error);
    }
    return status;
}

judgeq_status lookahead_run(judgeq_session *session, judgeq_error *error) {
    lookahead look;
    judgeq_status status = lookahead_init(&look, session, error);
    if (status == JUDGEQ_OK) status = look_ahead(&look, error);
    lookahead_free(&look);
    return status;
}
