/* The second reading: its scores are kvpress's (tests/golden/again.npy, which NumPy computed), a row is scored once, by
 * a reading of what was not read again before, and the context's end makes pieces shorter or a read refused. */
#include "check.h"
#include "float_model.h"
#include "golden.h"
#include "session/again.h"
#include "session/export.h"
#include "tiny_model.h"
#include "tiny_session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N_ALL = 400, BUDGET = 40, SLACK = 12, MAP_KV = GOLDEN_LAYERS * GOLDEN_HEADS_KV * GOLDEN_PROMPT };

static judgeq_model *model;
static int32_t token[N_ALL];
static judgeq_error error;

static void check(judgeq_status status) {
    if (status != JUDGEQ_OK) fail_msg("%s", error.message);
}

static judgeq_session_params defaults(int32_t budget) {
    judgeq_session_params params = judgeq_session_default_params();
    params.budget = budget;
    params.slack = SLACK;
    params.n_threads = 1;
    return params;
}

/* ---- scores ------------------------------------------------------------------------------------------------------ */

static void take_map(void *data, int32_t layer, const score_map *map) {
    float *scores = data;
    assert_int_equal(map->n_row, GOLDEN_PROMPT);
    score_heads(map, POLICY_MAX, scores + (size_t)layer * GOLDEN_HEADS_KV * GOLDEN_PROMPT);
}

/* The scores [GOLDEN_LAYERS, GOLDEN_HEADS_KV, GOLDEN_PROMPT] of pieces of 128 tokens. */
static float *scores_of(const char *path, int32_t chunk) {
    judgeq_model *golden = NULL;
    check(judgeq_model_load(path, &golden, &error));
    judgeq_session_params params = defaults(GOLDEN_BUDGET);
    params.kv_type = JUDGEQ_KV_F32;
    params.chunk = chunk;
    judgeq_session *session = tiny_session(golden, "kvzip,probe=again:128", params);
    float *scores = calloc(MAP_KV, sizeof *scores);
    int32_t *ids = golden_tokens("ids", GOLDEN_PROMPT);
    assert_non_null(scores);
    session_on_scores(session, take_map, scores);
    check(judgeq_session_prefill(session, ids, GOLDEN_PROMPT, &error));
    free(ids);
    judgeq_session_free(session);
    judgeq_model_free(golden);
    return scores;
}

/* Three pieces: without rows before it, with the first rows in sight, and a short one. */
static void test_golden(void **state) {
    (void)state;
    char source[1024], path[512];
    if (!judgeq_default_model_path(source, sizeof source) || access(source, R_OK) != 0) skip();
    snprintf(path, sizeof path, "%s/f32.gguf", fixture_folder);
    assert_int_equal(float_model_write(source, path), 0);
    float *golden = golden_floats("again", MAP_KV), *ours = scores_of(path, 100);
    assert_non_null(golden);
    const double most = fixture_max_difference(ours, golden, MAP_KV);
    const double mean = fixture_mean_difference(ours, golden, MAP_KV);
    print_message("scores differ by %.2g at most, %.2g on average\n", most, mean);
    assert_true(most <= 5e-5);
    assert_true(mean <= 1e-6);
    free(golden);
    free(ours);
    unlink(path);
}

/* ---- what is read again ------------------------------------------------------------------------------------------ */

/* As long as all rows stay, nothing is read again; then all of it is, as if it had been one prompt. */
static void test_not_before_rows_go(void **state) {
    (void)state;
    judgeq_session *turns = tiny_session(model, "kvzip,probe=again:32", defaults(BUDGET));
    judgeq_session *whole = tiny_session(model, "kvzip,probe=again:32", defaults(BUDGET));
    check(judgeq_session_read(turns, token, 10, &error));
    check(judgeq_session_read(turns, token + 10, 20, &error));
    for (int i = 30; i < BUDGET; i++) check(judgeq_session_decode(turns, token[i], &error));
    assert_int_equal(turns->n_scored, 0);
    check(judgeq_session_read(turns, token + BUDGET, 60, &error));
    check(judgeq_session_prefill(whole, token, BUDGET + 60, &error));
    assert_int_equal(turns->n_scored, BUDGET + 60);
    /* rows of the two differ in the last bits; the scores that decide here do not */
    tiny_same_rows(model, turns, whole, "turns");
    judgeq_session_free(turns);
    judgeq_session_free(whole);
}

