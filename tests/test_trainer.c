/* Training runs on tiny models: they learn, they stop and continue bit for bit, and they say what is wrong with a set.
 */
#include "judgeq.h"
#include "tiny_model.h"
#include "train/layers.h"
#include "train/measure.h"
#include "train/training_set.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

enum { EXAMPLES = 12, SOFT = 4, VALUES = SOFT * 64, BAD_TOKEN = 250 };

static char model_path[512], set_path[512], checkpoint[512];
static judgeq_model *model;

/* ---- sets -------------------------------------------------------------------------------------------------------- */

static int write_header(char *text, size_t size, const char *fingerprint) {
    return snprintf(text, size, "{\"judgeq_data\": 1, \"model_fingerprint\": \"%s\"}\n", fingerprint);
}

static int write_tokens(char *text, size_t size, const char *key, uint64_t seed, int n) {
    int32_t tokens[128];
    tiny_prompt(seed, 200, tokens, (size_t)n);
    int used = snprintf(text, size, "\"%s\": [", key);
    for (int i = 0; i < n; i++) used += snprintf(text + used, size - (size_t)used, "%s%d", i ? ", " : "", tokens[i]);
    return used + snprintf(text + used, size - (size_t)used, "]");
}

static int write_example(char *text, size_t size, uint64_t seed, int n_prompt) {
    int used = snprintf(text, size, "{");
    used += write_tokens(text + used, size - (size_t)used, "prompt", seed, n_prompt);
    used += snprintf(text + used, size - (size_t)used, ", ");
    used += write_tokens(text + used, size - (size_t)used, "response", seed + 1000, 6);
    return used + snprintf(text + used, size - (size_t)used, "}\n");
}

static void write_set(const char *path) {
    static char text[1 << 16];
    int used = write_header(text, sizeof text, judgeq_model_get_info(model)->fingerprint);
    for (uint64_t i = 0; i < EXAMPLES; i++) {
        used += write_example(text + used, sizeof text - (size_t)used, i, 70 + (int)i);
    }
    assert_int_equal(fixture_write(path, text, (size_t)used), 0);
}

static judgeq_training_set *load_set(const char *path) {
    judgeq_training_set *set = NULL;
    CHECK(judgeq_training_set_load(path, model, &set, error));
    return set;
}

/* The header and then `lines`. */
static judgeq_status load_lines(const char *lines, judgeq_training_set **set, judgeq_error *error) {
    char text[8192], path[512];
    const int used = write_header(text, sizeof text, judgeq_model_get_info(model)->fingerprint);
    const int all = used + snprintf(text + used, sizeof text - (size_t)used, "%s", lines);
    snprintf(path, sizeof path, "%s/lines.jsonl", fixture_folder);
    assert_int_equal(fixture_write(path, text, (size_t)all), 0);
    return judgeq_training_set_load(path, model, set, error);
}

static void test_set(void **state) {
    (void)state;
    judgeq_training_set *set = load_set(set_path);
    const judgeq_training_set_info *info = judgeq_training_set_get_info(set);
    assert_int_equal(info->n_examples, EXAMPLES);
    assert_int_equal(info->n_broken, 0);
    assert_int_equal(info->n_tokens, EXAMPLES * (70 + 6) + EXAMPLES * (EXAMPLES - 1) / 2);
    assert_int_equal(strlen(info->hash), 32);
    judgeq_training_set_free(set);
}

