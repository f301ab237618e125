/* What earlier choices count at the next one (G-KV, arXiv 2512.00504): the rows that stay are those of the formula,
 * computed here from the attention that the policy saw. */
#include "check.h"
#include "judgeq.h"
#include "session/export.h"
#include "tiny_session.h"

#include <stdlib.h>
#include <string.h>

enum { N_ALL = 400, N_SOFT = 4, BUDGET = 40, SLACK = 12, READ = 70, MOST_LAYERS = 8, MOST_HEADS = 8, MOST_ROWS = 160 };

static judgeq_model *model;
static judgeq_judge *judge;
static int32_t token[N_ALL];

/* What the last choice saw, what it chose from, and what was remembered before it. */
typedef struct observer {
    score_map map[MOST_LAYERS];
    bool seen;
    int32_t before[MOST_LAYERS][MOST_HEADS][MOST_ROWS];
    size_t n_before[MOST_LAYERS][MOST_HEADS];
    float past[MOST_LAYERS][MOST_HEADS][N_ALL]; /* by position */
    int n_moved;                                /* choices in which the memory changed a head's rows */
} observer;

static void on_scores(void *data, int32_t layer, const score_map *map) {
    observer *o = data;
    score_map *own = &o->map[layer];
    score_map_free(own);
    CHECK(score_map_init(own, map->n_head, map->n_head_kv, map->n_row, map->reduce_rows, error));
    memcpy(own->value, map->value, (size_t)map->n_head * (size_t)map->n_row * sizeof *map->value);
    own->n_probe = map->n_probe;
    o->seen = true;
}

static void note_rows(observer *o, const judgeq_session *session) {
    const judgeq_model_info *info = judgeq_model_get_info(model);
    for (int32_t l = 0; l < info->n_layer; l++) {
        for (int32_t h = 0; h < info->n_head_kv; h++) {
            const int32_t *position = judgeq_session_positions(session, l, h, &o->n_before[l][h]);
            assert_true(o->n_before[l][h] <= MOST_ROWS);
            memcpy(o->before[l][h], position, o->n_before[l][h] * sizeof *position);
        }
    }
}

/* The mean over probes, the maximum over the query heads. */
static void reduce(const score_map *map, int32_t head, size_t n, float *out) {
    const int32_t group = map->n_head / map->n_head_kv;
    for (size_t i = 0; i < n; i++) {
        out[i] = 0;
        for (int32_t q = head * group; q < (head + 1) * group; q++) {
            const float value = map->value[(size_t)q * (size_t)map->n_row + i] / (float)map->n_probe;
            if (value > out[i]) out[i] = value;
        }
    }
}

static bool is_among_best(const float *score, size_t n, size_t row) {
    size_t better = 0;
    for (size_t i = 0; i < n; i++) better += score[i] > score[row] || (score[i] == score[row] && i < row);
    return better < BUDGET;
}

/* A head's choice, and what is remembered of it. */
static void expect_rows(observer *o, const judgeq_session *session, int32_t l, int32_t h, float share) {
    float now[MOST_ROWS], score[MOST_ROWS], best = 0, best_now = 0;
    size_t kept = 0, n_after;
    const size_t n = o->n_before[l][h];
    const int32_t *after = judgeq_session_positions(session, l, h, &n_after), *before = o->before[l][h];
    float *past = o->past[l][h];
    bool moved = false;
    reduce(&o->map[l], h, n, now);
    for (size_t i = 0; i < n; i++) best_now = now[i] > best_now ? now[i] : best_now;
    for (size_t i = 0; i < n; i++) {
        const float least = share * best_now * past[before[i]];
        score[i] = now[i] > least ? now[i] : least;
        best = score[i] > best ? score[i] : best;
    }
    for (size_t i = 0; i < n; i++) {
        past[before[i]] = score[i] / best;
        const bool stays = is_among_best(score, n, i);
        moved = moved || stays != is_among_best(now, n, i);
        if (!stays) continue;
        if (kept >= n_after || after[kept] != before[i]) fail_msg("layer %d, head %d: position %d", l, h, before[i]);
        kept++;
    }
    assert_true(n_after - kept <= 1); /* the token that was decoded after the choice */
    o->n_moved += moved;
}