/* The score of a row, the maximum over its query heads, by its position in the sequence. */
static float score_at(const judgeq_session *session, int32_t layer, int32_t head, int32_t position) {
    const cache_head *rows = &session->layer[layer].head[head];
    const score_map *sum = &session->sum[layer];
    float *score = malloc((size_t)sum->n_head_kv * (size_t)sum->n_row * sizeof *score), found = -1;
    assert_non_null(score);
    score_heads(sum, POLICY_MAX, score);
    for (int64_t i = 0; i < rows->n_row; i++) {
        if (rows->position[i] == position) found = score[(int64_t)head * sum->n_row + i];
    }
    free(score);
    return found;
}

/* Rows keep their scores over reads and decoded tokens; what was decoded has one after the next choice. */
static void test_scored_once(void **state) {
    (void)state;
    judgeq_session *session = tiny_session(model, "kvzip,allocate=uniform,keep=recent:100%", defaults(BUDGET));
    check(judgeq_session_prefill(session, token, 100, &error));
    const float before = score_at(session, 1, 0, 99);
    assert_true(before > 0 && before <= 1);
    for (int i = 0; i < SLACK; i++) check(judgeq_session_decode(session, token[100 + i], &error));
    assert_true(score_at(session, 1, 0, 99) == before);
    assert_true(score_at(session, 1, 0, 100) == 0);
    assert_int_equal(session->n_scored, 100);
    check(judgeq_session_decode(session, token[100 + SLACK], &error)); /* chooses first */
    assert_int_equal(session->n_scored, 100 + SLACK);
    assert_true(score_at(session, 1, 0, 99) == before);
    assert_true(score_at(session, 1, 0, 100) > 0);
    check(judgeq_session_read(session, token + 200, 10, &error));
    assert_true(score_at(session, 1, 0, 99) == before);
    assert_true(score_at(session, 1, 0, 115) > 0);
    judgeq_session_free(session);
}

/* Sessions that read together, whose pieces differ in length, one of which reads nothing again. */
static void test_together(void **state) {
    (void)state;
    static const struct {
        const char *policy;
        int32_t budget;
    } cases[] = {{"kvzip", 40},   {"kvzip,probe=again:32", 40}, {"snapkv", 40}, {"kvzip,keep=none", 30},
                 {"kvzip", 1000}, {"kvzip,probe=again:50", 64}, {"full", 0}};
    enum { N = sizeof cases / sizeof *cases };
    judgeq_session *together[N];
    for (int i = 0; i < N; i++) together[i] = tiny_session(model, cases[i].policy, defaults(cases[i].budget));
    check(judgeq_session_prefill_all(together, N, token, 180, &error));
    for (int i = 0; i < N; i++) {
        judgeq_session *alone = tiny_session(model, cases[i].policy, defaults(cases[i].budget));
        check(judgeq_session_prefill(alone, token, 180, &error));
        tiny_same_rows(model, together[i], alone, cases[i].policy);
        assert_int_equal(together[i]->n_scored, alone->n_scored);
        judgeq_session_free(alone);
        judgeq_session_free(together[i]);
    }
}

/* ---- the plan ---------------------------------------------------------------------------------------------------- */

static again_plan plan_of(judgeq_session *session, int32_t n_prompt) {
    again_plan plan = {0};
    int32_t first, end;
    check(session_token_room(session, N_ALL, &error));
    memcpy(session->tokens, token, sizeof token);
    session->n_prompt = n_prompt;
    session_set_budgets(session);
    assert_true(again_due(session));
    check(again_add(&plan, session, &first, &end, &error));
    assert_int_equal(first, 0);
    assert_int_equal(end, plan.n_row);
    return plan;
}

