/* test_select: which rows stay, against choices worked out by hand and against a slow selection in this file that picks
 * one row at a time; the budgets of layers; the check of a budget. */
#include "policy/select.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

static judgeq_policy read_policy(const char *text) {
    judgeq_policy policy;
    judgeq_error error = {0, ""};
    if (policy_read(text, &policy, &error) != JUDGEQ_OK) fail_msg("%s: %s", text, error.message);
    return policy;
}

/* ---- by hand ----------------------------------------------------------------------------------------------------- */

enum { N_HEAD_KV = 2, N_ROW = 10 };

static const int32_t POSITIONS[N_ROW] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
static const float SCORES[N_HEAD_KV][N_ROW] = {
    {0.1f, 0.9f, 0.2f, 0.8f, 0.3f, 0.7f, 0.4f, 0.4f, 0.4f, 0.0f},
    {0.5f, 0.0f, 0.0f, 0.0f, 0.0f, 0.6f, 0.0f, 0.0f, 0.0f, 0.0f},
};

/* expected: a digit for each row, of every head */
static void assert_kept_as(const char *name, const select_rows *rows, int32_t budget, const char *const *expected) {
    judgeq_policy policy = read_policy(name);
    select_kept kept;
    assert_int_equal(select_kept_rows(&policy, rows, budget, N_ROW, 0, 0, &kept, NULL), JUDGEQ_OK);
    assert_int_equal(kept.n_head_kv, N_HEAD_KV);
    for (int head = 0; head < N_HEAD_KV; head++) {
        char text[N_ROW + 1] = "";
        for (int64_t k = 0; k < kept.n_row[head]; k++) text[k] = (char)('0' + kept.row[head][k]);
        if (strcmp(text, expected[head]) != 0) {
            fail_msg("%s, budget %d, head %d: kept %s, not %s", name, budget, head, text, expected[head]);
        }
    }
    select_kept_free(&kept);
    assert_null(kept.row);
}

