#include "example.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "copied.h"
#include "session/export.h"

/* The session's hook: the window is the response, its map's first columns are the prompt. */
static void take_target(void *data, int32_t layer, const score_map *map) {
    example *e = data;
    const float scale = map->reduce_rows == POLICY_MAX ? 1.0f : 1.0f / (float)map->n_probe;
    for (int32_t h = 0; h < e->n_head; h++) {
        float *target = e->target + ((size_t)layer * (size_t)e->n_head + (size_t)h) * (size_t)e->n_prompt;
        const float *reduced = score_map_head(map, h);
        for (int32_t i = 0; i < e->n_prompt; i++) target[i] = scale * reduced[i];
    }
}

static judgeq_status new_session(const judgeq_model *model, const judgeq_session_params *params, judgeq_target target,
                                 size_t n_rows, size_t n_response, judgeq_session **out, judgeq_error *error) {
    char text[64];
    judgeq_policy *policy = NULL;
    snprintf(text, sizeof text, "probe=window:%zu,reduce=%s", n_response, target == JUDGEQ_TARGET_MAX ? "max" : "mean");
    judgeq_status status = judgeq_policy_parse(text, &policy, error);
    if (status != JUDGEQ_OK) return status;
    judgeq_session_params own = *params;
    own.policy = policy;
    own.judge = NULL;
    own.budget = (int32_t)n_rows; /* nothing is evicted */
    own.budget_fraction = 0;
    own.defer = false;
    status = judgeq_session_new(model, &own, out, error);
    judgeq_policy_free(policy);
    return status;
}

/* counted [n_response]: the response's rows whose attention is the target; NULL: all. */
static judgeq_status read_rows(const judgeq_model *model, const judgeq_session_params *params, judgeq_target target,
                               const int32_t *tokens, const unsigned char *counted, size_t n_response, int32_t n_soft,
                               example *e, judgeq_error *error) {
    judgeq_session *session = NULL;
    const size_t n_rows = (size_t)e->n_prompt + n_response;
    judgeq_status status = new_session(model, params, target, n_rows, n_response, &session, error);
    if (status != JUDGEQ_OK) return status;
    session_on_scores(session, take_target, e);
    session_count_rows(session, e->n_prompt, counted);
    status = judgeq_session_prefill(session, tokens, n_rows, error);
    if (status == JUDGEQ_OK) status = session_take_rows(session, e->n_prompt, n_soft, &e->meter, e->layer, error);
    judgeq_session_free(session);
    return status;
}

static judgeq_status check_lengths(size_t n_prompt, size_t n_response, judgeq_error *error) {
    if (n_prompt == 0) return error_set(error, JUDGEQ_ERROR_ARGUMENT, "an example's prompt is empty");
    if (n_response == 0) return error_set(error, JUDGEQ_ERROR_ARGUMENT, "an example's response is empty");
    if (n_prompt <= INT32_MAX && n_response <= INT32_MAX && n_prompt + n_response <= INT32_MAX) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_LIMIT, "an example of %zu + %zu tokens is too long", n_prompt, n_response);
}

int32_t example_rows(int32_t n_response) {
    return n_response > 1 ? n_response - 1 : 1;
}

judgeq_status example_new(int32_t n_layer, int32_t n_head, int32_t n_prompt, example **out, judgeq_error *error) {
    *out = NULL;
    example *e = calloc(1, sizeof *e);
    if (e) {
        *e = (example){.n_layer = n_layer, .n_head = n_head, .n_prompt = n_prompt};
        e->layer = calloc((size_t)n_layer, sizeof *e->layer);
        e->target = calloc((size_t)n_layer * (size_t)n_head, (size_t)n_prompt * sizeof *e->target);
    }
    if (!e || !e->layer || !e->target) {
        example_free(e);
        return error_memory(error, "an example");
    }
    *out = e;
    return JUDGEQ_OK;
}

