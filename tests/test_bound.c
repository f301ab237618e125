/* The bound while decoding: it holds at every moment, memory stays flat, and what the policy chooses again is what it
 * would have chosen from one prompt of all tokens. */
#include "check.h"
#include "engine/reposition.h"
#include "judgeq.h"
#include "session/state.h"
#include "tiny_model.h"
#include "tiny_session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_ALL = 3000, N_SOFT = 4, BUDGET = 40, SLACK = 12, EVERYTHING = 100000 };

static char folder[256], path[300];
static judgeq_model *model;
static judgeq_judge *judge;
static int32_t token[N_ALL];
static judgeq_error error;

static void check(judgeq_status status) {
    if (status != JUDGEQ_OK) fail_msg("%s", error.message);
}

static judgeq_session_params defaults(int32_t budget, int32_t slack) {
    judgeq_session_params params = judgeq_session_default_params();
    params.judge = judge;
    params.budget = budget;
    params.slack = slack;
    params.n_threads = 1;
    return params;
}

static judgeq_session *start(const char *name, judgeq_session_params params) {
    return tiny_session(model, name, params);
}

/* A layer's rows over all heads: what ada shares out, too. */
static void expect_bound(const judgeq_session *session, int32_t slack, const char *what) {
    const judgeq_model_info *info = judgeq_model_get_info(model);
    for (int32_t l = 0; l < info->n_layer; l++) {
        int64_t rows = 0;
        for (int32_t h = 0; h < info->n_head_kv; h++) rows += session->layer[l].head[h].n_row;
        const int64_t most = (int64_t)(session->layer_budget[l] + slack) * info->n_head_kv;
        if (rows > most) fail_msg("%s: layer %d holds %d rows, allowed are %d", what, l, (int)rows, (int)most);
    }
}

static bool decodes_ahead(const char *name) {
    return strstr(name, "laq") || strcmp(name, "oracle") == 0;
}

/* ---- at every moment --------------------------------------------------------------------------------------------- */

/* A conversation of 50 turns, and then a long answer. */
static void test_always(void **state) {
    (void)state;
    const judgeq_preset *preset;
    for (size_t p = 0; (preset = judgeq_preset_at(p)) != NULL; p++) {
        const int n_answer = decodes_ahead(preset->name) ? 200 : 1500;
        /* where scores are remembered, heads share out rows anew for some time */
        const int settled = strcmp(preset->name, "judge-later") == 0 ? n_answer / 2 : 100;
        if (strcmp(preset->name, "full") == 0) continue;
        judgeq_session *session = start(preset->name, defaults(BUDGET, SLACK));
        size_t peak = 0, at = 0;
        judgeq_stats stats;
        for (int turn = 0; turn < 50; turn++) {
            const size_t n = (size_t)(1 + turn * 7 % 19);
            check(judgeq_session_read(session, token + at, n, &error));
            at += n;
            expect_bound(session, 0, preset->name);
            for (int i = 0; i < turn % 5; i++) {
                check(judgeq_session_decode(session, token[at++], &error));
                expect_bound(session, SLACK, preset->name);
            }
        }
        for (int i = 0; i < n_answer; i++) {
            check(judgeq_session_decode(session, token[at++], &error));
            expect_bound(session, SLACK, preset->name);
            judgeq_session_get_stats(session, &stats);
            if (i == settled) peak = stats.kv_bytes_peak;
        }
        if (stats.kv_bytes_peak != peak) fail_msg("%s: the peak went on growing", preset->name);
        if (stats.n_rejudged < n_answer / SLACK) fail_msg("%s: %d choices", preset->name, (int)stats.n_rejudged);
        judgeq_session_free(session);
    }
}

