/* lookahead: policies that decode tokens first, and score the prompt by the attention of those tokens. Two probes do
 * so:
 *
 * - lookahead: pseudo tokens, decoded from the rows that a first policy keeps. Their
 *   queries score every row held: the full cache (LAQ, section 3), or only the first policy's candidates (judge-laq).
 * - response: the answer itself, decoded from the full cache. Its attention scores the prompt (the oracle).
 *
 * Both run once all layers are read, on session->layer. The read has stored the attention of the policy's other probes
 * in `prior`.
 */
#include "lookahead.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "decode.h"
#include "rescore.h"

static int32_t best_token(const float *logits, int32_t n_vocab) {
    int32_t best = 0;
    for (int32_t i = 1; i < n_vocab; i++) best = logits[i] > logits[best] ? i : best;
    return best;
}

typedef struct lookahead {
    judgeq_session *session;
    int32_t n_most, n_step; /* tokens to decode, and decoded */
    int32_t token;          /* the next one; -1: none */
    float *logits;          /* [n_vocab], of the prompt */
    cache_layer *full;      /* [n_layer], what session->layer was, while the first policy's rows stand there; or NULL */
    float *query;           /* [n_layer, n_most, n_head, head_dim], rotated; NULL for a response */
} lookahead;

static size_t query_size(const lookahead *look) {
    const judgeq_model_info *info = &look->session->model->info;
    return (size_t)info->n_head * (size_t)info->head_dim;
}

static judgeq_status prior_init(judgeq_session *session, int32_t index, judgeq_error *error) {
    score_map *map = &session->prior[index];
    const judgeq_model_info *info = &session->model->info;
    if (map->value) return JUDGEQ_OK;
    int64_t most = 1;
    for (int32_t h = 0; h < info->n_head_kv; h++) {
        const int64_t n = rescore_rows(session, &session->layer[index], h);
        most = n > most ? n : most;
    }
    return score_map_init(map, info->n_head, info->n_head_kv, most, session->policy.reduce_rows, error);
}

/* ---- decoding ---------------------------------------------------------------------------------------------------- */

static judgeq_status check_cancelled(const judgeq_session *session, judgeq_error *error) {
    const judgeq_session_params *params = &session->params;
    const int64_t all = (int64_t)session->n_prompt * session->model->info.n_layer;
    if (!params->progress || params->progress(params->progress_data, all, all)) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_CANCELLED, "cancelled while decoding ahead");
}

/* Notes the token that was decoded, and takes the next one, greedily, from the logits. */
static void next_token(lookahead *look) {
    look->session->deferred[look->n_step++] = look->token;
    look->token = best_token(look->session->logits, look->session->model->info.n_vocab);
    if (look->n_step == look->n_most || judgeq_token_ends(look->session->model, look->token)) look->token = -1;
}

/* Decodes greedily from the full cache until n_most tokens or the end of the response. The first token is the prompt's
 * own prediction and is decoded in any case. */
static judgeq_status decode_response(lookahead *look, judgeq_error *error) {
    const judgeq_model_info *info = &look->session->model->info;
    struct ggml_tensor **by_run = calloc((size_t)info->n_layer * (size_t)info->n_head_kv, sizeof(struct ggml_tensor *));
    const block_want want = {.output = true, .attention = true, .by_run = by_run};
    judgeq_status status = by_run ? JUDGEQ_OK : error_memory(error, "attention rows");
    while (status == JUDGEQ_OK && look->token >= 0) {
        status = check_cancelled(look->session, error);
        if (status == JUDGEQ_OK) status = decode_plainly(look->session, look->token, want, NULL, error);
        for (int32_t l = 0; status == JUDGEQ_OK && l < info->n_layer; l++) {
            score_map *map = &look->session->prior[l];
            status = rescore_add(&look->session->layer[l], by_run + (size_t)l * (size_t)info->n_head_kv, map, error);
            score_map_counts(map, 1);
        }
        next_token(look);
    }
    free((void *)by_run);
    return status;
}

/* The response and its attention do not depend on the budget. */
static void copy_response(lookahead *look, const lookahead *from) {
    judgeq_session *session = look->session;
    for (int32_t l = 0; l < session->model->info.n_layer; l++) {
        score_map *map = &session->prior[l];
        const score_map *same = &from->session->prior[l];
        memcpy(map->value, same->value, (size_t)map->n_head * (size_t)map->n_row * sizeof *map->value);
        map->n_probe = same->n_probe;
    }
    memcpy(session->deferred, from->session->deferred, (size_t)from->n_step * sizeof *session->deferred);
    look->n_step = from->n_step;
    look->token = -1;
}

