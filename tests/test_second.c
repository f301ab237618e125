/* Choices made for two: what stays at the second, which reads nothing, and that copies and files know it. */
#include "session/second.h"
#include "tiny_judge.h"
#include "tiny_model.h"
#include "tiny_session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

enum { N_PROMPT = 90, N_ALL = 200, N_SOFT = 4, BUDGET = 40, SLACK = 12 };

static char path[300];
static judgeq_model *model;
static judgeq_judge *judge;
static int32_t token[N_ALL];

static judgeq_session *start(const char *policy, int32_t budget, int32_t slack) {
    judgeq_session_params params = judgeq_session_default_params();
    params.judge = judge;
    params.budget = budget;
    params.slack = slack;
    params.n_threads = 1;
    judgeq_session *session = tiny_session(model, policy, params);
    CHECK(judgeq_session_prefill(session, token, N_PROMPT, error));
    return session;
}

static void decode(judgeq_session *session, int32_t from, int32_t n) {
    for (int32_t i = from; i < from + n; i++) CHECK(judgeq_session_decode(session, token[N_PROMPT + i], error));
}

static int64_t n_choices(const judgeq_session *session) {
    judgeq_stats stats;
    judgeq_session_get_stats(session, &stats);
    return stats.n_rejudged;
}

static const char *const policies[] = {"judge",
                                       "judge-paper",
                                       "judge,smooth=none",
                                       "judge,keep=turn:50%",
                                       "judge,keep=sink:4+recent:8",
                                       "judge,allocate=ada:0.7"};
enum { N_POLICIES = sizeof policies / sizeof *policies };

/* After as many tokens as the slack has: what a smaller budget would have kept of the prompt, and these tokens. */
static void test_stays(void **state) {
    (void)state;
    for (int p = 0; p < N_POLICIES; p++) {
        judgeq_session *session = start(policies[p], BUDGET, SLACK);
        judgeq_session *smaller = start(policies[p], BUDGET - SLACK, JUDGEQ_SLACK_NONE);
        assert_non_null(session->second);
        decode(session, 0, SLACK + 1);
        decode(smaller, 0, SLACK + 1);
        assert_int_equal(n_choices(session), 1);
        assert_null(session->second);
        tiny_same_rows(model, session, smaller, policies[p]);
        decode(session, SLACK + 1, SLACK);
        assert_int_equal(n_choices(session), 2);
        assert_non_null(session->second); /* that one has read */
        judgeq_session_free(session);
        judgeq_session_free(smaller);
    }
}

/* Where there would be little left, where the budget is not full, and where other things score, every choice scores. */
static void test_not_wanted(void **state) {
    (void)state;
    static const struct {
        const char *policy;
        int32_t budget, slack;
    } cases[] = {{"judge", BUDGET, BUDGET / 2 + 1},
                 {"judge", N_PROMPT + 1, SLACK},
                 {"judge", BUDGET, JUDGEQ_SLACK_NONE},
                 {"snapkv,probe=window:8", BUDGET, SLACK},
                 {"judge,probe=window:8+soft", 40, 12},
                 {"h2o", BUDGET, SLACK},
                 {"judge-laq", BUDGET, SLACK},
                 {"judge,allocate=pyramid:20", BUDGET, SLACK},
                 {"kvzip", BUDGET, SLACK},
                 {"full", BUDGET, SLACK}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        judgeq_session *session = start(cases[i].policy, cases[i].budget, cases[i].slack);
        if (session->second) fail_msg("case %zu: %s", i, cases[i].policy);
        judgeq_session_free(session);
    }
}

/* A copy and a file go on as the session does, from before the choice to after the next. */
static void test_elsewhere(void **state) {
    (void)state;
    for (int p = 0; p < N_POLICIES; p++) {
        judgeq_session *session = start(policies[p], BUDGET, SLACK), *copy = NULL, *loaded = NULL;
        judgeq_session_params params = judgeq_session_default_params();
        params.judge = judge;
        params.n_threads = 1;
        decode(session, 0, 5);
        CHECK(judgeq_session_copy(session, &copy, error));
        CHECK(judgeq_session_save(session, path, error));
        CHECK(judgeq_session_load(model, &params, path, &loaded, error));
        const judgeq_session_params made = judgeq_session_get_params(loaded);
        assert_true(made.budget == BUDGET && made.slack == SLACK && made.judge == judge && !made.policy);
        judgeq_session *all[] = {session, copy, loaded};
        for (int i = 0; i < 3; i++) decode(all[i], 5, 3 * SLACK);
        for (int i = 1; i < 3; i++) {
            assert_int_equal(n_choices(all[i]), 3);
            tiny_same_rows(model, session, all[i], policies[p]);
            tiny_same_logits(model, session, all[i], policies[p]);
        }
        for (int i = 0; i < 3; i++) judgeq_session_free(all[i]);
    }
}

/* A read makes the choice anew; one that is abandoned leaves the one before. */
static void test_read(void **state) {
    (void)state;
    judgeq_session *session = start("judge", BUDGET, SLACK), *other = start("judge", BUDGET, SLACK);
    decode(session, 0, 5);
    decode(other, 0, 5);
    bool done;
    CHECK(judgeq_session_read_begin(session, token, 20, error));
    CHECK(judgeq_session_read_step(session, &done, error));
    judgeq_session_read_abandon(session);
    decode(session, 5, SLACK);
    decode(other, 5, SLACK);
    tiny_same_rows(model, session, other, "abandoned");
    assert_null(session->second);
    CHECK(judgeq_session_read(session, token, 20, error));
    assert_non_null(session->second);
    judgeq_session_free(session);
    judgeq_session_free(other);
}