/* Left to the library, the slack is a quarter of the budget, 32 at least; none: every token adds a row. */
static void test_slack(void **state) {
    (void)state;
    static const struct {
        int32_t budget, slack, n_decode, most;
    } cases[] = {{40, 0, 120, 72}, {200, 0, 300, 250}, {40, 1, 20, 41}, {40, JUDGEQ_SLACK_NONE, 90, 130}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t most = 0;
        judgeq_session *session = start("snapkv", defaults(cases[i].budget, cases[i].slack));
        check(judgeq_session_prefill(session, token, 300, &error));
        for (int t = 0; t < cases[i].n_decode; t++) {
            size_t n;
            check(judgeq_session_decode(session, token[t], &error));
            judgeq_session_positions(session, 0, 0, &n);
            most = n > most ? n : most;
        }
        assert_int_equal(most, cases[i].most);
        judgeq_session_free(session);
    }
    judgeq_session *session = NULL;
    judgeq_session_params params = defaults(40, -2);
    assert_int_equal(judgeq_session_new(model, &params, &session, &error), JUDGEQ_ERROR_ARGUMENT);
}

/* ---- what is chosen ---------------------------------------------------------------------------------------------- */

/* A short prompt leaves room in the budget: the policy chooses when budget and slack are full, not before. */
static void test_not_before_it_is_full(void **state) {
    (void)state;
    enum { PROMPT = 20, FULL = BUDGET + SLACK };
    const judgeq_preset *preset;
    for (size_t p = 0; (preset = judgeq_preset_at(p)) != NULL; p++) {
        if (strcmp(preset->name, "full") == 0) continue;
        judgeq_session *session = start(preset->name, defaults(BUDGET, SLACK));
        judgeq_stats stats;
        check(judgeq_session_prefill(session, token, PROMPT, &error));
        for (int rows = PROMPT; rows < FULL; rows++) check(judgeq_session_decode(session, token[rows], &error));
        judgeq_session_get_stats(session, &stats);
        assert_int_equal(stats.n_rejudged, 0);
        check(judgeq_session_decode(session, token[FULL], &error));
        judgeq_session_get_stats(session, &stats);
        assert_int_equal(stats.n_rejudged, 1);
        expect_bound(session, SLACK, preset->name);
        judgeq_session_free(session);
    }
}

/* 59 tokens read, 21 decoded, all rows still held; then 60 rows are chosen from 80: those of one prompt of 80 tokens.
 */
static void test_as_one_prompt(void **state) {
    (void)state;
    static const char *const more[] = {"snapkv,probe=window:16,keep=recent:16",
                                       "adakv,probe=window:8,keep=recent:8",
                                       "judge,probe=window:8+soft",
                                       "tova,keep=recent:2",
                                       "judge,probe=window:8+lookahead:6@tova:2x",
                                       "judge-later,remember=none"};
    const size_t n_more = sizeof more / sizeof *more;
    const judgeq_preset *preset;
    for (int plain = 0; plain < 2; plain++) {
        for (size_t p = 0;; p++) {
            preset = p < n_more ? NULL : judgeq_preset_at(p - n_more);
            if (p >= n_more && !preset) break;
            const char *name = preset ? preset->name : more[p];
            /* a window of 32 rows sees only the 20 that were decoded */
            const bool wide = preset && (strstr(name, "kv") || strncmp(name, "laq", 3) == 0);
            if (wide || strcmp(name, "full") == 0 || strcmp(name, "judge-later") == 0) continue; /* remembers the 59 */
            judgeq_session_params params = defaults(60, 20);
            params.plain_weights = plain;
            judgeq_session *turns = start(name, params), *whole = start(name, params);
            check(judgeq_session_prefill(turns, token, 59, &error));
            for (int i = 59; i < 81; i++) check(judgeq_session_decode(turns, token[i], &error));
            check(judgeq_session_prefill(whole, token, 80, &error));
            check(judgeq_session_decode(whole, token[80], &error));
            tiny_same_rows(model, turns, whole, name);
            const double off = fixture_max_difference(judgeq_session_logits(turns), judgeq_session_logits(whole),
                                                      (size_t)judgeq_model_get_info(model)->n_vocab);
            /* decoding rounds probabilities to the cache's type, reading does not */
            if (!(off < 0.03)) fail_msg("%s: logits differ by %g", name, off);
            judgeq_session_free(turns);
            judgeq_session_free(whole);
        }
    }
}

