/* What holds for every preset, on tiny models of two families: whatever is scored, rows are only ever dropped. */
#include "session/again.h"
#include "tiny_judge.h"
#include "tiny_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

enum { N_PROMPT = 150, BUDGET = 48, N_SOFT = 8, N_DECODE = 12, CHUNK = 40 };

/* The last layer computes fewer rows where fewer are asked for, and ggml sums a single row in another order. Logits
 * have a standard deviation of about 3. */
static const double SAME_LOGITS = 2e-3;

typedef struct world {
    char folder[256];
    judgeq_model *model;
    judgeq_judge *judge;
    int32_t prompt[N_PROMPT];
} world;

/* ---- helpers
 * ----------------------------------------------------------------------------------------------------------- */

static judgeq_session *start(const world *w, const char *text, judgeq_session_params params) {
    judgeq_error error = {0};
    judgeq_policy *policy = NULL;
    judgeq_session *session = NULL;
    if (judgeq_policy_parse(text, &policy, &error) != JUDGEQ_OK) fail_msg("%s: %s", text, error.message);
    params.policy = policy;
    params.judge = w->judge;
    params.n_threads = 1;
    params.chunk = CHUNK;
    params.n_ctx = 4096;
    if (judgeq_session_new(w->model, &params, &session, &error) != JUDGEQ_OK) fail_msg("%s: %s", text, error.message);
    judgeq_policy_free(policy);
    return session;
}

