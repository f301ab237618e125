/* Copies of sessions: a copy and its original both go on, bit for bit, as the original would have gone on alone;
 * neither sees what the other does. */
#include "session/state.h"
#include "tiny_judge.h"
#include "tiny_model.h"
#include "tiny_session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

enum { N_ALL = 300, N_SOFT = 4, BUDGET = 40, SLACK = 12 };

static char path[3][300];
static judgeq_model *model;
static judgeq_judge *judge;
static int32_t token[N_ALL];

static judgeq_session_params defaults(void) {
    judgeq_session_params params = judgeq_session_default_params();
    params.judge = judge;
    params.budget = BUDGET;
    params.slack = SLACK;
    params.n_threads = 1;
    return params;
}

static void decode(judgeq_session *session, int from, int n) {
    for (int i = 0; i < n; i++) CHECK(judgeq_session_decode(session, token[from + i], error));
}

/* Choices of the policy, another read, and what follows it. */
static void go_on(judgeq_session *session, int from) {
    decode(session, from, 40);
    CHECK(judgeq_session_read(session, token + 200, 33, error));
    decode(session, from, 5);
}

/* All that a file holds of a session stands in its copy, before either goes on. */
static void expect_same_state(const judgeq_session *a, const judgeq_session *b, const char *what) {
    CHECK(judgeq_session_save(a, path[0], error));
    CHECK(judgeq_session_save(b, path[1], error));
    tiny_same_files(path[0], path[1], what);
}

/* alone and live had the same past. */
static void expect_same_futures(judgeq_session *alone, judgeq_session *live, const char *what) {
    judgeq_session *copy = NULL, *other = NULL;
    CHECK(judgeq_session_copy(live, &copy, error));
    CHECK(judgeq_session_copy(copy, &other, error));
    tiny_same_logits(model, alone, copy, what);
    expect_same_state(live, copy, what);
    go_on(other, 17); /* otherwise than the rest */
    judgeq_session_free(other);
    judgeq_session *all[] = {alone, live, copy};
    for (int i = 0; i < 3; i++) {
        go_on(all[i], 100);
        CHECK(judgeq_session_save(all[i], path[i], error));
    }
    for (int i = 1; i < 3; i++) {
        tiny_same_logits(model, alone, all[i], what);
        tiny_same_files(path[0], path[i], what);
    }
    judgeq_stats a, b;
    judgeq_session_get_stats(alone, &a);
    judgeq_session_get_stats(copy, &b);
    assert_int_equal(a.n_rejudged, b.n_rejudged);
    assert_int_equal(a.n_decoded, b.n_decoded);
    judgeq_session_free(live); /* the copy needs nothing of it, also when it chooses */
    decode(copy, 100, 40);
    judgeq_session_free(copy);
    judgeq_session_free(alone);
}

/* Every preset, every type, both modes; ragged heads, and windows that nothing keeps. */
static void test_goes_on(void **state) {
    (void)state;
    static const char *const more[] = {
        "adakv,allocate=ada:0,keep=none", "snapkv,probe=window:20,keep=none",         "h2o,allocate=ada:0.1",
        "judge,keep=recent:8+turn:50%",   "judge,probe=window:8+lookahead:6@tova:2x", "random,keep=none"};
    const size_t n_more = sizeof more / sizeof *more;
    for (size_t p = 0;; p++) {
        const judgeq_preset *preset = p < n_more ? NULL : judgeq_preset_at(p - n_more);
        if (p >= n_more && !preset) break;
        for (int way = 0; way < 5; way++) {
            char what[128];
            judgeq_session_params params = defaults();
            params.kv_type = (judgeq_kv_type)(way % 4);
            params.plain_weights = way == 4;
            params.seed = UINT64_MAX - 5;
            const char *name = preset ? preset->name : more[p];
            snprintf(what, sizeof what, "%s, %s%s", name, judgeq_kv_type_name(params.kv_type),
                     way == 4 ? ", plain" : "");
            judgeq_session *session[2];
            for (int i = 0; i < 2; i++) {
                session[i] = tiny_session(model, name, params);
                CHECK(judgeq_session_prefill(session[i], token, 90, error));
                decode(session[i], 90, 17);
                CHECK(judgeq_session_set_label(session[i], "a label", error));
            }
            expect_same_futures(session[0], session[1], what);
        }
    }
}

static void read_only(judgeq_session *session) {
    (void)session;
}

static void answer(judgeq_session *session) {
    decode(session, 90, 31);
}

static void wait_idle(judgeq_session *session) {
    decode(session, 90, 5);
    CHECK(judgeq_session_trim(session, error));
}

static void cut(judgeq_session *session) {
    decode(session, 90, 10);
    CHECK(judgeq_session_cut(session, 94, error));
}

static void abandon(judgeq_session *session) {
    bool done;
    decode(session, 90, 3);
    CHECK(judgeq_session_read_begin(session, token, 99, error));
    CHECK(judgeq_session_read_step(session, &done, error));
    judgeq_session_read_abandon(session);
}

