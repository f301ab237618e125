#include "second.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "rescore.h"
#include "watch.h"

static const char WHAT[] = "the rows of the next choice";

bool second_wanted(const judgeq_session *session) {
    const policy_probe *probe = &session->policy.probe;
    if (!probe->soft || probe->window > 0 || probe->all || session_looks_ahead(session) || session->slack == 0)
        return false;
    /* before the budget is full, the slack is all that is left of it */
    if (session->stats.budget < session_budget(session, session->n_prompt)) return false;
    for (int32_t l = 0; l < session->model->info.n_layer; l++) {
        if (2 * (int64_t)session->slack > session->layer_budget[l]) return false;
    }
    return true;
}

void second_free(select_kept *choice, int32_t n_layer) {
    for (int32_t l = 0; choice && l < n_layer; l++) select_kept_free(&choice[l]);
    free(choice);
}

void second_set(judgeq_session *session, select_kept *choice) {
    second_free(session->second, session->model->info.n_layer);
    session->second = choice;
}

/* ---- the choice -------------------------------------------------------------------------------------------------- */

int32_t second_budget(const judgeq_session *session, int32_t index) {
    return session->layer_budget[index] - session->slack;
}

/* ---- the cut ----------------------------------------------------------------------------------------------------- */

static void free_layers(cache_layer *layer, int32_t n_layer) {
    for (int32_t l = 0; layer && l < n_layer; l++) cache_layer_free(&layer[l]);
    free(layer);
}

/* sum: of the layer, where the policy remembers. */
static judgeq_status cut_layer(judgeq_session *session, int32_t index, cache_layer *out, score_map *sum,
                               judgeq_error *error) {
    const cache_layer *layer = &session->layer[index];
    select_kept kept;
    judgeq_status status = select_kept_copy(&session->second[index], &kept, error);
    if (status == JUDGEQ_OK) status = rescore_keep_decoded(session, layer, &kept, error);
    if (status == JUDGEQ_OK && sum) status = rescore_take(&session->sum[index], &kept, sum, error);
    if (status == JUDGEQ_OK) status = rescore_gather(session, index, layer, &kept, layer->type, out, error);
    select_kept_free(&kept);
    return status;
}

judgeq_status second_cut(judgeq_session *session, judgeq_error *error) {
    const int32_t n_layer = session->model->info.n_layer;
    cache_layer *next = calloc((size_t)n_layer, sizeof *next);
    score_map *sum = session->sum ? calloc((size_t)n_layer, sizeof *sum) : NULL;
    judgeq_status status = next && (sum || !session->sum) ? JUDGEQ_OK : error_memory(error, "a session's layers");
    for (int32_t l = 0; status == JUDGEQ_OK && l < n_layer; l++) {
        status = cut_layer(session, l, &next[l], sum ? &sum[l] : NULL, error);
    }
    if (status != JUDGEQ_OK) {
        free_layers(next, n_layer);
        score_maps_free(sum, n_layer);
        return status;
    }
    free_layers(session->layer, n_layer);
    session->layer = next;
    score_maps_free(session->sum, n_layer);
    session->sum = sum;
    session->n_prompt = session->n_position;
    session_set_budgets(session);
    second_set(session, NULL);
    watch_end(session);
    return JUDGEQ_OK;
}

/* ---- the same elsewhere ------------------------------------------------------------------------------------------ */

static judgeq_status make(const judgeq_session *session, select_kept **out, judgeq_error *error) {
    *out = calloc((size_t)session->model->info.n_layer, sizeof **out);
    return *out ? JUDGEQ_OK : error_memory(error, WHAT);
}

judgeq_status second_copy(const judgeq_session *from, judgeq_session *to, judgeq_error *error) {
    if (!from->second) return JUDGEQ_OK;
    judgeq_status status = make(from, &to->second, error);
    for (int32_t l = 0; status == JUDGEQ_OK && l < from->model->info.n_layer; l++) {
        status = select_kept_copy(&from->second[l], &to->second[l], error);
    }
    return status;
}

void second_get_stays(const judgeq_session *session, int32_t index, int8_t *out) {
    const cache_layer *layer = &session->layer[index];
    const select_kept *stay = &session->second[index];
    for (int32_t h = 0; h < layer->n_head_kv; h++) {
        const int64_t n = layer->head[h].n_row, scored = rescore_rows(session, layer, h);
        memset(out, 0, (size_t)scored);
        memset(out + scored, 1, (size_t)(n - scored));
        for (int64_t i = 0; i < stay->n_row[h]; i++) out[stay->row[h][i]] = 1;
        out += n;
    }
}

static judgeq_status take_stays(const judgeq_session *session, int32_t index, const int8_t *stays, select_kept *out,
                                judgeq_error *error) {
    const cache_layer *layer = &session->layer[index];
    int64_t left = (int64_t)layer->n_head_kv * second_budget(session, index);
    for (int32_t h = 0; h < layer->n_head_kv; stays += layer->head[h++].n_row) {
        const int64_t n = rescore_rows(session, layer, h);
        out->row[h] = malloc(((size_t)n + 1) * sizeof *out->row[h]);
        if (!out->row[h]) return error_memory(error, WHAT);
        for (int64_t i = 0; i < n; i++) {
            if (stays[i] != 0) out->row[h][out->n_row[h]++] = (int32_t)i;
        }
        left -= out->n_row[h];
    }
    if (left >= 0) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_FORMAT, "layer %d: more rows stay at the next choice than its budget allows",
                     index);
}

judgeq_status second_set_stays(judgeq_session *session, int32_t index, const int8_t *stays, judgeq_error *error) {
    judgeq_status status = session->second ? JUDGEQ_OK : make(session, &session->second, error);
    if (status != JUDGEQ_OK) return status;
    select_kept *out = &session->second[index];
    status = select_kept_new(session->layer[index].n_head_kv, out, error);
    return status == JUDGEQ_OK ? take_stays(session, index, stays, out, error) : status;
}