/* Every token once, in its order, at the end of its piece; before it the eight tokens that come before, but not before
 * the first. */
static void test_pieces(void **state) {
    (void)state;
    judgeq_session *session = tiny_session(model, "kvzip,probe=again:64", defaults(BUDGET));
    again_plan plan = plan_of(session, 200);
    assert_int_equal(plan.n_piece, 4);
    for (int i = 0; i < 4; i++) {
        const again_piece *p = &plan.piece[i];
        const int32_t n = i < 3 ? 64 : 8, *rows = plan.token + p->row;
        const size_t lead = i > 0 ? 8 : 0, ask = i > 0 ? session->ask_part.n : session->ask_whole.n;
        assert_int_equal(p->first, 64 * i);
        assert_int_equal(p->end - p->first, n);
        assert_int_equal(p->n_row, (int32_t)(ask + lead + session->ask_turn.n) + n);
        assert_memory_equal(rows + p->n_row - n, token + p->first, (size_t)n * sizeof *token);
        if (i > 0) assert_memory_equal(rows + ask, token + p->first - 8, 8 * sizeof *token);
        assert_ptr_equal(again_piece_at(&plan, p->row), p);
        assert_ptr_equal(again_piece_at(&plan, p->row + p->n_row - 1), p);
    }
    again_plan_free(&plan);
    judgeq_session_free(session);
}

/* Positions of the second reading stay within the context: its pieces become shorter. */
static void test_near_the_end(void **state) {
    (void)state;
    judgeq_session_params params = defaults(BUDGET);
    params.n_ctx = 300;
    judgeq_session *session = tiny_session(model, "kvzip", params);
    const int32_t beside = again_beside(session);
    for (int32_t n = 100; n <= 300 - beside - 16; n += 7) {
        again_plan plan = plan_of(session, n);
        assert_true(n + plan.longest <= 300);
        const int32_t room = 300 - n - beside;
        assert_int_equal(plan.piece[0].end, room < n ? room : n);
        again_plan_free(&plan);
    }
    judgeq_session_free(session);
}

static void test_refused(void **state) {
    (void)state;
    judgeq_session_params params = defaults(BUDGET);
    char most[32];
    params.n_ctx = 300;
    judgeq_session *session = tiny_session(model, "kvzip", params);
    const int32_t fits = 300 - again_beside(session) - 16;
    assert_int_equal(judgeq_session_prefill(session, token, (size_t)fits + 1, &error), JUDGEQ_ERROR_LIMIT);
    snprintf(most, sizeof most, "use %d tokens", fits);
    if (!strstr(error.message, most)) fail_msg("%s", error.message);
    check(judgeq_session_prefill(session, token, (size_t)fits, &error));
    /* answers go on to the context's end */
    for (int32_t i = fits; i < 300; i++) check(judgeq_session_decode(session, token[i], &error));
    assert_int_equal(judgeq_session_decode(session, token[0], &error), JUDGEQ_ERROR_LIMIT);
    judgeq_session_free(session);
    params.budget = 300; /* nothing goes, so nothing is read again */
    session = tiny_session(model, "kvzip", params);
    check(judgeq_session_prefill(session, token, 300, &error));
    judgeq_session_free(session);
}

static int set_up(void **state) {
    tiny_spec spec;
    fixture_set_up(state);

    if (!tiny_spec_find("qwen2", &spec) || tiny_model_write(&spec, fixture_model) != 0) return 1;
    check(judgeq_model_load(fixture_model, &model, &error));
    tiny_prompt(5, judgeq_model_get_info(model)->n_vocab, token, N_ALL);
    return 0;
}

static int tear_down(void **state) {
    judgeq_model_free(model);
    return fixture_tear_down(state);
}

TESTS_MAIN(set_up, tear_down, cmocka_unit_test(test_golden), cmocka_unit_test(test_not_before_rows_go),
           cmocka_unit_test(test_scored_once), cmocka_unit_test(test_together), cmocka_unit_test(test_pieces),
           cmocka_unit_test(test_near_the_end), cmocka_unit_test(test_refused))
