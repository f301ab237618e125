/* Reading on: turns after turns give what one prompt of all of them gives, the budget holds after each, a read that is
 * abandoned or fails leaves no trace, and steps of one session go between the tokens of others. */
#include "judgeq.h"
#include "llama_oracle.h"
#include "session/state.h"
#include "tiny_judge.h"
#include "tiny_model.h"
#include "tiny_session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

enum { N_TURN = 4, N_ALL = 230, N_SOFT = 4, BUDGET = 40, EVERYTHING = 1000 };

/* Where turns end: a long one, one token, a short one, one longer than a chunk. */
static const int32_t turn_end[N_TURN] = {70, 71, 90, N_ALL};

static const char *const path = fixture_model;
static judgeq_model *model;
static judgeq_judge *judge;
static int32_t token[N_ALL];
static judgeq_error error;

static void check(judgeq_status status) {
    if (status != JUDGEQ_OK) fail_msg("%s", error.message);
}

static judgeq_session_params defaults(int32_t budget) {
    judgeq_session_params params = judgeq_session_default_params();
    params.judge = judge;
    params.budget = budget;
    params.n_threads = 1;
    params.chunk = 64;
    return params;
}

static judgeq_session *start(const char *name, judgeq_session_params params) {
    return tiny_session(model, name, params);
}

static size_t n_vocab(void) {
    return (size_t)judgeq_model_get_info(model)->n_vocab;
}

static void read_turn(judgeq_session *session, int turn) {
    const int32_t begin = turn > 0 ? turn_end[turn - 1] : 0;
    check(judgeq_session_read(session, token + begin, (size_t)(turn_end[turn] - begin), &error));
}

static void expect_near(const judgeq_session *a, const judgeq_session *b, double bound, const char *what) {
    const float *x = judgeq_session_logits(a), *y = judgeq_session_logits(b);
    const double off = fixture_max_difference(x, y, n_vocab());
    if (!(off <= bound)) fail_msg("%s: logits differ by %g", what, off);
}

/* The rows that each head holds: at most so many in a layer. */
static void expect_bound(const judgeq_session *session, const char *what) {
    const judgeq_model_info *info = judgeq_model_get_info(model);
    for (int32_t l = 0; l < info->n_layer; l++) {
        int64_t rows = 0;
        for (int32_t h = 0; h < info->n_head_kv; h++) rows += session->layer[l].head[h].n_row;
        const int64_t most = (int64_t)session->layer_budget[l] * info->n_head_kv;
        if (rows > most) fail_msg("%s: layer %d holds %d rows, allowed are %d", what, l, (int)rows, (int)most);
    }
}

/* ---- what is read ------------------------------------------------------------------------------------------------ */

/* Every preset, with room for everything: the logits of one prompt. */
static void test_turns_are_one_prompt(void **state) {
    (void)state;
    const judgeq_preset *preset;
    for (size_t p = 0; (preset = judgeq_preset_at(p)) != NULL; p++) {
        judgeq_session *turns = start(preset->name, defaults(EVERYTHING));
        for (int t = 0; t < N_TURN; t++) {
            judgeq_session *whole = start(preset->name, defaults(EVERYTHING));
            read_turn(turns, t);
            check(judgeq_session_prefill(whole, token, (size_t)turn_end[t], &error));
            expect_near(turns, whole, 1e-3, preset->name);
            judgeq_session_free(whole);
        }
        judgeq_stats stats;
        judgeq_session_get_stats(turns, &stats);
        assert_int_equal(stats.n_prompt, N_ALL);
        assert_int_equal(stats.n_position, N_ALL);
        judgeq_session_free(turns);
    }
}

/* Answers in between are part of the sequence. */
static void test_answers_between(void **state) {
    (void)state;
    static const char *const names[] = {"full", "snapkv", "judge-laq", "adakv"};
    for (size_t p = 0; p < sizeof names / sizeof *names; p++) {
        judgeq_session *turns = start(names[p], defaults(EVERYTHING)), *whole = start(names[p], defaults(EVERYTHING));
        check(judgeq_session_read(turns, token, 100, &error));
        for (int i = 100; i < 110; i++) check(judgeq_session_decode(turns, token[i], &error));
        check(judgeq_session_read(turns, token + 110, N_ALL - 110, &error));
        check(judgeq_session_prefill(whole, token, N_ALL, &error));
        expect_near(turns, whole, 1e-3, names[p]);
        for (int i = 0; i < 5; i++) {
            check(judgeq_session_decode(turns, token[i], &error));
            check(judgeq_session_decode(whole, token[i], &error));
            expect_near(turns, whole, 1e-3, names[p]);
        }
        judgeq_session_free(turns);
        judgeq_session_free(whole);
    }
}

