#include "layers.h"

#include <stdlib.h>

#include "base/error.h"
#include "policy/rank.h"
#include "session/export.h"

/* Peaks of single soft tokens count, but what only one query head attends to counts less; with close neighbours. */
static const char SCORES[] = "probe=soft,reduce=max/mean,smooth=avg:3";
enum { WIDTH = 3 };

judgeq_status layers_count(double *count, const judgeq_model_info *model, int32_t budget, const float *score,
                           int64_t n_row, judgeq_error *error) {
    const int64_t of_layer = model->n_head_kv * n_row, n = model->n_layer * of_layer;
    const int64_t taken = (int64_t)model->n_layer * model->n_head_kv * budget;
    if (n_row <= budget || budget == 0) return JUDGEQ_OK;
    uint64_t *key = malloc((size_t)n * sizeof *key);
    if (!key) return error_memory(error, "the ranks of all layers' rows");
    for (int64_t i = 0; i < n; i++) key[i] = rank_key(score[i], (int32_t)(i % n_row));
    rank_take(key, n, taken);
    for (int64_t i = 0; i < n; i++) {
        if (key[i] == 0) count[i / of_layer] += (double)model->n_layer / (double)taken;
    }
    free(key);
    return JUDGEQ_OK;
}

typedef struct layer_scores {
    float *score; /* [n_layer, n_head_kv, n_row] */
    int64_t n_row;
} layer_scores;

/* The session's hook. */
static void take_scores(void *data, int32_t layer, const score_map *map) {
    const layer_scores *s = data;
    float *score = s->score + (int64_t)layer * map->n_head_kv * s->n_row;
    score_heads(map, POLICY_MEAN, score);
    for (int32_t h = 0; h < map->n_head_kv; h++) {
        float *head = score + h * s->n_row;
        score_smooth(POLICY_SMOOTH_AVG, WIDTH, head, s->n_row, head);
    }
}

static judgeq_status read_scores(const judgeq_model *model, const judgeq_session_params *params, const int32_t *prompt,
                                 layer_scores *scores, judgeq_error *error) {
    judgeq_session *session = NULL;
    judgeq_status status = judgeq_session_new(model, params, &session, error);
    if (status != JUDGEQ_OK) return status;
    session_on_scores(session, take_scores, scores);
    status = judgeq_session_prefill(session, prompt, (size_t)scores->n_row, error);
    judgeq_session_free(session);
    return status;
}

judgeq_status layers_add(double *count, const judgeq_model *model, const judgeq_judge *judge,
                         const judgeq_session_params *params, const int32_t *budget, const int32_t *prompt,
                         size_t n_prompt, judgeq_error *error) {
    const judgeq_model_info *info = judgeq_model_get_info(model);
    judgeq_policy *policy = NULL;
    judgeq_status status = judgeq_policy_parse(SCORES, &policy, error);
    if (status != JUDGEQ_OK) return status;
    judgeq_session_params own = *params;
    own.policy = policy;
    own.judge = judge;
    own.budget = (int32_t)n_prompt; /* nothing is evicted */
    layer_scores scores = {.n_row = (int64_t)n_prompt};
    scores.score = calloc((size_t)info->n_layer * (size_t)info->n_head_kv, n_prompt * sizeof *scores.score);
    status = scores.score ? read_scores(model, &own, prompt, &scores, error) : error_memory(error, "scores");
    for (int b = 0; status == JUDGEQ_OK && b < JUDGEQ_MEASURE_BUDGETS; b++) {
        status = layers_count(count, info, budget[b], scores.score, scores.n_row, error);
    }
    free(scores.score);
    judgeq_policy_free(policy);
    return status;
}
