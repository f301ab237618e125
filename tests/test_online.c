/* Online training on tiny models: a set that grows while a judge is trained on it. */
#include "judgeq.h"
#include "tiny_model.h"
#include "train/copied.h"
#include "train/example.h"
#include "train/example_store.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

enum { SOFT = 4, VALUES = SOFT * 64, PROMPT = 60, RESPONSE = 6 };
/* 10 examples, 2 of them held out; 3 steps on each of the others. */
enum { EXAMPLES = 10, HELD = 2, REPLAY = 3, RING = 4, STEPS = (EXAMPLES - HELD) * REPLAY };

static char model_path[512], checkpoint[512];
static judgeq_model *model;

static judgeq_trainer_params stream_params(void) {
    judgeq_trainer_params params = judgeq_trainer_default_params();
    params.n_soft = SOFT;
    params.n_stream = EXAMPLES;
    params.n_ring = RING;
    params.n_replay = REPLAY;
    params.n_accumulate = 2;
    params.n_warm_up = 3;
    params.rate = 0.05;
    params.heldout = 0.2;
    params.n_threads = 1;
    params.seed = 7;
    params.scratch = fixture_folder;
    return params;
}

/* ---- examples ---------------------------------------------------------------------------------------------------- */

typedef struct tokens {
    int32_t prompt[PROMPT + EXAMPLES], response[RESPONSE];
    size_t n_prompt;
} tokens;

/* Example i of a sequence of examples. */
static tokens tokens_of(uint64_t sequence, size_t i) {
    tokens t = {.n_prompt = PROMPT + i};
    tiny_prompt(100 * sequence + i, 200, t.prompt, t.n_prompt);
    tiny_prompt(100 * sequence + i + 50, 200, t.response, RESPONSE);
    return t;
}

/* A session that has read the prompt and decoded the response but for its last token. */
static judgeq_session *answer(const tokens *t, int32_t n_decoded) {
    judgeq_session_params params = judgeq_session_default_params();
    params.n_threads = 1;
    judgeq_session *session = NULL;
    CHECK(judgeq_session_new(model, &params, &session, error));
    CHECK(judgeq_session_prefill(session, t->prompt, t->n_prompt, error));
    CHECK(judgeq_session_watch(session, error));
    for (int32_t i = 0; i < n_decoded; i++) CHECK(judgeq_session_decode(session, t->response[i], error));
    return session;
}

/* A run, and the set that it grows. */
typedef struct run {
    judgeq_training_set *set;
    judgeq_trainer *trainer;
} run;

static run open_run(const judgeq_trainer_params *params) {
    run r = {0};
    CHECK(judgeq_training_set_new("stream", "0123456789abcdef", &r.set, error));
    CHECK(judgeq_trainer_new(model, r.set, params, &r.trainer, error));
    return r;
}

static void close_run(run *r) {
    judgeq_trainer_free(r->trainer);
    judgeq_training_set_free(r->set);
}

/* held, others: sequences that the held-out and the other examples come from. by_session: as they come, from the
 * session that answered; otherwise the trainer reads them when it needs them. */
typedef struct source {
    uint64_t held, others;
    bool by_session;
} source;

static void add(const run *r, source from) {
    const size_t i = judgeq_training_set_get_info(r->set)->n_examples;
    const tokens t = tokens_of(i < HELD ? from.held : from.others, i);
    CHECK(judgeq_training_set_add(r->set, t.prompt, t.n_prompt, t.response, RESPONSE, error));
    if (!from.by_session) return;
    judgeq_session *session = answer(&t, RESPONSE - 1);
    CHECK(judgeq_trainer_take(r->trainer, session, error));
    judgeq_session_free(session);
}

static void take_steps(const run *r, source from, int64_t until, double *loss) {
    while (judgeq_trainer_steps_done(r->trainer) < until) {
        judgeq_training_step step;
        while (judgeq_trainer_wants(r->trainer)) add(r, from);
        CHECK(judgeq_trainer_step(r->trainer, &step, error));
        if (loss) loss[step.step - 1] = step.loss;
    }
}