/* Plain mode, the same turns: libllama's logits, bit for bit. */
static void test_plain_is_libllama(void **state) {
    (void)state;
    const oracle_options options = {.kv_type = GGML_TYPE_F16};
    oracle *o = oracle_open(path, 512, &options);
    if (!o) fail_msg("%s", oracle_error());
    judgeq_session_params params = defaults(0);
    params.plain_weights = true;
    params.chunk = 0;
    judgeq_session *session = start("full", params);
    for (int t = 0; t < N_TURN; t++) {
        const int32_t begin = t > 0 ? turn_end[t - 1] : 0;
        read_turn(session, t);
        assert_int_equal(oracle_prompt(o, token + begin, (size_t)(turn_end[t] - begin)), 0);
        assert_memory_equal(judgeq_session_logits(session), oracle_logits(o), n_vocab() * sizeof(float));
    }
    judgeq_session_free(session);
    oracle_close(o);
}

/* ---- what is held ------------------------------------------------------------------------------------------------ */

/* After every read the budget holds, and a read needs no more memory than it says. */
static void test_budget_holds(void **state) {
    (void)state;
    const judgeq_model_info *info = judgeq_model_get_info(model);
    const judgeq_preset *preset;
    for (size_t p = 0; (preset = judgeq_preset_at(p)) != NULL; p++) {
        judgeq_session *session = start(preset->name, defaults(BUDGET));
        const bool all = strcmp(preset->name, "full") == 0;
        for (int t = 0; t < N_TURN; t++) {
            read_turn(session, t);
            if (!all) expect_bound(session, preset->name);
            for (int i = 0; i < 3; i++) check(judgeq_session_decode(session, token[i], &error));
        }
        judgeq_stats stats;
        judgeq_session_get_stats(session, &stats);
        const judgeq_policy *policy = &session->policy;
        if (!all && !judgeq_policy_needs_full_cache(policy)) {
            /* rows before, and after; candidates of a lookahead; one layer of everything */
            const size_t row = stats.kv_bytes_full / (size_t)stats.n_position / (size_t)info->n_layer;
            const size_t among = policy->probe.among > 0 ? (size_t)policy->probe.among : 1;
            const size_t layer = BUDGET + 64 + 32, one = N_ALL + N_SOFT + BUDGET + 2 * 64;
            const size_t most = row * (layer * (size_t)info->n_layer * (1 + among) + one);
            if (stats.kv_bytes_peak > most) {
                fail_msg("%s: %zu bytes at the peak, allowed are %zu", preset->name, stats.kv_bytes_peak, most);
            }
        }
        judgeq_session_free(session);
    }
}

/* The bytes of the rows at the first n positions of a layer's head, from both of its tensors. */
static char *row_bytes(const judgeq_session *session, int32_t l, int32_t h, int64_t n, size_t *size) {
    const cache_layer *layer = &session->layer[l];
    const size_t row = ggml_row_size(layer->type, layer->head_dim), at = (size_t)layer->head[h].first * row;
    *size = 2 * (size_t)n * row;
    char *bytes = malloc(*size);
    assert_non_null(bytes);
    memcpy(bytes, (const char *)layer->k->data + at, *size / 2);
    memcpy(bytes + *size / 2, (const char *)layer->v->data + at, *size / 2);
    return bytes;
}

/* Quantised rows keep their bytes from turn to turn, whatever else is read. */
static void test_quantised_rows_stay(void **state) {
    (void)state;
    static const judgeq_kv_type types[] = {JUDGEQ_KV_Q8_0, JUDGEQ_KV_Q4_0};
    static const char *const names[] = {"full", "judge", "judge-laq"};
    for (size_t i = 0; i < 6; i++) {
        judgeq_session_params params = defaults(EVERYTHING);
        params.kv_type = types[i % 2];
        judgeq_session *session = start(names[i / 2], params);
        size_t size;
        read_turn(session, 0);
        char *before = row_bytes(session, 1, 1, turn_end[0], &size);
        for (int t = 1; t < N_TURN; t++) read_turn(session, t);
        char *after = row_bytes(session, 1, 1, turn_end[0], &size);
        assert_memory_equal(before, after, size);
        free(before);
        free(after);
        judgeq_session_free(session);
    }
}

