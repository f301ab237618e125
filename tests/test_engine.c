/* Sessions that share an engine: the same tokens and logits as with one each, and no memory beside their rows. */
#include "judgeq.h"
#include "tiny_judge.h"
#include "tiny_model.h"
#include "tiny_session.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

enum { N_PROMPT = 150, N_DECODE = 6, N_SOFT = 4, BUDGET = 40, IDLE = 64, IDLE_ROWS = 128 };

static const char *const policies[] = {"full", "snapkv", "judge", "laq", "judge-laq", "oracle"};
enum { N_POLICY = sizeof policies / sizeof *policies };

static const char *const path = fixture_model;
static judgeq_model *model;
static judgeq_judge *judge;
static int32_t prompt[N_PROMPT];
static judgeq_error error;

static void check(judgeq_status status) {
    if (status != JUDGEQ_OK) fail_msg("%s", error.message);
}

static judgeq_session *start(const char *name, judgeq_engine *engine, int32_t budget, judgeq_kv_type type) {
    judgeq_session_params params = judgeq_session_default_params();
    params.judge = judge;
    params.budget = budget;
    params.n_threads = 1;
    params.engine = engine;
    params.kv_type = type;
    return tiny_session(model, name, params);
}

static judgeq_engine *new_engine(void) {
    judgeq_engine *engine = NULL;
    check(judgeq_engine_new(model, 1, &engine, &error));
    return engine;
}

static void expect_same_logits(const judgeq_session *a, const judgeq_session *b) {
    const size_t n = (size_t)judgeq_model_get_info(model)->n_vocab;
    assert_memory_equal(judgeq_session_logits(a), judgeq_session_logits(b), n * sizeof(float));
}

/* All policies on one engine, their calls mixed, against an engine for each. */
static void test_shared(void **state) {
    (void)state;
    judgeq_engine *engine = new_engine();
    judgeq_session *own[N_POLICY], *shared[N_POLICY];
    int32_t token[N_POLICY];
    for (int i = 0; i < N_POLICY; i++) {
        own[i] = start(policies[i], NULL, BUDGET, JUDGEQ_KV_F16);
        shared[i] = start(policies[i], engine, BUDGET, JUDGEQ_KV_F16);
        check(judgeq_session_prefill(own[i], prompt, N_PROMPT, &error));
        check(judgeq_session_prefill(shared[i], prompt, N_PROMPT, &error));
        expect_same_logits(own[i], shared[i]);
    }
    for (int step = 0; step < N_DECODE; step++) {
        for (int i = 0; i < N_POLICY; i++) {
            token[i] = prompt[(step + 7 * i) % N_PROMPT];
            if (step % 2 == 1) continue;
            check(judgeq_session_decode(own[i], token[i], &error));
            check(judgeq_session_decode(shared[i], token[i], &error));
        }
        if (step % 2 == 1) {
            check(judgeq_session_decode_all(own, token, N_POLICY, &error));
            check(judgeq_session_decode_all(shared, token, N_POLICY, &error));
        }
        for (int i = 0; i < N_POLICY; i++) expect_same_logits(own[i], shared[i]);
    }
    for (int i = 0; i < N_POLICY; i++) {
        judgeq_session_free(own[i]);
        judgeq_session_free(shared[i]);
    }
    judgeq_engine_free(engine);
}

static void test_refused(void **state) {
    (void)state;
    judgeq_engine *engine = NULL;
    judgeq_model *other = NULL;
    judgeq_session *session = NULL;
    judgeq_session_params params = judgeq_session_default_params();
    assert_int_equal(judgeq_engine_new(model, -1, &engine, &error), JUDGEQ_ERROR_ARGUMENT);
    assert_null(engine);
    check(judgeq_model_load(path, &other, &error));
    params.engine = engine = new_engine();
    assert_int_equal(judgeq_session_new(other, &params, &session, &error), JUDGEQ_ERROR_ARGUMENT);
    assert_null(session);
    assert_non_null(strstr(error.message, "engine"));
    judgeq_engine_free(engine);
    judgeq_model_free(other);
}