/* Which tokens of a response are the model's: all, those of its parts, none; and parts that are not in it. */
static void test_answers(void **state) {
    (void)state;
    judgeq_training_set *set = NULL;
    CHECK(load_lines("{\"prompt\": [1, 2], \"response\": [3, 4, 5]}\n"
                     "{\"prompt\": [1], \"response\": [3, 4, 5, 6], \"answers\": [[1, 1], [3, 1]]}\n"
                     "{\"prompt\": [1], \"response\": [3], \"answers\": []}\n"
                     "{\"prompt\": [1], \"response\": [3, 4], \"answers\": [[1, 2]]}\n"
                     "{\"prompt\": [1], \"response\": [3, 4], \"answers\": [[-1, 2]]}\n"
                     "{\"prompt\": [1], \"response\": [3, 4], \"answers\": [[0, 9223372036854775807]]}\n"
                     "{\"prompt\": [1], \"response\": [3, 4], \"answers\": [[0]]}\n"
                     "{\"prompt\": [1], \"response\": [3, 4], \"answers\": 1}\n",
                     &set, error));
    static const unsigned char expected[] = {0, 0, 1, 1, 1, 0, 0, 1, 0, 1, 0, 0};
    assert_int_equal(set->info.n_examples, 3);
    assert_int_equal(set->info.n_broken, 5);
    assert_non_null(strstr(set->info.broken, "\"answers\""));
    assert_int_equal(set->info.n_tokens, sizeof expected);
    assert_memory_equal(set->answer, expected, sizeof expected);
    judgeq_training_set_free(set);
}

static void test_broken_lines(void **state) {
    (void)state;
    judgeq_training_set *set = NULL;
    judgeq_error refusal = {0};
    CHECK(load_lines("{\"prompt\": [1, 2], \"response\": [3, 4]}\n"
                     "{\"prompt\": [1, 2], \"response\": [3, 4\n"
                     "{\"prompt\": [1, 2]}\n"
                     "{\"prompt\": [], \"response\": [3]}\n"
                     "{\"prompt\": [1, -1], \"response\": [3]}\n"
                     "{\"prompt\": [1, 1.5], \"response\": [3]}\n"
                     "{\"prompt\": [1], \"response\": [99999999]}\n"
                     "\n"
                     "[]\n"
                     "{\"prompt\": [5], \"response\": [6]}",
                     &set, error));
    const judgeq_training_set_info *info = judgeq_training_set_get_info(set);
    assert_int_equal(info->n_examples, 2);
    assert_int_equal(info->n_broken, 8);
    assert_int_equal(info->n_tokens, 6);
    assert_non_null(strstr(info->broken, "lines.jsonl:3: not JSON"));
    judgeq_training_set_free(set);
    assert_int_equal(load_lines("{\"prompt\": 1}\n", &set, &refusal), JUDGEQ_ERROR_FORMAT);
    assert_non_null(strstr(refusal.message, "holds no example"));
    assert_null(set);
}

static void test_refused_sets(void **state) {
    (void)state;
    char path[512], text[256];
    judgeq_training_set *set = NULL;
    judgeq_error error = {0};
    snprintf(path, sizeof path, "%s/other.jsonl", fixture_folder);
    const int n = write_header(text, sizeof text, "0123456789abcdef0123456789abcdef");
    assert_int_equal(fixture_write(path, text, (size_t)n), 0);
    assert_int_equal(judgeq_training_set_load(path, model, &set, &error), JUDGEQ_ERROR_MISMATCH);
    assert_non_null(strstr(error.message, "0123456789abcdef0123456789abcdef"));
    assert_int_equal(fixture_write(path, "{}\n", 3), 0);
    assert_int_equal(judgeq_training_set_load(path, model, &set, &error), JUDGEQ_ERROR_FORMAT);
    assert_int_equal(fixture_write(path, "{\"judgeq_data\": 2}\n", 19), 0);
    assert_int_equal(judgeq_training_set_load(path, model, &set, &error), JUDGEQ_ERROR_FORMAT);
    assert_int_equal(fixture_write(path, "words\n", 6), 0);
    assert_int_equal(judgeq_training_set_load(path, model, &set, &error), JUDGEQ_ERROR_FORMAT);
    assert_int_equal(judgeq_training_set_load("/no/such/file", model, &set, &error), JUDGEQ_ERROR_IO);
}

/* ---- runs -------------------------------------------------------------------------------------------------------- */