/* ---- reads that do not end --------------------------------------------------------------------------------------- */

static void expect_same(const judgeq_session *a, const judgeq_session *b) {
    const judgeq_model_info *info = judgeq_model_get_info(model);
    assert_memory_equal(judgeq_session_logits(a), judgeq_session_logits(b), n_vocab() * sizeof(float));
    for (int32_t l = 0; l < info->n_layer; l++) {
        for (int32_t h = 0; h < info->n_head_kv; h++) {
            size_t n, m;
            const int32_t *x = judgeq_session_positions(a, l, h, &n), *y = judgeq_session_positions(b, l, h, &m);
            assert_int_equal(n, m);
            assert_memory_equal(x, y, n * sizeof *x);
        }
    }
}

typedef struct canceller {
    int64_t after; /* calls; negative: never */
} canceller;

static bool go_on(void *data, int64_t done, int64_t total) {
    (void)done;
    (void)total;
    canceller *c = data;
    return c->after < 0 || c->after-- > 0;
}

/* Abandoned after any step, or cancelled at any moment (a lookahead's among them): as if there had been no read. */
static void test_no_trace(void **state) {
    (void)state;
    static const char *const names[] = {"full", "judge", "judge-laq", "laq", "oracle", "adakv", "kvzip"};
    for (size_t p = 0; p < sizeof names / sizeof *names; p++) {
        canceller cancel = {-1};
        judgeq_session_params params = defaults(BUDGET);
        judgeq_session *twin = start(names[p], params);
        params.progress = go_on;
        params.progress_data = &cancel;
        judgeq_session *session = start(names[p], params);
        check(judgeq_session_read(twin, token, 100, &error));
        check(judgeq_session_read(session, token, 100, &error));
        for (int n = 0; n < 12; n++) {
            bool done;
            check(judgeq_session_read_begin(session, token + 100, 90, &error));
            for (int i = 0; i < n % 4; i++) check(judgeq_session_read_step(session, &done, &error));
            judgeq_session_read_abandon(session);
            cancel.after = n;
            const judgeq_status status = judgeq_session_read(session, token + 100, 90, &error);
            if (status == JUDGEQ_OK) break; /* fewer calls than that */
            assert_int_equal(status, JUDGEQ_ERROR_CANCELLED);
            cancel.after = -1;
            expect_same(session, twin);
            check(judgeq_session_decode(session, token[n], &error));
            check(judgeq_session_decode(twin, token[n], &error));
            expect_same(session, twin);
        }
        judgeq_session_free(session);
        judgeq_session_free(twin);
    }
}

static void test_refused_meanwhile(void **state) {
    (void)state;
    bool done = true;
    judgeq_session *session = start("judge", defaults(BUDGET));
    judgeq_session_read_abandon(session);
    assert_int_equal(judgeq_session_read_step(session, &done, &error), JUDGEQ_ERROR_ARGUMENT);
    assert_int_equal(judgeq_session_read(session, token, 0, &error), JUDGEQ_ERROR_ARGUMENT);
    read_turn(session, 0);
    assert_int_equal(judgeq_session_prefill(session, token, 5, &error), JUDGEQ_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "judgeq_session_read"));
    check(judgeq_session_read_begin(session, token, 10, &error));
    assert_int_equal(judgeq_session_read(session, token, 5, &error), JUDGEQ_ERROR_ARGUMENT);
    assert_int_equal(judgeq_session_read_begin(session, token, 5, &error), JUDGEQ_ERROR_ARGUMENT);
    assert_int_equal(judgeq_session_decode(session, token[0], &error), JUDGEQ_ERROR_ARGUMENT);
    assert_int_equal(judgeq_session_rewind(session, 0, &error), JUDGEQ_ERROR_ARGUMENT);
    assert_int_equal(judgeq_session_cut(session, 0, &error), JUDGEQ_ERROR_ARGUMENT);
    assert_int_equal(judgeq_session_trim(session, &error), JUDGEQ_ERROR_ARGUMENT);
    assert_int_equal(judgeq_session_watch(session, &error), JUDGEQ_ERROR_ARGUMENT);
    while (!done || session->reading) check(judgeq_session_read_step(session, &done, &error));
    check(judgeq_session_decode(session, token[0], &error));
    const int32_t far = judgeq_model_get_info(model)->n_vocab;
    assert_int_equal(judgeq_session_read(session, &far, 1, &error), JUDGEQ_ERROR_ARGUMENT);
    judgeq_session_params params = defaults(BUDGET);
    params.n_ctx = 100;
    judgeq_session *small = start("judge", params);
    read_turn(small, 0);
    assert_int_equal(judgeq_session_read(small, token, 31, &error), JUDGEQ_ERROR_LIMIT);
    check(judgeq_session_read(small, token, 30, &error));
    judgeq_session_free(small);
    check(judgeq_session_read_begin(session, token, 10, &error)); /* freed in the middle of it */
    judgeq_session_free(session);
}

