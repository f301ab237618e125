#include "evict.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"

/* Room for at least so many rows after the kept ones. Padding adds more, so decoding the first tokens seldom has to
 * move the rows. */
enum { SPARE_ROWS = 1 };

int64_t evict_prompt_rows(const judgeq_session *session, const cache_layer *cache, int32_t head) {
    const cache_head *rows = &cache->head[head];
    int64_t n = rows->n_row;
    while (n > 0 && rows->position[n - 1] >= session->n_prompt) n--;
    return n;
}

/* Smooths the scores of one KV head's rows along their positions in the prompt, where evicted rows count as 0. */
static void smooth_head(const judgeq_policy *policy, const int32_t *position, int64_t n_row, int32_t n_position,
                        float *score, float *line, float *pooled) {
    memset(line, 0, (size_t)n_position * sizeof *line);
    for (int64_t i = 0; i < n_row; i++) line[position[i]] = score[i];
    score_smooth(policy->pool, policy->pool_width, line, n_position, pooled);
    for (int64_t i = 0; i < n_row; i++) score[i] = pooled[position[i]];
}

/* score [n_head_kv, map->n_row]: reduced over heads and smoothed. */
static judgeq_status score_rows(const judgeq_session *session, const judgeq_policy *policy, const score_map *map,
                                const cache_layer *cache, float *score, judgeq_error *error) {
    score_heads(map, policy->reduce_heads, score);
    if (policy->pool == POLICY_POOL_NONE) return JUDGEQ_OK;
    float *line = malloc(2 * (size_t)session->n_prompt * sizeof *line);
    if (!line) return error_memory(error, "scores");
    for (int32_t h = 0; h < cache->n_head_kv; h++) {
        smooth_head(policy, cache->head[h].position, evict_prompt_rows(session, cache, h), session->n_prompt,
                    score + (size_t)h * (size_t)map->n_row, line, line + session->n_prompt);
    }
    free(line);
    return JUDGEQ_OK;
}

judgeq_status evict_select(judgeq_session *session, const judgeq_policy *policy, const score_map *map,
                           const cache_layer *cache, int32_t index, int32_t budget, select_kept *kept,
                           judgeq_error *error) {
    const double start = clock_seconds();
    const size_t n_head = (size_t)cache->n_head_kv;
    int64_t *n_row = calloc(n_head, sizeof *n_row);
    const int32_t **position = calloc(n_head, sizeof *position);
    const float **scores = calloc(n_head, sizeof *scores);
    float *score = map ? malloc(n_head * (size_t)map->n_row * sizeof *score) : NULL;
    judgeq_status status = JUDGEQ_OK;
    if (!n_row || !position || !scores || (map && !score)) {
        status = error_memory(error, "scores");
    } else {
        if (map) status = score_rows(session, policy, map, cache, score, error);
        for (size_t h = 0; h < n_head; h++) {
            n_row[h] = evict_prompt_rows(session, cache, (int32_t)h);
            position[h] = cache->head[h].position;
            scores[h] = map ? score + h * (size_t)map->n_row : NULL;
        }
    }
    if (status == JUDGEQ_OK) {
        const select_rows rows = {
            .n_head_kv = cache->n_head_kv, .n_row = n_row, .position = position, .score = map ? scores : NULL};
        status = select_kept_rows(policy, &rows, budget, session->n_prompt, session->params.seed, index, kept, error);
    }
    free(n_row);
    free((void *)position);
    free((void *)scores);
    free(score);
    session->stats.score_s += clock_seconds() - start;
    return status;
}

judgeq_status evict_gather(judgeq_session *session, const cache_layer *from, const select_kept *kept,
                           enum ggml_type type, cache_layer *out, judgeq_error *error) {
    const double start = clock_seconds();
    judgeq_status status = cache_layer_gather(from, kept, type, SPARE_ROWS, &session->meter, out, error);
    session->stats.compact_s += clock_seconds() - start;
    return status;
}
