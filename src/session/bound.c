#include "bound.h"

#include <stdlib.h>
#include <string.h>

#include "again.h"
#include "base/clock.h"
#include "base/error.h"
#include "engine/reposition.h"
#include "read.h"
#include "rescore.h"
#include "second.h"

/* ---- what is stored ---------------------------------------------------------------------------------------------- */

static size_t query_size(const judgeq_session *session) {
    return (size_t)session->model->info.n_head * (size_t)session->model->info.head_dim;
}

/* The widest window of the session's policies, but for probes by every row. */
static int32_t widest_window(const judgeq_session *session) {
    const policy_probe *own = &session->policy.probe, *first = &session->first_policy.probe;
    const int32_t a = own->all ? 0 : own->window, b = first->all ? 0 : first->window;
    return a > b ? a : b;
}

judgeq_status bound_init(judgeq_session *session, judgeq_error *error) {
    const size_t n_layer = (size_t)session->model->info.n_layer;
    if (session->policy.keep_all) return JUDGEQ_OK;
    if (session->policy.probe.again || session->policy.remember > 0 ||
        (session->policy.probe.all && !session_looks_ahead(session))) {
        session->sum = calloc(n_layer, sizeof *session->sum);
        if (!session->sum) return error_memory(error, "summed attention");
    }
    session->n_ring = session->params.slack == JUDGEQ_SLACK_NONE ? 0 : widest_window(session);
    return JUDGEQ_OK;
}

void bound_free(judgeq_session *session) {
    score_maps_free(session->sum, session->model->info.n_layer);
    free(session->ring);
    second_set(session, NULL);
}

/* Where the ring has the query of a position in a layer. */
static float *ring_at(const judgeq_session *session, int32_t layer, int32_t position) {
    const size_t at = (size_t)layer * (size_t)session->n_ring + (size_t)(position % session->n_ring);
    return session->ring + at * query_size(session);
}

/* ---- a token ----------------------------------------------------------------------------------------------------- */

bool bound_wants_query(const judgeq_session *session) {
    return session->n_ring > 0;
}

/* Scores of earlier choices and of a second reading are not added to. */
bool bound_wants_attention(const judgeq_session *session) {
    return session->sum && session->policy.probe.all;
}

int32_t bound_sum_group(const judgeq_policy *policy, int32_t group) {
    return policy->remember > 0 ? 1 : group;
}

void bound_trim(judgeq_session *session) {
    free(session->ring);
    session->ring = NULL;
    session->ring_from = session->n_position;
}

static judgeq_status reserve_ring(judgeq_session *session, judgeq_error *error) {
    const size_t n_layer = (size_t)session->model->info.n_layer;
    if (session->n_ring == 0 || session->ring) return JUDGEQ_OK;
    session->ring = malloc(n_layer * (size_t)session->n_ring * query_size(session) * sizeof *session->ring);
    return session->ring ? JUDGEQ_OK : error_memory(error, "the queries of a window");
}

judgeq_status bound_reserve(judgeq_session *session, judgeq_error *error) {
    judgeq_status status = reserve_ring(session, error);
    for (int32_t l = 0; session->sum && status == JUDGEQ_OK && l < session->model->info.n_layer; l++) {
        int64_t most = 0;
        for (int32_t h = 0; h < session->layer[l].n_head_kv; h++) {
            const int64_t n = session->layer[l].head[h].n_row;
            most = n > most ? n : most;
        }
        status = score_map_reserve(&session->sum[l], most + 1, error);
    }
    return status;
}

void bound_note_queries(judgeq_session *session, struct ggml_tensor *const *query, size_t row) {
    const size_t bytes = query_size(session) * sizeof *session->ring;
    for (int32_t l = 0; session->ring && l < session->model->info.n_layer; l++) {
        ggml_backend_tensor_get(query[l], ring_at(session, l, session->n_position - 1), row * bytes, bytes);
    }
}

