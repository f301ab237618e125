/* What a session is said to need at most, against what it has allocated at every moment. */
#include "session/state.h"
#include "tiny_judge.h"
#include "tiny_model.h"
#include "tiny_session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

enum { N_ALL = 700, N_SOFT = 40, BUDGET = 40, SLACK = 12 };

static judgeq_model *model;
static judgeq_judge *judge;
static int32_t token[N_ALL];
static double loosest; /* of what was said and what was needed */

static void expect_enough(size_t said, size_t needed, const char *what, const char *moment) {
    if (needed > said) fail_msg("%s, %s: %zu bytes, not the %zu that were said", what, moment, needed, said);
}

/* The most that the session has allocated since it was asked last. */
static size_t take_peak(judgeq_session *session) {
    const size_t peak = session->meter.peak;
    session->meter.peak = session->meter.bytes;
    return peak;
}

/* Reads onto n_before tokens and decodes; returns what was said and what was needed most. */
static void turn(judgeq_session *session, const judgeq_session_params *params, int n_new, int n_answer,
                 const char *what) {
    size_t n_before, held = 0, decode = 0;
    judgeq_need need;
    (void)judgeq_session_tokens(session, &n_before);
    CHECK(judgeq_session_need(model, params, (int64_t)n_before, n_new, n_answer, &need, error));
    (void)take_peak(session);
    CHECK(judgeq_session_read(session, token, (size_t)n_new, error));
    const size_t read = take_peak(session);
    held = session->meter.bytes;
    for (int i = 0; i < n_answer; i++) {
        CHECK(judgeq_session_decode(session, token[i], error));
        const size_t peak = take_peak(session);
        decode = peak > decode ? peak : decode;
        held = session->meter.bytes > held ? session->meter.bytes : held;
    }
    expect_enough(need.read_bytes, read, what, "read");
    expect_enough(need.held_bytes, held, what, "held");
    expect_enough(need.decode_bytes, decode, what, "decode");
    const double ratio[] = {(double)need.read_bytes / (double)read, (double)need.held_bytes / (double)held};
    for (int i = 0; i < 2; i++) loosest = ratio[i] > loosest ? ratio[i] : loosest;
    if (getenv("JUDGEQ_TEST_VERBOSE")) {
        printf("%s: %zu + %d + %d tokens: read %zu of %zu, held %zu of %zu, decode %zu of %zu\n", what, n_before, n_new,
               n_answer, read, need.read_bytes, held, need.held_bytes, decode, need.decode_bytes);
    }
}

static void converse(const char *name, judgeq_session_params params, const char *what) {
    judgeq_policy *policy = NULL;
    CHECK(judgeq_policy_parse(name, &policy, error));
    params.policy = policy;
    judgeq_session *session = tiny_session(model, name, params), *copy = NULL;
    turn(session, &params, 200, 30, what);
    CHECK(judgeq_session_trim(session, error));
    turn(session, &params, 33, 5, what);
    CHECK(judgeq_session_copy(session, &copy, error));
    turn(copy, &params, 90, 90, what);
    turn(session, &params, 1, 0, what);
    turn(session, &params, 64, 60, what);
    judgeq_session_free(copy);
    judgeq_session_free(session);
    judgeq_policy_free(policy);
}

static judgeq_session_params defaults(int way) {
    judgeq_session_params params = judgeq_session_default_params();
    params.judge = judge;
    params.budget = way % 3 == 2 ? 0 : way % 2 == 0 ? BUDGET : 300;
    params.budget_fraction = way % 3 == 2 ? 0.3F : 0;
    params.slack = way % 4 == 0 ? SLACK : way % 4 == 3 ? JUDGEQ_SLACK_NONE : 0;
    params.kv_type = (judgeq_kv_type)(way % 4);
    params.plain_weights = way == 5;
    params.n_threads = 1;
    return params;
}