/* With room for everything, choosing again changes nothing. */
static void test_everything_stays(void **state) {
    (void)state;
    static const judgeq_kv_type types[] = {JUDGEQ_KV_F16, JUDGEQ_KV_Q8_0};
    const judgeq_preset *preset;
    for (size_t t = 0; t < 2; t++) {
        for (size_t p = 0; (preset = judgeq_preset_at(p)) != NULL; p++) {
            judgeq_session_params params = defaults(EVERYTHING, 7);
            params.kv_type = types[t];
            judgeq_session *session = start(preset->name, params);
            params.slack = JUDGEQ_SLACK_NONE;
            judgeq_session *once = start(preset->name, params);
            check(judgeq_session_prefill(session, token, 50, &error));
            check(judgeq_session_prefill(once, token, 50, &error));
            for (int i = 0; i < 40; i++) {
                check(judgeq_session_decode(session, token[i], &error));
                check(judgeq_session_decode(once, token[i], &error));
                assert_memory_equal(judgeq_session_logits(session), judgeq_session_logits(once),
                                    (size_t)judgeq_model_get_info(model)->n_vocab * sizeof(float));
            }
            judgeq_session_free(session);
            judgeq_session_free(once);
        }
    }
}

/* Of sessions that decode together, each chooses when its own slack is used up. */
static void test_together(void **state) {
    (void)state;
    static const char *const names[] = {"judge", "h2o", "snapkv,probe=window:8", "streaming", "judge-laq", "kvzip"};
    enum { N = sizeof names / sizeof *names };
    judgeq_engine *engine = NULL;
    judgeq_session *together[N], *alone[N];
    check(judgeq_engine_new(model, 1, &engine, &error));
    for (int i = 0; i < N; i++) {
        judgeq_session_params params = defaults(BUDGET + 5 * i, SLACK + i);
        alone[i] = start(names[i], params);
        params.engine = engine;
        together[i] = start(names[i], params);
        check(judgeq_session_prefill(together[i], token, 100, &error));
        check(judgeq_session_prefill(alone[i], token, 100, &error));
    }
    for (int step = 0; step < 60; step++) {
        int32_t next[N];
        for (int i = 0; i < N; i++) next[i] = token[step * (i + 1)];
        check(judgeq_session_decode_all(together, next, N, &error));
        for (int i = 0; i < N; i++) check(judgeq_session_decode(alone[i], next[i], &error));
    }
    for (int i = 0; i < N; i++) {
        tiny_same_rows(model, together[i], alone[i], names[i]);
        judgeq_session_free(together[i]);
        judgeq_session_free(alone[i]);
    }
    judgeq_engine_free(engine);
}

/* A window that is wider than what stays of it, and one whose rows the policy need not keep. */
static void test_wide_window(void **state) {
    (void)state;
    static const char *const names[] = {"snapkv", "snapkv,keep=none", "adakv", "pyramidkv", "laq++"};
    for (size_t p = 0; p < sizeof names / sizeof *names; p++) {
        for (int32_t budget = 1; budget < 9; budget += 7) {
            judgeq_session *session = start(names[p], defaults(budget, 3));
            check(judgeq_session_prefill(session, token, 50, &error));
            for (int i = 0; i < 40; i++) {
                check(judgeq_session_decode(session, token[i], &error));
                expect_bound(session, 3, names[p]);
            }
            judgeq_session_free(session);
        }
    }
}

/* What a rewind removes does not count as summed attention of the rows that come in its place. */
static void test_rewind(void **state) {
    (void)state;
    judgeq_session *session = start("h2o,keep=none", defaults(BUDGET, 30));
    check(judgeq_session_prefill(session, token, 100, &error));
    for (int i = 0; i < 20; i++) check(judgeq_session_decode(session, token[i], &error));
    check(judgeq_session_rewind(session, 5, &error));
    for (int32_t l = 0; l < judgeq_model_get_info(model)->n_layer; l++) {
        const score_map *sum = &session->sum[l];
        const int64_t n = session->layer[l].head[0].n_row;
        for (int64_t i = n; i < sum->n_row; i++) assert_true(sum->value[i] == 0);
    }
    judgeq_session_free(session);
}

