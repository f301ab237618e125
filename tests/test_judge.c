/* judge: the judge file, its binding to one model, import and export. */
#include <stddef.h>
#include <stdint.h>

#include <ggml.h>
#include <gguf.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/array_file.h"
#include "check.h"
#include "model/judge.h"
#include "tiny_judge.h"
#include "tiny_model.h"

#define N_SOFT 3
#define N_EMBD 64
#define FINGERPRINT "0123456789abcdef0123456789abcdef"

static float soft[N_SOFT * N_EMBD];

static int set_up(void **state) {
    for (int i = 0; i < N_SOFT * N_EMBD; i++) soft[i] = (float)(i - 100) / 7;
    return fixture_set_up(state);
}

static judgeq_judge_info sample_info(void) {
    judgeq_judge_info info = tiny_judge_info(N_SOFT, N_EMBD);
    info.origin = "trained by test_judge";
    return info;
}

static judgeq_judge *make_judge(void) {
    judgeq_judge_info info = sample_info();
    judgeq_judge *judge;
    judgeq_error error = {0};
    if (judgeq_judge_new(soft, &info, &judge, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    return judge;
}

static judgeq_judge *load(const char *path, const judgeq_model *model) {
    judgeq_judge *judge;
    judgeq_error error = {0};
    if (judgeq_judge_load(path, model, &judge, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    return judge;
}

static void assert_load_fails(const char *path, const judgeq_model *model, judgeq_status code, const char *reason) {
    judgeq_judge *judge = (judgeq_judge *)(uintptr_t)1;
    judgeq_error error = {0};
    judgeq_status status = judgeq_judge_load(path, model, &judge, &error);
    if (status != code) fail_msg("status %d, not %d: %s", status, code, error.message);
    assert_int_equal(error.code, code);
    assert_null(judge);
    assert_memory_equal(error.message, path, strlen(path));
    if (!strstr(error.message, reason)) fail_msg("\"%s\" lacks \"%s\"", error.message, reason);
}

static judgeq_model *make_model(const char *name, int n_embd, uint64_t seed) {
    tiny_spec spec = tiny_spec_base();
    spec.name = name;
    spec.n_embd = n_embd;
    spec.seed = seed;
    assert_int_equal(tiny_model_write(&spec, path_in("model.gguf")), 0);
    judgeq_model *model;
    judgeq_error error = {0};
    if (judgeq_model_load(path_in("model.gguf"), &model, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    return model;
}

/* ---- the value --------------------------------------------------------------------------------------------------- */

static void test_new(void **state) {
    (void)state;
    judgeq_judge *judge = make_judge();
    const judgeq_judge_info *info = judgeq_judge_get_info(judge);
    assert_int_equal(info->n_soft, N_SOFT);
    assert_string_equal(info->origin, "trained by test_judge");
    assert_ptr_not_equal(judgeq_judge_soft_tokens(judge), soft);
    assert_memory_equal(judgeq_judge_soft_tokens(judge), soft, sizeof soft);
    judgeq_judge_free(judge);
    judgeq_judge_free(NULL);
}

static void assert_new_fails(judgeq_judge_info info, judgeq_status code, const char *reason) {
    judgeq_judge *judge;
    judgeq_error error = {0};
    assert_int_equal(judgeq_judge_new(soft, &info, &judge, &error), code);
    assert_null(judge);
    if (!strstr(error.message, reason)) fail_msg("\"%s\" lacks \"%s\"", error.message, reason);
}

static void test_new_refuses(void **state) {
    (void)state;
    judgeq_judge_info info = sample_info();
    info.n_soft = 0;
    assert_new_fails(info, JUDGEQ_ERROR_ARGUMENT, "[1, 0, 64]");
    info = sample_info();
    info.fingerprint = NULL;
    assert_new_fails(info, JUDGEQ_ERROR_ARGUMENT, "fingerprint");
    info.fingerprint = "0123456789ABCDEF0123456789abcdef";
    assert_new_fails(info, JUDGEQ_ERROR_ARGUMENT, "hexadecimal");
    info = sample_info();
    info.steps = -1;
    assert_new_fails(info, JUDGEQ_ERROR_ARGUMENT, "steps is -1");
    info = sample_info();
    info.n_layer_share = 2;
    assert_new_fails(info, JUDGEQ_ERROR_ARGUMENT, "none is given");
    info.layer_share = (const float[]){1.5F, 0.25F};
    assert_new_fails(info, JUDGEQ_ERROR_ARGUMENT, "sum of 1.75");
    info.layer_share = (const float[]){2.25F, -0.25F};
    assert_new_fails(info, JUDGEQ_ERROR_ARGUMENT, "layer 0 has a share of 2.25");
    info.layer_share = (const float[]){NAN, 1};
    assert_new_fails(info, JUDGEQ_ERROR_ARGUMENT, "share of nan");
    info = sample_info();
    info.heldout_hit_rate = 75;
    assert_new_fails(info, JUDGEQ_ERROR_ARGUMENT, "hit rate is 75");
    info = sample_info();
    info.heldout_loss = INFINITY;
    assert_new_fails(info, JUDGEQ_ERROR_NUMERIC, "loss");
    soft[N_EMBD + 5] = NAN;
    assert_new_fails(sample_info(), JUDGEQ_ERROR_NUMERIC, "soft token 1, element 5 of layer 0 is NaN");
    soft[N_EMBD + 5] = -INFINITY;
    assert_new_fails(sample_info(), JUDGEQ_ERROR_NUMERIC, "soft token 1, element 5 of layer 0 is infinite");
}

/* ---- the file ---------------------------------------------------------------------------------------------------- */

static void test_round_trip(void **state) {
    (void)state;
    soft[7] = 1e-45f;
    soft[8] = -0.0f;
    judgeq_judge *judge = make_judge();
    assert_int_equal(judgeq_judge_save(judge, path_in("judge.gguf"), NULL), JUDGEQ_OK);
    judgeq_judge_free(judge);
    judge = load(path_in("judge.gguf"), NULL);
    const judgeq_judge_info *info = judgeq_judge_get_info(judge);
    assert_int_equal(info->n_soft, N_SOFT);
    assert_int_equal(info->n_embd, N_EMBD);
    assert_string_equal(info->fingerprint, FINGERPRINT);
    assert_string_equal(info->model_name, "a model");
    assert_string_equal(info->weight_type, "q4_1");
    assert_string_equal(info->origin, "trained by test_judge");
    assert_string_equal(info->loss, "kl");
    assert_string_equal(info->data_hash, "0badcafe");
    assert_int_equal(info->steps, 600);
    assert_true(info->heldout_loss == 0.25f && info->heldout_hit_rate == 0.75f);
    assert_memory_equal(judgeq_judge_soft_tokens(judge), soft, sizeof soft);

    /* and the same bytes again */
    assert_int_equal(judgeq_judge_save(judge, path_in("again.gguf"), NULL), JUDGEQ_OK);
    judgeq_judge_free(judge);
    size_t first_size, second_size;
    char *first = fixture_read(path_in("judge.gguf"), &first_size),
         *second = fixture_read(path_in("again.gguf"), &second_size);
    assert_non_null(first);
    assert_non_null(second);
    assert_int_equal(first_size, second_size);
    assert_memory_equal(first, second, first_size);
    free(first);
    free(second);
}

/* Shares of the layers are saved and loaded; a judge without them has none. */
static void test_shares(void **state) {
    (void)state;
    static const float share[] = {1.5F, 0.25F, 1.25F};
    judgeq_judge_info info = sample_info();
    info.layer_share = share;
    info.n_layer_share = 3;
    judgeq_judge *judge, *without = make_judge();
    CHECK(judgeq_judge_new(soft, &info, &judge, error));
    CHECK(judgeq_judge_save(judge, path_in("shares.gguf"), error));
    judgeq_judge_free(judge);
    judge = load(path_in("shares.gguf"), NULL);
    assert_int_equal(judgeq_judge_get_info(judge)->n_layer_share, 3);
    assert_memory_equal(judgeq_judge_get_info(judge)->layer_share, share, sizeof share);
    assert_int_equal(judgeq_judge_get_info(without)->n_layer_share, 0);
    assert_null(judgeq_judge_get_info(without)->layer_share);
    judgeq_judge_free(judge);
    judgeq_judge_free(without);
}

/* What it says about its scores is saved and loaded; a judge need not say anything. */
static void test_choices(void **state) {
    (void)state;
    judgeq_judge_info info = sample_info();
    info.choices = "reduce=mean/mean,smooth=none";
    judgeq_judge *judge, *without = make_judge();
    CHECK(judgeq_judge_new(soft, &info, &judge, error));
    CHECK(judgeq_judge_save(judge, path_in("choices.gguf"), error));
    judgeq_judge_free(judge);
    judge = load(path_in("choices.gguf"), NULL);
    assert_string_equal(judgeq_judge_get_info(judge)->choices, info.choices);
    assert_string_equal(judgeq_judge_get_info(without)->choices, "");
    judgeq_judge_free(judge);
    judgeq_judge_free(without);
}

/* Vectors for every layer: saved, loaded, exported and imported whole; and only for a model of that many layers. */
static void test_deep(void **state) {
    (void)state;
    judgeq_model *model = make_model("first", N_EMBD, 1);
    const judgeq_model_info *about = judgeq_model_get_info(model);
    const size_t n = (size_t)about->n_layer * N_SOFT * N_EMBD;
    float *deep = malloc(n * sizeof *deep);
    for (size_t i = 0; i < n; i++) deep[i] = (float)i - 7.5f;
    judgeq_judge_info info = sample_info();
    info.n_depth = about->n_layer;
    info.fingerprint = about->fingerprint;
    judgeq_judge *judge, *back;
    assert_int_equal(judgeq_judge_new(deep, &info, &judge, NULL), JUDGEQ_OK);
    assert_int_equal(judgeq_judge_save(judge, path_in("deep.gguf"), NULL), JUDGEQ_OK);
    back = load(path_in("deep.gguf"), model);
    assert_int_equal(judgeq_judge_get_info(back)->n_depth, about->n_layer);
    assert_memory_equal(judgeq_judge_soft_tokens(back), deep, n * sizeof *deep);
    judgeq_judge_free(back);
    assert_int_equal(judgeq_judge_export(judge, path_in("deep.npy"), NULL), JUDGEQ_OK);
    assert_int_equal(judgeq_judge_import(path_in("deep.npy"), NULL, model, &back, NULL), JUDGEQ_OK);
    assert_int_equal(judgeq_judge_get_info(back)->n_depth, about->n_layer);
    assert_memory_equal(judgeq_judge_soft_tokens(back), deep, n * sizeof *deep);
    judgeq_judge_free(back);
    judgeq_judge_free(judge);

    info.n_depth = about->n_layer + 1;
    deep = realloc(deep, (n + N_SOFT * N_EMBD) * sizeof *deep);
    memset(deep, 0, (n + N_SOFT * N_EMBD) * sizeof *deep);
    assert_int_equal(judgeq_judge_new(deep, &info, &judge, NULL), JUDGEQ_OK);
    assert_int_equal(judgeq_judge_save(judge, path_in("deep.gguf"), NULL), JUDGEQ_OK);
    assert_load_fails(path_in("deep.gguf"), model, JUDGEQ_ERROR_MISMATCH, "which has");
    judgeq_judge_free(judge);
    free(deep);
    judgeq_model_free(model);
}

static void test_unknown_fields(void **state) {
    (void)state;
    judgeq_judge_info info = {.n_depth = 1,
                              .n_soft = 1,
                              .n_embd = N_EMBD,
                              .fingerprint = FINGERPRINT,
                              .heldout_loss = NAN,
                              .heldout_hit_rate = NAN};
    judgeq_judge *judge;
    assert_int_equal(judgeq_judge_new(soft, &info, &judge, NULL), JUDGEQ_OK);
    assert_int_equal(judgeq_judge_save(judge, path_in("judge.gguf"), NULL), JUDGEQ_OK);
    judgeq_judge_free(judge);
    judge = load(path_in("judge.gguf"), NULL);
    const judgeq_judge_info *read = judgeq_judge_get_info(judge);
    assert_int_equal(read->n_soft, 1);
    assert_string_equal(read->model_name, "");
    assert_string_equal(read->weight_type, "");
    assert_string_equal(read->origin, "");
    assert_string_equal(read->loss, "");
    assert_string_equal(read->data_hash, "");
    assert_int_equal(read->steps, 0);
    assert_true(isnan(read->heldout_loss) && isnan(read->heldout_hit_rate));
    judgeq_judge_free(judge);
}

/* The bytes of a judge's file, which is judge.gguf of the folder. The caller's. */
static char *saved_judge(size_t *size) {
    judgeq_judge *judge = make_judge();
    assert_int_equal(judgeq_judge_save(judge, path_in("judge.gguf"), NULL), JUDGEQ_OK);
    judgeq_judge_free(judge);
    char *bytes = fixture_read(path_in("judge.gguf"), size);
    assert_non_null(bytes);
    return bytes;
}

static void test_truncated(void **state) {
    (void)state;
    size_t size;
    char *whole = saved_judge(&size);
    /* 3 x 64 floats fill the last block of 32 bytes: every byte is needed */
    while (size-- > 0) {
        assert_int_equal(fixture_write(path_in("cut.gguf"), whole, size), 0);
        assert_load_fails(path_in("cut.gguf"), NULL, JUDGEQ_ERROR_FORMAT, "");
    }
    free(whole);
}

/* Writes a judge file after `change` has been at its keys, and with a tensor of this type and shape. */
static const char *write_changed(void (*change)(struct gguf_context *), const char *tensor_name, enum ggml_type type,
                                 int64_t ne0, int64_t ne1, int64_t ne2) {
    struct gguf_context *gguf = gguf_init_empty();
    gguf_set_val_str(gguf, "general.architecture", "judgeq-judge");
    gguf_set_val_u32(gguf, "judgeq.format_version", 1);
    gguf_set_val_str(gguf, "judgeq.model.fingerprint", FINGERPRINT);
    if (change) change(gguf);
    struct ggml_init_params params = {.mem_size = 1 << 20};
    struct ggml_context *context = ggml_init(params);
    struct ggml_tensor *tensor = ggml_new_tensor_3d(context, type, ne0, ne1, ne2);
    memset(tensor->data, 0, ggml_nbytes(tensor));
    ggml_set_name(tensor, tensor_name);
    gguf_add_tensor(gguf, tensor);
    assert_true(gguf_write_to_file(gguf, path_in("changed.gguf"), false));
    gguf_free(gguf);
    ggml_free(context);
    return path_in("changed.gguf");
}

static const char *write_with(void (*change)(struct gguf_context *)) {
    return write_changed(change, "soft_tokens.weight", GGML_TYPE_F32, 8, 2, 1);
}

static void other_architecture(struct gguf_context *gguf) {
    gguf_set_val_str(gguf, "general.architecture", "llama");
}
static void no_architecture(struct gguf_context *gguf) {
    gguf_remove_key(gguf, "general.architecture");
}
static void later_version(struct gguf_context *gguf) {
    gguf_set_val_u32(gguf, "judgeq.format_version", 3);
}
static void no_fingerprint(struct gguf_context *gguf) {
    gguf_remove_key(gguf, "judgeq.model.fingerprint");
}
static void wrong_fingerprint(struct gguf_context *gguf) {
    gguf_set_val_str(gguf, "judgeq.model.fingerprint", "short");
}
static void number_as_origin(struct gguf_context *gguf) {
    gguf_set_val_u32(gguf, "judgeq.origin", 7);
}
static void negative_steps(struct gguf_context *gguf) {
    gguf_set_val_i64(gguf, "judgeq.train.steps", -3);
}
static void large_hit_rate(struct gguf_context *gguf) {
    gguf_set_val_f32(gguf, "judgeq.heldout.hit_rate", 1.5f);
}
/* ggml writes the key but pads to 32 all the same, so that a reader finds the data right after the odd header. */
static void odd_alignment(struct gguf_context *gguf) {
    gguf_set_val_u32(gguf, "general.alignment", 1);
    gguf_set_val_str(gguf, "judgeq.origin", "12");
}

static void test_wrong_files(void **state) {
    (void)state;
    judgeq_judge_free(load(write_with(NULL), NULL));
    assert_load_fails(write_with(odd_alignment), NULL, JUDGEQ_ERROR_FORMAT, "not aligned to 4 bytes");
    assert_load_fails(write_with(other_architecture), NULL, JUDGEQ_ERROR_UNSUPPORTED, "\"llama\"");
    assert_load_fails(write_with(no_architecture), NULL, JUDGEQ_ERROR_FORMAT, "\"general.architecture\" is missing");
    assert_load_fails(write_with(later_version), NULL, JUDGEQ_ERROR_FORMAT, "version 3; this judgeq reads 1 and 2");
    assert_load_fails(write_with(no_fingerprint), NULL, JUDGEQ_ERROR_FORMAT, "fingerprint\" is missing");
    assert_load_fails(write_with(wrong_fingerprint), NULL, JUDGEQ_ERROR_FORMAT, "32 hexadecimal digits");
    assert_load_fails(write_with(number_as_origin), NULL, JUDGEQ_ERROR_FORMAT, "expected a string");
    assert_load_fails(write_with(negative_steps), NULL, JUDGEQ_ERROR_FORMAT, "is -3");
    assert_load_fails(write_with(large_hit_rate), NULL, JUDGEQ_ERROR_FORMAT, "hit rate is 1.5");
    assert_load_fails(write_changed(NULL, "other", GGML_TYPE_F32, 8, 2, 1), NULL, JUDGEQ_ERROR_FORMAT,
                      "\"soft_tokens.weight\" is missing");
    assert_load_fails(write_changed(NULL, "soft_tokens.weight", GGML_TYPE_F16, 8, 2, 1), NULL, JUDGEQ_ERROR_FORMAT,
                      "has type f16");
    assert_load_fails(path_in("missing.gguf"), NULL, JUDGEQ_ERROR_IO, "No such file");
    assert_int_equal(fixture_write(path_in("text"), "not a judge", 11), 0);
    assert_load_fails(path_in("text"), NULL, JUDGEQ_ERROR_FORMAT, "not a GGUF file");
}

static void test_nan_in_file(void **state) {
    (void)state;
    size_t size;
    char *file = saved_judge(&size);
    memset(file + size - sizeof(float), 0xff, sizeof(float));
    assert_int_equal(fixture_write(path_in("judge.gguf"), file, size), 0);
    free(file);
    assert_load_fails(path_in("judge.gguf"), NULL, JUDGEQ_ERROR_NUMERIC, "soft token 2, element 63 of layer 0 is NaN");
}

static void test_no_space(void **state) {
    (void)state;
    judgeq_judge *judge = make_judge();
    assert_int_equal(judgeq_judge_save(judge, path_in("judge.gguf"), NULL), JUDGEQ_OK);
    struct rlimit limit, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    small = limit;
    small.rlim_cur = 100;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    judgeq_status status = judgeq_judge_save(judge, path_in("judge.gguf"), NULL);
    judgeq_status exported = judgeq_judge_export(judge, path_in("judge.npy"), NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    signal(SIGXFSZ, SIG_DFL);
    judgeq_judge_free(judge);
    assert_int_equal(status, JUDGEQ_ERROR_IO);
    assert_int_equal(exported, JUDGEQ_ERROR_IO);
    judgeq_judge_free(load(path_in("judge.gguf"), NULL));
    assert_null(fixture_read(path_in("judge.npy"), &(size_t){0}));
}

/* ---- with a model ------------------------------------------------------------------------------------------------ */

static void test_import_and_bind(void **state) {
    (void)state;
    judgeq_model *model = make_model("first", N_EMBD, 1);
    assert_int_equal(array_file_write(path_in("soft.npy"), "x", (int64_t[]){N_SOFT, N_EMBD}, 2, soft, NULL), JUDGEQ_OK);
    judgeq_judge *judge;
    assert_int_equal(judgeq_judge_import(path_in("soft.npy"), NULL, model, &judge, NULL), JUDGEQ_OK);
    const judgeq_judge_info *info = judgeq_judge_get_info(judge);
    assert_string_equal(info->fingerprint, judgeq_model_get_info(model)->fingerprint);
    assert_string_equal(info->model_name, "first");
    assert_string_equal(info->origin, "imported from soft.npy");
    assert_true(isnan(info->heldout_loss));
    assert_int_equal(judgeq_judge_save(judge, path_in("judge.gguf"), NULL), JUDGEQ_OK);
    judgeq_judge_free(judge);
    judgeq_judge_free(load(path_in("judge.gguf"), model));
    judgeq_model_free(model);

    model = make_model("second", N_EMBD, 2); /* same shape, other weights */
    assert_load_fails(path_in("judge.gguf"), model, JUDGEQ_ERROR_MISMATCH, "\"first\"");
    assert_load_fails(path_in("judge.gguf"), model, JUDGEQ_ERROR_MISMATCH, "\"second\"");
    judgeq_judge_free(load(path_in("judge.gguf"), NULL));
    judgeq_model_free(model);
}

static void assert_import_fails(const judgeq_model *model, const int64_t *shape, int n_dim, judgeq_status code,
                                const char *reason) {
    assert_int_equal(array_file_write(path_in("x.npy"), "x", shape, n_dim, soft, NULL), JUDGEQ_OK);
    judgeq_judge *judge;
    judgeq_error error = {0};
    assert_int_equal(judgeq_judge_import(path_in("x.npy"), NULL, model, &judge, &error), code);
    assert_null(judge);
    if (!strstr(error.message, reason)) fail_msg("\"%s\" lacks \"%s\"", error.message, reason);
}

static void test_import_refuses(void **state) {
    (void)state;
    judgeq_model *model = make_model("first", N_EMBD, 1);
    assert_import_fails(model, (int64_t[]){N_SOFT * N_EMBD}, 1, JUDGEQ_ERROR_FORMAT, "has 1 dimensions");
    assert_import_fails(model, (int64_t[]){N_EMBD, N_SOFT}, 2, JUDGEQ_ERROR_FORMAT, "is it transposed?");
    assert_import_fails(model, (int64_t[]){1, N_SOFT, N_EMBD}, 3, JUDGEQ_ERROR_FORMAT, "has vectors for 1 layers");
    assert_import_fails(model, (int64_t[]){6, 32}, 2, JUDGEQ_ERROR_FORMAT, "\"first\" are [n_soft, 64]");
    assert_import_fails(model, (int64_t[]){2, 3, 32}, 3, JUDGEQ_ERROR_FORMAT, "ends in [3, 32]; soft tokens");
    soft[0] = NAN;
    assert_import_fails(model, (int64_t[]){N_SOFT, N_EMBD}, 2, JUDGEQ_ERROR_NUMERIC,
                        "soft token 0, element 0 of layer 0 is NaN");
    judgeq_model_free(model);
}

static void test_export(void **state) {
    (void)state;
    static const char *const names[] = {"out.npy", "out.safetensors"};
    judgeq_model *model = make_model("first", N_EMBD, 1);
    judgeq_judge *judge = make_judge();
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(judgeq_judge_export(judge, path_in(names[i]), NULL), JUDGEQ_OK);
        judgeq_judge *back;
        assert_int_equal(judgeq_judge_import(path_in(names[i]), NULL, model, &back, NULL), JUDGEQ_OK);
        assert_int_equal(judgeq_judge_get_info(back)->n_soft, N_SOFT);
        assert_memory_equal(judgeq_judge_soft_tokens(back), soft, sizeof soft);
        judgeq_judge_free(back);
    }
    assert_int_equal(judgeq_judge_export(judge, path_in("out.txt"), NULL), JUDGEQ_ERROR_ARGUMENT);
    judgeq_judge_free(judge);
    judgeq_model_free(model);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, fixture_tear_down)

TESTS_MAIN(NULL, NULL, TEST(test_new), TEST(test_new_refuses), TEST(test_round_trip), TEST(test_shares),
           TEST(test_choices), TEST(test_deep), TEST(test_unknown_fields), TEST(test_truncated), TEST(test_wrong_files),
           TEST(test_nan_in_file), TEST(test_no_space), TEST(test_import_and_bind), TEST(test_import_refuses),
           TEST(test_export))
