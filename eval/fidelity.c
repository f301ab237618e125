#include "fidelity.h"

#include <stdlib.h>

#include "base/error.h"

typedef struct ranked {
    float mass;
    int32_t row;
} ranked;

static int by_mass(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->mass != y->mass) return x->mass < y->mass ? 1 : -1;
    return x->row < y->row ? -1 : 1;
}

static void rank_head(const float *mass, int32_t n, ranked *scratch, int32_t *rank) {
    for (int32_t i = 0; i < n; i++) scratch[i] = (ranked){mass[i], i};
    qsort(scratch, (size_t)n, sizeof *scratch, by_mass);
    for (int32_t i = 0; i < n; i++) rank[scratch[i].row] = i;
}

judgeq_status fidelity_target_make(const judgeq_model *model, const judgeq_session *full, int32_t n_prompt,
                                   fidelity_target *out, judgeq_error *error) {
    const judgeq_model_info *info = judgeq_model_get_info(model);
    const int32_t group = info->n_head / info->n_head_kv;
    const size_t n_head = (size_t)info->n_layer * (size_t)info->n_head_kv, n = (size_t)n_prompt;
    int64_t n_tokens = 0;
    *out = (fidelity_target){.n_layer = info->n_layer, .n_head_kv = info->n_head_kv, .n_prompt = n_prompt};
    if (!judgeq_session_watched(full, 0, &n_tokens) || n_tokens == 0) return JUDGEQ_OK;
    out->mass = calloc(n_head, n * sizeof *out->mass);
    out->rank = calloc(n_head, n * sizeof *out->rank);
    ranked *scratch = malloc(n * sizeof *scratch);
    if (!out->mass || !out->rank || !scratch) {
        free(scratch);
        fidelity_target_free(out);
        return error_memory(error, "the response's attention");
    }
    for (size_t h = 0; h < n_head; h++) {
        const int32_t layer = (int32_t)h / info->n_head_kv;
        const float *sum = judgeq_session_watched(full, layer, &n_tokens);
        const float *from = sum + h % (size_t)info->n_head_kv * (size_t)group * n;
        float *mass = out->mass + h * n;
        for (int32_t g = 0; g < group; g++) {
            for (size_t i = 0; i < n; i++) mass[i] += from[(size_t)g * n + i];
        }
        rank_head(mass, n_prompt, scratch, out->rank + h * n);
    }
    free(scratch);
    return JUDGEQ_OK;
}

void fidelity_target_free(fidelity_target *t) {
    free(t->mass);
    free(t->rank);
    *t = (fidelity_target){0};
}

void fidelity_measure(const fidelity_target *t, const judgeq_session *session, int32_t budget, double *hit_rate,
                      double *mass_kept) {
    const int32_t most = budget < t->n_prompt ? budget : t->n_prompt;
    for (int32_t h = 0; h < t->n_layer * t->n_head_kv; h++) {
        size_t n_row;
        const int32_t *position = judgeq_session_positions(session, h / t->n_head_kv, h % t->n_head_kv, &n_row);
        const float *mass = t->mass + (size_t)h * (size_t)t->n_prompt;
        const int32_t *rank = t->rank + (size_t)h * (size_t)t->n_prompt;
        int32_t hits = 0;
        double kept = 0, all = 0;
        for (size_t i = 0; i < n_row && position[i] < t->n_prompt; i++) {
            hits += rank[position[i]] < most;
            kept += mass[position[i]];
        }
        for (int32_t i = 0; i < t->n_prompt; i++) all += mass[i];
        hit_rate[h] = (double)hits / most;
        mass_kept[h] = all > 0 ? kept / all : 1;
    }
}