/* A lookahead begins with the token that the logits predict, also of a session that waited. */
static void test_trimmed(void **state) {
    (void)state;
    const judgeq_preset *preset;
    for (size_t p = 0; (preset = judgeq_preset_at(p)) != NULL; p++) {
        if (!decodes_ahead(preset->name)) continue;
        judgeq_session *trimmed = start(preset->name, defaults(BUDGET, SLACK));
        judgeq_session *other = start(preset->name, defaults(BUDGET, SLACK));
        check(judgeq_session_prefill(trimmed, token, 100, &error));
        check(judgeq_session_prefill(other, token, 100, &error));
        for (int i = 0; i < 2 * SLACK; i++) {
            check(judgeq_session_trim(trimmed, &error));
            check(judgeq_session_decode(trimmed, token[i], &error));
            check(judgeq_session_decode(other, token[i], &error));
        }
        /* a window's queries are given back */
        if (trimmed->n_ring == 0) tiny_same_rows(model, trimmed, other, preset->name);
        judgeq_session_free(trimmed);
        judgeq_session_free(other);
    }
}

/* ---- beyond the context ------------------------------------------------------------------------------------------ */

/* Attention depends on distances only: rows that all move alike, and queries with them, change nothing. */
static void test_reposition(void **state) {
    (void)state;
    static const struct {
        judgeq_kv_type type;
        double bound;
    } cases[] = {{JUDGEQ_KV_F32, 1e-3}, {JUDGEQ_KV_F16, 0.05}, {JUDGEQ_KV_Q8_0, 0.5}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        judgeq_session_params params = defaults(BUDGET, JUDGEQ_SLACK_NONE);
        params.kv_type = cases[c].type;
        judgeq_session *moved = start("streaming", params), *left = start("streaming", params);
        check(judgeq_session_prefill(moved, token, BUDGET, &error));
        check(judgeq_session_prefill(left, token, BUDGET, &error));
        for (int32_t l = 0; l < judgeq_model_get_info(model)->n_layer; l++) {
            check(reposition_layer(&moved->layer[l], &model->layer[l], &moved->engine->graphs, BUDGET + 299, -300,
                                   &error));
        }
        moved->n_shift = -300;
        for (int i = 0; i < 10; i++) {
            check(judgeq_session_decode(moved, token[i], &error));
            check(judgeq_session_decode(left, token[i], &error));
            const double off = fixture_max_difference(judgeq_session_logits(moved), judgeq_session_logits(left),
                                                      (size_t)judgeq_model_get_info(model)->n_vocab);
            if (!(off < cases[c].bound)) fail_msg("%s: logits differ by %g", judgeq_kv_type_name(cases[c].type), off);
        }
        tiny_same_rows(model, moved, left, "original positions");
        judgeq_session_free(moved);
        judgeq_session_free(left);
    }
}

/* RoPE's positions: consecutive up to the next token's, and within the context. */
static void expect_positions(const judgeq_session *session, int32_t n_ctx, const char *what) {
    const judgeq_model_info *info = judgeq_model_get_info(model);
    for (int32_t l = 0; l < info->n_layer; l++) {
        for (int32_t h = 0; h < info->n_head_kv; h++) {
            const cache_head *head = &session->layer[l].head[h];
            const int32_t *rope = head->rope ? head->rope : head->position;
            for (int64_t i = 0; i < head->n_row; i++) {
                if (rope[i] < 0 || rope[i] >= n_ctx || (i > 0 && rope[i] <= rope[i - 1])) {
                    fail_msg("%s: row %d at position %d", what, (int)i, rope[i]);
                }
                if (i > 0) assert_true(head->position[i] > head->position[i - 1]);
            }
        }
    }
    assert_true(session->n_position - session->n_shift <= n_ctx);
}

