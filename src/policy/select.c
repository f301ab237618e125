#include "select.h"

#include "base/error.h"
#include "base/splitmix.h"
#include "rank.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- one layer's rows -------------------------------------------------------------------------------------------- */

/* The rows of all heads, one head after the other, as rank keys; a key of 0 is a row that stays. */
typedef struct layer_rows {
    int64_t n_row;
    int64_t *begin; /* [n_head_kv + 1]: where a head's rows begin */
    int64_t *taken; /* [n_head_kv] */
    uint64_t *key;  /* [n_row] */
} layer_rows;

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static void layer_rows_free(layer_rows *layer) {
    free(layer->begin);
    free(layer->taken);
    free(layer->key);
}

static uint64_t random_key(uint64_t seed, int32_t layer, int32_t head, int32_t position) {
    uint64_t place = splitmix_next(&seed) ^ ((uint64_t)(uint32_t)layer << 32 | (uint32_t)head);
    uint64_t hash = splitmix_hash(splitmix_hash(place) + (uint32_t)position);
    return (hash >> 32) << 32 | ~(uint32_t)position;
}

static judgeq_status layer_rows_init(layer_rows *layer, const select_rows *rows, judgeq_error *error) {
    memset(layer, 0, sizeof *layer);
    layer->begin = calloc((size_t)rows->n_head_kv + 1, sizeof *layer->begin);
    layer->taken = calloc((size_t)rows->n_head_kv, sizeof *layer->taken);
    for (int32_t head = 0; layer->begin && head < rows->n_head_kv; head++) {
        layer->begin[head + 1] = layer->n_row += rows->n_row[head];
    }
    layer->key = calloc((size_t)layer->n_row + 1, sizeof *layer->key);
    if (layer->begin && layer->taken && layer->key) return JUDGEQ_OK;
    layer_rows_free(layer);
    return error_memory(error, "the ranks of a layer's rows");
}

static void layer_rows_rank(layer_rows *layer, const judgeq_policy *policy, const select_rows *rows, uint64_t seed,
                            int32_t number) {
    bool scoreless = policy_ranks_without_scores(policy);
    for (int32_t head = 0; head < rows->n_head_kv; head++) {
        uint64_t *key = layer->key + layer->begin[head];
        const int32_t *position = rows->position[head];
        for (int64_t i = 0; i < rows->n_row[head]; i++) {
            if (!scoreless)
                key[i] = rank_key(rows->score[head][i], position[i]);
            else if (policy->random)
                key[i] = random_key(seed, number, head, position[i]);
            else
                key[i] = (uint64_t)position[i] + 1;
        }
    }
}

/* Takes the sink and recent rows of every head. */
static void layer_rows_take_kept(layer_rows *layer, const select_rows *rows, int32_t sink, int64_t recent_from) {
    for (int32_t head = 0; head < rows->n_head_kv; head++) {
        uint64_t *key = layer->key + layer->begin[head];
        for (int64_t i = 0; i < rows->n_row[head]; i++) {
            int32_t position = rows->position[head][i];
            if (position >= sink && position < recent_from) continue;
            key[i] = 0;
            layer->taken[head]++;
        }
    }
}

/* Takes the best rows of every head's turn until `share` of its rows are of it; as far as the budget goes. */
static void layer_rows_take_turn(layer_rows *layer, const select_rows *rows, int64_t share, int64_t budget) {
    for (int32_t head = 0; head < rows->n_head_kv; head++) {
        const int32_t *position = rows->position[head];
        int64_t from = 0, have = 0;
        while (from < rows->n_row[head] && position[from] < rows->turn_from) from++;
        int64_t to = from;
        uint64_t *key = layer->key + layer->begin[head];
        for (; to < rows->n_row[head] && position[to] < rows->turn_to; to++) have += key[to] == 0;
        const int64_t left = budget - layer->taken[head];
        layer->taken[head] += rank_take(key + from, to - from, least(share - have, left));
    }
}

/* Takes the best rows of every head until it has `target`. */
static void layer_rows_take_each(layer_rows *layer, int32_t n_head_kv, int64_t target) {
    for (int32_t head = 0; head < n_head_kv; head++) {
        int64_t begin = layer->begin[head], n = layer->begin[head + 1] - begin;
        layer->taken[head] += rank_take(layer->key + begin, n, target - layer->taken[head]);
    }
}