static judgeq_trainer_params test_params(void) {
    judgeq_trainer_params params = judgeq_trainer_default_params();
    params.n_soft = SOFT;
    params.n_epochs = 2;
    params.n_accumulate = 3;
    params.heldout = 0.25;
    params.n_threads = 1;
    params.seed = 7;
    params.scratch = fixture_folder;
    return params;
}

static judgeq_trainer *open_trainer(const judgeq_training_set *set, const judgeq_trainer_params *params) {
    judgeq_trainer *trainer = NULL;
    CHECK(judgeq_trainer_new(model, set, params, &trainer, error));
    return trainer;
}

static void take_steps(judgeq_trainer *trainer, int n, judgeq_training_step *steps) {
    for (int i = 0; i < n; i++) CHECK(judgeq_trainer_step(trainer, &steps[i], error));
}

static void take_soft(const judgeq_trainer *trainer, float soft[VALUES]) {
    judgeq_judge *judge = NULL;
    CHECK(judgeq_trainer_judge(trainer, "test", &judge, error));
    memcpy(soft, judgeq_judge_soft_tokens(judge), VALUES * sizeof *soft);
    judgeq_judge_free(judge);
}

static void expect_same_steps(const judgeq_training_step *a, const judgeq_training_step *b, int n) {
    for (int i = 0; i < n; i++) {
        assert_int_equal(a[i].step, b[i].step);
        assert_int_equal(a[i].epoch, b[i].epoch);
        assert_int_equal(a[i].n_examples, b[i].n_examples);
        assert_memory_equal(&a[i].loss, &b[i].loss, sizeof a[i].loss);
        assert_memory_equal(&a[i].gradient, &b[i].gradient, sizeof a[i].gradient);
        assert_memory_equal(&a[i].rate, &b[i].rate, sizeof a[i].rate);
    }
}

/* 9 examples to train on, 3 at a time, twice: 6 steps. */
enum { STEPS = 6 };

typedef struct outcome {
    judgeq_training_step step[STEPS];
    float soft[VALUES];
} outcome;

static outcome whole_run(const judgeq_training_set *set, const judgeq_trainer_params *params) {
    outcome out;
    judgeq_trainer *trainer = open_trainer(set, params);
    assert_int_equal(judgeq_trainer_steps(trainer), STEPS);
    take_steps(trainer, STEPS, out.step);
    take_soft(trainer, out.soft);
    judgeq_trainer_free(trainer);
    return out;
}

static void test_learns(void **state) {
    (void)state;
    judgeq_training_set *set = load_set(set_path);
    judgeq_trainer_params params = test_params();
    params.n_epochs = 30;
    params.n_warm_up = 5;
    params.rate = 0.05;
    judgeq_trainer *trainer = open_trainer(set, &params);
    judgeq_measures before, after;
    CHECK(judgeq_trainer_measure(trainer, &before, error));
    assert_int_equal(before.n_examples, 3);
    double first = 0, last = 0;
    judgeq_training_step step;
    for (int64_t i = 0; i < judgeq_trainer_steps(trainer); i++) {
        CHECK(judgeq_trainer_step(trainer, &step, error));
        first += i < 3 ? step.loss / 3 : 0;
        last += i >= judgeq_trainer_steps(trainer) - 3 ? step.loss / 3 : 0;
    }
    CHECK(judgeq_trainer_measure(trainer, &after, error));
    print_message("training loss %.3f -> %.3f; held out %.3f -> %.3f, hit rate %.3f -> %.3f, mass %.3f -> %.3f\n",
                  first, last, before.loss, after.loss, before.hit_rate[0], after.hit_rate[0], before.mass_kept[0],
                  after.mass_kept[0]);
    assert_true(last < 0.8 * first);
    assert_true(isfinite(after.loss) && after.budget[0] == 64 && after.hit_rate[0] > 0.5 && after.hit_rate[0] <= 1);
    assert_true(after.mass_kept[0] > 0.5 && after.mass_kept[0] <= 1 && isnan(after.hit_rate[1])); /* prompts < 128 */
    judgeq_error refusal = {0};
    assert_int_equal(judgeq_trainer_step(trainer, &step, &refusal), JUDGEQ_ERROR_ARGUMENT); /* all done */
    judgeq_judge *judge = NULL;
    CHECK(judgeq_trainer_judge(trainer, "a test", &judge, error));
    const judgeq_judge_info *info = judgeq_judge_get_info(judge);
    assert_int_equal(info->steps, judgeq_trainer_steps(trainer));
    assert_string_equal(info->loss, "kl");
    assert_string_equal(info->data_hash, judgeq_training_set_get_info(set)->hash);
    assert_float_equal(info->heldout_loss, after.loss, 1e-6);
    judgeq_judge_free(judge);
    judgeq_trainer_free(trainer);
    judgeq_training_set_free(set);
}

