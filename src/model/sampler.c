/* sampler: draws the next token, by libllama's samplers. */
#include <math.h>
#include <stdlib.h>

#include "base/error.h"
#include "guard.h"
#include "judgeq.h"

struct judgeq_sampler {
    struct llama_sampler *chain;
    llama_token_data *candidates; /* [n_candidates] */
    int32_t n_candidates;
};

static judgeq_status check_params(const judgeq_sampler_params *params, judgeq_error *error) {
    const struct {
        const char *name;
        float value, least, most;
    } range[] = {
        {"temperature", params->temperature, 0.0f, 100.0f},
        {"top_p", params->top_p, 0.0f, 1.0f},
        {"min_p", params->min_p, 0.0f, 1.0f},
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
    return JUDGEQ_OK;
}

judgeq_status judgeq_sampler_new(const judgeq_sampler_params *params, judgeq_sampler **out, judgeq_error *error) {
    *out = NULL;
    judgeq_status status = check_params(params, error);
    if (status != JUDGEQ_OK) return status;
    judgeq_sampler *sampler = calloc(1, sizeof *sampler);
    if (!sampler) return error_memory(error, "a sampler");
    status = guard_new_samplers(params, &sampler->chain, error);
    if (status != JUDGEQ_OK) {
        free(sampler);
        return status;
    }
    *out = sampler;
    return JUDGEQ_OK;
}

void judgeq_sampler_free(judgeq_sampler *sampler) {
    if (!sampler) return;
    llama_sampler_free(sampler->chain);
    free(sampler->candidates);
    free(sampler);
}

int32_t judgeq_sampler_sample(judgeq_sampler *sampler, const float *logits, int32_t n_vocab) {
    if (sampler->n_candidates < n_vocab) {
        llama_token_data *larger = realloc(sampler->candidates, (size_t)n_vocab * sizeof *larger);
        if (!larger) return -1;
        sampler->candidates = larger;
        sampler->n_candidates = n_vocab;
    }
    for (int32_t i = 0; i < n_vocab; i++) sampler->candidates[i] = (llama_token_data){.id = i, .logit = logits[i]};
    llama_token_data_array array = {.data = sampler->candidates, .size = (size_t)n_vocab, .selected = -1};
    if (guard_apply_samplers(sampler->chain, &array, NULL) != JUDGEQ_OK) return -1;
    return array.selected >= 0 ? array.data[array.selected].id : -1;
}