static void take_soft(const run *r, float soft[VALUES]) {
    judgeq_judge *judge = NULL;
    CHECK(judgeq_trainer_judge(r->trainer, "test", &judge, error));
    memcpy(soft, judgeq_judge_soft_tokens(judge), VALUES * sizeof *soft);
    judgeq_judge_free(judge);
}

static void whole_run(const judgeq_trainer_params *params, source from, float soft[VALUES], double loss[STEPS]) {
    run r = open_run(params);
    assert_int_equal(judgeq_trainer_steps(r.trainer), STEPS);
    take_steps(&r, from, STEPS, loss);
    assert_int_equal(judgeq_training_set_get_info(r.set)->n_examples, EXAMPLES);
    take_soft(&r, soft);
    close_run(&r);
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

static void test_an_example_comes_when_it_is_needed(void **state) {
    (void)state;
    const judgeq_trainer_params params = stream_params();
    const source from = {1, 1, true};
    run r = open_run(&params);
    judgeq_training_step step;
    judgeq_error refusal = {0};
    assert_int_equal(judgeq_trainer_step(r.trainer, &step, &refusal), JUDGEQ_ERROR_ARGUMENT);
    for (size_t i = 0; i < HELD; i++) add(&r, from);
    for (int64_t done = 0; done < STEPS; done++) {
        assert_int_equal(judgeq_trainer_wants(r.trainer), done % REPLAY == 0);
        if (done % REPLAY == 0) add(&r, from);
        CHECK(judgeq_trainer_step(r.trainer, &step, error));
        assert_int_equal(step.n_examples, params.n_accumulate);
    }
    assert_false(judgeq_trainer_wants(r.trainer));
    judgeq_measures measures;
    CHECK(judgeq_trainer_measure(r.trainer, &measures, error));
    assert_int_equal(measures.n_examples, HELD);
    close_run(&r);
}

static void test_learns(void **state) {
    (void)state;
    const judgeq_trainer_params params = stream_params();
    const source from = {1, 1, true};
    run r = open_run(&params);
    judgeq_measures before, after;
    for (size_t i = 0; i < HELD; i++) add(&r, from);
    CHECK(judgeq_trainer_measure(r.trainer, &before, error));
    take_steps(&r, from, STEPS, NULL);
    CHECK(judgeq_trainer_measure(r.trainer, &after, error));
    print_message("held out %.3f -> %.3f\n", before.loss, after.loss);
    assert_true(after.loss < 0.95 * before.loss);
    close_run(&r);
}

/* Stopped after every step, and continued from the checkpoint and the examples' tokens; a session's rows are those that
 * the trainer reads itself. */
static void test_continues_bit_for_bit(void **state) {
    (void)state;
    const judgeq_trainer_params params = stream_params();
    float whole[VALUES], soft[VALUES];
    double losses[STEPS], loss[STEPS];
    whole_run(&params, (source){1, 1, true}, whole, losses);
    for (int64_t stop = 0; stop <= STEPS; stop++) {
        run r = open_run(&params);
        take_steps(&r, (source){1, 1, stop % 2 == 0}, stop, loss);
        const size_t come = judgeq_training_set_get_info(r.set)->n_examples;
        CHECK(judgeq_trainer_save(r.trainer, checkpoint, error));
        close_run(&r);
        r = open_run(&params);
        CHECK(judgeq_trainer_restore(r.trainer, checkpoint, error));
        for (size_t i = 0; i < come; i++) add(&r, (source){1, 1, false});
        take_steps(&r, (source){1, 1, true}, STEPS, loss);
        take_soft(&r, soft);
        close_run(&r);
        assert_memory_equal(loss, losses, sizeof loss);
        assert_memory_equal(soft, whole, sizeof soft);
    }
}

static void test_held_out_examples_are_not_learnt(void **state) {
    (void)state;
    const judgeq_trainer_params params = stream_params();
    float one[VALUES], other[VALUES], third[VALUES];
    double loss[STEPS];
    whole_run(&params, (source){1, 1, false}, one, loss);
    whole_run(&params, (source){2, 1, false}, other, loss);
    whole_run(&params, (source){1, 2, false}, third, loss);
    assert_memory_equal(one, other, sizeof one);
    assert_memory_not_equal(one, third, sizeof one);
}

/* With room for two examples in the ring, a step's loss does not depend on those before. */
static void test_only_recent_examples_are_replayed(void **state) {
    (void)state;
    judgeq_trainer_params params = stream_params();
    params.n_ring = 2;
    params.rate = 1e-12; /* the soft tokens stay, so that a loss tells which examples it is of */
    run r = open_run(&params);
    double first[STEPS] = {0}, second[STEPS] = {0};
    take_steps(&r, (source){1, 1, false}, STEPS, first);
    close_run(&r);
    r = open_run(&params);
    take_steps(&r, (source){1, 2, false}, 3 * REPLAY, second);
    take_steps(&r, (source){1, 1, false}, STEPS, second);
    close_run(&r);
    for (int i = 0; i < STEPS; i++) {
        const bool old = i < 3 * REPLAY, mixed = i / REPLAY == 3; /* the ring still holds the third */
        if (old) assert_true(fabs(first[i] - second[i]) > 1e-6);
        if (!old && !mixed) assert_float_equal(first[i], second[i], 1e-6);
    }
}

static judgeq_session_params exact_params(void) {
    judgeq_session_params params = judgeq_session_default_params();
    params.n_threads = 1;
    params.kv_type = JUDGEQ_KV_F32;
    return params;
}

static judgeq_status read_example(const judgeq_session_params *params, judgeq_target target, const tokens *t, size_t n,
                                  const unsigned char *answer, example **out, judgeq_error *error) {
    const example_text text = {t->prompt, t->response, answer, t->n_prompt, n};
    return example_read(model, params, target, &text, SOFT, out, error);
}

/* What a set's example gives, read in one pass, is what decoding sees: F32 weights, so that only rounding differs. */
static void test_decoding_sees_what_reading_sees(void **state) {
    (void)state;
    const judgeq_session_params params = exact_params();
    const tokens t = tokens_of(3, 0);
    example *read = NULL, *decoded = NULL;
    CHECK(read_example(&params, JUDGEQ_TARGET_MEAN, &t, RESPONSE, NULL, &read, error));
    CHECK(example_answer(model, &params, t.prompt, t.n_prompt, t.response, RESPONSE, SOFT, &decoded, error));
    const size_t n = (size_t)read->n_layer * (size_t)read->n_head * t.n_prompt;
    const double off = fixture_relative(decoded->target, read->target, n);
    print_message("targets differ by %.2g\n", off);
    assert_true(off < 1e-5);
    for (int32_t l = 0; l < read->n_layer; l++) {
        const size_t n_key = (size_t)read->layer[l].head[0].n_row * (size_t)read->layer[l].head_dim;
        assert_int_equal(decoded->layer[l].head[0].n_row, t.n_prompt);
        assert_true(fixture_relative(decoded->layer[l].k->data, read->layer[l].k->data, n_key) < 1e-5);
    }
    example_free(read);
    example_free(decoded);
}

/* Row r of the response's attention does not depend on what follows: r times the mean of r rows, less what the rows
 * before it add up to. row [RESPONSE - 1, n], the caller's. */
static double *rows_of(const judgeq_session_params *params, const tokens *t, size_t n) {
    double *row = calloc((RESPONSE - 1) * n, sizeof *row), *sum = calloc(n, sizeof *sum);
    for (size_t r = 1; r < RESPONSE; r++) {
        example *mean = NULL;
        CHECK(read_example(params, JUDGEQ_TARGET_MEAN, t, r + 1, NULL, &mean, error));
        for (size_t i = 0; i < n; i++) {
            row[(r - 1) * n + i] = (double)r * (double)mean->target[i] - sum[i];
            sum[i] += row[(r - 1) * n + i];
        }
        example_free(mean);
    }
    free(sum);
    return row;
}

/* The target max is the largest of these rows. */
static void test_the_target_max(void **state) {
    (void)state;
    const judgeq_session_params params = exact_params();
    const tokens t = tokens_of(3, 0);
    example *most = NULL;
    CHECK(read_example(&params, JUDGEQ_TARGET_MAX, &t, RESPONSE, NULL, &most, error));
    const size_t n = (size_t)most->n_layer * (size_t)most->n_head * t.n_prompt;
    double *row = rows_of(&params, &t, n);
    float *expected = calloc(n, sizeof *expected);
    for (size_t i = 0; i < (RESPONSE - 1) * n; i++) {
        if (row[i] > (double)expected[i % n]) expected[i % n] = (float)row[i];
    }
    assert_true(fixture_relative(most->target, expected, n) < 1e-5);
    free(row);
    free(expected);
    example_free(most);
}

/* The target copied is the mean of the rows that copied_rows names. */
static void test_the_target_copied(void **state) {
    (void)state;
    const judgeq_session_params params = exact_params();
    tokens t = tokens_of(3, 0);
    unsigned char answer[RESPONSE] = {0}, counted[RESPONSE - 1];
    for (size_t i = 2; i < RESPONSE; i++) answer[i] = 1;
    t.response[3] = t.prompt[5];
    t.response[RESPONSE - 1] = t.prompt[7];
    const size_t n_counted = copied_rows(t.prompt, t.n_prompt, t.response, answer, RESPONSE, counted);
    assert_true(n_counted > 0 && n_counted < RESPONSE - 1);
    example *copied = NULL;
    CHECK(read_example(&params, JUDGEQ_TARGET_COPIED, &t, RESPONSE, answer, &copied, error));
    const size_t n = (size_t)copied->n_layer * (size_t)copied->n_head * t.n_prompt;
    double *row = rows_of(&params, &t, n);
    float *expected = calloc(n, sizeof *expected);
    for (size_t r = 0; r < RESPONSE - 1; r++) {
        for (size_t i = 0; counted[r] && i < n; i++) expected[i] += (float)(row[r * n + i] / (double)n_counted);
    }
    assert_true(fixture_relative(copied->target, expected, n) < 1e-5);
    free(row);
    free(expected);
    example_free(copied);
}

static void test_other_targets_are_refused(void **state) {
    (void)state;
    judgeq_trainer_params params = stream_params();
    judgeq_training_set *set = NULL;
    judgeq_trainer *trainer = NULL;
    judgeq_error refusal = {0};
    CHECK(judgeq_training_set_new("stream", "0", &set, error));
    for (int i = 0; i < 2; i++) {
        params.target = i == 0 ? JUDGEQ_TARGET_MAX : JUDGEQ_TARGET_COPIED;
        assert_int_equal(judgeq_trainer_new(model, set, &params, &trainer, &refusal), JUDGEQ_ERROR_ARGUMENT);
        assert_non_null(strstr(refusal.message, i == 0 ? "target max" : "target copied"));
        assert_null(trainer);
    }
    judgeq_training_set_free(set);
}

static void test_a_session_of_something_else_is_refused(void **state) {
    (void)state;
    const judgeq_trainer_params params = stream_params();
    run r = open_run(&params);
    const tokens t = tokens_of(1, 0), other = tokens_of(1, 3);
    judgeq_error refusal = {0};
    judgeq_session *session = answer(&t, RESPONSE - 2);
    assert_int_equal(judgeq_trainer_take(r.trainer, session, &refusal), JUDGEQ_ERROR_ARGUMENT); /* no example yet */
    CHECK(judgeq_training_set_add(r.set, t.prompt, t.n_prompt, t.response, RESPONSE, error));
    assert_int_equal(judgeq_trainer_take(r.trainer, session, &refusal), JUDGEQ_ERROR_MISMATCH);
    assert_non_null(strstr(refusal.message, "watched 4"));
    judgeq_session_free(session);
    session = answer(&other, RESPONSE - 1);
    assert_int_equal(judgeq_trainer_take(r.trainer, session, &refusal), JUDGEQ_ERROR_MISMATCH);
    judgeq_session_free(session);
    close_run(&r);
}

/* ---- the store --------------------------------------------------------------------------------------------------- */

static void expect_stored(const example_store *store, size_t index, const example *e) {
    example *found = NULL;
    CHECK(example_store_take(store, index, e->layer[0].backend, &found, error));
    assert_non_null(found);
    assert_int_equal(found->n_prompt, e->n_prompt);
    assert_memory_equal(found->target, e->target,
                        (size_t)e->n_layer * (size_t)e->n_head * (size_t)e->n_prompt * sizeof *e->target);
    for (int32_t l = 0; l < e->n_layer; l++) {
        assert_memory_equal(found->layer[l].k->data, e->layer[l].k->data, ggml_nbytes(e->layer[l].k));
        assert_memory_equal(found->layer[l].v->data, e->layer[l].v->data, ggml_nbytes(e->layer[l].v));
        assert_int_equal(found->layer[l].head[0].position[e->n_prompt - 1], e->n_prompt - 1);
    }
    example_free(found);
}

static void test_store(void **state) {
    (void)state;
    judgeq_session_params params = judgeq_session_default_params();
    params.n_threads = 1;
    example *e[3] = {0}, *found = NULL;
    ggml_backend_t backend = ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_CPU, NULL);
    for (size_t i = 0; i < 3; i++) {
        const tokens t = tokens_of(4, i);
        CHECK(read_example(&params, JUDGEQ_TARGET_MEAN, &t, RESPONSE, NULL, &e[i], error));
        for (int32_t l = 0; l < e[i]->n_layer; l++) e[i]->layer[l].backend = backend; /* the session's is gone */
    }
    example_store store;
    CHECK(example_store_init(&store, fixture_folder, (size_t)1 << 30, error));
    CHECK(example_store_grow(&store, 3, error));
    for (size_t i = 0; i < 3; i++) example_store_put(&store, i, e[i]);
    const size_t bytes = store.bytes;
    for (size_t i = 0; i < 3; i++) expect_stored(&store, i, e[i]);
    example_store_drop(&store, 1);
    CHECK(example_store_take(&store, 1, backend, &found, error));
    assert_null(found);
    assert_true(store.bytes <= bytes);
    expect_stored(&store, 2, e[2]);
    store.most = store.bytes; /* full */
    example_store_put(&store, 1, e[1]);
    CHECK(example_store_take(&store, 1, backend, &found, error));
    assert_null(found);
    example_store_free(&store);
    judgeq_error refusal = {0};
    assert_int_equal(example_store_init(&store, "/no/such/folder", 1, &refusal), JUDGEQ_ERROR_IO);
    assert_non_null(strstr(refusal.message, "/no/such/folder"));
    for (size_t i = 0; i < 3; i++) example_free(e[i]);
    ggml_backend_free(backend);
}