static judgeq_status decode_responses(lookahead *look, size_t n, judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    for (size_t i = 0; status == JUDGEQ_OK && i < n; i++) {
        judgeq_session *session = look[i].session;
        if (look[i].query) continue;
        size_t same = 0;
        while (look[same].query || strcmp(look[same].session->policy.text, session->policy.text) != 0) same++;
        const double start = clock_seconds();
        if (same == i) {
            status = decode_response(&look[i], error);
            session->stats.lookahead_s += clock_seconds() - start;
        } else {
            copy_response(&look[i], &look[same]);
            session->stats.lookahead_s += look[same].session->stats.lookahead_s;
        }
    }
    return status;
}

/* Copies a token's queries, which are row `index` of the tensors query[n_layer]. */
static void take_queries(lookahead *look, struct ggml_tensor *const *query, size_t index) {
    const size_t bytes = query_size(look) * sizeof *look->query;
    for (int32_t l = 0; l < look->session->model->info.n_layer; l++) {
        float *to = look->query + ((size_t)l * (size_t)look->n_most + (size_t)look->n_step) * query_size(look);
        ggml_backend_tensor_get(query[l], to, index * bytes, bytes);
    }
}

/* Decodes one token with libllama's order of sums. */
static judgeq_status step_plainly(lookahead *look, judgeq_error *error) {
    const block_want want = {.output = true, .query = true};
    const size_t n_layer = (size_t)look->session->model->info.n_layer;
    block_result *block = calloc(n_layer, sizeof *block);
    struct ggml_tensor **query = calloc(n_layer, sizeof(struct ggml_tensor *));
    judgeq_status status = block && query ? JUDGEQ_OK : error_memory(error, "queries");
    if (status == JUDGEQ_OK) status = decode_plainly(look->session, look->token, want, block, error);
    for (size_t l = 0; status == JUDGEQ_OK && l < n_layer; l++) query[l] = block[l].query;
    if (status == JUDGEQ_OK) take_queries(look, query, 0);
    free(block);
    free((void *)query);
    return status;
}

/* The lookaheads that have not ended, and their sessions and tokens for decode_together. */
typedef struct company {
    lookahead **look;         /* [n] */
    judgeq_session **session; /* [n] */
    int32_t *token;           /* [n] */
    size_t n;
} company;

static judgeq_status step_together(company *c, judgeq_error *error) {
    judgeq_status status = check_cancelled(c->session[0], error);
    const bool plain = session_ggml_only(c->session[0]);
    if (status == JUDGEQ_OK && !plain) status = decode_together(c->session, c->n, c->token, error);
    for (size_t i = 0; status == JUDGEQ_OK && i < c->n; i++) {
        if (plain) {
            status = step_plainly(c->look[i], error);
        } else {
            take_queries(c->look[i], c->session[0]->engine->decoder.query, i);
        }
        next_token(c->look[i]);
    }
    return status;
}

static void gather_company(lookahead *look, size_t n, company *c) {
    c->n = 0;
    for (size_t i = 0; i < n; i++) {
        if (!look[i].query || look[i].token < 0) continue;
        c->look[c->n] = &look[i];
        c->session[c->n] = look[i].session;
        c->token[c->n++] = look[i].token;
    }
}

/* Pseudo tokens of all sessions in step, greedily, as decode_response does. */
static judgeq_status decode_pseudo_tokens(lookahead *look, size_t n, judgeq_error *error) {
    company c = {calloc(n, sizeof(lookahead *)), calloc(n, sizeof(judgeq_session *)), calloc(n, sizeof *c.token), 0};
    const double start = clock_seconds();
    judgeq_status status = c.look && c.session && c.token ? JUDGEQ_OK : error_memory(error, "lookaheads");
    if (status == JUDGEQ_OK) gather_company(look, n, &c);
    while (status == JUDGEQ_OK && c.n > 0) {
        status = step_together(&c, error);
        gather_company(look, n, &c);
    }
    for (size_t i = 0; i < n; i++) {
        if (look[i].query) look[i].session->stats.lookahead_s += clock_seconds() - start;
    }
    free((void *)c.look);
    free((void *)c.session);
    free(c.token);
    return status;
}

/* Pseudo tokens come from the first policy's rows: session->layer itself if it holds the candidates, a copy of its
 * choice if it holds everything. */
static judgeq_status place_first(lookahead *look, judgeq_error *error) {
    judgeq_session *session = look->session;
    const int32_t n_layer = session->model->info.n_layer;
    if (!session->policy.probe.first || session->policy.probe.among > 0) return JUDGEQ_OK;
    cache_layer *first = calloc((size_t)n_layer, sizeof *first);
    if (!first) return error_memory(error, "the rows of a lookahead");
    judgeq_status status = JUDGEQ_OK;
    for (int32_t l = 0; status == JUDGEQ_OK && l < n_layer; l++) {
        status = cache_layer_gather(&session->layer[l], &session->first_kept[l], session->layer[l].type, look->n_most,
                                    &session->meter, &first[l], error);
    }
    look->full = session->layer;
    session->layer = first;
    return status;
}