/* ceil(floor * budget) from integers: 0.2 is a little more than a fifth as a float. */
static int64_t ada_floor_rows(const judgeq_policy *policy, int32_t budget) {
    int64_t parts = lroundf(policy->ada_floor * POLICY_FRACTION_PARTS);
    return (parts * budget + POLICY_FRACTION_PARTS - 1) / POLICY_FRACTION_PARTS;
}

static void layer_rows_take(layer_rows *layer, const judgeq_policy *policy, int32_t n_head_kv, int32_t budget) {
    if (policy->allocate != POLICY_ADA) {
        layer_rows_take_each(layer, n_head_kv, budget);
        return;
    }
    layer_rows_take_each(layer, n_head_kv, ada_floor_rows(policy, budget));
    int64_t left = (int64_t)n_head_kv * budget;
    for (int32_t head = 0; head < n_head_kv; head++) left -= layer->taken[head];
    rank_take(layer->key, layer->n_row, left);
}

/* ---- the kept rows ----------------------------------------------------------------------------------------------- */

void select_kept_free(select_kept *kept) {
    for (int32_t head = 0; kept->row && head < kept->n_head_kv; head++) free(kept->row[head]);
    free(kept->row);
    free(kept->n_row);
    memset(kept, 0, sizeof *kept);
}

static const char KEPT[] = "the list of a layer's kept rows";

judgeq_status select_kept_new(int32_t n_head_kv, select_kept *out, judgeq_error *error) {
    *out = (select_kept){n_head_kv, calloc((size_t)n_head_kv, sizeof *out->n_row),
                         calloc((size_t)n_head_kv, sizeof *out->row)};
    if (out->n_row && out->row) return JUDGEQ_OK;
    select_kept_free(out);
    return error_memory(error, KEPT);
}

judgeq_status select_kept_copy(const select_kept *from, select_kept *out, judgeq_error *error) {
    const judgeq_status status = select_kept_new(from->n_head_kv, out, error);
    if (status != JUDGEQ_OK) return status;
    for (int32_t head = 0; head < from->n_head_kv; head++) {
        const size_t n = (size_t)from->n_row[head];
        out->row[head] = calloc(n + 1, sizeof **out->row);
        if (!out->row[head]) {
            select_kept_free(out);
            return error_memory(error, KEPT);
        }
        if (n > 0) memcpy(out->row[head], from->row[head], n * sizeof **out->row);
        out->n_row[head] = from->n_row[head];
    }
    return JUDGEQ_OK;
}

/* The indices of the keys that are 0, ascending, in an array of its own; NULL without memory. */
static int32_t *taken_rows(const uint64_t *key, int64_t n, int64_t *n_taken) {
    *n_taken = 0;
    for (int64_t i = 0; i < n; i++) *n_taken += key[i] == 0;
    int32_t *row = calloc((size_t)*n_taken + 1, sizeof *row);
    int32_t *next = row;
    for (int64_t i = 0; row && i < n; i++) {
        if (key[i] == 0) *next++ = (int32_t)i;
    }
    return row;
}

static judgeq_status kept_from(const layer_rows *layer, int32_t n_head_kv, select_kept *out, judgeq_error *error) {
    const judgeq_status status = select_kept_new(n_head_kv, out, error);
    if (status != JUDGEQ_OK) return status;
    bool made = true;
    for (int32_t head = 0; made && head < n_head_kv; head++) {
        int64_t begin = layer->begin[head];
        out->row[head] = taken_rows(layer->key + begin, layer->begin[head + 1] - begin, &out->n_row[head]);
        made = out->row[head] != NULL;
    }
    if (made) return JUDGEQ_OK;
    select_kept_free(out);
    return error_memory(error, KEPT);
}