/* A text many times as long as the context, in one read and in turns, and answers between them. */
static void test_unbounded(void **state) {
    (void)state;
    enum { N_CTX = 250 };
    const judgeq_preset *preset;
    for (size_t p = 0; (preset = judgeq_preset_at(p)) != NULL; p++) {
        judgeq_session_params params = defaults(BUDGET, SLACK);
        params.n_ctx = N_CTX;
        params.unbounded = true;
        params.kv_type = p % 2 ? JUDGEQ_KV_F16 : JUDGEQ_KV_F32;
        if (strcmp(preset->name, "full") == 0) continue;
        judgeq_session *session = start(preset->name, params);
        check(judgeq_session_read(session, token, 900, &error));
        expect_positions(session, N_CTX, preset->name);
        size_t peak = 0;
        judgeq_stats stats;
        for (int turn = 0; turn < 12; turn++) {
            check(judgeq_session_read(session, token + 100 * turn, 170, &error));
            expect_bound(session, 0, preset->name);
            for (int i = 0; i < 30; i++) {
                check(judgeq_session_decode(session, token[i], &error));
                expect_bound(session, SLACK, preset->name);
                expect_positions(session, N_CTX, preset->name);
            }
            judgeq_session_get_stats(session, &stats);
            if (turn == 6) peak = stats.kv_bytes_peak;
        }
        assert_int_equal(stats.n_position, 900 + 12 * 200);
        /* a head's rows are padded, and how many rows each has differs from choice to choice */
        if (stats.kv_bytes_peak > peak + peak / 20) fail_msg("%s: the peak went on growing", preset->name);
        judgeq_session_free(session);
    }
}

static void test_unbounded_refused(void **state) {
    (void)state;
    static const struct {
        const char *policy;
        int32_t budget, slack, n_ctx;
    } cases[] = {{"full", 40, 0, 0},         {"judge", 40, JUDGEQ_SLACK_NONE, 0},
                 {"snapkv", 0, 0, 0},        {"snapkv", 40, 0, 64},
                 {"pyramidkv", 200, 1, 230}, {"judge,allocate=pyramid:20", 200, 1, 230}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        judgeq_policy *policy = NULL;
        judgeq_session *session = NULL;
        judgeq_session_params params = defaults(cases[i].budget, cases[i].slack);
        params.n_ctx = cases[i].n_ctx;
        params.budget_fraction = cases[i].budget == 0 ? 0.5f : 0.0f;
        params.unbounded = true;
        check(judgeq_policy_parse(cases[i].policy, &policy, &error));
        params.policy = policy;
        assert_int_equal(judgeq_session_new(model, &params, &session, &error), JUDGEQ_ERROR_ARGUMENT);
        assert_non_null(strstr(error.message, "unbounded"));
        judgeq_policy_free(policy);
    }
}

/* ---- what was found by random programs --------------------------------------------------------------------------- */

static bool stop_at_once(void *data, int64_t done, int64_t total) {
    (void)done;
    (void)total;
    return !*(bool *)data;
}

/* A choice that is cancelled while it looks ahead leaves logits and rows as they were. */
static void test_cancelled_choice(void **state) {
    (void)state;
    static const char *const names[] = {"judge-laq", "laq", "oracle", "laq++"};
    for (size_t p = 0; p < sizeof names / sizeof *names; p++) {
        bool stop = false;
        judgeq_session_params params = defaults(BUDGET, SLACK);
        judgeq_session *twin = start(names[p], params);
        params.progress = stop_at_once;
        params.progress_data = &stop;
        judgeq_session *session = start(names[p], params);
        check(judgeq_session_prefill(session, token, 100, &error));
        check(judgeq_session_prefill(twin, token, 100, &error));
        for (int i = 0; i < 2 * SLACK + 3; i++) {
            stop = true;
            const judgeq_status status = judgeq_session_decode(session, token[i], &error);
            stop = false;
            if (status != JUDGEQ_OK) {
                assert_int_equal(status, JUDGEQ_ERROR_CANCELLED);
                check(judgeq_session_decode(session, token[i], &error));
            }
            check(judgeq_session_decode(twin, token[i], &error));
            assert_memory_equal(judgeq_session_logits(session), judgeq_session_logits(twin),
                                (size_t)judgeq_model_get_info(model)->n_vocab * sizeof(float));
        }
        tiny_same_rows(model, session, twin, names[p]);
        judgeq_session_free(session);
        judgeq_session_free(twin);
    }
}

/* What the answer begins with stays readable while it is decoded, choices included; and it has its place in the
 * context. */
