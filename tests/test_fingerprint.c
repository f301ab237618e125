/* fingerprint: a judge fits every quantisation of its model, libllama's own quantiser's too, and no other model; files
 * of format version 1, which name one quantisation. */
#include <stddef.h>
#include <stdint.h>

#include <llama.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "model/judge.h"
#include "tiny_model.h"

enum { N_SOFT = 2, N_EMBD = 256 };

static char whole_path[512], other_path[512], judge_path[512];
static judgeq_model *whole; /* F32 */

/* Rows that every block size divides. */
static tiny_spec base_spec(void) {
    tiny_spec spec;
    assert_true(tiny_spec_find("q4_K", &spec));
    spec.name = "whole";
    spec.weight_type = GGML_TYPE_F32;
    return spec;
}

static judgeq_model *load_model(const char *path) {
    judgeq_model *model;
    judgeq_error error = {0};
    if (judgeq_model_load(path, &model, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    return model;
}

static judgeq_judge *load_judge(const char *path, const judgeq_model *model) {
    judgeq_judge *judge;
    judgeq_error error = {0};
    if (judgeq_judge_load(path, model, &judge, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    return judge;
}

static void save(const judgeq_judge *judge) {
    judgeq_error error = {0};
    if (judgeq_judge_save(judge, judge_path, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
}

static judgeq_judge *make_judge(const char *fingerprint) {
    static const float soft[N_SOFT * N_EMBD] = {1};
    const judgeq_judge_info info = {.n_depth = 1,
                                    .n_soft = N_SOFT,
                                    .n_embd = N_EMBD,
                                    .fingerprint = fingerprint,
                                    .model_name = "whole",
                                    .weight_type = "f32",
                                    .heldout_loss = NAN,
                                    .heldout_hit_rate = NAN};
    judgeq_judge *judge;
    assert_int_equal(judgeq_judge_new(soft, &info, &judge, NULL), JUDGEQ_OK);
    return judge;
}

/* A judge of `whole`, in judge_path. */
static int setup(void **state) {
    if (fixture_set_up(state) != 0) return -1;
    snprintf(whole_path, sizeof whole_path, "%s/whole.gguf", fixture_folder);
    snprintf(other_path, sizeof other_path, "%s/other.gguf", fixture_folder);
    snprintf(judge_path, sizeof judge_path, "%s/judge.gguf", fixture_folder);
    const tiny_spec spec = base_spec();
    if (tiny_model_write(&spec, whole_path) != 0) return -1;
    whole = load_model(whole_path);
    judgeq_judge *judge = make_judge(judgeq_model_get_info(whole)->fingerprint);
    save(judge);
    judgeq_judge_free(judge);
    return 0;
}

static int teardown(void **state) {
    judgeq_model_free(whole);
    return fixture_tear_down(state);
}

/* The judge fits the model in other_path, whose file is not that of `whole`. */
static void assert_fits(const char *what) {
    judgeq_model *model = load_model(other_path);
    const judgeq_model_info *info = judgeq_model_get_info(model), *wanted = judgeq_model_get_info(whole);
    if (strcmp(info->fingerprint, wanted->fingerprint) != 0) fail_msg("%s: another fingerprint", what);
    if (strcmp(info->file_fingerprint, wanted->file_fingerprint) == 0) fail_msg("%s: the same file", what);
    judgeq_judge *judge = load_judge(judge_path, model);
    assert_string_equal(judgeq_judge_get_info(judge)->weight_type, "f32");
    judgeq_judge_free(judge);
    judgeq_model_free(model);
}

/* The judge is refused for the model in other_path. */
static void assert_refused(const char *what, const char *reason) {
    judgeq_model *model = load_model(other_path);
    judgeq_judge *judge;
    judgeq_error error = {0};
    if (judgeq_judge_load(judge_path, model, &judge, &error) != JUDGEQ_ERROR_MISMATCH) fail_msg("%s: taken", what);
    if (!strstr(error.message, reason)) fail_msg("%s: \"%s\" lacks \"%s\"", what, error.message, reason);
    judgeq_model_free(model);
}

/* ---- the same model ---------------------------------------------------------------------------------------------- */

static void test_weight_types(void **state) {
    (void)state;
    static const enum ggml_type types[] = {GGML_TYPE_F16,  GGML_TYPE_BF16, GGML_TYPE_Q8_0,
                                           GGML_TYPE_Q4_1, GGML_TYPE_Q4_K, GGML_TYPE_Q2_K};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        tiny_spec spec = base_spec();
        spec.weight_type = types[i];
        assert_int_equal(tiny_model_write(&spec, other_path), 0);
        assert_fits(ggml_type_name(types[i]));
    }
}

static void quantise(const char *from, enum llama_ftype type) {
    struct llama_model_quantize_params params = llama_model_quantize_default_params();
    params.nthread = 1;
    params.ftype = type;
    params.allow_requantize = true;
    assert_int_equal(llama_model_quantize(from, other_path, &params), 0);
}

static void test_quantised_by_libllama(void **state) {
    (void)state;
    char again[512];
    snprintf(again, sizeof again, "%s/again.gguf", fixture_folder);
    static const enum llama_ftype types[] = {LLAMA_FTYPE_MOSTLY_F16, LLAMA_FTYPE_MOSTLY_BF16, LLAMA_FTYPE_MOSTLY_Q8_0,
                                             LLAMA_FTYPE_MOSTLY_Q4_1, LLAMA_FTYPE_MOSTLY_Q4_K_M};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        quantise(whole_path, types[i]);
        assert_fits("quantised by libllama");
    }
    assert_int_equal(rename(other_path, again), 0);
    quantise(again, LLAMA_FTYPE_MOSTLY_F16);
    assert_fits("quantised and back");
}

/* ---- other models ------------------------------------------------------------------------------------------------ */

static void other_base(tiny_spec *spec) {
    spec->rope_freq_base = 500000;
}
static void other_scaling(tiny_spec *spec) {
    spec->rope_scaling = "linear";
    spec->rope_factor = 4;
}
static void yarn(tiny_spec *spec) {
    spec->rope_scaling = "yarn";
    spec->rope_factor = 4;
    spec->rope_original_context = 256;
}
static void later_yarn(tiny_spec *spec) {
    spec->rope_original_context = 512;
}
static void factors(tiny_spec *spec) {
    spec->rope_freqs = true;
    spec->rope_factor = 8;
}
static void other_heads(tiny_spec *spec) {
    spec->n_head_kv = 4;
}
static void other_ff(tiny_spec *spec) {
    spec->n_ff = 512;
}
static void more_layers(tiny_spec *spec) {
    spec->n_layer = 3;
}
static void other_family(tiny_spec *spec) {
    spec->architecture = "qwen2";
}
static void other_vocabulary(tiny_spec *spec) {
    spec->vocabulary = TINY_VOCABULARY_BPE;
}
static void other_cutting(tiny_spec *spec) {
    spec->pre = "qwen2";
}

static void test_other_models(void **state) {
    (void)state;
    static const struct {
        const char *what;
        void (*change)(tiny_spec *spec);
    } changes[] = {{"rotation's base", other_base},
                   {"rotation's scaling", other_scaling},
                   {"YaRN", yarn},
                   {"rotation's factors", factors},
                   {"KV heads", other_heads},
                   {"feed forward", other_ff},
                   {"layers", more_layers},
                   {"architecture", other_family},
                   {"vocabulary", other_vocabulary}};
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        tiny_spec spec = base_spec();
        changes[i].change(&spec);
        assert_int_equal(tiny_model_write(&spec, other_path), 0);
        assert_refused(changes[i].what, "load that model");
    }
}

/* Two of a kind that the base is not of. */
static void assert_different(const char *what, void (*kind)(tiny_spec *spec), void (*change)(tiny_spec *spec)) {
    char fingerprint[2][33];
    for (int i = 0; i < 2; i++) {
        tiny_spec spec = base_spec();
        kind(&spec);
        if (i == 1) change(&spec);
        assert_int_equal(tiny_model_write(&spec, other_path), 0);
        judgeq_model *model = load_model(other_path);
        memcpy(fingerprint[i], judgeq_model_get_info(model)->fingerprint, sizeof *fingerprint);
        judgeq_model_free(model);
    }
    if (strcmp(fingerprint[0], fingerprint[1]) == 0) fail_msg("%s: the same fingerprint", what);
}

static void test_of_a_kind(void **state) {
    (void)state;
    assert_different("the length that YaRN starts from", yarn, later_yarn);
    assert_different("how a text is cut", other_vocabulary, other_cutting);
}

static void test_other_weights(void **state) {
    (void)state;
    tiny_spec spec = base_spec();
    spec.seed = 2;
    assert_int_equal(tiny_model_write(&spec, other_path), 0);
    assert_refused("another seed", "the same shape and vocabulary, but other weights");
}

/* One token of the same vocabulary has another text. */
static void test_other_token(void **state) {
    (void)state;
    static const char key[] = "tokenizer.ggml.tokens";
    const tiny_spec spec = base_spec();
    tiny_model tiny;
    assert_int_equal(tiny_model_build(&spec, &tiny), 0);
    const int64_t id = gguf_find_key(tiny.gguf, key);
    const size_t n = gguf_get_arr_n(tiny.gguf, id);
    char **text = calloc(n, sizeof *text);
    assert_non_null(text);
    for (size_t i = 0; i < n; i++) text[i] = strdup(gguf_get_arr_str(tiny.gguf, id, i));
    free(text[n - 1]);
    text[n - 1] = strdup("renamed");
    gguf_set_arr_str(tiny.gguf, key, (const char **)text, n);
    assert_int_equal(tiny_model_save(&tiny, other_path), 0);
    for (size_t i = 0; i < n; i++) free(text[i]);
    free((void *)text);
    tiny_model_free(&tiny);
    assert_refused("a token's text", "load that model");
}

/* ---- version 1 --------------------------------------------------------------------------------------------------- */

static void save_version_1(void) {
    judgeq_judge *judge = make_judge(judgeq_model_get_info(whole)->file_fingerprint);
    judge->version = JUDGE_FORMAT_OF_FILE;
    save(judge);
    judgeq_judge_free(judge);
}

static void assert_of_file_only(const char *what) {
    tiny_spec spec = base_spec();
    spec.weight_type = GGML_TYPE_Q8_0;
    assert_int_equal(tiny_model_write(&spec, other_path), 0);
    assert_refused(what, "judgeq judge import");
}

/* It keeps its meaning as long as nobody says which model it is of. */
static void test_version_1_without_a_model(void **state) {
    (void)state;
    save_version_1();
    assert_of_file_only("version 1");
    judgeq_judge *judge = load_judge(judge_path, NULL);
    save(judge);
    judgeq_judge_free(judge);
    assert_of_file_only("version 1, saved again");
}

/* By its model, it becomes a judge of every quantisation. */
static void test_version_1(void **state) {
    (void)state;
    save_version_1();
    judgeq_judge *judge = load_judge(judge_path, whole), *imported;
    assert_string_equal(judgeq_judge_get_info(judge)->fingerprint, judgeq_model_get_info(whole)->fingerprint);
    assert_string_equal(judgeq_judge_get_info(judge)->weight_type, "f32");
    judgeq_judge_free(judge);
    assert_int_equal(judgeq_judge_import(judge_path, NULL, whole, &imported, NULL), JUDGEQ_OK);
    save(imported);
    judgeq_judge_free(imported);
    tiny_spec spec = base_spec();
    spec.weight_type = GGML_TYPE_Q8_0;
    assert_int_equal(tiny_model_write(&spec, other_path), 0);
    assert_fits("imported");
}

/* A session compares as well: the judge may have been loaded without a model. */
static void test_session(void **state) {
    (void)state;
    judgeq_policy *policy;
    judgeq_session *session;
    judgeq_error error = {0};
    assert_int_equal(judgeq_policy_parse("probe=soft:2", &policy, NULL), JUDGEQ_OK);
    judgeq_session_params params = judgeq_session_default_params();
    params.policy = policy;
    params.budget = 8;
    params.n_threads = 1;
    save_version_1();
    judgeq_judge *judge = load_judge(judge_path, NULL);
    params.judge = judge;
    assert_int_equal(judgeq_session_new(whole, &params, &session, NULL), JUDGEQ_OK);
    judgeq_session_free(session);
    tiny_spec spec = base_spec();
    spec.weight_type = GGML_TYPE_Q8_0;
    assert_int_equal(tiny_model_write(&spec, other_path), 0);
    judgeq_model *other = load_model(other_path);
    assert_int_equal(judgeq_session_new(other, &params, &session, &error), JUDGEQ_ERROR_MISMATCH);
    assert_non_null(strstr(error.message, "judgeq judge import"));
    judgeq_model_free(other);
    judgeq_judge_free(judge);
    judgeq_policy_free(policy);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

TESTS_MAIN(NULL, NULL, TEST(test_weight_types), TEST(test_quantised_by_libllama), TEST(test_other_models),
           TEST(test_of_a_kind), TEST(test_other_weights), TEST(test_other_token), TEST(test_version_1_without_a_model),
           TEST(test_version_1), TEST(test_session))
