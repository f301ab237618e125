/* test_score: reduction, smoothing and the measures, against values worked out by hand and against a slow, direct
 * computation in this file. */
#include "policy/rank.h"
#include "policy/score.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

static void assert_near(double a, double b, double tolerance) {
    if (!(fabs(a - b) <= tolerance)) fail_msg("%.9g is not %.9g", a, b);
}

/* Reproducible numbers in 0..1 (xorshift). */
static float next_number(uint32_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return (float)(*state >> 8) / (1 << 24);
}

/* ---- reduction --------------------------------------------------------------------------------------------------- */

/* Two KV heads of two query heads each, two probe rows, three prompt rows; the fourth column is the probe's own. */
static const float ATTENTION[4][2][4] = {
    {{0.1f, 0.2f, 0.3f, 0.4f}, {0.3f, 0.0f, 0.1f, 0.6f}},
    {{0.5f, 0.1f, 0.1f, 0.3f}, {0.1f, 0.1f, 0.7f, 0.1f}},
    {{0.0f, 0.0f, 1.0f, 0.0f}, {0.0f, 1.0f, 0.0f, 0.0f}},
    {{0.2f, 0.2f, 0.2f, 0.4f}, {0.4f, 0.2f, 0.0f, 0.4f}},
};

static void reductions_are_those_worked_out_by_hand(void **state) {
    (void)state;
    static const struct {
        policy_reduce rows, heads;
        float score[2][3];
    } cases[] = {
        {POLICY_MEAN, POLICY_MEAN, {{0.25f, 0.1f, 0.3f}, {0.15f, 0.35f, 0.3f}}},
        {POLICY_MAX, POLICY_MAX, {{0.5f, 0.2f, 0.7f}, {0.4f, 1.0f, 1.0f}}},
        {POLICY_MEAN, POLICY_MAX, {{0.3f, 0.1f, 0.4f}, {0.3f, 0.5f, 0.5f}}},
        {POLICY_MAX, POLICY_MEAN, {{0.4f, 0.15f, 0.5f}, {0.2f, 0.6f, 0.6f}}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        score_map map;
        float score[2][3];
        assert_int_equal(score_map_init(&map, 4, 2, 3, cases[i].rows, NULL), JUDGEQ_OK);
        score_map_add(&map, &ATTENTION[0][0][0], 2, 4, 8, 0, 3);
        score_map_counts(&map, 2);
        score_heads(&map, cases[i].heads, score[0]);
        for (int head = 0; head < 2; head++) {
            for (int row = 0; row < 3; row++) assert_near(score[head][row], cases[i].score[head][row], 1e-6);
        }
        score_map_free(&map);
    }
}

enum { N_HEAD = 6, N_HEAD_KV = 2, N_PROBE = 23, N_ROW = 9001 }; /* more rows than one block of score_map_add */

/* The score of one KV head and row, straight from the attention [N_HEAD, N_PROBE, N_ROW]. */
static double direct_score(const float *attention, policy_reduce rows, policy_reduce heads, int head_kv, int64_t row) {
    int group = N_HEAD / N_HEAD_KV;
    double over_heads = 0;
    for (int head = head_kv * group; head < (head_kv + 1) * group; head++) {
        double over_rows = 0;
        for (int probe = 0; probe < N_PROBE; probe++) {
            double value = attention[((int64_t)head * N_PROBE + probe) * N_ROW + row];
            over_rows = rows == POLICY_MAX ? fmax(over_rows, value) : over_rows + value / N_PROBE;
        }
        over_heads = heads == POLICY_MAX ? fmax(over_heads, over_rows) : over_heads + over_rows / group;
    }
    return over_heads;
}

static float *random_attention(void) {
    float *attention = malloc(sizeof(float) * N_HEAD * N_PROBE * N_ROW);
    assert_non_null(attention);
    uint32_t random = 7;
    for (int64_t i = 0; i < (int64_t)N_HEAD * N_PROBE * N_ROW; i++) attention[i] = next_number(&random);
    return attention;
}

/* Columns [0, 3), [10, 200) and [9000, 9001) of every probe, added up: its attention to 10..199 is divided by that. */
static void some_columns_share_the_attention(void **state) {
    (void)state;
    enum { FIRST = 10, END = 200, OWN = N_ROW - 1 };
    const score_among among = {.before = 3, .first = FIRST, .end = END, .own = OWN, .stop = N_ROW};
    float *attention = random_attention();
    score_map map;
    assert_int_equal(score_map_init(&map, N_HEAD, N_HEAD_KV, N_ROW, POLICY_MAX, NULL), JUDGEQ_OK);
    score_map_add_among(&map, attention, N_PROBE, N_ROW, (int64_t)N_PROBE * N_ROW, among);
    for (int64_t head = 0; head < N_HEAD; head++) {
        double most[N_ROW] = {0};
        for (int64_t probe = 0; probe < N_PROBE; probe++) {
            const float *row = attention + (head * N_PROBE + probe) * N_ROW;
            double sum = 0;
            for (int64_t i = 0; i < N_ROW; i++) {
                if (i < 3 || (i >= FIRST && i < END) || i >= OWN) sum += (double)row[i];
            }
            for (int64_t i = FIRST; i < END; i++) most[i] = fmax(most[i], (double)row[i] / sum);
        }
        for (int64_t i = 0; i < N_ROW; i++) assert_near(map.value[head * N_ROW + i], most[i], 1e-6);
    }
    score_map_free(&map);
    free(attention);
}

static void pieces_give_what_the_whole_gives(void **state) {
    (void)state;
    float *attention = random_attention();
    float *whole = malloc(sizeof(float) * N_HEAD_KV * N_ROW), *pieces = malloc(sizeof(float) * N_HEAD_KV * N_ROW);
    assert_true(whole && pieces);
    for (int kind = 0; kind < 4; kind++) {
        policy_reduce rows = kind & 1 ? POLICY_MAX : POLICY_MEAN, heads = kind & 2 ? POLICY_MAX : POLICY_MEAN;
        score_map map;
        assert_int_equal(score_map_init(&map, N_HEAD, N_HEAD_KV, N_ROW, rows, NULL), JUDGEQ_OK);
        score_map_add(&map, attention, N_PROBE, N_ROW, (int64_t)N_PROBE * N_ROW, 0, N_ROW);
        score_map_counts(&map, N_PROBE);
        score_heads(&map, heads, whole);
        score_map_free(&map);
        for (int64_t row = 0; row < N_ROW; row += 71) {
            for (int head = 0; head < N_HEAD_KV; head++) {
                assert_near(whole[(int64_t)head * N_ROW + row], direct_score(attention, rows, heads, head, row), 1e-6);
            }
        }
        /* probe rows 0..9 in three pieces of columns, then the rest at once */
        assert_int_equal(score_map_init(&map, N_HEAD, N_HEAD_KV, N_ROW, rows, NULL), JUDGEQ_OK);
        static const int64_t cuts[] = {0, 5, 4500, N_ROW};
        for (int cut = 0; cut < 3; cut++) {
            score_map_add(&map, attention + cuts[cut], 10, N_ROW, (int64_t)N_PROBE * N_ROW, cuts[cut],
                          cuts[cut + 1] - cuts[cut]);
        }
        score_map_counts(&map, 10);
        score_map_add(&map, attention + INT64_C(10) * N_ROW, N_PROBE - 10, N_ROW, (int64_t)N_PROBE * N_ROW, 0, N_ROW);
        score_map_counts(&map, N_PROBE - 10);
        score_heads(&map, heads, pieces);
        score_map_free(&map);
        assert_memory_equal(whole, pieces, sizeof(float) * N_HEAD_KV * N_ROW);
    }
    free(attention);
    free(whole);
    free(pieces);
}

static void maps_that_make_no_sense_are_refused(void **state) {
    (void)state;
    static const struct {
        int32_t n_head, n_head_kv;
        int64_t n_row;
        judgeq_status status;
    } cases[] = {{4, 3, 8, JUDGEQ_ERROR_ARGUMENT},
                 {0, 1, 8, JUDGEQ_ERROR_ARGUMENT},
                 {4, 0, 8, JUDGEQ_ERROR_ARGUMENT},
                 {4, 2, 0, JUDGEQ_ERROR_ARGUMENT},
                 {4, 2, INT64_MAX, JUDGEQ_ERROR_MEMORY}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        score_map map;
        judgeq_error error = {0, ""};
        assert_int_equal(score_map_init(&map, cases[i].n_head, cases[i].n_head_kv, cases[i].n_row, POLICY_MEAN, &error),
                         cases[i].status);
        assert_true(strlen(error.message) > 0);
        assert_null(map.value);
        score_map_free(&map);
    }
}

/* ---- smoothing --------------------------------------------------------------------------------------------------- */

static void smoothing_is_that_worked_out_by_hand(void **state) {
    (void)state;
    static const float in[] = {1, 2, 3, 4};
    static const struct {
        policy_smooth smooth;
        int32_t width;
        float out[4];
    } cases[] = {
        {POLICY_SMOOTH_NONE, 1, {1, 2, 3, 4}},
        {POLICY_SMOOTH_MAX, 3, {2, 3, 4, 4}},
        {POLICY_SMOOTH_AVG, 3, {1, 2, 3, 7.0f / 3}}, /* (0+1+2)/3: zeros outside count */
        {POLICY_SMOOTH_AVG, 5, {1.2f, 2, 2, 1.8f}},  /* (0+0+1+2+3)/5 */
        {POLICY_SMOOTH_MAX, 63, {4, 4, 4, 4}},       /* wider than the row */
        {POLICY_SMOOTH_AVG, 9, {10 / 9.0f, 10 / 9.0f, 10 / 9.0f, 10 / 9.0f}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        float out[4];
        score_smooth(cases[i].smooth, cases[i].width, in, 4, out);
        for (int k = 0; k < 4; k++) assert_near(out[k], cases[i].out[k], 1e-6);
    }
}

static double direct_smooth(policy_smooth smooth, int32_t width, const float *in, int64_t n, int64_t at) {
    double largest = -INFINITY, sum = 0;
    for (int64_t i = at - width / 2; i <= at + width / 2; i++) {
        if (i < 0 || i >= n) continue;
        largest = fmax(largest, in[i]);
        sum += in[i];
    }
    return smooth == POLICY_SMOOTH_MAX ? largest : sum / width;
}

static void every_width_and_length_smooths_as_the_definition_says(void **state) {
    (void)state;
    enum { LONGEST = 200 };
    float in[LONGEST], out[LONGEST], in_place[LONGEST];
    uint32_t random = 11;
    for (int i = 0; i < LONGEST; i++) in[i] = next_number(&random) - 0.5f;
    for (int32_t width = 1; width <= POLICY_SMOOTH_WIDTH_MAX; width += 2) {
        for (int64_t n = 1; n <= LONGEST; n += n < 70 ? 1 : 13) {
            for (policy_smooth smooth = POLICY_SMOOTH_MAX; smooth <= POLICY_SMOOTH_AVG; smooth++) {
                score_smooth(smooth, width, in, n, out);
                for (int64_t i = 0; i < n; i++) assert_near(out[i], direct_smooth(smooth, width, in, n, i), 1e-6);
                memcpy(in_place, in, sizeof in);
                score_smooth(smooth, width, in_place, n, in_place);
                assert_memory_equal(in_place, out, sizeof(float) * (size_t)n);
            }
        }
    }
}

/* Rows with gaps of every length between them, far out in a sequence, get exactly what a line of all positions gives
 * them, and never write beyond the size that is asked for. */
static void rows_smooth_as_all_positions_would(void **state) {
    (void)state;
    enum { ROWS = 60, POSITIONS = 12000 };
    static float whole[POSITIONS];
    int32_t position[ROWS];
    float score[ROWS];
    uint32_t random = 5;
    for (int32_t width = 3; width <= POLICY_SMOOTH_WIDTH_MAX; width += 4) {
        for (policy_smooth smooth = POLICY_SMOOTH_MAX; smooth <= POLICY_SMOOTH_AVG; smooth++) {
            memset(whole, 0, sizeof whole);
            int32_t at = (int32_t)(next_number(&random) * 1000);
            for (int i = 0; i < ROWS; i++) {
                position[i] = at;
                score[i] = whole[at] = next_number(&random);
                at += 1 + (i % 3 > 0 ? 0 : (int32_t)(next_number(&random) * 4 * (float)width));
            }
            const size_t size = score_line_size(width, ROWS, POSITIONS);
            float *line = malloc((size + 1) * sizeof *line);
            assert_non_null(line);
            line[size] = 7;
            score_smooth_rows(smooth, width, position, ROWS, score, line);
            score_smooth(smooth, width, whole, POSITIONS, whole);
            for (int i = 0; i < ROWS; i++) assert_memory_equal(&score[i], &whole[position[i]], sizeof *score);
            assert_true(line[size] == 7);
            free(line);
        }
    }
    /* the size follows the rows, not the sequence */
    assert_int_equal(score_line_size(7, 100, 1000000), 1400);
    assert_int_equal(score_line_size(7, 100, 120), 120);
}

/* ---- measures ---------------------------------------------------------------------------------------------------- */

static void hit_rates_are_those_worked_out_by_hand(void **state) {
    (void)state;
    static const float target[] = {0.9f, 0.1f, 0.8f, 0.2f, 0.7f};
    static const float method[] = {0.5f, 0.4f, 0.1f, 0.3f, 0.6f};
    static const float flat[] = {0, 0, 0, 0, 0};
    assert_near(score_hit_rate(method, target, 5, 1), 0, 0);           /* {4} of {0} */
    assert_near(score_hit_rate(method, target, 5, 2), 0.5, 0);         /* {4, 0} of {0, 2} */
    assert_near(score_hit_rate(method, target, 5, 3), 2.0 / 3, 1e-12); /* {4, 0, 1} of {0, 2, 4} */
    assert_near(score_hit_rate(method, target, 5, 5), 1, 0);
    assert_near(score_hit_rate(method, target, 5, 9), 1, 0); /* no more than there are */
    assert_near(score_hit_rate(target, target, 5, 2), 1, 0);
    assert_near(score_hit_rate(flat, target, 5, 2), 0.5, 0); /* of equal scores the earlier: {0, 1} of {0, 2} */
    assert_true(isnan(score_hit_rate(method, target, 0, 2)));
    assert_true(isnan(score_hit_rate(method, target, 5, 0)));
}

static void mass_kept_is_a_share_of_the_prompts(void **state) {
    (void)state;
    static const float target[] = {0.25f, 0, 0.125f, 0.125f}; /* the rest of the response's attention is its own */
    static const int32_t kept[] = {0, 3};
    static const float nothing[] = {0, 0};
    assert_near(score_mass_kept(target, 4, kept, 2), 0.75, 1e-12);
    assert_near(score_mass_kept(target, 4, kept, 0), 0, 0);
    assert_true(isnan(score_mass_kept(nothing, 2, kept, 1)));
}

/* ---- ranks ------------------------------------------------------------------------------------------------------- */

static void rank_keys_are_ordered_as_scores_and_then_positions(void **state) {
    (void)state;
    static const struct {
        float score;
        int32_t position;
    } worst_to_best[] = {{NAN, 0},    {-INFINITY, 0},    {-1, 0},   {-1e-40f, 0}, {-0.0f, 9}, {0, 8},       {-0.0f, 7},
                         {1e-40f, 0}, {0.5f, INT32_MAX}, {0.5f, 1}, {0.5f, 0},    {1, 5},     {INFINITY, 0}};
    uint64_t previous = 0;
    for (size_t i = 0; i < sizeof worst_to_best / sizeof worst_to_best[0]; i++) {
        uint64_t key = rank_key(worst_to_best[i].score, worst_to_best[i].position);
        assert_true(key > previous);
        previous = key;
    }
    assert_true(rank_key(-NAN, 3) == rank_key(NAN, 3));
}

static int descending(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

static void rank_take_takes_what_sorting_would(void **state) {
    (void)state;
    enum { N = 257 };
    uint64_t key[N], sorted[N], left[N];
    uint32_t random = 5;
    for (int round = 0; round < 300; round++) {
        int spread = round % 3; /* any scores; few different ones; small numbers, a third of them taken already */
        for (int i = 0; i < N; i++) {
            float number = next_number(&random);
            key[i] = spread == 0     ? rank_key(number, i)
                     : spread == 1   ? 1 + (uint64_t)(number * 4)
                     : number < 0.3f ? 0
                                     : (uint64_t)i + 1;
        }
        int64_t count = round % (N + 9), there = 0, taken = 0;
        for (int i = 0; i < N; i++) there += key[i] != 0;
        memcpy(sorted, key, sizeof key);
        qsort(sorted, N, sizeof *sorted, descending);
        memcpy(left, key, sizeof key);
        int64_t expected = count < there ? count : there;
        assert_int_equal(rank_take(left, N, count), expected);
        uint64_t worst_taken = expected ? sorted[expected - 1] : UINT64_MAX;
        bool equal_left = false; /* of equal keys, none is taken after one that was left */
        for (int i = 0; i < N; i++) {
            bool took = key[i] && !left[i];
            taken += took;
            assert_true(took ? key[i] >= worst_taken : key[i] <= worst_taken && left[i] == key[i]);
            if (key[i] != worst_taken) continue;
            assert_false(took && equal_left);
            equal_left |= !took;
        }
        assert_int_equal(taken, expected);
    }
    assert_int_equal(rank_take(key, 0, 4), 0);
    assert_int_equal(rank_take(key, N, -1), 0);
}

TESTS_MAIN(NULL, NULL, cmocka_unit_test(reductions_are_those_worked_out_by_hand),
           cmocka_unit_test(some_columns_share_the_attention), cmocka_unit_test(pieces_give_what_the_whole_gives),
           cmocka_unit_test(maps_that_make_no_sense_are_refused),
           cmocka_unit_test(smoothing_is_that_worked_out_by_hand),
           cmocka_unit_test(every_width_and_length_smooths_as_the_definition_says),
           cmocka_unit_test(rows_smooth_as_all_positions_would),
           cmocka_unit_test(hit_rates_are_those_worked_out_by_hand),
           cmocka_unit_test(mass_kept_is_a_share_of_the_prompts),
           cmocka_unit_test(rank_keys_are_ordered_as_scores_and_then_positions),
           cmocka_unit_test(rank_take_takes_what_sorting_would))