static void expect_refused(const judgeq_session *session, const char *why) {
    judgeq_error refusal = {0};
    judgeq_session_params params = judgeq_session_default_params();
    judgeq_session *loaded = NULL;
    params.judge = judge;
    params.n_threads = 1;
    CHECK(judgeq_session_save(session, path, error));
    assert_int_equal(judgeq_session_load(model, &params, path, &loaded, &refusal), JUDGEQ_ERROR_FORMAT);
    if (!strstr(refusal.message, why) || !strstr(refusal.message, path)) fail_msg("%s", refusal.message);
}

/* No file makes a session hold more than its bound. */
static void test_refused(void **state) {
    (void)state;
    const judgeq_model_info *info = judgeq_model_get_info(model);
    judgeq_session *session = start("judge", BUDGET, SLACK), *without = start("judge", BUDGET, SLACK - 1);
    select_kept *stay = &session->second[info->n_layer - 1];
    for (int32_t h = 0; h < info->n_head_kv; h++) { /* all rows of all heads */
        const int64_t n = session->layer[info->n_layer - 1].head[h].n_row;
        int32_t *row = realloc(stay->row[h], (size_t)n * sizeof *row);
        assert_non_null(row);
        for (int32_t i = 0; i < n; i++) row[i] = i;
        stay->row[h] = row;
        stay->n_row[h] = n;
    }
    expect_refused(session, "more rows stay");
    without->params.slack = BUDGET; /* of which no choice is made for two */
    expect_refused(without, "damaged");
    judgeq_session_free(session);
    judgeq_session_free(without);
}

/* ---- shares of the layers ---------------------------------------------------------------------------------------- */

/* Rows of a layer, over its heads. */
static int64_t layer_rows(const judgeq_session *session, int32_t layer) {
    int64_t n = 0;
    for (int32_t h = 0; h < session->layer[layer].n_head_kv; h++) n += session->layer[layer].head[h].n_row;
    return n;
}

/* Of two layers, by hand: a fifth of 40 rows for certain, and the rest as the judge says; as many in all. Choices for
 * two are made where every layer has at least twice the slack. */
static void test_shares(void **state) {
    (void)state;
    static const float shares[] = {1.5F, 0.5F};
    const judgeq_model_info *info = judgeq_model_get_info(model);
    assert_int_equal(info->n_layer, 2);
    judgeq_judge *own = judge;
    judge = tiny_judge_sharing(own, shares, 2);
    assert_non_null(judge);
    judgeq_session *session = start("judge", BUDGET, SLACK), *even = start("judge,allocate=ada", BUDGET, SLACK);
    assert_int_equal(layer_rows(session, 0), 56 * info->n_head_kv);
    assert_int_equal(layer_rows(session, 1), 24 * info->n_head_kv);
    for (int32_t l = 0; l < 2; l++) assert_int_equal(layer_rows(even, l), BUDGET * info->n_head_kv);
    assert_non_null(session->second); /* 24 rows, slack 12 */
    decode(session, 0, 4 * SLACK + 1);
    assert_int_equal(n_choices(session), 4);
    assert_int_equal(layer_rows(session, 0), 57 * info->n_head_kv);
    assert_int_equal(layer_rows(session, 1), 25 * info->n_head_kv);
    judgeq_session_free(session);
    judgeq_session_free(even);
    judgeq_judge_free(judge);
    judge = own;
}

/* A judge of a model with another number of layers. */
static void test_other_layers(void **state) {
    (void)state;
    judgeq_judge *other = tiny_judge_sharing(judge, (const float[]){1, 1, 1}, 3);
    assert_non_null(other);
    judgeq_session_params params = judgeq_session_default_params();
    judgeq_session *session = NULL;
    judgeq_policy *policy = NULL;
    judgeq_error refusal = {0};
    CHECK(judgeq_policy_parse("judge", &policy, error));
    params.policy = policy;
    params.judge = other;
    params.budget = BUDGET;
    assert_int_equal(judgeq_session_new(model, &params, &session, &refusal), JUDGEQ_ERROR_MISMATCH);
    assert_non_null(strstr(refusal.message, "shares of 3 layers"));
    judgeq_policy_free(policy);
    judgeq_judge_free(other);
}

static int set_up(void **state) {
    if (tiny_set_up(state, "qwen3", 4096, &model) != 0) return -1;
    snprintf(path, sizeof path, "%s/second.kv", fixture_folder);
    return tiny_set_up_prompt(model, N_SOFT, &judge, token, N_ALL);
}

static int tear_down(void **state) {
    return tiny_tear_down(state, model, judge);
}

TESTS_MAIN(set_up, tear_down, cmocka_unit_test(test_stays), cmocka_unit_test(test_not_wanted),
           cmocka_unit_test(test_elsewhere), cmocka_unit_test(test_read), cmocka_unit_test(test_refused),
           cmocka_unit_test(test_shares), cmocka_unit_test(test_other_layers))