/* Another session of the engine decodes between the steps: both get what they get alone. */
static void test_steps_between_tokens(void **state) {
    (void)state;
    static const char *const names[] = {"full", "judge", "judge-laq", "kvzip,probe=again:32"};
    for (size_t p = 0; p < sizeof names / sizeof *names; p++) {
        judgeq_engine *engine = NULL;
        check(judgeq_engine_new(model, 1, &engine, &error));
        judgeq_session_params params = defaults(BUDGET);
        judgeq_session *alone = start(names[p], params), *other_alone = start("judge", params);
        params.engine = engine;
        judgeq_session *session = start(names[p], params), *other = start("judge", params);
        check(judgeq_session_read(other, token + 7, 60, &error));
        check(judgeq_session_read(other_alone, token + 7, 60, &error));
        for (int t = 0; t < N_TURN; t++) {
            const int32_t begin = t > 0 ? turn_end[t - 1] : 0;
            bool done = false;
            check(judgeq_session_read_begin(session, token + begin, (size_t)(turn_end[t] - begin), &error));
            for (int i = 0; !done; i++) {
                check(judgeq_session_read_step(session, &done, &error));
                check(judgeq_session_decode(other, token[i % 50], &error));
                check(judgeq_session_decode(other_alone, token[i % 50], &error));
            }
            read_turn(alone, t);
            expect_same(session, alone);
            expect_same(other, other_alone);
        }
        judgeq_session_free(alone);
        judgeq_session_free(other_alone);
        judgeq_session_free(session);
        judgeq_session_free(other);
        judgeq_engine_free(engine);
    }
}

/* ---- the sequence ------------------------------------------------------------------------------------------------ */

static void expect_tokens(const judgeq_session *session, const int32_t *expected, size_t n) {
    size_t found = 0;
    const int32_t *tokens = judgeq_session_tokens(session, &found);
    judgeq_stats stats;
    judgeq_session_get_stats(session, &stats);
    assert_int_equal(found, n);
    assert_int_equal(found, stats.n_position);
    if (n == 0) assert_null(tokens);
    if (n > 0) assert_memory_equal(tokens, expected, n * sizeof *tokens);
}

/* Reads, choices, lookaheads, rewinding: the session has the tokens that it was given, and those that it deferred. */
static void test_tokens(void **state) {
    (void)state;
    static const char *const names[] = {"full", "streaming", "judge", "laq", "judge-laq", "oracle"};
    for (size_t p = 0; p < 2 * sizeof names / sizeof *names; p++) {
        const char *name = names[p / 2];
        judgeq_session_params params = defaults(BUDGET);
        int32_t expected[3 * N_ALL];
        size_t n = 0, n_deferred = 0;
        params.slack = 9;
        params.defer = p % 2 == 1 && strcmp(name, "judge-laq") == 0;
        judgeq_session *session = start(name, params);
        expect_tokens(session, NULL, 0);
        for (int turn = 0; turn < N_TURN; turn++) {
            const size_t begin = turn > 0 ? (size_t)turn_end[turn - 1] : 0, end = (size_t)turn_end[turn];
            bool done;
            check(judgeq_session_read_begin(session, token, 40, &error));
            check(judgeq_session_read_step(session, &done, &error));
            expect_tokens(session, expected, n);
            judgeq_session_read_abandon(session);
            expect_tokens(session, expected, n);
            read_turn(session, turn);
            memcpy(expected + n, token + begin, (end - begin) * sizeof *token);
            n += end - begin;
            const int32_t *deferred = judgeq_session_deferred(session, &n_deferred);
            if (n_deferred > 0) memcpy(expected + n, deferred, n_deferred * sizeof *deferred);
            n += n_deferred;
            for (int i = 0; i < 25; i++) {
                check(judgeq_session_decode(session, token[i], &error));
                expected[n++] = token[i];
                expect_tokens(session, expected, n);
            }
            const int64_t since = session->n_position - session->n_prompt;
            check(judgeq_session_rewind(session, since / 2, &error));
            n -= (size_t)(since - since / 2);
            expect_tokens(session, expected, n);
        }
        assert_true(!params.defer || n_deferred > 0);
        judgeq_session_free(session);
    }
}