static void remove_first(lookahead *look) {
    judgeq_session *session = look->session;
    if (!look->full) return;
    for (int32_t l = 0; l < session->model->info.n_layer; l++) cache_layer_free(&session->layer[l]);
    free(session->layer);
    session->layer = look->full;
    look->full = NULL;
}

/* ---- scoring ----------------------------------------------------------------------------------------------------- */

static judgeq_status finish_layer(lookahead *look, int32_t index, judgeq_error *error) {
    judgeq_session *session = look->session;
    const double start = clock_seconds();
    judgeq_status status = JUDGEQ_OK;
    score_map *map = &session->prior[index];
    if (look->query) {
        const float *query = look->query + (size_t)index * (size_t)look->n_most * query_size(look);
        status = rescore_queries(session, index, &session->layer[index], query, look->n_step, false, map, error);
        session->stats.score_s += clock_seconds() - start;
    }
    if (status != JUDGEQ_OK) return status;
    if (session->score_hook) session->score_hook(session->score_hook_data, index, map);
    status = rescore_cut(session, index, map, error);
    score_map_free(map);
    return status;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static judgeq_status lookahead_init(lookahead *look, judgeq_session *session, judgeq_error *error) {
    const policy_probe *probe = &session->policy.probe;
    const size_t n_layer = (size_t)session->model->info.n_layer, n_vocab = (size_t)session->model->info.n_vocab;
    *look = (lookahead){.session = session, .n_most = probe->lookahead > 0 ? probe->lookahead : probe->response};
    look->logits = malloc(n_vocab * sizeof *look->logits);
    session->deferred = calloc((size_t)look->n_most, sizeof *session->deferred);
    if (probe->lookahead > 0) {
        look->query = malloc(n_layer * (size_t)look->n_most * query_size(look) * sizeof *look->query);
    }
    if (!look->logits || !session->deferred || (probe->lookahead > 0 && !look->query)) {
        return error_memory(error, "a lookahead");
    }
    memcpy(look->logits, session->logits, n_vocab * sizeof *look->logits);
    look->token = best_token(session->logits, session->model->info.n_vocab);
    judgeq_status status = JUDGEQ_OK;
    for (int32_t l = 0; status == JUDGEQ_OK && l < (int32_t)n_layer; l++) status = prior_init(session, l, error);
    return status == JUDGEQ_OK ? place_first(look, error) : status;
}

static void lookahead_free(lookahead *look) {
    remove_first(look);
    free(look->logits);
    free(look->query);
}

/* Back to the prompt's end, as if nothing had been decoded; or, if that was asked for, on from here. */
static void end_decoding(lookahead *look) {
    judgeq_session *session = look->session;
    const judgeq_model_info *info = &session->model->info;
    remove_first(look);
    if (session->params.defer && !session->choosing) {
        session->n_deferred = (size_t)look->n_step;
        return;
    }
    for (int32_t l = 0; l < info->n_layer; l++) cache_layer_truncate(&session->layer[l], session->n_prompt);
    memcpy(session->logits, look->logits, (size_t)info->n_vocab * sizeof *look->logits);
    session->n_position = session->n_prompt;
}

static judgeq_status look_ahead(lookahead *look, size_t n, judgeq_error *error) {
    judgeq_status status = decode_responses(look, n, error);
    if (status == JUDGEQ_OK) status = decode_pseudo_tokens(look, n, error);
    for (size_t i = 0; status == JUDGEQ_OK && i < n; i++) {
        end_decoding(&look[i]);
        for (int32_t l = 0; status == JUDGEQ_OK && l < look[i].session->model->info.n_layer; l++) {
            status = finish_layer(&look[i], l, error);
        }
    }
    return status;
}

judgeq_status lookahead_run(judgeq_session *const *session, size_t n, judgeq_error *error) {
    lookahead *look = calloc(n, sizeof *look);
    judgeq_status status = look ? JUDGEQ_OK : error_memory(error, "lookaheads");
    size_t n_look = 0;
    while (status == JUDGEQ_OK && n_look < n) {
        status = lookahead_init(&look[n_look], session[n_look], error);
        n_look++;
    }
    if (status == JUDGEQ_OK) status = look_ahead(look, n, error);
    for (size_t i = 0; i < n_look; i++) lookahead_free(&look[i]);
    free(look);
    return status;
}