static void test_deferred(void **state) {
    (void)state;
    judgeq_session_params params = defaults(20, 5);
    params.defer = true;
    params.n_ctx = 200;
    judgeq_session *session = start("judge-laq", params);
    check(judgeq_session_prefill(session, token, 100, &error));
    size_t n, m;
    const int32_t *deferred = judgeq_session_deferred(session, &n);
    assert_true(n > 0);
    int32_t copy[64];
    memcpy(copy, deferred, n * sizeof *copy);
    for (int i = 0; i < 30; i++) check(judgeq_session_decode(session, token[i], &error));
    assert_ptr_equal(judgeq_session_deferred(session, &m), deferred);
    assert_int_equal(n, m);
    assert_memory_equal(deferred, copy, n * sizeof *copy);
    const int32_t room = 200 - session->n_position;
    assert_int_equal(judgeq_session_read(session, token, (size_t)room, &error), JUDGEQ_ERROR_LIMIT);
    assert_non_null(strstr(error.message, "defers 24"));
    check(judgeq_session_read(session, token, (size_t)room - 24, &error));
    assert_int_equal(judgeq_session_read(session, token, 700, &error), JUDGEQ_ERROR_LIMIT);
    judgeq_session_free(session);
}

/* Sessions that share a prompt read it in one piece: a longer one is refused. */
static void test_pieces_alone(void **state) {
    (void)state;
    judgeq_session_params params = defaults(BUDGET, SLACK);
    params.unbounded = true;
    params.n_ctx = 250;
    judgeq_session *both[] = {start("snapkv", params), start("judge", params)};
    assert_int_equal(judgeq_session_prefill_all(both, 2, token, 900, &error), JUDGEQ_ERROR_LIMIT);
    check(judgeq_session_prefill_all(both, 2, token, 180, &error));
    for (int i = 0; i < 2; i++) judgeq_session_free(both[i]);
}

/* ---- set-up ------------------------------------------------------------------------------------------------------ */

static int set_up(void **state) {
    (void)state;
    tiny_spec spec;
    if (!tiny_spec_find("qwen3", &spec) || fixture_folder_new(folder, sizeof folder) != 0) return -1;
    spec.n_ctx = 4096;
    snprintf(path, sizeof path, "%s/model.gguf", folder);
    if (tiny_model_write(&spec, path) != 0 || judgeq_model_load(path, &model, &error) != JUDGEQ_OK) return -1;
    const judgeq_model_info *info = judgeq_model_get_info(model);
    const size_t n_soft = (size_t)N_SOFT * (size_t)info->n_embd;
    float *soft = malloc(n_soft * sizeof *soft);
    for (size_t i = 0; soft && i < n_soft; i++) soft[i] = (float)((i * 7919) % 1000) / 1000 - 0.5F;
    const judgeq_judge_info about = {
        .n_depth = 1, .n_soft = N_SOFT, .n_embd = info->n_embd, .fingerprint = info->fingerprint};
    const judgeq_status status = soft ? judgeq_judge_new(soft, &about, &judge, &error) : JUDGEQ_ERROR_MEMORY;
    free(soft);
    tiny_prompt(5, info->n_vocab, token, N_ALL);
    return status == JUDGEQ_OK ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    judgeq_judge_free(judge);
    judgeq_model_free(model);
    return fixture_folder_remove(folder);
}

TESTS_MAIN(set_up, tear_down, cmocka_unit_test(test_always), cmocka_unit_test(test_slack),
           cmocka_unit_test(test_not_before_it_is_full), cmocka_unit_test(test_as_one_prompt),
           cmocka_unit_test(test_everything_stays), cmocka_unit_test(test_together), cmocka_unit_test(test_rewind),
           cmocka_unit_test(test_reposition), cmocka_unit_test(test_unbounded), cmocka_unit_test(test_cancelled_choice),
           cmocka_unit_test(test_deferred), cmocka_unit_test(test_pieces_alone),
           cmocka_unit_test(test_unbounded_refused), cmocka_unit_test(test_wide_window), cmocka_unit_test(test_trimmed))