/* An abandoned read leaves the slack as it was, where that follows from the prompt's length. */
static void test_slack_stays(void **state) {
    (void)state;
    judgeq_session_params params = defaults(0);
    params.budget_fraction = 1;
    judgeq_session *session = start("streaming", params);
    check(judgeq_session_prefill(session, token, 40, &error));
    const int32_t slack = session->slack;
    check(judgeq_session_read_begin(session, token, N_ALL, &error));
    assert_true(session->slack > slack);
    judgeq_session_read_abandon(session);
    assert_int_equal(session->slack, slack);
    judgeq_session_free(session);
}

/* ---- what is removed --------------------------------------------------------------------------------------------- */

/* Whatever was read, decoded and cut out again, a session goes on as one that never had it, bit for bit. */
static void test_cut_leaves_no_trace(void **state) {
    (void)state;
    static const struct {
        int first, removed, decoded, at; /* tokens read, read on, decoded, and the position of the cut */
        judgeq_kv_type type;
    } cases[] = {{100, 50, 0, 100, JUDGEQ_KV_F16}, {100, 50, 7, 100, JUDGEQ_KV_F16}, {100, 50, 7, 103, JUDGEQ_KV_F16},
                 {100, 0, 7, 100, JUDGEQ_KV_F32},  {100, 0, 9, 60, JUDGEQ_KV_F16},   {100, 50, 0, 0, JUDGEQ_KV_F16},
                 {100, 50, 7, 157, JUDGEQ_KV_F16}, {100, 50, 7, 100, JUDGEQ_KV_Q8_0}};
    for (size_t c = 0; c < 2 * sizeof cases / sizeof *cases; c++) {
        judgeq_session_params params = defaults(0);
        const int at = cases[c / 2].at, first = at < cases[c / 2].first ? at : cases[c / 2].first;
        params.plain_weights = c % 2 == 0;
        params.kv_type = cases[c / 2].type;
        judgeq_session *session = start("full", params), *twin = start("full", params);
        check(judgeq_session_read(session, token, (size_t)cases[c / 2].first, &error));
        if (cases[c / 2].removed > 0) {
            check(judgeq_session_read(session, token + cases[c / 2].first, (size_t)cases[c / 2].removed, &error));
        }
        for (int i = 0; i < cases[c / 2].decoded; i++) check(judgeq_session_decode(session, token[i], &error));
        check(judgeq_session_cut(session, at, &error));
        if (first > 0) check(judgeq_session_read(twin, token, (size_t)first, &error));
        /* what is left of the rest was read or decoded at the twin, too */
        const int end = first + cases[c / 2].removed, middle = at < end ? at : end;
        if (middle > first) check(judgeq_session_read(twin, token + first, (size_t)(middle - first), &error));
        for (int i = 0; i < at - middle; i++) check(judgeq_session_decode(twin, token[i], &error));
        check(judgeq_session_read(session, token + 170, 50, &error));
        check(judgeq_session_read(twin, token + 170, 50, &error));
        expect_same(session, twin);
        check(judgeq_session_decode(session, token[3], &error));
        check(judgeq_session_decode(twin, token[3], &error));
        expect_same(session, twin);
        judgeq_session_free(session);
        judgeq_session_free(twin);
    }
}