judgeq_status select_kept_rows(const judgeq_policy *policy, const select_rows *rows, int32_t budget, int32_t n_position,
                               uint64_t seed, int32_t layer, select_kept *out, judgeq_error *error) {
    memset(out, 0, sizeof *out);
    if (rows->n_head_kv <= 0) return error_set(error, JUDGEQ_ERROR_ARGUMENT, "selection for a layer without KV heads");
    if (!policy->keep_all && budget <= 0) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "budget %d: use a budget of at least 1 row", budget);
    }
    if (!policy->keep_all && !policy_ranks_without_scores(policy) && !rows->score) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "selection by %s needs scores, and there are none",
                         policy->text);
    }
    layer_rows ranks;
    judgeq_status status = layer_rows_init(&ranks, rows, error);
    if (status != JUDGEQ_OK) return status;
    if (!policy->keep_all) { /* otherwise all keys stay 0 */
        int32_t sink, recent;
        policy_keep_rows(policy, budget, &sink, &recent);
        layer_rows_rank(&ranks, policy, rows, seed, layer);
        layer_rows_take_kept(&ranks, rows, sink, (int64_t)n_position - recent);
        layer_rows_take_turn(&ranks, rows, (int64_t)budget * policy->keep_turn / 100, budget);
        layer_rows_take(&ranks, policy, rows->n_head_kv, budget);
    }
    status = kept_from(&ranks, rows->n_head_kv, out, error);
    layer_rows_free(&ranks);
    return status;
}

/* ---- budgets ----------------------------------------------------------------------------------------------------- */

/* PyramidKV's formula: beyond the rows always kept, the last layer gets 1/beta of the mean, the first as much above the
 * mean as the last is below it; where the first would get more than the prompt has, it gets that, and the last gets
 * what is then left of the sum. In whole rows; what rounding leaves goes to the first layers, one row each. */
static void pyramid_budgets(const judgeq_policy *policy, int32_t n_layer, int32_t budget, int64_t n_prompt,
                            int32_t *out) {
    int32_t sink, recent;
    policy_keep_rows(policy, budget, &sink, &recent);
    int64_t keep = (int64_t)sink + recent, mean = budget - keep;
    int64_t parts = lroundf(policy->pyramid_ratio * POLICY_FRACTION_PARTS);
    int64_t last = mean * POLICY_FRACTION_PARTS / parts;
    if (keep + last == 0) last = 1; /* no layer without rows */
    int64_t first = 2 * mean - last;
    if (first > n_prompt - keep) {
        first = n_prompt - keep;
        last = 2 * mean - first;
    }
    int64_t left = (int64_t)n_layer * budget;
    for (int32_t layer = 0; layer < n_layer; layer++) {
        out[layer] = (int32_t)(keep + (first * (n_layer - 1) - layer * (first - last)) / (n_layer - 1));
        left -= out[layer];
    }
    for (int32_t layer = 0; left > 0 && layer < n_layer; layer++) {
        if (out[layer] >= n_prompt) continue;
        out[layer]++;
        left--;
    }
}

/* In whole rows; what rounding and full layers leave goes to the layers in turn, a row each. */
static void shared_budgets(const judgeq_policy *policy, const float *share, int32_t n_layer, int32_t budget,
                           int64_t n_prompt, int32_t *out) {
    const double floor = (double)policy->ada_floor;
    int64_t left = (int64_t)n_layer * budget;
    for (int32_t layer = 0; layer < n_layer; layer++) {
        const double rows = budget * (floor + (1 - floor) * (double)share[layer]);
        const int64_t most = least(n_prompt, left - (n_layer - 1 - layer)); /* one row for each of the others */
        out[layer] = rows < 1 ? 1 : rows < (double)most ? (int32_t)rows : (int32_t)most;
        left -= out[layer];
    }
    for (int32_t layer = 0; left > 0; layer = (layer + 1) % n_layer) { /* there is room: budget < n_prompt */
        if (out[layer] >= n_prompt) continue;
        out[layer]++;
        left--;
    }
}

void select_layer_budgets(const judgeq_policy *policy, const float *share, int32_t n_layer, int32_t budget,
                          int64_t n_prompt, int32_t *out) {
    if (policy->layers_by_judge && share && budget < n_prompt) {
        shared_budgets(policy, share, n_layer, budget, n_prompt, out);
        return;
    }
    bool pyramid = policy->allocate == POLICY_PYRAMID && n_layer > 1;
    if (pyramid && budget < n_prompt) {
        pyramid_budgets(policy, n_layer, budget, n_prompt, out);
        return;
    }
    int32_t each = pyramid ? (int32_t)n_prompt : budget;
    for (int32_t layer = 0; layer < n_layer; layer++) out[layer] = each;
}
