/* sampler: draws the next token, by libllama's samplers. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json_bound.h"
#include "guard_sampler.h"
#include "model.h"

struct judgeq_sampler {
    guard_sampler *drawing;
    llama_token_data *candidates; /* [n_candidates] */
    int32_t n_candidates;
};

static judgeq_status check_ranges(const judgeq_sampler_params *params, judgeq_error *error) {
    const struct {
        const char *name;
        float value, least, most;
    } range[] = {
        {"temperature", params->temperature, 0.0f, 100.0f},
        {"top_p", params->top_p, 0.0f, 1.0f},
        {"min_p", params->min_p, 0.0f, 1.0f},
        {"repeat_penalty", params->repeat_penalty, 0.0f, 100.0f},
        {"presence_penalty", params->presence_penalty, -100.0f, 100.0f},
        {"frequency_penalty", params->frequency_penalty, -100.0f, 100.0f},
    };
    for (size_t i = 0; i < sizeof range / sizeof *range; i++) {
        if (!(range[i].value >= range[i].least && range[i].value <= range[i].most)) {
            return error_set(error, JUDGEQ_ERROR_ARGUMENT, "%s is %g, expected %g to %g", range[i].name,
                             (double)range[i].value, (double)range[i].least, (double)range[i].most);
        }
    }
    if (params->top_k < 0) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "top_k is %d, expected 0 (off) or more", params->top_k);
    }
    if (params->penalty_window < 0 || params->penalty_window > JUDGEQ_PENALTY_WINDOW_MOST) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "penalty_window is %d, expected 0 (%d) to %d",
                         params->penalty_window, JUDGEQ_PENALTY_WINDOW, JUDGEQ_PENALTY_WINDOW_MOST);
    }
    return JUDGEQ_OK;
}

static judgeq_status check_biases(const judgeq_sampler_params *params, judgeq_error *error) {
    const int32_t n_vocab = params->model ? judgeq_model_get_info(params->model)->n_vocab : 0;
    if (params->n_biases > 0 && !params->biases) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "biases is NULL, expected the %zu of n_biases",
                         params->n_biases);
    }
    for (size_t i = 0; params->model && i < params->n_biases; i++) {
        const judgeq_logit_bias *b = &params->biases[i];
        if (b->token < 0 || b->token >= n_vocab) {
            return error_set(error, JUDGEQ_ERROR_ARGUMENT, "biases: token %d is not in the vocabulary of %d", b->token,
                             n_vocab);
        }
        if (isnan(b->bias) || b->bias == INFINITY) {
            return error_set(error, JUDGEQ_ERROR_ARGUMENT, "biases: token %d has %g, expected a number or -inf",
                             b->token, (double)b->bias);
        }
    }
    return JUDGEQ_OK;
}

static judgeq_status check_params(const judgeq_sampler_params *params, judgeq_error *error) {
    judgeq_status status = check_ranges(params, error);
    if (status == JUDGEQ_OK) status = check_biases(params, error);
    if (status != JUDGEQ_OK || params->model) return status;
    const bool penalties = (params->repeat_penalty != 0.0f && params->repeat_penalty != 1.0f) ||
                           params->presence_penalty != 0.0f || params->frequency_penalty != 0.0f;
    if (!penalties && !params->grammar && params->n_biases == 0) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_ARGUMENT,
                     "model: penalties, biases and grammars need the model whose tokens they judge");
}

judgeq_status judgeq_sampler_new(const judgeq_sampler_params *params, judgeq_sampler **out, judgeq_error *error) {
    *out = NULL;
    judgeq_status status = check_params(params, error);
    if (status != JUDGEQ_OK) return status;
    judgeq_sampler *sampler = calloc(1, sizeof *sampler);
    if (!sampler) return error_memory(error, "a sampler");
    const struct llama_vocab *vocab = params->model ? llama_model_get_vocab(params->model->vocabulary) : NULL;
    status = guard_sampler_new(vocab, params, &sampler->drawing, error);
    if (status != JUDGEQ_OK) {
        free(sampler);
        return status;
    }
    *out = sampler;
    return JUDGEQ_OK;
}

void judgeq_sampler_free(judgeq_sampler *sampler) {
    if (!sampler) return;
    guard_sampler_free(sampler->drawing);
    free(sampler->candidates);
    free(sampler);
}

judgeq_status judgeq_sampler_draw(judgeq_sampler *sampler, const float *logits, int32_t n_vocab, int32_t *token,
                                  judgeq_error *error) {
    *token = -1;
    if (sampler->n_candidates < n_vocab) {
        llama_token_data *larger = realloc(sampler->candidates, (size_t)n_vocab * sizeof *larger);
        if (!larger) return error_memory(error, "drawing a token");
        sampler->candidates = larger;
        sampler->n_candidates = n_vocab;
    }
    return guard_sampler_draw(sampler->drawing, sampler->candidates, logits, n_vocab, token, error);
}

int32_t judgeq_sampler_sample(judgeq_sampler *sampler, const float *logits, int32_t n_vocab) {
    int32_t token;
    return judgeq_sampler_draw(sampler, logits, n_vocab, &token, NULL) == JUDGEQ_OK ? token : -1;
}

judgeq_status judgeq_sampler_accept(judgeq_sampler *sampler, int32_t token, judgeq_error *error) {
    return guard_sampler_accept(sampler->drawing, token, error);
}

judgeq_status judgeq_sampler_restart(judgeq_sampler *sampler, judgeq_error *error) {
    return guard_sampler_restart(sampler->drawing, error);
}

judgeq_status judgeq_json_schema_grammar(const char *schema, char **grammar, judgeq_error *error) {
    *grammar = NULL;
    const judgeq_status status = json_bound_check(schema, strlen(schema), "JSON schema", error);
    if (status != JUDGEQ_OK) return status;
    return guard_schema_grammar(schema, grammar, error);
}