judgeq_status bound_note_attention(judgeq_session *session, struct ggml_tensor *const *by_run, judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    if (!bound_wants_attention(session)) return JUDGEQ_OK;
    for (int32_t l = 0; status == JUDGEQ_OK && l < session->model->info.n_layer; l++) {
        status = rescore_add(&session->layer[l], by_run + (size_t)l * (size_t)session->model->info.n_head_kv,
                             &session->sum[l], error);
    }
    return status;
}

void bound_count(judgeq_session *session) {
    if (!bound_wants_attention(session)) return;
    for (int32_t l = 0; l < session->model->info.n_layer; l++) score_map_counts(&session->sum[l], 1);
}

/* What the removed tokens added to rows that stay is left: nobody could tell it from the rest. */
void bound_rewind(judgeq_session *session) {
    for (int32_t l = 0; session->sum && l < session->model->info.n_layer; l++) {
        score_map *sum = &session->sum[l];
        if (!sum->value) continue;
        const int32_t group = sum->n_head / sum->n_head_kv;
        for (int32_t h = 0; h < sum->n_head; h++) {
            const int64_t n = session->layer[l].head[h / group].n_row;
            if (n >= sum->n_row) continue;
            memset(score_map_head(sum, h) + n, 0, (size_t)(sum->n_row - n) * sizeof *sum->value);
        }
    }
}

static judgeq_status copy_sum(const score_map *from, score_map *to, judgeq_error *error) {
    if (!from->value) return JUDGEQ_OK;
    const judgeq_status status =
        score_map_init(to, from->n_head, from->n_head_kv, from->n_row, from->reduce_rows, error);
    if (status != JUDGEQ_OK) return status;
    memcpy(to->value, from->value, (size_t)from->n_head * (size_t)from->n_row * sizeof *to->value);
    to->n_probe = from->n_probe;
    return JUDGEQ_OK;
}

judgeq_status bound_copy(const judgeq_session *from, judgeq_session *to, judgeq_error *error) {
    const size_t n_layer = (size_t)from->model->info.n_layer;
    judgeq_status status = from->ring ? reserve_ring(to, error) : JUDGEQ_OK;
    if (status != JUDGEQ_OK) return status;
    if (from->ring) memcpy(to->ring, from->ring, n_layer * (size_t)from->n_ring * query_size(from) * sizeof *to->ring);
    to->ring_from = from->ring_from;
    for (size_t l = 0; from->sum && status == JUDGEQ_OK && l < n_layer; l++) {
        status = copy_sum(&from->sum[l], &to->sum[l], error);
    }
    return status == JUDGEQ_OK ? second_copy(from, to, error) : status;
}

/* ---- in a file --------------------------------------------------------------------------------------------------- */

int32_t bound_n_queries(const judgeq_session *session) {
    const int32_t n = session->ring ? session->n_position - session->ring_from : 0;
    return n < 0 ? 0 : n < session->n_ring ? n : session->n_ring;
}

void bound_get_queries(const judgeq_session *session, int32_t layer, float *out) {
    const int32_t n = bound_n_queries(session);
    for (int32_t i = 0; i < n; i++) {
        memcpy(out + (size_t)i * query_size(session), ring_at(session, layer, session->n_position - n + i),
               query_size(session) * sizeof *out);
    }
}

judgeq_status bound_set_queries(judgeq_session *session, int32_t from, const float *query, int32_t n,
                                judgeq_error *error) {
    const judgeq_status status = n > 0 ? reserve_ring(session, error) : JUDGEQ_OK;
    session->ring_from = from;
    for (int32_t l = 0; status == JUDGEQ_OK && n > 0 && l < session->model->info.n_layer; l++) {
        for (int32_t i = 0; i < n; i++, query += query_size(session)) {
            memcpy(ring_at(session, l, session->n_position - n + i), query, query_size(session) * sizeof *query);
        }
    }
    return status;
}