static void test_continues_bit_for_bit(void **state) {
    (void)state;
    judgeq_training_set *set = load_set(set_path);
    const judgeq_trainer_params params = test_params();
    const outcome whole = whole_run(set, &params);
    for (int stop = 0; stop <= STEPS; stop++) {
        judgeq_training_step steps[STEPS];
        float soft[VALUES];
        judgeq_trainer *trainer = open_trainer(set, &params);
        take_steps(trainer, stop, steps);
        CHECK(judgeq_trainer_save(trainer, checkpoint, error));
        judgeq_trainer_free(trainer);
        trainer = open_trainer(set, &params);
        CHECK(judgeq_trainer_restore(trainer, checkpoint, error));
        assert_int_equal(judgeq_trainer_steps_done(trainer), stop);
        take_steps(trainer, STEPS - stop, steps + stop);
        take_soft(trainer, soft);
        judgeq_trainer_free(trainer);
        expect_same_steps(steps, whole.step, STEPS);
        assert_memory_equal(soft, whole.soft, sizeof soft);
    }
    judgeq_training_set_free(set);
}

/* Neither what is kept of the examples (all, none, or as much as there is room for) nor measuring changes a step. */
static void test_same_without_scratch(void **state) {
    (void)state;
    judgeq_training_set *set = load_set(set_path);
    judgeq_trainer_params params = test_params();
    const outcome whole = whole_run(set, &params);
    params.scratch_bytes = (size_t)1 << 18;
    outcome other = whole_run(set, &params);
    expect_same_steps(other.step, whole.step, STEPS);
    assert_memory_equal(other.soft, whole.soft, sizeof whole.soft);
    params.scratch = NULL;
    judgeq_trainer *trainer = open_trainer(set, &params);
    for (int i = 0; i < STEPS; i++) {
        judgeq_measures measures;
        CHECK(judgeq_trainer_measure(trainer, &measures, error));
        take_steps(trainer, 1, &other.step[i]);
    }
    take_soft(trainer, other.soft);
    judgeq_trainer_free(trainer);
    expect_same_steps(other.step, whole.step, STEPS);
    assert_memory_equal(other.soft, whole.soft, sizeof whole.soft);
    params.seed++;
    other = whole_run(set, &params);
    assert_memory_not_equal(other.soft, whole.soft, sizeof whole.soft);
    judgeq_training_set_free(set);
}

static bool count_down(void *data, int64_t done, int64_t total) {
    assert_true(done >= 0 && done < total);
    int *left = data;
    return --*left >= 0;
}