/* Whatever happened before. */
static void test_any_moment(void **state) {
    (void)state;
    static const struct {
        const char *name;
        void (*first)(judgeq_session *session);
    } moments[] = {{"read", read_only}, {"answer", answer}, {"wait", wait_idle}, {"cut", cut}, {"abandon", abandon}};
    static const char *const names[] = {"full", "snapkv", "h2o", "judge", "judge-laq", "oracle", "laq"};
    for (size_t p = 0; p < sizeof names / sizeof *names; p++) {
        for (size_t m = 0; m < sizeof moments / sizeof *moments; m++) {
            char what[128];
            judgeq_session_params params = defaults();
            params.defer = strcmp(names[p], "judge-laq") == 0 && m < 2;
            params.budget = m % 2 == 0 ? BUDGET : 0;
            params.budget_fraction = m % 2 == 0 ? 0 : 0.3F;
            params.n_ctx = 2000;
            snprintf(what, sizeof what, "%s, %s", names[p], moments[m].name);
            judgeq_session *session[2];
            for (int i = 0; i < 2; i++) {
                session[i] = tiny_session(model, names[p], params);
                CHECK(judgeq_session_prefill(session[i], token, 90, error));
                moments[m].first(session[i]);
            }
            size_t n, k;
            judgeq_session *copy = NULL;
            CHECK(judgeq_session_copy(session[1], &copy, error));
            const int32_t *x = judgeq_session_deferred(session[1], &n), *y = judgeq_session_deferred(copy, &k);
            assert_int_equal(n, k);
            if (n > 0) assert_memory_equal(x, y, n * sizeof *x);
            judgeq_session_free(copy);
            expect_same_futures(session[0], session[1], what);
        }
    }
}

/* Rows that are rotated by other positions than their own. */
static void test_unbounded(void **state) {
    (void)state;
    const judgeq_preset *preset;
    for (size_t p = 1; (preset = judgeq_preset_at(p)) != NULL; p++) { /* 0: full */
        judgeq_session_params params = defaults();
        params.unbounded = true;
        params.n_ctx = 250;
        params.kv_type = (judgeq_kv_type)(p % 4);
        judgeq_session *session[2];
        for (int i = 0; i < 2; i++) {
            session[i] = tiny_session(model, preset->name, params);
            CHECK(judgeq_session_prefill(session[i], token, 290, error));
            decode(session[i], 90, 17);
        }
        assert_true(session[1]->n_shift > 0);
        expect_same_futures(session[0], session[1], preset->name);
    }
}

/* One that has read nothing, copies that share an engine and decode together, attention that is watched. */
static void test_others(void **state) {
    (void)state;
    judgeq_session_params params = defaults();
    CHECK(judgeq_engine_new(model, 1, &params.engine, error));
    judgeq_session *live = tiny_session(model, "full", params), *copy[2] = {NULL};
    CHECK(judgeq_session_copy(live, &copy[0], error));
    CHECK(judgeq_session_prefill(live, token, 60, error));
    CHECK(judgeq_session_prefill(copy[0], token, 60, error));
    tiny_same_logits(model, live, copy[0], "nothing was read");
    CHECK(judgeq_session_watch(copy[0], error));
    decode(copy[0], 60, 2);
    CHECK(judgeq_session_copy(copy[0], &copy[1], error));
    assert_ptr_equal(copy[1]->engine, params.engine);
    for (int i = 0; i < 2; i++) decode(copy[i], 70, 3);
    int64_t n[2];
    const float *x = judgeq_session_watched(copy[0], 1, &n[0]), *y = judgeq_session_watched(copy[1], 1, &n[1]);
    assert_int_equal(n[0], 5);
    assert_int_equal(n[1], 5);
    assert_memory_equal(x, y, (size_t)judgeq_model_get_info(model)->n_head * 60 * sizeof *x);
    for (int i = 0; i < 2; i++) judgeq_session_free(copy[i]);
    for (int i = 0; i < 2; i++) CHECK(judgeq_session_copy(live, &copy[i], error));
    for (int i = 0; i < 20; i++) {
        CHECK(judgeq_session_decode_all(copy, (int32_t[]){token[i], token[i]}, 2, error));
        tiny_same_logits(model, copy[0], copy[1], "together");
    }
    for (int i = 0; i < 2; i++) judgeq_session_free(copy[i]);
    judgeq_session_free(live);
    judgeq_engine_free(params.engine);
}

static void test_refused(void **state) {
    (void)state;
    judgeq_error refusal = {0};
    judgeq_session *session = tiny_session(model, "full", defaults()), *copy = NULL;
    CHECK(judgeq_session_read_begin(session, token, 50, error));
    assert_int_equal(judgeq_session_copy(session, &copy, &refusal), JUDGEQ_ERROR_ARGUMENT);
    assert_non_null(strstr(refusal.message, "is reading"));
    assert_null(copy);
    judgeq_session_read_abandon(session);
    session->failed = true;
    assert_int_equal(judgeq_session_copy(session, &copy, &refusal), JUDGEQ_ERROR_ARGUMENT);
    assert_non_null(strstr(refusal.message, "after an error"));
    judgeq_session_free(session);
}

static int set_up(void **state) {
    if (tiny_set_up(state, "qwen3", 4096, &model) != 0) return -1;
    for (int i = 0; i < 3; i++) snprintf(path[i], sizeof path[i], "%s/session%d.gguf", fixture_folder, i);
    return tiny_set_up_prompt(model, N_SOFT, &judge, token, N_ALL);
}

static int tear_down(void **state) {
    return tiny_tear_down(state, model, judge);
}

TESTS_MAIN(set_up, tear_down, cmocka_unit_test(test_goes_on), cmocka_unit_test(test_any_moment),
           cmocka_unit_test(test_unbounded), cmocka_unit_test(test_others), cmocka_unit_test(test_refused))