static void the_kept_rows_are_those_worked_out_by_hand(void **state) {
    (void)state;
    static const struct {
        const char *policy;
        int32_t budget;
        const char *kept[N_HEAD_KV];
    } cases[] = {
        {"full", 1, {"0123456789", "0123456789"}},
        {"probe=last", 3, {"135", "015"}},     /* of equal scores the earlier: 1 in head 1 */
        {"probe=last", 5, {"13567", "01235"}}, /* 6 and 7 before 8 */
        {"probe=last", 10, {"0123456789", "0123456789"}},
        {"probe=last", 99, {"0123456789", "0123456789"}},
        {"probe=last,keep=recent:2", 3, {"189", "589"}},
        {"probe=last,keep=recent:2", 2, {"89", "89"}},
        {"probe=last,keep=sink:2+recent:1", 4, {"0139", "0159"}},
        {"probe=last,keep=recent:50%", 5, {"13589", "01589"}}, /* 2 recent rows */
        {"probe=last,keep=sink:2+recent:100%", 5, {"01789", "01789"}},
        {"streaming", 6, {"012389", "012389"}},
        {"snapkv,smooth=none", 10, {"0123456789", "0123456789"}}, /* a prompt shorter than what is always kept */
        {"probe=none", 3, {"789", "789"}},
        {"probe=none,keep=sink:1", 3, {"089", "089"}},
        {"probe=none,allocate=ada", 3, {"789", "789"}},
        {"probe=last,allocate=ada:0", 2, {"135", "5"}},         /* 0.9 0.8 0.7 0.6 of both heads */
        {"probe=last,allocate=ada:0", 4, {"135678", "05"}},     /* 0.4 three times, 0.5 in the other head */
        {"probe=last,allocate=ada:0.2", 5, {"12345678", "05"}}, /* one each; then the best: 0.5, 0.4 x 3, 0.3, 0.2 */
        {"probe=last,allocate=ada:1", 3, {"135", "015"}},       /* floor 1 is uniform */
        {"probe=last,allocate=ada:0.5", 4, {"135678", "05"}},   /* two each are among the best anyway */
        {"probe=last,allocate=ada:0,keep=recent:2", 3, {"1389", "89"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const select_rows rows = {N_HEAD_KV,
                                  (const int64_t[]){N_ROW, N_ROW},
                                  (const int32_t *const[]){POSITIONS, POSITIONS},
                                  (const float *const[]){SCORES[0], SCORES[1]},
                                  0,
                                  0};
        assert_kept_as(cases[i].policy, &rows, cases[i].budget, cases[i].kept);
    }
}

/* A share of the budget for the turn's best rows, beside what is always kept. */
static void the_turn_has_its_share(void **state) {
    (void)state;
    static const struct {
        const char *policy;
        int32_t budget, from, to;
        const char *kept[N_HEAD_KV];
    } cases[] = {
        {"probe=last,keep=turn:50%", 4, 0, 0, {"1356", "0125"}}, /* no turn */
        {"probe=last,keep=turn:50%", 4, 6, 8, {"1367", "0567"}},
        {"probe=last,keep=turn:50%", 4, 5, 10, {"1356", "0156"}}, /* its best two, and no more for certain */
        {"probe=last,keep=turn:49%", 4, 6, 8, {"1356", "0156"}},  /* 1.96 rows: one */
        {"probe=last,keep=turn:100%", 3, 5, 8, {"567", "567"}},
        {"probe=last,keep=turn:100%", 3, 8, 20, {"189", "589"}},                  /* shorter than its share */
        {"probe=last,keep=recent:2+turn:50%", 4, 6, 9, {"1689", "5689"}},         /* 8 is one of the two */
        {"probe=last,keep=sink:2+recent:1+turn:100%", 4, 4, 7, {"0159", "0159"}}, /* one row is left to it */
        {"probe=last,keep=sink:2+recent:2+turn:100%", 4, 4, 7, {"0189", "0189"}},
        {"probe=last,allocate=ada:0,keep=turn:50%", 4, 6, 8, {"13567", "567"}},
        {"probe=none,keep=turn:50%", 4, 2, 6, {"4589", "4589"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        select_rows rows = {N_HEAD_KV,
                            (const int64_t[]){N_ROW, N_ROW},
                            (const int32_t *const[]){POSITIONS, POSITIONS},
                            (const float *const[]){SCORES[0], SCORES[1]},
                            cases[i].from,
                            cases[i].to};
        assert_kept_as(cases[i].policy, &rows, cases[i].budget, cases[i].kept);
    }
}

/* ---- against a slow selection ------------------------------------------------------------------------------------ */

enum { MAX_HEADS = 4, MAX_ROWS = 60 };

typedef struct layer_case {
    int32_t n_head_kv, n_position;
    int64_t n_row[MAX_HEADS];
    int32_t position[MAX_HEADS][MAX_ROWS];
    float score[MAX_HEADS][MAX_ROWS];
    bool kept[MAX_HEADS][MAX_ROWS];
} layer_case;

static uint32_t next_random(uint32_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state >> 8;
}

/* Ragged rows at positions with gaps, scores with many ties. */
static void layer_case_make(layer_case *layer, uint32_t *random) {
    memset(layer, 0, sizeof *layer);
    layer->n_head_kv = 1 + (int32_t)(next_random(random) % MAX_HEADS);
    for (int32_t head = 0; head < layer->n_head_kv; head++) {
        layer->n_row[head] = next_random(random) % (MAX_ROWS + 1);
        int32_t position = -1;
        for (int64_t i = 0; i < layer->n_row[head]; i++) {
            position += 1 + (int32_t)(next_random(random) % 3);
            layer->position[head][i] = position;
            layer->score[head][i] = (float)(next_random(random) % 12) / 12;
            if (position >= layer->n_position) layer->n_position = position + 1;
        }
    }
}

static int64_t kept_by(const layer_case *layer, int32_t head) {
    int64_t n = 0;
    for (int64_t i = 0; i < layer->n_row[head]; i++) n += layer->kept[head][i];
    return n;
}

/* Keeps the best row that is left in heads first..last; false where there is none. */
static bool keep_best(layer_case *layer, int32_t first, int32_t last, bool by_position) {
    int32_t best_head = -1;
    int64_t best = 0;
    for (int32_t head = first; head <= last; head++) {
        for (int64_t i = 0; i < layer->n_row[head]; i++) {
            if (layer->kept[head][i]) continue;
            bool better = best_head < 0;
            if (!better) {
                float score = layer->score[head][i], best_score = layer->score[best_head][best];
                int32_t position = layer->position[head][i], best_position = layer->position[best_head][best];
                if (by_position)
                    better = position > best_position;
                else
                    better = score > best_score || (score == best_score && position < best_position);
            }
            if (better) {
                best_head = head;
                best = i;
            }
        }
    }
    if (best_head >= 0) layer->kept[best_head][best] = true;
    return best_head >= 0;
}

static void keep_slowly(layer_case *layer, int32_t sink, int32_t recent, bool by_position, bool ada, int32_t budget,
                        int64_t floor_rows) {
    int64_t total = (int64_t)layer->n_head_kv * budget, kept = 0;
    for (int32_t head = 0; head < layer->n_head_kv; head++) {
        for (int64_t i = 0; i < layer->n_row[head]; i++) {
            int32_t position = layer->position[head][i];
            layer->kept[head][i] = position < sink || position >= layer->n_position - recent;
        }
        int64_t target = ada ? floor_rows : budget;
        while (kept_by(layer, head) < target && keep_best(layer, head, head, by_position)) {
        }
        kept += kept_by(layer, head);
    }
    while (ada && kept < total && keep_best(layer, 0, layer->n_head_kv - 1, by_position)) kept++;
}

static void assert_kept(const layer_case *layer, const select_kept *kept, const char *policy, int32_t budget) {
    for (int32_t head = 0; head < layer->n_head_kv; head++) {
        assert_int_equal(kept->n_row[head], kept_by(layer, head));
        int64_t k = 0;
        for (int64_t i = 0; i < layer->n_row[head]; i++) {
            if (!layer->kept[head][i]) continue;
            if (kept->row[head][k] != i) fail_msg("%s, budget %d, head %d: row %d", policy, budget, head, (int)i);
            k++;
        }
    }
}

static void selection_is_that_of_picking_row_by_row(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int32_t sink, recent; /* recent < 0: the budget's half; sink and recent are cut by no budget used here */
        bool by_position, ada;
        double floor;
    } policies[] = {
        {"probe=last", 0, 0, false, false, 0},
        {"probe=last,keep=sink:2+recent:5", 2, 5, false, false, 0},
        {"h2o", 0, -1, false, false, 0},
        {"probe=none,keep=sink:3", 3, 0, true, false, 0},
        {"probe=soft,allocate=ada:0", 0, 0, false, true, 0},
        {"probe=soft,allocate=ada:0.2,keep=recent:4", 0, 4, false, true, 0.2},
        {"probe=soft,allocate=ada:0.7,keep=sink:1+recent:2", 1, 2, false, true, 0.7},
        {"probe=none,allocate=ada:0.3", 0, 0, true, true, 0.3},
    };
    uint32_t random = 3;
    static layer_case layer;
    for (int round = 0; round < 4000; round++) {
        layer_case_make(&layer, &random);
        size_t p = (size_t)round % (sizeof policies / sizeof policies[0]);
        judgeq_policy policy = read_policy(policies[p].text);
        int32_t budget = 7 + (int32_t)(next_random(&random) % MAX_ROWS);
        int32_t recent = policies[p].recent < 0 ? budget / 2 : policies[p].recent;
        int64_t floor_rows = (int64_t)ceil(policies[p].floor * budget - 1e-9);
        keep_slowly(&layer, policies[p].sink, recent, policies[p].by_position, policies[p].ada, budget, floor_rows);
        const int32_t *position[MAX_HEADS];
        const float *score[MAX_HEADS];
        for (int head = 0; head < MAX_HEADS; head++) {
            position[head] = layer.position[head];
            score[head] = layer.score[head];
        }
        const select_rows rows = {layer.n_head_kv, layer.n_row, position, policies[p].by_position ? NULL : score, 0, 0};
        select_kept kept;
        assert_int_equal(select_kept_rows(&policy, &rows, budget, layer.n_position, 1, 0, &kept, NULL), JUDGEQ_OK);
        assert_kept(&layer, &kept, policies[p].text, budget);
        select_kept_free(&kept);
    }
}

/* ---- random ------------------------------------------------------------------------------------------------------ */

static void random_rows_depend_on_seed_layer_and_head_alone(void **state) {
    (void)state;
    enum { ROWS = 1000, BUDGET = 100 };
    static int32_t position[ROWS];
    for (int32_t i = 0; i < ROWS; i++) position[i] = i;
    const select_rows rows = {2, (const int64_t[]){ROWS, ROWS}, (const int32_t *const[]){position, position}, NULL, 0,
                              0};
    judgeq_policy policy = read_policy("random");
    static const struct {
        uint64_t seed;
        int32_t layer;
    } cases[] = {{1, 0}, {1, 0}, {2, 0}, {1, 1}};
    select_kept kept[4];
    for (int i = 0; i < 4; i++) {
        assert_int_equal(select_kept_rows(&policy, &rows, BUDGET, ROWS, cases[i].seed, cases[i].layer, &kept[i], NULL),
                         JUDGEQ_OK);
        assert_int_equal(kept[i].n_row[0], BUDGET);
        assert_int_equal(kept[i].n_row[1], BUDGET);
    }
    size_t size = BUDGET * sizeof(int32_t);
    assert_memory_equal(kept[0].row[0], kept[1].row[0], size);
    assert_memory_not_equal(kept[0].row[0], kept[0].row[1], size);
    assert_memory_not_equal(kept[0].row[0], kept[2].row[0], size);
    assert_memory_not_equal(kept[0].row[0], kept[3].row[0], size);
    int first_half = 0; /* 50 expected, standard deviation 4.7 */
    for (int i = 0; i < BUDGET; i++) first_half += kept[0].row[0][i] < ROWS / 2;
    assert_in_range(first_half, 31, 69);
    for (int i = 0; i < 4; i++) select_kept_free(&kept[i]);
}

/* ---- bad input --------------------------------------------------------------------------------------------------- */

static void selections_that_make_no_sense_are_refused(void **state) {
    (void)state;
    const select_rows no_scores = {1, (const int64_t[]){N_ROW}, (const int32_t *const[]){POSITIONS}, NULL, 0, 0};
    const select_rows no_heads = {0, NULL, NULL, NULL, 0, 0};
    static const struct {
        const char *policy;
        int32_t budget;
        bool heads;
        const char *message;
    } cases[] = {
        {"snapkv", 64, true, "needs scores"},
        {"streaming", 0, true, "budget 0"},
        {"streaming", 8, false, "without KV heads"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        judgeq_policy policy = read_policy(cases[i].policy);
        judgeq_error error = {0, ""};
        select_kept kept;
        assert_int_equal(select_kept_rows(&policy, cases[i].heads ? &no_scores : &no_heads, cases[i].budget, N_ROW, 0,
                                          0, &kept, &error),
                         JUDGEQ_ERROR_ARGUMENT);
        assert_non_null(strstr(error.message, cases[i].message));
        assert_null(kept.row);
        select_kept_free(&kept);
    }
}

static void scores_that_are_not_numbers_are_the_worst(void **state) {
    (void)state;
    static const float score[5] = {NAN, 0, NAN, INFINITY, -1};
    const select_rows rows = {
        1, (const int64_t[]){5}, (const int32_t *const[]){POSITIONS}, (const float *const[]){score}, 0, 0};
    judgeq_policy policy = read_policy("probe=last");
    static const int32_t expected[] = {0, 1, 3, 4};
    select_kept kept;
    assert_int_equal(select_kept_rows(&policy, &rows, 4, 5, 0, 0, &kept, NULL), JUDGEQ_OK);
    assert_int_equal(kept.n_row[0], 4);
    assert_memory_equal(kept.row[0], expected, sizeof expected);
    select_kept_free(&kept);
}

static void a_layer_without_rows_keeps_none(void **state) {
    (void)state;
    const select_rows rows = {
        2, (const int64_t[]){0, 0}, (const int32_t *const[]){NULL, NULL}, (const float *const[]){NULL, NULL}, 0, 0};
    static const char *const policies[] = {"full", "judge", "streaming", "random"};
    for (size_t i = 0; i < sizeof policies / sizeof policies[0]; i++) {
        judgeq_policy policy = read_policy(policies[i]);
        select_kept kept;
        assert_int_equal(select_kept_rows(&policy, &rows, 16, 0, 0, 0, &kept, NULL), JUDGEQ_OK);
        assert_int_equal(kept.n_row[0], 0);
        assert_int_equal(kept.n_row[1], 0);
        select_kept_free(&kept);
    }
}

/* ---- budgets ----------------------------------------------------------------------------------------------------- */

static void layer_budgets_are_those_worked_out_by_hand(void **state) {
    (void)state;
    static const struct {
        const char *policy;
        int32_t n_layer, budget;
        int64_t n_prompt;
        int32_t budgets[5];
    } cases[] = {
        {"snapkv", 3, 64, 1000, {64, 64, 64}},
        {"adakv", 3, 64, 40, {64, 64, 64}},
        {"probe=last,allocate=pyramid:4,keep=recent:8", 4, 20, 1000, {29, 23, 17, 11}}, /* 12 -> 21, 15, 9, 3 */
        {"probe=last,allocate=pyramid:4,keep=recent:8", 4, 20, 25, {25, 22, 18, 15}},   /* 17, 13 2/3, 10 1/3, 7 */
        {"probe=last,allocate=pyramid:4,keep=recent:8", 4, 20, 20, {20, 20, 20, 20}},
        {"probe=last,allocate=pyramid:4,keep=recent:8", 4, 20, 12, {12, 12, 12, 12}},
        {"probe=last,allocate=pyramid:4,keep=recent:8", 1, 20, 1000, {20}},
        {"probe=last,allocate=pyramid:1", 3, 10, 1000, {10, 10, 10}},
        {"probe=last,allocate=pyramid:1.5", 2, 9, 1000, {12, 6}},
        {"probe=last,allocate=pyramid:20",
         5,
         10,
         1000,
         {20, 14, 10, 5, 1}}, /* 19, 14.5, 10, 5.5, 1: no layer gets none */
        {"probe=last,allocate=pyramid:2,keep=recent:50%", 3, 8, 1000, {10, 8, 6}},
        {"pyramidkv", 5, 32, 1000, {32, 32, 32, 32, 32}}, /* nothing beyond keep to share out */
        {"pyramidkv", 5, 3, 1000, {3, 3, 3, 3, 3}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        judgeq_policy policy = read_policy(cases[i].policy);
        int32_t budgets[5] = {0};
        select_layer_budgets(&policy, NULL, cases[i].n_layer, cases[i].budget, cases[i].n_prompt, budgets);
        for (int layer = 0; layer < 5; layer++) {
            if (budgets[layer] != cases[i].budgets[layer]) {
                fail_msg("%s over %d layers, budget %d: layer %d gets %d, not %d", cases[i].policy, cases[i].n_layer,
                         cases[i].budget, layer, budgets[layer], cases[i].budgets[layer]);
            }
        }
    }
}

/* By hand: floor * budget and the rest by shares, in whole rows, what is left to the first layers. */
static void layers_share_as_the_judge_says(void **state) {
    (void)state;
    static const struct {
        const char *policy;
        float share[4];
        int32_t budget, n_prompt, budgets[4];
    } cases[] = {
        {"judge", {1, 1, 1, 1}, 10, 1000, {10, 10, 10, 10}},
        {"judge,allocate=judge:0", {2, 0.5F, 0.5F, 1}, 10, 1000, {20, 5, 5, 10}},
        {"judge,allocate=judge:0.2", {2, 0.5F, 0.5F, 1}, 10, 1000, {18, 6, 6, 10}},
        {"judge,allocate=judge:0.5", {2, 0.5F, 0.5F, 1}, 11, 1000, {17, 8, 8, 11}}, /* 16.5, 8.25, 8.25, 11 */
        {"judge,allocate=judge:0", {4, 0, 0, 0}, 10, 1000, {37, 1, 1, 1}},          /* none without a row */
        {"judge,allocate=judge:0", {4, 0, 0, 0}, 10, 12, {12, 10, 9, 9}},           /* nor more than there are */
        {"judge,allocate=judge:0", {4, 0, 0, 0}, 10, 10, {10, 10, 10, 10}},         /* room for all */
        {"judge,allocate=judge:1", {4, 0, 0, 0}, 10, 1000, {10, 10, 10, 10}},
        {"judge,allocate=ada", {4, 0, 0, 0}, 10, 1000, {10, 10, 10, 10}},
        {"judge", {4, 0, 0, 0}, 1, 1000, {1, 1, 1, 1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        judgeq_policy policy = read_policy(cases[i].policy);
        int32_t budgets[4];
        select_layer_budgets(&policy, cases[i].share, 4, cases[i].budget, cases[i].n_prompt, budgets);
        for (int layer = 0; layer < 4; layer++) {
            if (budgets[layer] == cases[i].budgets[layer]) continue;
            fail_msg("case %zu: layer %d gets %d, not %d", i, layer, budgets[layer], cases[i].budgets[layer]);
        }
    }
}

static void a_pyramid_uses_the_whole_budget_and_no_more(void **state) {
    (void)state;
    judgeq_policy policy = read_policy("pyramidkv");
    for (int32_t n_layer = 2; n_layer <= 80; n_layer += 13) {
        for (int32_t budget = 32; budget < 700; budget += 17) {
            for (int64_t n_prompt = budget + 1; n_prompt < 3000; n_prompt += 97) {
                int32_t budgets[80];
                select_layer_budgets(&policy, NULL, n_layer, budget, n_prompt, budgets);
                int64_t sum = 0;
                for (int32_t layer = 0; layer < n_layer; layer++) {
                    sum += budgets[layer];
                    assert_true(budgets[layer] >= 32 && budgets[layer] <= n_prompt);
                    assert_true(layer == 0 || budgets[layer] <= budgets[layer - 1]);
                }
                assert_int_equal(sum, (int64_t)n_layer * budget);
            }
        }
    }
}

/* What is always kept is all that fits. */
static void a_small_budget_cuts_what_is_always_kept(void **state) {
    (void)state;
    static const struct {
        const char *policy;
        int32_t budget, n;
        int32_t row[4];
    } cases[] = {
        {"snapkv", 2, 2, {N_ROW - 2, N_ROW - 1}}, {"snapkv", 1, 1, {N_ROW - 1}},
        {"judge", 2, 2, {N_ROW - 2, N_ROW - 1}},  {"pyramidkv", 2, 2, {N_ROW - 2, N_ROW - 1}},
        {"streaming", 3, 3, {0, 1, 2}},           {"snapkv,keep=sink:2+recent:9", 4, 4, {0, 1, N_ROW - 2, N_ROW - 1}},
    };
    const float score[N_ROW] = {0};
    const select_rows rows = {
        1, (const int64_t[]){N_ROW}, (const int32_t *const[]){POSITIONS}, (const float *const[]){score}, 0, 0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        judgeq_policy policy = read_policy(cases[i].policy);
        select_kept kept;
        assert_int_equal(select_kept_rows(&policy, &rows, cases[i].budget, N_ROW, 0, 0, &kept, NULL), JUDGEQ_OK);
        assert_int_equal(kept.n_row[0], cases[i].n);
        assert_memory_equal(kept.row[0], cases[i].row, (size_t)cases[i].n * sizeof(int32_t));
        select_kept_free(&kept);
    }
}

TESTS_MAIN(NULL, NULL, cmocka_unit_test(the_kept_rows_are_those_worked_out_by_hand),
           cmocka_unit_test(the_turn_has_its_share), cmocka_unit_test(selection_is_that_of_picking_row_by_row),
           cmocka_unit_test(random_rows_depend_on_seed_layer_and_head_alone),
           cmocka_unit_test(selections_that_make_no_sense_are_refused),
           cmocka_unit_test(scores_that_are_not_numbers_are_the_worst),
           cmocka_unit_test(a_layer_without_rows_keeps_none),
           cmocka_unit_test(layer_budgets_are_those_worked_out_by_hand),
           cmocka_unit_test(layers_share_as_the_judge_says),
           cmocka_unit_test(a_pyramid_uses_the_whole_budget_and_no_more),
           cmocka_unit_test(a_small_budget_cuts_what_is_always_kept))