/* Decodes with this memory; the number of choices of a head that it changed. */
static int follow(const char *text, float share) {
    judgeq_session_params params = judgeq_session_default_params();
    params.judge = judge;
    params.budget = BUDGET;
    params.slack = SLACK;
    params.n_threads = 1;
    const judgeq_model_info *info = judgeq_model_get_info(model);
    assert_true(info->n_layer <= MOST_LAYERS && info->n_head_kv <= MOST_HEADS);
    observer *o = calloc(1, sizeof *o);
    assert_non_null(o);
    judgeq_session *session = tiny_session(model, text, params);
    session_on_scores(session, on_scores, o);
    for (int32_t l = 0; l < info->n_layer; l++) {
        for (int32_t h = 0; h < info->n_head_kv; h++) {
            o->n_before[l][h] = READ;
            for (int32_t i = 0; i < READ; i++) o->before[l][h][i] = i;
        }
    }
    int n_choices = 0;
    for (int i = READ - 1; i < N_ALL; i++) {
        o->seen = false;
        if (i < READ)
            CHECK(judgeq_session_prefill(session, token, READ, error));
        else
            CHECK(judgeq_session_decode(session, token[i], error));
        for (int32_t l = 0; o->seen && l < info->n_layer; l++) {
            for (int32_t h = 0; h < info->n_head_kv; h++) expect_rows(o, session, l, h, share);
        }
        n_choices += o->seen;
        note_rows(o, session);
    }
    assert_true(n_choices > 10);
    for (int32_t l = 0; l < info->n_layer; l++) score_map_free(&o->map[l]);
    const int n_moved = o->n_moved;
    judgeq_session_free(session);
    free(o);
    return n_moved;
}

/* Of every second choice only the first is seen: the next one is made with it. */
static void test_by_soft_tokens(void **state) {
    (void)state;
    assert_int_equal(follow("probe=soft,reduce=mean/max", 0), 0);
    assert_true(follow("probe=soft,reduce=mean/max,remember=0.8", 0.8f) > 10);
    assert_true(follow("probe=soft,reduce=mean/max,remember=1", 1) > 10);
}

/* The preset that a lookahead starts from chooses once; a session that has read nothing has nothing to forget. */
static void test_nothing_to_remember(void **state) {
    (void)state;
    judgeq_session_params params = judgeq_session_default_params();
    params.judge = judge;
    params.budget = BUDGET;
    params.n_threads = 1;
    static const char *const pairs[][2] = {{"probe=lookahead:4@judge-later", "probe=lookahead:4@judge"},
                                           {"probe=lookahead:4@judge-later:2x", "probe=lookahead:4@judge:2x"}};
    for (int i = 0; i < 2; i++) {
        judgeq_session *session[2]; /* the judge says nothing of its own */
        for (int k = 0; k < 2; k++) {
            session[k] = tiny_session(model, pairs[i][k], params);
            CHECK(judgeq_session_prefill(session[k], token, READ, error));
        }
        tiny_same_rows(model, session[0], session[1], pairs[i][0]);
        for (int k = 0; k < 2; k++) judgeq_session_free(session[k]);
    }
    static const char *const summing[] = {"judge-later", "h2o", "kvzip"};
    for (int i = 0; i < 3; i++) {
        judgeq_session *session = tiny_session(model, summing[i], params);
        CHECK(judgeq_session_cut(session, 0, error));
        judgeq_session_free(session);
    }
}

/* A choice without queries, which a trimmed session has given back, keeps what was remembered. */
static void test_without_queries(void **state) {
    (void)state;
    judgeq_session_params params = judgeq_session_default_params();
    params.budget = BUDGET;
    params.slack = 8;
    params.n_threads = 1;
    judgeq_session *session = tiny_session(model, "probe=window:8,remember=1", params);
    CHECK(judgeq_session_prefill(session, token, READ, error));
    size_t n;
    const int32_t *position = judgeq_session_positions(session, 0, 0, &n);
    int32_t before[BUDGET];
    assert_int_equal(n, BUDGET);
    memcpy(before, position, sizeof before);
    for (int i = 0; i < 8; i++) CHECK(judgeq_session_decode(session, token[i], error));
    CHECK(judgeq_session_trim(session, error));
    CHECK(judgeq_session_decode(session, token[8], error));
    position = judgeq_session_positions(session, 0, 0, &n);
    assert_int_equal(n, BUDGET + 1);
    assert_memory_equal(position, before, sizeof before);
    judgeq_session_free(session);
}

static int set_up(void **state) {
    if (tiny_set_up(state, "qwen3", 1024, &model) != 0) return -1;
    return tiny_set_up_prompt(model, N_SOFT, &judge, token, N_ALL);
}

static int tear_down(void **state) {
    return tiny_tear_down(state, model, judge);
}

TESTS_MAIN(set_up, tear_down, cmocka_unit_test(test_by_soft_tokens), cmocka_unit_test(test_nothing_to_remember),
           cmocka_unit_test(test_without_queries))
