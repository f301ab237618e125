#include "rescore.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"

/* Room for at least so many rows after the kept ones. Padding adds more, so decoding the first tokens seldom has to
 * move the rows. */
enum { SPARE_ROWS = 1 };

int64_t rescore_rows(const judgeq_session *session, const cache_layer *cache, int32_t head) {
    const cache_head *rows = &cache->head[head];
    int64_t n = rows->n_row;
    while (n > 0 && rows->position[n - 1] >= session->n_prompt) n--;
    return n;
}

static judgeq_status smooth_rows(const judgeq_session *session, const judgeq_policy *policy, const cache_layer *cache,
                                 score_map *score, judgeq_error *error) {
    if (policy->smooth == POLICY_SMOOTH_NONE) return JUDGEQ_OK;
    float *line = malloc(score_line_size(policy->smooth_width, score->n_row, session->n_prompt) * sizeof *line);
    if (!line) return error_memory(error, "scores");
    for (int32_t h = 0; h < cache->n_head_kv; h++) {
        score_smooth_rows(policy->smooth, policy->smooth_width, cache->head[h].position,
                          rescore_rows(session, cache, h), score_map_head(score, h), line);
    }
    free(line);
    return JUDGEQ_OK;
}

static float best_of(const float *score, int64_t n) {
    float best = 0;
    for (int64_t i = 0; i < n; i++) best = score[i] > best ? score[i] : best;
    return best;
}

/* G-KV (arXiv 2512.00504): max(share of the last score, this one), both against the best of their choice. Ours keeps
 * the scale of this choice, by which heads share out rows. Where nothing attended, the last scores are all there is. */
static void recall(const score_map *past, float share, score_map *score) {
    const int64_t n = past->n_row < score->n_row ? past->n_row : score->n_row;
    for (int32_t h = 0; past->value && h < score->n_head; h++) {
        const float *last = score_map_head(past, h);
        float *now = score_map_head(score, h);
        const float best = best_of(now, score->n_row), scale = best > 0 ? share * best : share;
        for (int64_t i = 0; i < n; i++) now[i] = scale * last[i] > now[i] ? scale * last[i] : now[i];
    }
}

judgeq_status rescore_score(judgeq_session *session, const judgeq_policy *policy, const score_map *map,
                            const cache_layer *cache, int32_t index, score_map *score, judgeq_error *error) {
    const double start = clock_seconds();
    const int32_t n_head = cache->n_head_kv;
    *score = (score_map){0};
    if (!map) return JUDGEQ_OK;
    judgeq_status status = score_map_init(score, n_head, n_head, map->n_row, POLICY_MEAN, error);
    if (status != JUDGEQ_OK) return status;
    score_heads(map, policy->reduce_heads, score->value);
    status = smooth_rows(session, policy, cache, score, error);
    if (status != JUDGEQ_OK) score_map_free(score);
    if (status == JUDGEQ_OK && policy->remember > 0) recall(&session->sum[index], policy->remember, score);
    session->stats.score_s += clock_seconds() - start;
    return status;
}

judgeq_status rescore_take(const score_map *from, const select_kept *kept, score_map *out, judgeq_error *error) {
    int64_t most = 1;
    for (int32_t h = 0; h < kept->n_head_kv; h++) most = kept->n_row[h] > most ? kept->n_row[h] : most;
    const judgeq_status status = score_map_init(out, from->n_head, from->n_head_kv, most, from->reduce_rows, error);
    if (status != JUDGEQ_OK) return status;
    out->n_probe = from->n_probe;
    const int32_t group = from->n_head / from->n_head_kv;
    for (int32_t h = 0; h < from->n_head; h++) {
        const int32_t *row = kept->row[h / group];
        const float *value = score_map_head(from, h);
        float *taken = score_map_head(out, h);
        for (int64_t i = 0; i < kept->n_row[h / group]; i++) taken[i] = row[i] < from->n_row ? value[row[i]] : 0;
    }
    return JUDGEQ_OK;
}

judgeq_status rescore_remember(const score_map *score, const select_kept *kept, score_map *out, judgeq_error *error) {
    const judgeq_status status = rescore_take(score, kept, out, error);
    for (int32_t h = 0; status == JUDGEQ_OK && h < out->n_head; h++) {
        const float best = best_of(score_map_head(score, h), score->n_row);
        float *share = score_map_head(out, h);
        for (int64_t i = 0; best > 0 && i < out->n_row; i++) share[i] /= best;
    }
    return status;
}