static void test_cancelled_step_changes_nothing(void **state) {
    (void)state;
    judgeq_training_set *set = load_set(set_path);
    judgeq_trainer_params params = test_params();
    const outcome whole = whole_run(set, &params);
    int left = 0;
    params.progress = count_down;
    params.progress_data = &left;
    params.scratch = NULL;
    judgeq_trainer *trainer = open_trainer(set, &params);
    outcome other;
    judgeq_error error = {0};
    int cancelled = 0;
    for (int i = 0, patience = 0; i < STEPS; patience += 3) {
        left = patience;
        const judgeq_status status = judgeq_trainer_step(trainer, &other.step[i], &error);
        assert_true(status == JUDGEQ_OK || status == JUDGEQ_ERROR_CANCELLED);
        cancelled += status == JUDGEQ_ERROR_CANCELLED;
        i += status == JUDGEQ_OK;
    }
    assert_true(cancelled > 2);
    take_soft(trainer, other.soft);
    judgeq_trainer_free(trainer);
    expect_same_steps(other.step, whole.step, STEPS);
    assert_memory_equal(other.soft, whole.soft, sizeof whole.soft);
    judgeq_training_set_free(set);
}

/* ---- refusals ---------------------------------------------------------------------------------------------------- */

static void expect_refused(const judgeq_training_set *set, judgeq_trainer_params params, judgeq_status expected,
                           const char *words) {
    judgeq_error error = {0};
    judgeq_trainer *trainer = open_trainer(set, &params);
    assert_int_equal(judgeq_trainer_restore(trainer, checkpoint, &error), expected);
    if (!strstr(error.message, words)) fail_msg("\"%s\" lacks \"%s\"", error.message, words);
    assert_int_equal(judgeq_trainer_steps_done(trainer), 0);
    judgeq_trainer_free(trainer);
}

/* A set is the model's, in any quantisation; sets of before name the file. What goes on bit for bit is one file's. */
static void test_other_quantisation(void **state) {
    (void)state;
    char path[512], text[200];
    tiny_spec spec = tiny_spec_base();
    spec.weight_type = GGML_TYPE_Q8_0;
    snprintf(path, sizeof path, "%s/q8_0.gguf", fixture_folder);
    assert_int_equal(tiny_model_write(&spec, path), 0);
    judgeq_model *other = NULL;
    CHECK(judgeq_model_load(path, &other, error));
    judgeq_training_set *set = load_set(set_path);
    const judgeq_trainer_params params = test_params();
    judgeq_trainer *trainer = open_trainer(set, &params);
    CHECK(judgeq_trainer_save(trainer, checkpoint, error));
    judgeq_trainer_free(trainer);
    judgeq_training_set_free(set);

    CHECK(judgeq_training_set_load(set_path, other, &set, error));
    CHECK(judgeq_trainer_new(other, set, &params, &trainer, error));
    judgeq_error refusal = {0};
    assert_int_equal(judgeq_trainer_restore(trainer, checkpoint, &refusal), JUDGEQ_ERROR_MISMATCH);
    assert_non_null(strstr(refusal.message, "another model"));
    judgeq_judge *judge = NULL;
    CHECK(judgeq_trainer_judge(trainer, "a test", &judge, error));
    assert_string_equal(judgeq_judge_get_info(judge)->weight_type, "q8_0");
    judgeq_judge_free(judge);
    judgeq_trainer_free(trainer);
    judgeq_training_set_free(set);

    snprintf(path, sizeof path, "%s/before.jsonl", fixture_folder);
    int used = write_header(text, sizeof text, judgeq_model_get_info(model)->file_fingerprint);
    used += snprintf(text + used, sizeof text - (size_t)used, "{\"prompt\": [1, 2], \"response\": [3, 4]}\n");
    assert_int_equal(fixture_write(path, text, (size_t)used), 0);
    CHECK(judgeq_training_set_load(path, model, &set, error));
    judgeq_training_set_free(set);
    assert_int_equal(judgeq_training_set_load(path, other, &set, &refusal), JUDGEQ_ERROR_MISMATCH);
    judgeq_model_free(other);
}

