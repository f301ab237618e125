#include "measure.h"

#include <math.h>
#include <stdlib.h>

#include "base/error.h"
#include "policy/rank.h"
#include "policy/score.h"

/* Scratch for one KV head. */
typedef struct head_rows {
    float *map, *target; /* [n_row] */
    uint64_t *key;       /* [n_row] */
    int32_t *kept;       /* [n_row] */
} head_rows;

static void mean_of_group(const float *from, int32_t group, int64_t n_row, float *out) {
    for (int64_t i = 0; i < n_row; i++) {
        out[i] = 0;
        for (int32_t h = 0; h < group; h++) out[i] += from[h * n_row + i];
    }
}

/* Share of target's mass on the `budget` rows that map ranks first. */
static double mass_kept(const head_rows *rows, int64_t n_row, int32_t budget) {
    int64_t n = 0;
    for (int64_t i = 0; i < n_row; i++) rows->key[i] = rank_key(rows->map[i], (int32_t)i);
    rank_take(rows->key, n_row, budget);
    for (int64_t i = 0; i < n_row; i++) {
        if (rows->key[i] == 0) rows->kept[n++] = (int32_t)i;
    }
    return score_mass_kept(rows->target, n_row, rows->kept, n);
}

/* Means over layers and KV heads; heads without any target mass count as kept. */
static void add_budget(measure_sums *sums, int b, int32_t budget, const judgeq_model_info *model, const float *map,
                       const float *target, const head_rows *rows, int64_t n_row) {
    const int32_t group = model->n_head / model->n_head_kv, n_heads = model->n_layer * model->n_head_kv;
    double hits = 0, mass = 0;
    for (int64_t h = 0; h < n_heads; h++) {
        mean_of_group(map + h * group * n_row, group, n_row, rows->map);
        mean_of_group(target + h * group * n_row, group, n_row, rows->target);
        hits += score_hit_rate(rows->map, rows->target, n_row, budget);
        const double kept = mass_kept(rows, n_row, budget);
        mass += isnan(kept) ? 1 : kept;
    }
    sums->n_counted[b]++;
    sums->hit_rate[b] += hits / n_heads;
    sums->mass_kept[b] += mass / n_heads;
}

judgeq_status measure_add(measure_sums *sums, const judgeq_model_info *model, const int32_t *budget, const float *map,
                          const float *target, int64_t n_row, double loss, judgeq_error *error) {
    const size_t n = (size_t)n_row;
    head_rows rows = {malloc(n * sizeof(float)), malloc(n * sizeof(float)), malloc(n * sizeof(uint64_t)),
                      malloc(n * sizeof(int32_t))};
    judgeq_status status = JUDGEQ_OK;
    if (!rows.map || !rows.target || !rows.key || !rows.kept) {
        status = error_memory(error, "a measurement");
    } else {
        sums->n_examples++;
        sums->loss += loss;
        for (int b = 0; b < JUDGEQ_MEASURE_BUDGETS; b++) {
            if (budget[b] == 0) break;
            if (n_row > budget[b]) add_budget(sums, b, budget[b], model, map, target, &rows, n_row);
        }
    }
    free(rows.map);
    free(rows.target);
    free(rows.key);
    free(rows.kept);
    return status;
}

judgeq_measures measure_means(const measure_sums *sums, const int32_t *budget) {
    judgeq_measures out = {.n_examples = (int32_t)sums->n_examples, .loss = NAN};
    if (sums->n_examples > 0) out.loss = sums->loss / sums->n_examples;
    for (int b = 0; b < JUDGEQ_MEASURE_BUDGETS; b++) {
        const double n = sums->n_counted[b];
        out.budget[b] = budget[b];
        out.hit_rate[b] = n > 0 ? sums->hit_rate[b] / n : NAN;
        out.mass_kept[b] = n > 0 ? sums->mass_kept[b] / n : NAN;
    }
    return out;
}