static void prefill(const world *w, judgeq_session *session) {
    judgeq_error error = {0};
    if (judgeq_session_prefill(session, w->prompt, N_PROMPT, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
}

static void decode(judgeq_session *session, int n) {
    judgeq_error error = {0};
    for (int i = 0; i < n; i++) {
        if (judgeq_session_decode(session, 7 + i, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    }
}

static judgeq_session *run(const world *w, const char *text, int32_t budget) {
    judgeq_session_params params = judgeq_session_default_params();
    params.budget = budget;
    judgeq_session *session = start(w, text, params);
    prefill(w, session);
    return session;
}

/* One row's key and value [2, head_dim], as the cache's bytes. */
static void read_row(const cache_layer *layer, int32_t head, int64_t row, char *out) {
    const size_t size = ggml_type_size(layer->type), key = size * (size_t)layer->head_dim;
    const cache_head *h = &layer->head[head];
    memcpy(out, (char *)layer->k->data + ((size_t)h->first + (size_t)row) * key, key);
    for (int32_t d = 0; d < layer->head_dim; d++) {
        memcpy(out + key + (size_t)d * size,
               (char *)layer->v->data + (size_t)h->first * key + ((size_t)d * (size_t)h->capacity + (size_t)row) * size,
               size);
    }
}

/* ---- tests
 * ------------------------------------------------------------------------------------------------------------- */

static void test_budget_above_prompt_is_full(void **state) {
    const world *w = *state;
    const size_t n_vocab = (size_t)judgeq_model_get_info(w->model)->n_vocab;
    judgeq_session *full = run(w, "full", 0);
    float *after_prompt = malloc(n_vocab * sizeof *after_prompt);
    memcpy(after_prompt, judgeq_session_logits(full), n_vocab * sizeof *after_prompt);
    decode(full, N_DECODE);
    const judgeq_preset *preset;
    for (size_t at = 0; (preset = judgeq_preset_at(at)); at++) {
        judgeq_session *session = run(w, preset->name, N_PROMPT + 10);
        const double prompt = fixture_max_difference(judgeq_session_logits(session), after_prompt, n_vocab);
        decode(session, N_DECODE);
        const double decoded =
            fixture_max_difference(judgeq_session_logits(session), judgeq_session_logits(full), n_vocab);
        if (prompt > SAME_LOGITS || decoded > SAME_LOGITS) {
            fail_msg("%s: logits differ by %g after the prompt, %g after decoding", preset->name, prompt, decoded);
        }
        judgeq_session_free(session);
    }
    free(after_prompt);
    judgeq_session_free(full);
}

/* Rows that a session holds, of all layers and KV heads. */
static size_t rows_held(const world *w, const judgeq_session *session) {
    const judgeq_model_info *info = judgeq_model_get_info(w->model);
    size_t all = 0;
    for (int32_t l = 0; l < info->n_layer; l++) {
        for (int32_t h = 0; h < info->n_head_kv; h++) {
            size_t n = 0;
            assert_non_null(judgeq_session_positions(session, l, h, &n));
            all += n;
        }
    }
    return all;
}

/* What a policy always keeps is cut to the budget, the budget to the prompt, and a share is one row at least. */
static void test_any_budget_of_any_prompt(void **state) {
    const world *w = *state;
    static const struct {
        int32_t budget;
        float share;
        size_t n_prompt, rows;
    } cases[] = {{1, 0, 1, 1},   {1, 0, 40, 1},       {3, 0, 40, 3},    {16, 0, 40, 16},  {64, 0, 10, 10},
                 {0, 1, 10, 10}, {0, 0.0001f, 10, 1}, {0, 0.1f, 20, 2}, {0, 0.2f, 40, 8}, {0, 1, 1, 1}};
    const judgeq_preset *preset;
    for (size_t at = 1; (preset = judgeq_preset_at(at)); at++) { /* 0: full */
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            judgeq_error error = {0};
            judgeq_stats stats;
            judgeq_session_params params = judgeq_session_default_params();
            params.budget = cases[i].budget;
            params.budget_fraction = cases[i].share;
            judgeq_session *session = start(w, preset->name, params);
            const judgeq_status status = judgeq_session_prefill(session, w->prompt, cases[i].n_prompt, &error);
            if (status != JUDGEQ_OK) fail_msg("%s, case %zu: %s", preset->name, i, error.message);
            judgeq_session_get_stats(session, &stats);
            assert_int_equal(stats.budget, cases[i].rows);
            const judgeq_model_info *info = judgeq_model_get_info(w->model);
            assert_int_equal(rows_held(w, session), cases[i].rows * (size_t)info->n_layer * (size_t)info->n_head_kv);
            decode(session, 2);
            judgeq_session_free(session);
        }
    }
}

static void test_rows_within_budget(void **state) {
    const world *w = *state;
    const judgeq_model_info *info = judgeq_model_get_info(w->model);
    const judgeq_preset *preset;
    for (size_t at = 0; (preset = judgeq_preset_at(at)); at++) {
        if (strcmp(preset->name, "full") == 0) continue;
        judgeq_session *session = run(w, preset->name, BUDGET);
        for (int decoded = 0; decoded <= N_DECODE; decoded += N_DECODE) {
            size_t all = 0;
            for (int32_t l = 0; l < info->n_layer; l++) {
                size_t of_layer = 0;
                for (int32_t h = 0; h < info->n_head_kv; h++) {
                    size_t n = 0;
                    const int32_t *position = judgeq_session_positions(session, l, h, &n);
                    assert_non_null(position);
                    of_layer += n;
                    if (session->policy.allocate == POLICY_UNIFORM) assert_int_equal(n, BUDGET + decoded);
                    for (size_t i = 1; i < n; i++) assert_true(position[i - 1] < position[i]);
                }
                if (session->policy.allocate != POLICY_PYRAMID) {
                    assert_int_equal(of_layer, (BUDGET + decoded) * info->n_head_kv);
                }
                all += of_layer;
            }
            assert_int_equal(all, (BUDGET + decoded) * info->n_head_kv * info->n_layer);
            if (decoded == 0) decode(session, N_DECODE);
        }
        judgeq_session_free(session);
    }
}

/* Soft rows and pseudo tokens leave no rows, and what is decoded goes to the sequence's end, not to the cache's.
 */
static void test_positions(void **state) {
    const world *w = *state;
    const judgeq_model_info *info = judgeq_model_get_info(w->model);
    const judgeq_preset *preset;
    for (size_t at = 0; (preset = judgeq_preset_at(at)); at++) {
        judgeq_session *session = run(w, preset->name, BUDGET);
        judgeq_stats stats;
        judgeq_session_get_stats(session, &stats);
        assert_int_equal(stats.n_position, N_PROMPT);
        decode(session, N_DECODE);
        judgeq_session_get_stats(session, &stats);
        assert_int_equal(stats.n_position, N_PROMPT + N_DECODE);
        for (int32_t l = 0; l < info->n_layer; l++) {
            for (int32_t h = 0; h < info->n_head_kv; h++) {
                size_t n = 0;
                const int32_t *position = judgeq_session_positions(session, l, h, &n);
                for (int i = 0; i < N_DECODE; i++) {
                    assert_int_equal(position[n - N_DECODE + (size_t)i], N_PROMPT + i);
                }
                assert_true(n == N_DECODE || position[n - N_DECODE - 1] < N_PROMPT);
            }
        }
        judgeq_session_free(session);
    }
}

/* Without a floor, ada may leave a KV head nothing; it still sees what is decoded. */
static void test_head_without_rows(void **state) {
    const world *w = *state;
    judgeq_session *session = run(w, "probe=soft,allocate=ada:0", 1);
    decode(session, 2);
    size_t fewest = SIZE_MAX;
    for (int32_t h = 0; h < judgeq_model_get_info(w->model)->n_head_kv; h++) {
        size_t n = 0;
        judgeq_session_positions(session, 0, h, &n);
        fewest = n < fewest ? n : fewest;
    }
    assert_true(fewest >= 2);
    judgeq_session_free(session);
}

static void test_kept_rows_are_the_prompts(void **state) {
    const world *w = *state;
    const judgeq_model_info *info = judgeq_model_get_info(w->model);
    const size_t bytes = model_row_bytes(w->model, GGML_TYPE_F16);
    char *ours = malloc(bytes), *theirs = malloc(bytes);
    judgeq_session *full = run(w, "full", 0);
    const judgeq_preset *preset;
    for (size_t at = 0; (preset = judgeq_preset_at(at)); at++) {
        judgeq_session *session = run(w, preset->name, BUDGET);
        for (int32_t l = 0; l < info->n_layer; l++) {
            for (int32_t h = 0; h < info->n_head_kv; h++) {
                size_t n = 0;
                const int32_t *position = judgeq_session_positions(session, l, h, &n);
                for (size_t i = 0; i < n; i++) {
                    read_row(&session->layer[l], h, (int64_t)i, ours);
                    read_row(&full->layer[l], h, position[i], theirs);
                    if (memcmp(ours, theirs, bytes) != 0)
                        fail_msg("%s: layer %d head %d row %zu", preset->name, l, h, i);
                }
            }
        }
        judgeq_session_free(session);
    }
    judgeq_session_free(full);
    free(ours);
    free(theirs);
}

static size_t padded(size_t n, size_t padding) {
    return (n + padding - 1) / padding * padding;
}

/* One layer's full KV beside the layers already cut down; with a lookahead among M x budget candidates, those. Each KV
 * head has its padding. */
static void test_prefill_peak(void **state) {
    const world *w = *state;
    const judgeq_model_info *info = judgeq_model_get_info(w->model);
    const size_t row = model_row_bytes(w->model, GGML_TYPE_F16) * (size_t)info->n_head_kv;
    const judgeq_preset *preset;
    for (size_t at = 0; (preset = judgeq_preset_at(at)); at++) {
        judgeq_session *session = run(w, preset->name, 32);
        judgeq_stats stats;
        judgeq_session_get_stats(session, &stats);
        const size_t budget = (size_t)stats.budget, n_layer = (size_t)info->n_layer;
        const size_t among = session->policy.probe.among ? (size_t)session->policy.probe.among : 1;
        const size_t kept = among * budget < N_PROMPT ? among * budget : N_PROMPT;
        const size_t padding = (size_t)session->kv_padding;
        /* a second reading's instruction and its only piece, or soft rows */
        const size_t after = session->policy.probe.again ? (size_t)again_beside(session) + N_PROMPT : N_SOFT;
        const size_t prompt = padded(N_PROMPT + after, padding);
        const size_t ahead = (size_t)session->policy.probe.lookahead; /* pseudo tokens, beside the candidates */
        size_t limit = row * (prompt + n_layer * (kept + ahead + padding));
        if (session->policy.keep_all || judgeq_policy_needs_full_cache(&session->policy)) {
            limit = row * n_layer * prompt;
            assert_true(stats.kv_bytes_peak >= row * n_layer * N_PROMPT);
            if (session->policy.keep_all) assert_true(stats.kv_bytes_peak <= limit);
        } else if (stats.kv_bytes_peak > limit) {
            fail_msg("%s: peak %zu, expected at most %zu", preset->name, stats.kv_bytes_peak, limit);
        }
        assert_int_equal(stats.kv_bytes_full, row * n_layer * N_PROMPT);
        judgeq_session_free(session);
    }
}

/* What a deferred lookahead has decoded is what greedy decoding from the candidates gives, and stays in the cache. */
static void test_deferred(void **state) {
    const world *w = *state;
    judgeq_session_params params = judgeq_session_default_params();
    params.budget = 20;
    params.defer = true;
    judgeq_session *session = start(w, "judge-laq", params);
    prefill(w, session);
    size_t n = 0;
    const int32_t *tokens = judgeq_session_deferred(session, &n);
    assert_true(n >= 1 && n <= (size_t)session->policy.probe.lookahead);
    judgeq_stats stats;
    judgeq_session_get_stats(session, &stats);
    assert_int_equal(stats.n_position, N_PROMPT + n);

    /* the first policy alone, at 4 x the budget, decoded greedily */
    judgeq_session *first = run(w, session->first_policy.text, 80);
    for (size_t i = 0; i < n; i++) {
        const float *logits = judgeq_session_logits(first);
        int32_t best = 0;
        for (int32_t t = 1; t < judgeq_model_get_info(w->model)->n_vocab; t++)
            best = logits[t] > logits[best] ? t : best;
        assert_int_equal(tokens[i], best);
        judgeq_error error = {0};
        assert_int_equal(judgeq_session_decode(first, best, &error), JUDGEQ_OK);
    }
    assert_memory_equal(judgeq_session_logits(session), judgeq_session_logits(first),
                        (size_t)judgeq_model_get_info(w->model)->n_vocab * sizeof(float));
    size_t rows = 0;
    const int32_t *position = judgeq_session_positions(session, 0, 0, &rows);
    for (size_t i = 0; i < n; i++) assert_int_equal(position[rows - n + i], N_PROMPT + i);
    decode(session, 2);
    judgeq_session_free(first);
    judgeq_session_free(session);
}

/* Row chunks are an implementation detail: any size gives the same choice. */
static void test_chunks_do_not_matter(void **state) {
    const world *w = *state;
    const char *policies[] = {"h2o", "snapkv", "judge", "judge-laq", "kvzip", "kvzip,probe=again:50"};
    for (size_t i = 0; i < sizeof policies / sizeof *policies; i++) {
        size_t n[3];
        int32_t kept[3][N_PROMPT];
        const int32_t chunks[] = {7, 64, 512};
        for (int c = 0; c < 3; c++) {
            judgeq_session_params params = judgeq_session_default_params();
            params.budget = BUDGET;
            judgeq_session *session = start(w, policies[i], params);
            session->params.chunk = chunks[c];
            prefill(w, session);
            const int32_t *position = judgeq_session_positions(session, 1, 0, &n[c]);
            memcpy(kept[c], position, n[c] * sizeof *position);
            judgeq_session_free(session);
            assert_int_equal(n[c], n[0]);
            assert_memory_equal(kept[c], kept[0], n[0] * sizeof **kept);
        }
    }
}

static void check_sums(void *data, int32_t layer, const score_map *map) {
    const int32_t chunk = *(const int32_t *)data;
    for (int32_t h = 0; h < map->n_head; h++) {
        double sum = 0;
        for (int64_t i = 0; i < map->n_row; i++) sum += (double)map->value[h * map->n_row + i];
        if (fabs(sum - (double)map->n_probe) > 1e-3) {
            fail_msg("chunks of %d, layer %d, head %d: attention of %d rows adds up to %g", chunk, layer, h,
                     (int)map->n_probe, sum);
        }
    }
}

/* Every row of the window gives away its whole attention, wherever chunks end. (Graphs of one shape shared a plan of
 * their memory, although one had to leave its attention alone and the other not.) */
static void test_attention_adds_up(void **state) {
    const world *w = *state;
    for (int32_t chunk = 2; chunk <= N_PROMPT; chunk++) {
        judgeq_session_params params = judgeq_session_default_params();
        params.budget = BUDGET;
        judgeq_session *session = start(w, "probe=window:32,reduce=mean", params);
        session->params.chunk = chunk;
        session_on_scores(session, check_sums, &chunk);
        prefill(w, session);
        judgeq_session_free(session);
    }
}

/* Reading together is reading alone. */
static void test_prefill_all(void **state) {
    const world *w = *state;
    const judgeq_model_info *info = judgeq_model_get_info(w->model);
    judgeq_session *together[32];
    const judgeq_preset *preset;
    size_t n = 0;
    for (; (preset = judgeq_preset_at(n)); n++) {
        judgeq_session_params params = judgeq_session_default_params();
        params.budget = BUDGET;
        together[n] = start(w, preset->name, params);
    }
    judgeq_error error = {0};
    if (judgeq_session_prefill_all(together, n, w->prompt, N_PROMPT, &error) != JUDGEQ_OK)
        fail_msg("%s", error.message);
    for (size_t i = 0; i < n; i++) {
        judgeq_session *alone = run(w, judgeq_preset_at(i)->name, BUDGET);
        decode(alone, N_DECODE);
        decode(together[i], N_DECODE);
        for (int32_t l = 0; l < info->n_layer; l++) {
            for (int32_t h = 0; h < info->n_head_kv; h++) {
                size_t n_alone = 0, n_together = 0;
                const int32_t *a = judgeq_session_positions(alone, l, h, &n_alone);
                const int32_t *b = judgeq_session_positions(together[i], l, h, &n_together);
                assert_int_equal(n_alone, n_together);
                if (memcmp(a, b, n_alone * sizeof *a) != 0) fail_msg("%s", judgeq_preset_at(i)->name);
            }
        }
        const double difference = fixture_max_difference(judgeq_session_logits(alone),
                                                         judgeq_session_logits(together[i]), (size_t)info->n_vocab);
        if (difference > SAME_LOGITS) fail_msg("%s: %g", judgeq_preset_at(i)->name, difference);
        judgeq_session_free(alone);
    }
    assert_int_equal(judgeq_session_prefill_all(together, 0, w->prompt, N_PROMPT, &error), JUDGEQ_ERROR_ARGUMENT);
    for (size_t i = 0; i < n; i++) judgeq_session_free(together[i]);
    judgeq_session *session = start(w, "full", judgeq_session_default_params()), *twice[] = {session, session};
    assert_int_equal(judgeq_session_prefill_all(twice, 2, w->prompt, N_PROMPT, &error), JUDGEQ_ERROR_ARGUMENT);
    judgeq_session_free(session);
}

static bool stop_at_second_layer(void *data, int64_t done, int64_t total) {
    int64_t *seen = data;
    *seen = done;
    return done <= total / 2;
}

static void test_rewind(void **state) {
    const world *w = *state;
    const size_t n_vocab = (size_t)judgeq_model_get_info(w->model)->n_vocab;
    const int32_t other[] = {31, 32, 33};
    judgeq_error error = {0};
    judgeq_session *session = run(w, "snapkv", BUDGET), *fresh = run(w, "snapkv", BUDGET);
    decode(session, 3);
    decode(fresh, 2);
    assert_int_equal(judgeq_session_rewind(session, 2, &error), JUDGEQ_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(judgeq_session_decode(session, other[i], &error), JUDGEQ_OK);
        assert_int_equal(judgeq_session_decode(fresh, other[i], &error), JUDGEQ_OK);
    }
    assert_memory_equal(judgeq_session_logits(session), judgeq_session_logits(fresh), n_vocab * sizeof(float));
    assert_int_equal(judgeq_session_rewind(session, 6, &error), JUDGEQ_ERROR_ARGUMENT);
    assert_int_equal(judgeq_session_rewind(session, -1, &error), JUDGEQ_ERROR_ARGUMENT);
    assert_int_equal(judgeq_session_watch(session, &error), JUDGEQ_ERROR_ARGUMENT); /* rows are missing */
    judgeq_session_free(session);
    judgeq_session_free(fresh);
}

static void test_cancel(void **state) {
    const world *w = *state;
    judgeq_session_params params = judgeq_session_default_params();
    int64_t seen = 0;
    params.budget = BUDGET;
    params.progress = stop_at_second_layer;
    params.progress_data = &seen;
    judgeq_session *session = start(w, "judge", params);
    judgeq_error error = {0};
    assert_int_equal(judgeq_session_prefill(session, w->prompt, N_PROMPT, &error), JUDGEQ_ERROR_CANCELLED);
    assert_true(seen > N_PROMPT);
    assert_int_equal(judgeq_session_decode(session, 1, &error), JUDGEQ_ERROR_ARGUMENT);
    judgeq_session_free(session);
}

/* ---- bad input
 * ----------------------------------------------------------------------------------------------------------- */

static void expect_refused(const world *w, const char *text, judgeq_session_params params, judgeq_status code,
                           const char *part) {
    judgeq_policy *policy = NULL;
    judgeq_session *session = NULL;
    judgeq_error error = {0};
    assert_int_equal(judgeq_policy_parse(text, &policy, &error), JUDGEQ_OK);
    params.policy = policy;
    judgeq_status status = judgeq_session_new(w->model, &params, &session, &error);
    if (status == JUDGEQ_OK) status = judgeq_session_prefill(session, w->prompt, N_PROMPT, &error);
    assert_int_equal(status, code);
    if (!strstr(error.message, part)) fail_msg("'%s' does not say '%s'", error.message, part);
    judgeq_session_free(session);
    judgeq_policy_free(policy);
}

static void test_refusals(void **state) {
    const world *w = *state;
    const judgeq_session_params base = judgeq_session_default_params();
    judgeq_session_params params = base;
    expect_refused(w, "snapkv", params, JUDGEQ_ERROR_ARGUMENT, "budget");
    params.budget = -3;
    expect_refused(w, "snapkv", params, JUDGEQ_ERROR_ARGUMENT, "budget");
    params.budget = 0;
    params.budget_fraction = 1.01f;
    expect_refused(w, "snapkv", params, JUDGEQ_ERROR_ARGUMENT, "up to 100");
    params = base;
    params.budget = 64;
    expect_refused(w, "judge", params, JUDGEQ_ERROR_ARGUMENT, "judge");
    params.judge = w->judge;
    expect_refused(w, "probe=soft:99", params, JUDGEQ_ERROR_ARGUMENT, "99");
    params.defer = true;
    expect_refused(w, "judge", params, JUDGEQ_ERROR_ARGUMENT, "defer");
    params = base;
    params.n_ctx = 20;
    expect_refused(w, "full", params, JUDGEQ_ERROR_LIMIT, "150");
}

/* What a judge says about its scores is its file's, and wrong there. */
static void test_a_judge_that_says_too_much(void **state) {
    const world *w = *state;
    judgeq_judge_info info = *judgeq_judge_get_info(w->judge);
    judgeq_judge *judge = NULL;
    info.choices = "smooth=none,keep=none";
    assert_int_equal(judgeq_judge_new(judgeq_judge_soft_tokens(w->judge), &info, &judge, NULL), JUDGEQ_OK);
    judgeq_session_params params = judgeq_session_default_params();
    params.budget = 64;
    params.judge = judge;
    expect_refused(w, "judge-later", params, JUDGEQ_ERROR_FORMAT, "the judge's file says \"smooth=none,keep=none\"");
    judgeq_judge_free(judge);
}

static void test_bad_tokens(void **state) {
    const world *w = *state;
    judgeq_error error = {0};
    judgeq_session *session = start(w, "full", judgeq_session_default_params());
    const int32_t bad[] = {1, -1}, good[] = {1, 2};
    assert_int_equal(judgeq_session_prefill(session, good, 0, &error), JUDGEQ_ERROR_ARGUMENT);
    assert_int_equal(judgeq_session_prefill(session, bad, 2, &error), JUDGEQ_ERROR_ARGUMENT);
    assert_int_equal(judgeq_session_decode(session, 1, &error), JUDGEQ_ERROR_ARGUMENT);
    assert_int_equal(judgeq_session_prefill(session, good, 2, &error), JUDGEQ_OK);
    assert_int_equal(judgeq_session_prefill(session, good, 2, &error), JUDGEQ_ERROR_ARGUMENT);
    assert_int_equal(judgeq_session_decode(session, 1 << 30, &error), JUDGEQ_ERROR_ARGUMENT);
    judgeq_session_free(session);
}

/* ---- set-up
 * -------------------------------------------------------------------------------------------------------------- */

static void world_init(world *w, const char *spec_name) {
    tiny_spec spec;
    char path[512];
    judgeq_error error = {0};
    assert_int_equal(fixture_folder_new(w->folder, sizeof w->folder), 0);
    assert_true(tiny_spec_find(spec_name, &spec));
    snprintf(path, sizeof path, "%s/model.gguf", w->folder);
    assert_int_equal(tiny_model_write(&spec, path), 0);
    if (judgeq_model_load(path, &w->model, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    w->judge = tiny_judge(w->model, judgeq_model_get_info(w->model)->n_layer, N_SOFT);
    tiny_prompt(3, judgeq_model_get_info(w->model)->n_vocab, w->prompt, N_PROMPT);
}

static int set_up_llama(void **state) {
    world *w = calloc(1, sizeof *w);
    world_init(w, "gqa-3");
    *state = w;
    return 0;
}

static int set_up_qwen(void **state) {
    world *w = calloc(1, sizeof *w);
    world_init(w, "qwen3");
    *state = w;
    return 0;
}

/* Rows as wide as its feed forward's: where memory is shared, other tensors fit into attention's. */
static int set_up_wide(void **state) {
    world *w = calloc(1, sizeof *w);
    world_init(w, "f32");
    *state = w;
    return 0;
}

static int tear_down(void **state) {
    world *w = *state;
    judgeq_judge_free(w->judge);
    judgeq_model_free(w->model);
    fixture_folder_remove(w->folder);
    free(w);
    return 0;
}

/* ---- a file that loses a part ------------------------------------------------------------------------------------ */

typedef enum moment {
    BEFORE_SESSION,
    BEFORE_PREFILL,
    WITHIN_PREFILL,
    BEFORE_DECODING,
    WITHIN_DECODING,
    N_MOMENT
} moment;

typedef struct shrinking {
    world w;
    char path[512];
    moment when;
} shrinking;

static void reach(shrinking *s, moment now) {
    if (now == s->when) assert_int_equal(truncate(s->path, 4096), 0);
}

/* At the second layer. The computation then reads what is missing, or is told before. */
static bool shrink_within(void *data, int64_t done, int64_t total) {
    if (done >= total / 2) reach(data, WITHIN_PREFILL);
    return true;
}

static judgeq_status compute(shrinking *s, judgeq_error *error) {
    judgeq_session_params params = judgeq_session_default_params();
    judgeq_session *session = NULL;
    params.progress = shrink_within;
    params.progress_data = s;
    params.n_threads = 1;
    reach(s, BEFORE_SESSION);
    judgeq_status status = judgeq_session_new(s->w.model, &params, &session, error);
    reach(s, BEFORE_PREFILL);
    if (status == JUDGEQ_OK) status = judgeq_session_prefill(session, s->w.prompt, N_PROMPT, error);
    reach(s, BEFORE_DECODING);
    for (int i = 0; status == JUDGEQ_OK && i < N_DECODE; i++) {
        if (i == N_DECODE / 2) reach(s, WITHIN_DECODING);
        status = judgeq_session_decode(session, i, error);
    }
    judgeq_session_free(session);
    return status;
}

static void test_shrinking_file(void **state) {
    (void)state;
    judgeq_guard_mappings();
    for (moment when = 0; when <= N_MOMENT; when++) {
        shrinking s = {.when = when};
        judgeq_error error = {0};
        world_init(&s.w, "gqa-3");
        snprintf(s.path, sizeof s.path, "%s/model.gguf", s.w.folder);
        const judgeq_status status = compute(&s, &error);
        assert_int_equal(status, when == N_MOMENT ? JUDGEQ_OK : JUDGEQ_ERROR_IO);
        if (status != JUDGEQ_OK) {
            assert_non_null(strstr(error.message, s.path));
            assert_non_null(strstr(error.message, "shorter"));
            s.when = N_MOMENT;
            assert_int_equal(compute(&s, NULL), JUDGEQ_ERROR_IO); /* and it stays so */
        }
        judgeq_judge_free(s.w.judge);
        judgeq_model_free(s.w.model);
        fixture_folder_remove(s.w.folder);
    }
}

/* The file has its size again, as a download that was started anew has, but zeros were read. */
static void test_lost_pages(void **state) {
    (void)state;
    shrinking s = {.when = N_MOMENT};
    judgeq_error error = {0};
    struct stat old;
    world_init(&s.w, "gqa-3");
    snprintf(s.path, sizeof s.path, "%s/model.gguf", s.w.folder);
    judgeq_guard_mappings();
    assert_int_equal(stat(s.path, &old), 0);
    assert_int_equal(truncate(s.path, 4096), 0);
    assert_int_equal(*(const volatile unsigned char *)(s.w.model->file.map.data + s.w.model->file.map.size - 1), 0);
    assert_int_equal(truncate(s.path, old.st_size), 0);
    assert_int_equal(compute(&s, &error), JUDGEQ_ERROR_IO);
    assert_non_null(strstr(error.message, s.path));
    judgeq_judge_free(s.w.judge);
    judgeq_model_free(s.w.model);
    fixture_folder_remove(s.w.folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_budget_above_prompt_is_full),
        cmocka_unit_test(test_any_budget_of_any_prompt),
        cmocka_unit_test(test_rows_within_budget),
        cmocka_unit_test(test_positions),
        cmocka_unit_test(test_head_without_rows),
        cmocka_unit_test(test_kept_rows_are_the_prompts),
        cmocka_unit_test(test_prefill_peak),
        cmocka_unit_test(test_deferred),
        cmocka_unit_test(test_chunks_do_not_matter),
        cmocka_unit_test(test_prefill_all),
        cmocka_unit_test(test_rewind),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_a_judge_that_says_too_much),
        cmocka_unit_test(test_bad_tokens),
    };
    const struct CMUnitTest files[] = {cmocka_unit_test(test_shrinking_file), cmocka_unit_test(test_lost_pages)};
    const struct CMUnitTest wide[] = {cmocka_unit_test(test_attention_adds_up)};
    int failed = cmocka_run_group_tests_name("llama, GQA 3", tests, set_up_llama, tear_down);
    failed += cmocka_run_group_tests_name("wide", wide, set_up_wide, tear_down);
    failed += cmocka_run_group_tests_name("files", files, NULL, NULL);
    return failed + cmocka_run_group_tests_name("qwen3", tests, set_up_qwen, tear_down);
}