/* Of the rows that are kept, those that are kept under a smaller budget, as indices into them. */
static judgeq_status select_among(const judgeq_session *session, const judgeq_policy *policy, const select_rows *rows,
                                  int32_t index, int32_t budget, const select_kept *kept, select_kept *out,
                                  judgeq_error *error) {
    const size_t n_head = (size_t)rows->n_head_kv;
    size_t n = 0, at = 0;
    for (size_t h = 0; h < n_head; h++) n += (size_t)kept->n_row[h];
    const int32_t **positions = calloc(n_head, sizeof *positions);
    const float **scores = calloc(n_head, sizeof *scores);
    int32_t *position = malloc((n + 1) * sizeof *position);
    float *score = malloc((n + 1) * sizeof *score);
    judgeq_status status = positions && scores && position && score ? JUDGEQ_OK : error_memory(error, "scores");
    for (size_t h = 0; status == JUDGEQ_OK && h < n_head; h++) {
        positions[h] = position + at;
        scores[h] = score + at;
        for (int64_t i = 0; i < kept->n_row[h]; i++, at++) {
            position[at] = rows->position[h][kept->row[h][i]];
            score[at] = rows->score[h][kept->row[h][i]];
        }
    }
    if (status == JUDGEQ_OK) {
        select_rows among = *rows;
        among.n_row = kept->n_row;
        among.position = positions;
        among.score = scores;
        status = select_kept_rows(policy, &among, budget, session->n_prompt, session->params.seed, index, out, error);
    }
    free((void *)positions);
    free((void *)scores);
    free(position);
    free(score);
    return status;
}

judgeq_status rescore_select(judgeq_session *session, const judgeq_policy *policy, const score_map *score,
                             const cache_layer *cache, int32_t index, int32_t budget, select_kept *kept, int32_t later,
                             select_kept *second, judgeq_error *error) {
    const double start = clock_seconds();
    const size_t n_head = (size_t)cache->n_head_kv;
    int64_t *n_row = calloc(n_head, sizeof *n_row);
    const int32_t **position = calloc(n_head, sizeof *position);
    const float **scores = calloc(n_head, sizeof *scores);
    judgeq_status status = n_row && position && scores ? JUDGEQ_OK : error_memory(error, "scores");
    for (size_t h = 0; status == JUDGEQ_OK && h < n_head; h++) {
        n_row[h] = rescore_rows(session, cache, (int32_t)h);
        position[h] = cache->head[h].position;
        scores[h] = score->value ? score_map_head(score, (int32_t)h) : NULL;
    }
    if (status == JUDGEQ_OK) {
        const select_rows rows = {.n_head_kv = cache->n_head_kv,
                                  .n_row = n_row,
                                  .position = position,
                                  .score = score->value ? scores : NULL,
                                  .turn_from = session->turn_from,
                                  .turn_to = session->turn_from > 0 ? session->turn_to : 0};
        status = select_kept_rows(policy, &rows, budget, session->n_prompt, session->params.seed, index, kept, error);
        if (status == JUDGEQ_OK && second) {
            status = select_among(session, policy, &rows, index, later, kept, second, error);
            if (status != JUDGEQ_OK) select_kept_free(kept);
        }
    }
    free(n_row);
    free((void *)position);
    free((void *)scores);
    session->stats.score_s += clock_seconds() - start;
    return status;
}

/* From a quantised cache, rows come as the numbers that they were rounded to; rounded again, they would be others. */
judgeq_status rescore_gather(judgeq_session *session, int32_t index, const cache_layer *from, const select_kept *kept,
                             enum ggml_type type, cache_layer *out, judgeq_error *error) {
    const double start = clock_seconds();
    const cache_layer *held = session->held ? &session->held[index] : NULL;
    judgeq_status status = cache_layer_gather(from, kept, type, SPARE_ROWS, &session->meter, out, error);
    if (status == JUDGEQ_OK && held && held->buffer && held->type == type && from->type != type) {
        status = cache_layer_restore(out, held, error);
        if (status != JUDGEQ_OK) cache_layer_free(out);
    }
    session->stats.compact_s += clock_seconds() - start;
    return status;
}

/* ---- scores of queries ------------------------------------------------------------------------------------------- */

/* Adds attention [n_head of the run, n, n_key] to the run's part of a map, n_row rows of it. */
static judgeq_status add_run(const struct ggml_tensor *attention, cache_run run, int32_t n, int64_t n_row,
                             score_map *map, judgeq_error *error) {
    const int64_t n_key = attention->ne[0];
    float *data = malloc(ggml_nbytes(attention));
    if (!data) return error_memory(error, "attention rows");
    ggml_backend_tensor_get(attention, data, 0, ggml_nbytes(attention));
    score_map part = score_map_part(map, run.first_head, run.n_head);
    score_map_add(&part, data, n, n_key, n_key * n, 0, n_row);
    free(data);
    return JUDGEQ_OK;
}