static void test_refused_checkpoints(void **state) {
    (void)state;
    judgeq_training_set *set = load_set(set_path), *other = NULL;
    judgeq_trainer_params params = test_params();
    judgeq_trainer *trainer = open_trainer(set, &params);
    CHECK(judgeq_trainer_save(trainer, checkpoint, error));
    judgeq_trainer_free(trainer);
    CHECK(load_lines("{\"prompt\": [1, 2], \"response\": [3, 4]}\n", &other, error));
    expect_refused(other, params, JUDGEQ_ERROR_MISMATCH, "training set");
    judgeq_training_set_free(other);
    params.rate *= 2;
    expect_refused(set, params, JUDGEQ_ERROR_MISMATCH, "parameters");
    params = test_params();
    size_t size = 0;
    char *bytes = fixture_read(checkpoint, &size);
    assert_int_equal(fixture_write(checkpoint, bytes, size / 2), 0);
    expect_refused(set, params, JUDGEQ_ERROR_FORMAT, "");
    memset(bytes + size - 32, 0xff, 32);
    assert_int_equal(fixture_write(checkpoint, bytes, size), 0);
    expect_refused(set, params, JUDGEQ_ERROR_NUMERIC, "adamw.square");
    const float below = -1, above = 1; /* a square; and one of no update */
    memset(bytes + size - 32, 0, 32);
    memcpy(bytes + size - 32, &below, sizeof below);
    assert_int_equal(fixture_write(checkpoint, bytes, size), 0);
    expect_refused(set, params, JUDGEQ_ERROR_NUMERIC, "adamw.square holds -1");
    memcpy(bytes + size - 32, &above, sizeof above);
    assert_int_equal(fixture_write(checkpoint, bytes, size), 0);
    expect_refused(set, params, JUDGEQ_ERROR_FORMAT, "there was no update");
    free(bytes);
    assert_int_equal(fixture_write(checkpoint, "x", 1), 0);
    expect_refused(set, params, JUDGEQ_ERROR_FORMAT, "");
    judgeq_training_set_free(set);
}

static void test_refused_parameters(void **state) {
    (void)state;
    judgeq_training_set *set = load_set(set_path);
    judgeq_trainer_params wrong[7];
    for (int i = 0; i < 7; i++) wrong[i] = test_params();
    const int32_t beyond = 1 << 20;
    wrong[0].n_soft = 0;
    wrong[1].rate = -1;
    wrong[2].heldout = 0.6;
    wrong[3].n_accumulate = 0;
    wrong[4].clip = NAN;
    wrong[5].start_tokens = &beyond;
    wrong[6].start_tokens = &beyond;
    wrong[6].n_start_tokens = 1;
    for (int i = 0; i < 7; i++) {
        judgeq_trainer *trainer = NULL;
        judgeq_error error = {0};
        assert_int_equal(judgeq_trainer_new(model, set, &wrong[i], &trainer, &error), JUDGEQ_ERROR_ARGUMENT);
        assert_null(trainer);
        assert_true(error.message[0] != '\0');
    }
    judgeq_training_set_free(set);
}

/* ---- starts ------------------------------------------------------------------------------------------------------ */

static void test_starts(void **state) {
    (void)state;
    judgeq_training_set *set = load_set(set_path);
    judgeq_trainer_params params = test_params();
    const int32_t tokens[] = {100, 101};
    float drawn[VALUES], given[VALUES], again[VALUES];
    judgeq_trainer *trainer = open_trainer(set, &params);
    take_soft(trainer, drawn);
    judgeq_judge *judge = NULL;
    CHECK(judgeq_trainer_judge(trainer, "test", &judge, error));
    judgeq_trainer_free(trainer);
    params.start_tokens = tokens;
    params.n_start_tokens = 2;
    trainer = open_trainer(set, &params);
    take_soft(trainer, given);
    judgeq_trainer_free(trainer);
    assert_memory_equal(given, given + 2 * 64, 2 * 64 * sizeof *given); /* repeated */
    assert_memory_not_equal(given, given + 64, 64 * sizeof *given);
    assert_memory_not_equal(given, drawn, sizeof drawn);
    params = test_params();
    params.seed = 99;
    params.start = judge;
    trainer = open_trainer(set, &params);
    take_soft(trainer, again);
    judgeq_trainer_free(trainer);
    assert_memory_equal(again, drawn, sizeof drawn);
    params.n_soft = SOFT + 1;
    judgeq_error error = {0};
    assert_int_equal(judgeq_trainer_new(model, set, &params, &trainer, &error), JUDGEQ_ERROR_ARGUMENT);
    judgeq_judge_free(judge);
    judgeq_training_set_free(set);
}