/* Of the rows that the KV head of one of the sum's heads holds. */
static int64_t summed_rows(const judgeq_session *session, int32_t layer, int32_t head) {
    const judgeq_model_info *info = &session->model->info;
    const int32_t group = bound_sum_group(&session->policy, info->n_head / info->n_head_kv);
    return session->layer[layer].head[head / group].n_row;
}

void bound_get_sum(const judgeq_session *session, int32_t layer, float *out) {
    const score_map *sum = &session->sum[layer];
    for (int32_t h = 0; h < sum->n_head; h++) {
        const int64_t n = summed_rows(session, layer, h);
        memcpy(out, score_map_head(sum, h), (size_t)n * sizeof *out);
        out += n;
    }
}

judgeq_status bound_set_sum(judgeq_session *session, int32_t layer, const float *from, int64_t n_probe,
                            judgeq_error *error) {
    const judgeq_model_info *info = &session->model->info;
    const int32_t n_head = info->n_head_kv * bound_sum_group(&session->policy, info->n_head / info->n_head_kv);
    score_map *sum = &session->sum[layer];
    int64_t most = 1;
    for (int32_t h = 0; h < n_head; h++) {
        const int64_t n = summed_rows(session, layer, h);
        most = n > most ? n : most;
    }
    const judgeq_status status = score_map_init(sum, n_head, info->n_head_kv, most, session->policy.reduce_rows, error);
    if (status != JUDGEQ_OK) return status;
    sum->n_probe = n_probe;
    for (int32_t h = 0; h < n_head; h++) {
        const int64_t n = summed_rows(session, layer, h);
        if (n == 0) continue;
        memcpy(score_map_head(sum, h), from, (size_t)n * sizeof *from);
        from += n;
    }
    return JUDGEQ_OK;
}

/* ---- the choice -------------------------------------------------------------------------------------------------- */

/* Of the last n tokens, those whose rows every head still ends with: of the others, the budget may have left none. */
static int32_t held_at_end(const judgeq_session *session, const cache_layer *cache, int32_t n) {
    for (int32_t h = 0; h < cache->n_head_kv; h++) {
        const cache_head *head = &cache->head[h];
        int32_t same = 0;
        while (same < n && same < head->n_row &&
               head->position[head->n_row - 1 - same] == session->n_position - 1 - same) {
            same++;
        }
        n = same;
    }
    return n;
}

judgeq_status bound_score(judgeq_session *session, int32_t index, const cache_layer *cache, int32_t window,
                          score_map *map, judgeq_error *error) {
    int32_t n = session->n_position - session->ring_from;
    if (n > window) n = window;
    if (!session->ring || n <= 0) return JUDGEQ_OK;
    n = held_at_end(session, cache, n);
    if (n == 0) return JUDGEQ_OK;
    float *query = malloc((size_t)n * query_size(session) * sizeof *query);
    if (!query) return error_memory(error, "the queries of a window");
    for (int32_t i = 0; i < n; i++) {
        memcpy(query + (size_t)i * query_size(session), ring_at(session, index, session->n_position - n + i),
               query_size(session) * sizeof *query);
    }
    const judgeq_status status = rescore_queries(session, index, cache, query, n, true, map, error);
    free(query);
    return status;
}

/* A read of no token: the rows held are scored and cut. */
static judgeq_status choose_again(judgeq_session *session, judgeq_error *error) {
    reading *r = NULL;
    bool done = false;
    judgeq_status status = read_begin(&session, 1, NULL, 0, &r, error);
    while (status == JUDGEQ_OK && !done) status = read_step(r, &done, error);
    read_end(r);
    return status;
}

/* ---- beyond the context ------------------------------------------------------------------------------------------ */

/* Pieces of a read beyond the context: long ones are scored better, short ones take less memory. */
enum { PIECE_MOST = 2048, PIECE_LEAST = 16 };

/* Positions that a read or a choice needs after those of the tokens, beside these where they are read again. */
static int32_t beside(const judgeq_session *session) {
    const policy_probe *probe = &session->policy.probe;
    const int32_t decoded = probe->again ? session_slack(session, session->params.budget) : 0;
    return session_soft_rows(session) + probe->lookahead + probe->response + again_beside(session) + decoded;
}