judgeq_status example_read(const judgeq_model *model, const judgeq_session_params *params, judgeq_target target,
                           const example_text *text, int32_t n_soft, example **out, judgeq_error *error) {
    *out = NULL;
    judgeq_status status = check_lengths(text->n_prompt, text->n_response, error);
    if (status != JUDGEQ_OK) return status;
    const judgeq_model_info *info = judgeq_model_get_info(model);
    const size_t n_read = (size_t)example_rows((int32_t)text->n_response);
    example *e = NULL;
    status = example_new(info->n_layer, info->n_head, (int32_t)text->n_prompt, &e, error);
    if (status != JUDGEQ_OK) return status;
    int32_t *tokens = malloc((text->n_prompt + n_read) * sizeof *tokens);
    unsigned char *counted = malloc(n_read);
    if (!tokens || !counted) {
        status = error_memory(error, "an example");
    } else {
        const bool copied = target == JUDGEQ_TARGET_COPIED;
        memcpy(tokens, text->prompt, text->n_prompt * sizeof *tokens);
        memcpy(tokens + text->n_prompt, text->response, n_read * sizeof *tokens);
        if (copied) {
            copied_rows(text->prompt, text->n_prompt, text->response, text->answer, text->n_response, counted);
        }
        status = read_rows(model, params, target, tokens, copied ? counted : NULL, n_read, n_soft, e, error);
    }
    free(tokens);
    free(counted);
    if (status == JUDGEQ_OK) {
        *out = e;
    } else {
        example_free(e);
    }
    return status;
}

judgeq_status example_take(const judgeq_model *model, judgeq_session *session, int32_t n_soft, example **out,
                           judgeq_error *error) {
    const judgeq_model_info *info = judgeq_model_get_info(model);
    judgeq_stats stats;
    example *e = NULL;
    judgeq_session_get_stats(session, &stats);
    judgeq_status status = example_new(info->n_layer, info->n_head, (int32_t)stats.n_prompt, &e, error);
    if (status != JUDGEQ_OK) return status;
    const size_t n_map = (size_t)e->n_head * (size_t)e->n_prompt;
    for (int32_t l = 0; l < e->n_layer; l++) {
        int64_t n_watched;
        const float *sum = judgeq_session_watched(session, l, &n_watched);
        const float scale = 1.0f / (float)n_watched;
        for (size_t i = 0; i < n_map; i++) e->target[(size_t)l * n_map + i] = scale * sum[i];
    }
    status = session_take_rows(session, e->n_prompt, n_soft, &e->meter, e->layer, error);
    if (status == JUDGEQ_OK) {
        *out = e;
    } else {
        example_free(e);
    }
    return status;
}

judgeq_status example_answer(const judgeq_model *model, const judgeq_session_params *params, const int32_t *prompt,
                             size_t n_prompt, const int32_t *response, size_t n_response, int32_t n_soft, example **out,
                             judgeq_error *error) {
    *out = NULL;
    judgeq_session *session = NULL;
    judgeq_status status = check_lengths(n_prompt, n_response, error);
    if (status == JUDGEQ_OK) status = judgeq_session_new(model, params, &session, error);
    if (status == JUDGEQ_OK) status = judgeq_session_prefill(session, prompt, n_prompt, error);
    if (status == JUDGEQ_OK) status = judgeq_session_watch(session, error);
    for (int32_t i = 0; status == JUDGEQ_OK && i < example_rows((int32_t)n_response); i++) {
        status = judgeq_session_decode(session, response[i], error);
    }
    if (status == JUDGEQ_OK) status = example_take(model, session, n_soft, out, error);
    judgeq_session_free(session);
    return status;
}

void example_free(example *e) {
    if (!e) return;
    for (int32_t l = 0; e->layer && l < e->n_layer; l++) cache_layer_free(&e->layer[l]);
    free(e->layer);
    free(e->target);
    free(e);
}