/* ---- examples that are no numbers -------------------------------------------------------------------------------- */

static void note(void *data, const char *message) {
    char *last = data;
    snprintf(last, 512, "%s", message);
}

/* A model whose embedding of BAD_TOKEN is NaN, and a set with one example that uses it. */
static void test_skips_and_names(void **state) {
    (void)state;
    char path[512], notice[512] = "";
    tiny_spec spec = tiny_spec_base();
    tiny_model tiny;
    snprintf(path, sizeof path, "%s/nan.gguf", fixture_folder);
    assert_int_equal(tiny_model_build(&spec, &tiny), 0);
    struct ggml_tensor *embedding = ggml_get_tensor(tiny.context, "token_embd.weight");
    ((float *)embedding->data)[(size_t)BAD_TOKEN * (size_t)spec.n_embd] = NAN;
    assert_int_equal(tiny_model_save(&tiny, path), 0);
    tiny_model_free(&tiny);
    judgeq_model *sound = model;
    model = NULL;
    CHECK(judgeq_model_load(path, &model, error));
    judgeq_training_set *set = NULL;
    CHECK(load_lines("{\"prompt\": [5, 6, 7, 8], \"response\": [3, 4]}\n"
                     "{\"prompt\": [5, 6, 250, 8], \"response\": [3, 4]}\n"
                     "{\"prompt\": [8, 6, 7, 9], \"response\": [3, 4]}\n",
                     &set, error));
    judgeq_trainer_params params = test_params();
    params.n_epochs = 1;
    params.heldout = 0;
    params.notice = note;
    params.notice_data = notice;
    const int32_t start = 100; /* not the bad token's embedding */
    params.start_tokens = &start;
    params.n_start_tokens = 1;
    judgeq_trainer *trainer = open_trainer(set, &params);
    judgeq_training_step step;
    take_steps(trainer, 1, &step);
    assert_int_equal(step.n_examples, 2);
    assert_int_equal(step.n_skipped, 1);
    assert_true(isfinite(step.loss) && isfinite(step.gradient));
    if (!strstr(notice, "lines.jsonl:3: example skipped")) fail_msg("notice: %s", notice);
    judgeq_trainer_free(trainer);

    /* held out at the last step, too; for some seed it is */
    bool held = false;
    params.heldout = 0.5;
    for (params.seed = 0; params.seed < 20 && !held; params.seed++) {
        judgeq_measures measures;
        notice[0] = '\0';
        trainer = open_trainer(set, &params);
        while (judgeq_trainer_steps_done(trainer) < judgeq_trainer_steps(trainer)) take_steps(trainer, 1, &step);
        notice[0] = '\0';
        CHECK(judgeq_trainer_measure(trainer, &measures, error));
        held = strstr(notice, "example skipped") != NULL;
        judgeq_trainer_free(trainer);
    }
    assert_true(held);
    judgeq_training_set_free(set);
    judgeq_model_free(model);
    model = sound;
}

/* ---- measures ---------------------------------------------------------------------------------------------------- */

/* One layer, one KV head with two query heads, 100 rows. The target lies evenly on rows 0 to 63; the map's two heads
 * together rank rows 32 to 95 first. So half of the target is hit, and half of its mass kept. */