/* At its beginning a session is new: it can be prefilled, and is not watched any more. */
static void test_cut_to_nothing(void **state) {
    (void)state;
    size_t n;
    int64_t n_watched;
    judgeq_session *session = start("full", defaults(0)), *twin = start("full", defaults(0));
    check(judgeq_session_cut(session, 0, &error));
    check(judgeq_session_prefill(session, token, 90, &error));
    check(judgeq_session_watch(session, &error));
    check(judgeq_session_decode(session, token[0], &error));
    check(judgeq_session_cut(session, 90, &error));
    assert_non_null(judgeq_session_watched(session, 0, &n_watched)); /* the prompt is all there */
    expect_tokens(session, token, 90);
    check(judgeq_session_cut(session, 0, &error));
    expect_tokens(session, NULL, 0);
    assert_null(judgeq_session_watched(session, 0, &n_watched));
    assert_null(judgeq_session_positions(session, 0, 0, &n));
    assert_int_equal(judgeq_session_decode(session, token[0], &error), JUDGEQ_ERROR_ARGUMENT);
    check(judgeq_session_prefill(session, token + 20, 40, &error));
    check(judgeq_session_prefill(twin, token + 20, 40, &error));
    expect_same(session, twin);
    judgeq_session_free(session);
    judgeq_session_free(twin);
}

/* Where rows were evicted, what is before the choice stays. The logits are those of the last token that there was. */
static void test_cut_after_a_choice(void **state) {
    (void)state;
    static const char *const names[] = {"judge", "snapkv", "h2o", "judge-laq"};
    for (size_t p = 0; p < sizeof names / sizeof *names; p++) {
        judgeq_session *session = start(names[p], defaults(BUDGET)), *twin = start(names[p], defaults(BUDGET));
        check(judgeq_session_read(session, token, 100, &error));
        check(judgeq_session_read(twin, token, 100, &error));
        for (int i = 0; i < 9; i++) check(judgeq_session_decode(session, token[i], &error));
        for (int i = 0; i < 4; i++) check(judgeq_session_decode(twin, token[i], &error));
        float *logits = malloc(n_vocab() * sizeof *logits);
        assert_non_null(logits);
        memcpy(logits, judgeq_session_logits(session), n_vocab() * sizeof *logits);
        check(judgeq_session_cut(session, 104, &error));
        assert_memory_equal(judgeq_session_logits(session), logits, n_vocab() * sizeof *logits);
        free(logits);
        check(judgeq_session_decode(session, token[40], &error));
        check(judgeq_session_decode(twin, token[40], &error));
        expect_same(session, twin);
        check(judgeq_session_cut(session, 100, &error));
        assert_int_equal(judgeq_session_cut(session, 99, &error), JUDGEQ_ERROR_ARGUMENT);
        assert_non_null(strstr(error.message, "use policy full"));
        assert_int_equal(judgeq_session_cut(session, 101, &error), JUDGEQ_ERROR_ARGUMENT);
        assert_non_null(strstr(error.message, "the sequence has 100 tokens"));
        assert_int_equal(judgeq_session_cut(session, -1, &error), JUDGEQ_ERROR_ARGUMENT);
        judgeq_session_free(session);
        judgeq_session_free(twin);
    }
}

/* ---- the latest turn --------------------------------------------------------------------------------------------- */

/* The fewest of the tokens [from, to) that a head holds. */
static int fewest_held(const judgeq_session *session, int32_t from, int32_t to) {
    const judgeq_model_info *info = judgeq_model_get_info(model);
    int fewest = to - from;
    for (int32_t l = 0; l < info->n_layer; l++) {
        for (int32_t h = 0; h < info->n_head_kv; h++) {
            size_t n;
            int held = 0;
            const int32_t *position = judgeq_session_positions(session, l, h, &n);
            for (size_t i = 0; i < n; i++) held += position[i] >= from && position[i] < to;
            fewest = held < fewest ? held : fewest;
        }
    }
    return fewest;
}

static void decode_some(judgeq_session *session, int n) {
    for (int i = 0; i < n; i++) check(judgeq_session_decode(session, token[i], &error));
}

/* keep=turn: a short turn stays whole, also while the answer is written and after reads that come to nothing; of a long
 * one, every head holds the share. */