static int set_up(void **state) {
    tiny_spec spec;
    if (fixture_set_up(state) != 0 || !tiny_spec_find("rope-base", &spec)) return -1;
    snprintf(model_path, sizeof model_path, "%s/tiny.gguf", fixture_folder);
    snprintf(checkpoint, sizeof checkpoint, "%s/checkpoint", fixture_folder);
    if (tiny_model_write(&spec, model_path) != 0) return -1;
    return judgeq_model_load(model_path, &model, NULL) == JUDGEQ_OK ? 0 : -1;
}

static int tear_down(void **state) {
    judgeq_model_free(model);
    return fixture_tear_down(state);
}

TESTS_MAIN(set_up, tear_down, cmocka_unit_test(test_an_example_comes_when_it_is_needed), cmocka_unit_test(test_learns),
           cmocka_unit_test(test_continues_bit_for_bit), cmocka_unit_test(test_held_out_examples_are_not_learnt),
           cmocka_unit_test(test_only_recent_examples_are_replayed),
           cmocka_unit_test(test_decoding_sees_what_reading_sees), cmocka_unit_test(test_the_target_max),
           cmocka_unit_test(test_the_target_copied), cmocka_unit_test(test_other_targets_are_refused),
           cmocka_unit_test(test_a_session_of_something_else_is_refused), cmocka_unit_test(test_store))