/* Trimmed, a session goes on as it would have. */
static void test_trim(void **state) {
    (void)state;
    static const judgeq_kv_type types[] = {JUDGEQ_KV_F16, JUDGEQ_KV_F32, JUDGEQ_KV_Q8_0};
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        judgeq_session *trimmed = start("adakv", NULL, BUDGET, types[t]),
                       *left = start("adakv", NULL, BUDGET, types[t]);
        check(judgeq_session_trim(trimmed, &error)); /* before it has any rows */
        check(judgeq_session_prefill(trimmed, prompt, N_PROMPT, &error));
        check(judgeq_session_prefill(left, prompt, N_PROMPT, &error));
        for (int i = 0; i < N_DECODE; i++) {
            check(judgeq_session_trim(trimmed, &error));
            assert_null(judgeq_session_logits(trimmed));
            check(judgeq_session_decode(trimmed, prompt[i], &error));
            check(judgeq_session_decode(left, prompt[i], &error));
            expect_same_logits(trimmed, left);
        }
        judgeq_session_free(trimmed);
        judgeq_session_free(left);
    }
}

static size_t heap_bytes(void) {
    const struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* 64 sessions that wait, each with 128 rows: their rows, and no more than a tenth of them beside. */
static void test_idle(void **state) {
    (void)state;
    judgeq_engine *engine = new_engine();
    judgeq_session *session[IDLE];
    judgeq_session *first = start("snapkv", engine, IDLE_ROWS, JUDGEQ_KV_F16);
    check(judgeq_session_prefill(first, prompt, N_PROMPT, &error)); /* the engine's buffers have their size */
    const size_t before = heap_bytes();
    for (int i = 0; i < IDLE; i++) {
        session[i] = start("snapkv", engine, IDLE_ROWS, JUDGEQ_KV_F16);
        check(judgeq_session_prefill(session[i], prompt, N_PROMPT, &error));
        check(judgeq_session_trim(session[i], &error));
    }
    const size_t took = heap_bytes() - before;
    judgeq_stats stats;
    size_t rows = 0;
    for (int i = 0; i < IDLE; i++) {
        judgeq_session_get_stats(session[i], &stats);
        rows += stats.kv_bytes_held;
        judgeq_session_free(session[i]);
    }
    judgeq_session_free(first);
    judgeq_engine_free(engine);
    print_message("%d sessions of %d rows: %zu bytes, %.3f of their rows\n", IDLE, IDLE_ROWS, took,
                  (double)took / (double)rows);
    if (heap_bytes() == 0) skip(); /* a sanitizer's allocator counts nothing */
    if (took < rows || took > rows + rows / 10) fail_msg("%zu bytes for rows of %zu", took, rows);
}

/* Wide enough that a session's rows are what a real model's are beside the session itself. */
static int set_up(void **state) {
    tiny_spec spec = tiny_spec_base();
    spec.n_layer = 6;
    spec.head_dim = 64;
    spec.n_head = spec.n_head_kv = 4;
    spec.n_embd = 64;
    if (fixture_set_up(state) != 0) return -1;
    if (tiny_model_write(&spec, path) != 0 || judgeq_model_load(path, &model, &error) != JUDGEQ_OK) return -1;
    judge = tiny_judge(model, 1, N_SOFT);
    tiny_prompt(3, judgeq_model_get_info(model)->n_vocab, prompt, N_PROMPT);
    return judge ? 0 : -1;
}

static int tear_down(void **state) {
    judgeq_judge_free(judge);
    judgeq_model_free(model);
    return fixture_tear_down(state);
}

TESTS_MAIN(set_up, tear_down, cmocka_unit_test(test_shared), cmocka_unit_test(test_refused),
           cmocka_unit_test(test_trim), cmocka_unit_test(test_idle))