/* Every preset, every type: never less than is needed, and not much more where all heads hold as many rows. */
static void test_enough(void **state) {
    (void)state;
    static const char *const more[] = {"adakv,allocate=ada:0,keep=none", "h2o,allocate=ada:0.1",
                                       "judge,probe=window:8+lookahead:6@tova:2x", "judge,allocate=pyramid:20"};
    const size_t n_more = sizeof more / sizeof *more;
    for (size_t p = 0;; p++) {
        const judgeq_preset *preset = p < n_more ? NULL : judgeq_preset_at(p - n_more);
        if (p >= n_more && !preset) break;
        const char *name = preset ? preset->name : more[p];
        loosest = 1;
        for (int way = 0; way < 6; way++) {
            char what[128];
            snprintf(what, sizeof what, "%s, way %d", name, way);
            judgeq_session_params params = defaults(way);
            params.defer = way == 1 && strcmp(name, "judge-laq") == 0;
            converse(name, params, what);
        }
        if (getenv("JUDGEQ_TEST_VERBOSE")) printf("%s: %.2f times what is needed\n", name, loosest);
        if (loosest > 2) fail_msg("%s: %.2f times what is needed", name, loosest);
    }
}

/* Long texts in pieces, positions that are given anew. */
static void test_unbounded(void **state) {
    (void)state;
    const judgeq_preset *preset;
    for (size_t p = 1; (preset = judgeq_preset_at(p)) != NULL; p++) { /* 0: full */
        judgeq_session_params params = defaults(0);
        params.unbounded = true;
        params.n_ctx = 250;
        converse(preset->name, params, preset->name);
    }
}

/* The sums by hand: 100 tokens of a full F16 cache fill 4 x 32 rows, and an answer of 29 needs a row more. */
static void test_by_hand(void **state) {
    (void)state;
    const judgeq_model_info *info = judgeq_model_get_info(model);
    judgeq_session_params params = {.n_threads = 1};
    judgeq_need need;
    const size_t row = (size_t)info->n_layer * (size_t)info->n_head_kv * (size_t)info->head_dim * 2 * 2;
    CHECK(judgeq_session_need(model, &params, 0, 100, 28, &need, error));
    assert_int_equal(need.held_bytes, 128 * row);
    assert_int_equal(need.read_bytes, 128 * row);
    assert_int_equal(need.hidden_bytes, 100 * (size_t)info->n_embd * 4);
    CHECK(judgeq_session_need(model, &params, 0, 100, 29, &need, error));
    assert_int_equal(need.held_bytes, 160 * row);
    CHECK(judgeq_session_need(model, &params, 0, 0, 29, &need, error));
    assert_int_equal(need.held_bytes, 0);
}

static void test_refused(void **state) {
    (void)state;
    judgeq_error refusal = {0};
    judgeq_need need = {1, 1, 1, 1};
    judgeq_session_params params = {.n_ctx = 128, .budget = -1};
    assert_int_equal(judgeq_session_need(model, &params, 100, 29, 0, &need, &refusal), JUDGEQ_ERROR_LIMIT);
    assert_non_null(strstr(refusal.message, "129 tokens, the context holds 128"));
    assert_int_equal(need.held_bytes, 0);
    assert_int_equal(judgeq_session_need(model, &params, 0, -1, 0, &need, &refusal), JUDGEQ_ERROR_ARGUMENT);
    judgeq_policy *policy = NULL;
    CHECK(judgeq_policy_parse("snapkv", &policy, error));
    params.policy = policy;
    assert_int_equal(judgeq_session_need(model, &params, 0, 10, 0, &need, &refusal), JUDGEQ_ERROR_ARGUMENT);
    assert_non_null(strstr(refusal.message, "budget -1"));
    judgeq_policy_free(policy);
}

static int set_up(void **state) {
    if (tiny_set_up(state, "qwen3", 4096, &model) != 0) return -1;
    judgeq_judge *even = NULL;
    if (tiny_set_up_prompt(model, N_SOFT, &even, token, N_ALL) != 0) return -1;
    judge = tiny_judge_sharing(even, (const float[]){1.75F, 0.25F}, 2); /* budgets change with lengths */
    judgeq_judge_free(even);
    return judge ? 0 : -1;
}

static int tear_down(void **state) {
    return tiny_tear_down(state, model, judge);
}

TESTS_MAIN(set_up, tear_down, cmocka_unit_test(test_enough), cmocka_unit_test(test_unbounded),
           cmocka_unit_test(test_by_hand), cmocka_unit_test(test_refused))