static void test_measures(void **state) {
    (void)state;
    enum { ROWS = 100 };
    float map[2 * ROWS] = {0}, target[2 * ROWS] = {0};
    for (int i = 0; i < 64; i++) {
        target[i] = 0.01f;
        map[(i % 2) * ROWS + 32 + i] = 1.0f;
    }
    const judgeq_model_info info = {.n_layer = 1, .n_head = 2, .n_head_kv = 1};
    const int32_t budgets[JUDGEQ_MEASURE_BUDGETS] = {64, 128, 256};
    measure_sums sums = {0};
    CHECK(measure_add(&sums, &info, budgets, map, target, ROWS, 3, error));
    CHECK(measure_add(&sums, &info, budgets, target, target, ROWS, 1, error));
    const judgeq_measures means = measure_means(&sums, budgets);
    assert_int_equal(means.n_examples, 2);
    assert_float_equal(means.loss, 2, 1e-12);
    assert_int_equal(means.budget[0], 64);
    assert_float_equal(means.hit_rate[0], 0.75, 1e-9);
    assert_float_equal(means.mass_kept[0], 0.75, 1e-6);
    assert_true(isnan(means.hit_rate[1]) && isnan(means.mass_kept[2]));
    assert_true(isnan(measure_means(&(measure_sums){0}, budgets).loss));
}

/* Three layers with two KV heads, 10 rows, budget 2: of the 12 best rows of all, layer 0 has 7, layer 1 none, layer 2
 * 5, and a layer has 4 on average. An example with no more rows than the budget counts nothing. */
static void test_layers(void **state) {
    (void)state;
    enum { ROWS = 10 };
    static const int best[3][2] = {{4, 3}, {0, 0}, {2, 3}};
    float score[3 * 2 * ROWS];
    for (int head = 0; head < 6; head++) {
        for (int i = 0; i < ROWS; i++) {
            score[head * ROWS + i] = i >= ROWS - best[head / 2][head % 2] ? 0.45f : head / 2 == 1 ? 0.4f : 0.1f;
        }
    }
    const judgeq_model_info info = {.n_layer = 3, .n_head = 4, .n_head_kv = 2};
    double count[3] = {0};
    CHECK(layers_count(count, &info, 2, score, ROWS, error));
    CHECK(layers_count(count, &info, ROWS, score, ROWS, error));
    CHECK(layers_count(count, &info, 0, score, ROWS, error));
    assert_float_equal(count[0], 7.0 / 4, 1e-12);
    assert_float_equal(count[1], 0, 0);
    assert_float_equal(count[2], 5.0 / 4, 1e-12);
}

static int set_up(void **state) {
    const tiny_spec spec = tiny_spec_base();
    if (fixture_set_up(state) != 0) return -1;
    snprintf(model_path, sizeof model_path, "%s/model.gguf", fixture_folder);
    snprintf(set_path, sizeof set_path, "%s/set.jsonl", fixture_folder);
    snprintf(checkpoint, sizeof checkpoint, "%s/run.checkpoint", fixture_folder);
    if (tiny_model_write(&spec, model_path) != 0) return -1;
    if (judgeq_model_load(model_path, &model, NULL) != JUDGEQ_OK) return -1;
    write_set(set_path);
    return 0;
}

static int tear_down(void **state) {
    judgeq_model_free(model);
    return fixture_tear_down(state);
}

TESTS_MAIN(set_up, tear_down, cmocka_unit_test(test_set), cmocka_unit_test(test_answers),
           cmocka_unit_test(test_broken_lines), cmocka_unit_test(test_refused_sets), cmocka_unit_test(test_learns),
           cmocka_unit_test(test_continues_bit_for_bit), cmocka_unit_test(test_same_without_scratch),
           cmocka_unit_test(test_cancelled_step_changes_nothing), cmocka_unit_test(test_other_quantisation),
           cmocka_unit_test(test_refused_checkpoints), cmocka_unit_test(test_refused_parameters),
           cmocka_unit_test(test_starts), cmocka_unit_test(test_skips_and_names), cmocka_unit_test(test_measures),
           cmocka_unit_test(test_layers))