static void test_turn_stays(void **state) {
    (void)state;
    enum { SHARE = BUDGET / 2, FROM = 71, TO = 90, SHORT = TO - FROM };
    static const char *const names[] = {"judge,keep=turn:50%", "judge,keep=none", "judge-laq,keep=turn:50%"};
    for (size_t p = 0; p < sizeof names / sizeof *names; p++) {
        judgeq_session *session = start(names[p], defaults(BUDGET)), *loaded;
        const bool kept = strstr(names[p], "turn") != NULL;
        for (int t = 0; t < 3; t++) read_turn(session, t);
        expect_bound(session, names[p]);
        assert_int_equal(fewest_held(session, FROM, TO) == SHORT, kept);
        bool done = false;
        check(judgeq_session_read_begin(session, token, 60, &error));
        check(judgeq_session_read_step(session, &done, &error));
        judgeq_session_read_abandon(session);
        decode_some(session, 60); /* at least one choice */
        assert_int_equal(fewest_held(session, FROM, TO) == SHORT, kept);
        check(judgeq_session_save(session, path_in("turn.kv"), &error));
        const judgeq_session_params params = {.judge = judge, .n_threads = 1};
        check(judgeq_session_load(model, &params, path_in("turn.kv"), &loaded, &error));
        decode_some(loaded, 60);
        assert_int_equal(fewest_held(loaded, FROM, TO) == SHORT, kept);
        judgeq_session_free(loaded);
        read_turn(session, 3); /* the latest turn is now this one */
        expect_bound(session, names[p]);
        if (kept) assert_in_range(fewest_held(session, 150, N_ALL + 60), SHARE, BUDGET);
        assert_int_not_equal(fewest_held(session, FROM, TO), SHORT);
        judgeq_session_free(session);
    }
}

/* A turn that is read in pieces is one; a first read is none, in pieces or not. */
static void test_turn_in_pieces(void **state) {
    (void)state;
    judgeq_session_params params = defaults(BUDGET);
    params.n_ctx = 150;
    params.unbounded = true;
    judgeq_session *session = start("judge,keep=turn:50%", params);
    check(judgeq_session_read(session, token, N_ALL, &error));
    assert_int_equal(session->turn_from, 0);
    check(judgeq_session_read(session, token, 180, &error));
    assert_int_equal(session->turn_from, N_ALL);
    assert_int_equal(session->turn_to, N_ALL + 180);
    judgeq_session_free(session);
    judgeq_session *first = start("judge,keep=turn:100%", defaults(BUDGET));
    judgeq_session *plain = start("judge,keep=none", defaults(BUDGET));
    read_turn(first, 0);
    read_turn(plain, 0);
    decode_some(first, 60);
    decode_some(plain, 60);
    expect_same(first, plain);
    judgeq_session_free(first);
    judgeq_session_free(plain);
}

/* ---- set-up ------------------------------------------------------------------------------------------------------ */

static int set_up(void **state) {
    tiny_spec spec;
    if (!tiny_spec_find("qwen3", &spec) || fixture_set_up(state) != 0) return -1;
    spec.head_dim = 64; /* quantised rows are turned */
    spec.n_ctx = 512;
    if (tiny_model_write(&spec, path) != 0 || judgeq_model_load(path, &model, &error) != JUDGEQ_OK) return -1;
    return tiny_set_up_prompt(model, N_SOFT, &judge, token, N_ALL);
}

static int tear_down(void **state) {
    return tiny_tear_down(state, model, judge);
}

TESTS_MAIN(set_up, tear_down, cmocka_unit_test(test_turns_are_one_prompt), cmocka_unit_test(test_answers_between),
           cmocka_unit_test(test_plain_is_libllama), cmocka_unit_test(test_budget_holds),
           cmocka_unit_test(test_quantised_rows_stay), cmocka_unit_test(test_no_trace),
           cmocka_unit_test(test_refused_meanwhile), cmocka_unit_test(test_steps_between_tokens),
           cmocka_unit_test(test_tokens), cmocka_unit_test(test_slack_stays),
           cmocka_unit_test(test_cut_leaves_no_trace), cmocka_unit_test(test_cut_to_nothing),
           cmocka_unit_test(test_cut_after_a_choice), cmocka_unit_test(test_turn_stays),
           cmocka_unit_test(test_turn_in_pieces))