/* Adds the attention of queries [n, n_head, head_dim] to a run's rows to the map. causal: they are those of the run's
 * last n rows. */
static judgeq_status score_run(judgeq_session *session, int32_t index, const cache_layer *cache, cache_run run,
                               const float *from, int32_t n, bool causal, score_map *map, judgeq_error *error) {
    graph_engine *engine = &session->engine->graphs;
    const model_layer *layer = &session->model->layer[index];
    const int64_t group = layer->n_head / layer->n_head_kv, n_head = run.n_head * group;
    graph *g = graph_begin(engine);
    struct ggml_tensor *query = ggml_new_tensor_3d(g->context, GGML_TYPE_F32, layer->head_dim, layer->n_head, n);
    ggml_set_input(query);
    struct ggml_tensor *heads = ggml_view_3d(g->context, query, layer->head_dim, n_head, n, query->nb[1], query->nb[2],
                                             (size_t)(run.first_head * group) * query->nb[1]);
    struct ggml_tensor *attention =
        attention_add_scores(g, layer, cache, run, causal, ggml_permute(g->context, heads, 0, 2, 1, 3));
    judgeq_status status = graph_allocate(engine, attention, error);
    if (status != JUDGEQ_OK) return status;
    ggml_backend_tensor_set(query, from, 0, ggml_nbytes(query));
    status = graph_compute(engine, GRAPH_ROWS, 0, error);
    return status == JUDGEQ_OK ? add_run(attention, run, n, run.n_row, map, error) : status;
}

judgeq_status rescore_queries(judgeq_session *session, int32_t index, const cache_layer *cache, const float *query,
                              int32_t n, bool causal, score_map *map, judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    cache_run run;
    for (int32_t h = 0; status == JUDGEQ_OK && h < cache->n_head_kv; h += run.n_head) {
        run = cache_layer_run(cache, h);
        run.n_row = rescore_rows(session, cache, h);
        if (run.n_row > 0) status = score_run(session, index, cache, run, query, n, causal, map, error);
    }
    score_map_counts(map, n);
    return status;
}

judgeq_status rescore_add(const cache_layer *cache, struct ggml_tensor *const *by_run, score_map *map,
                          judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    cache_run run;
    for (int32_t h = 0; status == JUDGEQ_OK && h < cache->n_head_kv; h += run.n_head) {
        run = cache_layer_run(cache, h);
        status = add_run(by_run[h], run, 1, run.n_row < map->n_row ? run.n_row : map->n_row, map, error);
    }
    return status;
}

/* ---- the cut ----------------------------------------------------------------------------------------------------- */

judgeq_status rescore_keep_decoded(const judgeq_session *session, const cache_layer *layer, select_kept *kept,
                                   judgeq_error *error) {
    for (int32_t h = 0; h < layer->n_head_kv; h++) {
        const int64_t first = rescore_rows(session, layer, h), n = layer->head[h].n_row - first;
        int32_t *row = realloc(kept->row[h], (size_t)(kept->n_row[h] + n + 1) * sizeof *row);
        if (!row) return error_memory(error, "kept rows");
        kept->row[h] = row;
        for (int64_t i = 0; i < n; i++) row[kept->n_row[h]++] = (int32_t)(first + i);
    }
    return JUDGEQ_OK;
}

judgeq_status rescore_cut(judgeq_session *session, int32_t index, const score_map *map, judgeq_error *error) {
    cache_layer *layer = &session->layer[index], small;
    select_kept kept;
    score_map score;
    judgeq_status status = rescore_score(session, &session->policy, map, layer, index, &score, error);
    if (status != JUDGEQ_OK) return status;
    status = rescore_select(session, &session->policy, &score, layer, index, session->layer_budget[index], &kept, 0,
                            NULL, error);
    score_map_free(&score);
    if (status != JUDGEQ_OK) return status;
    status = rescore_keep_decoded(session, layer, &kept, error);
    if (status == JUDGEQ_OK) {
        status = rescore_gather(session, index, layer, &kept, session->kv_type, &small, error);
    }
    if (status == JUDGEQ_OK) {
        cache_layer_free(layer);
        *layer = small;
    }
    select_kept_free(&kept);
    return status;
}