/* How often a token that is read takes a position. */
static int32_t readings(const judgeq_session *session) {
    return session->policy.probe.again ? 2 : 1;
}

int32_t bound_piece_most(void) {
    return PIECE_MOST;
}

int32_t bound_piece(const judgeq_session *session) {
    const int32_t free = session->params.n_ctx - session_most_rows(session) - beside(session);
    const int32_t room = free / readings(session);
    return room < PIECE_MOST ? room : PIECE_MOST;
}

bool bound_fits(const judgeq_session *session) {
    const int32_t since = session->n_position - session->n_prompt;
    const int32_t left = since < session->slack ? session->slack - since : 0;
    return !session->params.unbounded || bound_piece(session) > left;
}

/* Rows that a head can hold at most: of the layer with the largest budget, and the slack. ada: one head may hold what
 * all of a layer's may. */
static int64_t most_rows_allowed(const judgeq_session *session) {
    const judgeq_session_params *params = &session->params;
    const judgeq_model_info *info = &session->model->info;
    const int64_t heads = session->policy.allocate == POLICY_ADA ? info->n_head_kv : 1;
    int32_t most = 0;
    select_layer_budgets(&session->policy, session_layer_share(session), info->n_layer, params->budget, INT32_MAX,
                         session->layer_budget);
    for (int32_t l = 0; l < info->n_layer; l++)
        most = session->layer_budget[l] > most ? session->layer_budget[l] : most;
    return heads * most + session_slack(session, params->budget);
}

judgeq_status bound_check(const judgeq_session *session, judgeq_error *error) {
    const judgeq_session_params *params = &session->params;
    if (!params->unbounded) return JUDGEQ_OK;
    if (session->policy.keep_all || params->slack == JUDGEQ_SLACK_NONE || params->budget == 0) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT,
                         "unbounded needs a policy that evicts, a budget in rows, and a slack: the rows must stay few");
    }
    const int64_t rows = most_rows_allowed(session);
    const int64_t other = (int64_t)beside(session) + (int64_t)readings(session) * PIECE_LEAST;
    if (rows + other <= params->n_ctx) return JUDGEQ_OK;
    return error_set(
        error, JUDGEQ_ERROR_ARGUMENT,
        "unbounded: with a budget of %d, a KV head can hold %lld rows, which need %lld positions beside them: "
        "the context of %d is too small",
        params->budget, (long long)rows, (long long)other, params->n_ctx);
}

judgeq_status bound_make_room(judgeq_session *session, int32_t n, judgeq_error *error) {
    const int64_t next = session->n_position - session->n_shift, more = (int64_t)n * readings(session);
    if (!session->params.unbounded || next + more + beside(session) <= session->params.n_ctx) return JUDGEQ_OK;
    const int32_t rows = session_most_rows(session), shift = session->n_position - rows;
    judgeq_status status = JUDGEQ_OK;
    for (int32_t l = 0; status == JUDGEQ_OK && l < session->model->info.n_layer; l++) {
        status = reposition_layer(&session->layer[l], &session->model->layer[l], &session->engine->graphs, rows - 1,
                                  shift, error);
    }
    session->n_shift = shift;
    session->ring_from = session->n_position; /* its queries are rotated by other positions */
    session->failed = status != JUDGEQ_OK;
    return status;
}

/* ---- the moment -------------------------------------------------------------------------------------------------- */

judgeq_status bound_hold(judgeq_session *session, judgeq_error *error) {
    if (session->slack == 0 || session->n_position - session->n_prompt < session->slack) {
        return bound_make_room(session, 1, error);
    }
    const double start = clock_seconds();
    const judgeq_status status = session->second ? second_cut(session, error) : choose_again(session, error);
    session->stats.rejudge_s += clock_seconds() - start;
    session->stats.n_rejudged += status == JUDGEQ_OK;
    return status == JUDGEQ_OK ? bound_make_room(session, session->slack, error) : status;
}
