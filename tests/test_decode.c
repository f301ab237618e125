/* Decoding together is decoding alone: for every family and quirk, with caches of every shape in one batch. */
#include "judgeq.h"
#include "model/model.h"
#include "tiny_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

enum { N_PROMPT = 90, N_SESSION = 11, N_DECODE = 44 };

/* ggml sums one column in another order than several, and a difference in the last bit may flip that of a key or value
 * when it is rounded to F16; logits have a standard deviation of about 3. */
static const double SAME_LOGITS = 0.02;

/* Where quantised products of several columns sum otherwise than those of one, or expanded weights round activations
 * less: as far apart as test_oracle allows quantised models, 0.3 standard deviations. */
static const double QUANTISED_LOGITS = 0.9;

/* Different budgets, ragged heads, everything, KV types; one that computes as libllama. */
static const struct {
    const char *policy;
    int32_t budget, n_prompt;
    judgeq_kv_type kv_type;
    bool plain;
} kinds[N_SESSION] = {
    {"full", 0, N_PROMPT, JUDGEQ_KV_F16, false},
    {"probe=window:4,allocate=ada:0,keep=none", 20, N_PROMPT, JUDGEQ_KV_F16, false},
    {"probe=window:4,allocate=ada:0.2,keep=none", 5, N_PROMPT - 30, JUDGEQ_KV_F16, false},
    {"snapkv", 40, N_PROMPT, JUDGEQ_KV_F32, false},
    {"streaming", 6, N_PROMPT - 1, JUDGEQ_KV_F16, false},
    {"full", 0, 1, JUDGEQ_KV_F16, false},
    {"tova", 33, N_PROMPT, JUDGEQ_KV_F16, true},
    {"h2o", 16, N_PROMPT - 7, JUDGEQ_KV_F16, false},
    {"pyramidkv", 36, N_PROMPT, JUDGEQ_KV_F16, false},
    {"adakv,probe=window:4,keep=none", 12, N_PROMPT, JUDGEQ_KV_Q4_0, false},
    {"snapkv", 40, N_PROMPT - 20, JUDGEQ_KV_Q8_0, false},
};

/* ---- helpers ----------------------------------------------------------------------------------------------------- */

static judgeq_model *load(const tiny_spec *spec) {
    char path[512];
    judgeq_error error = {0};
    judgeq_model *model = NULL;
    snprintf(path, sizeof path, "%s/%s.gguf", fixture_folder, spec->name);
    assert_int_equal(tiny_model_write(spec, path), 0);
    if (judgeq_model_load(path, &model, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    return model;
}

static judgeq_session *start(const judgeq_model *model, int kind) {
    judgeq_error error = {0};
    judgeq_policy *policy = NULL;
    judgeq_session *session = NULL;
    if (judgeq_policy_parse(kinds[kind].policy, &policy, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    judgeq_session_params params = judgeq_session_default_params();
    params.slack = JUDGEQ_SLACK_NONE;
    params.policy = policy;
    params.budget = kinds[kind].budget;
    params.kv_type = judgeq_model_get_info(model)->head_dim % 32 == 0 ? kinds[kind].kv_type : JUDGEQ_KV_F16;
    params.plain_weights = kinds[kind].plain;
    params.n_threads = 1;
    if (judgeq_session_new(model, &params, &session, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    judgeq_policy_free(policy);
    int32_t prompt[N_PROMPT];
    tiny_prompt((size_t)kind, judgeq_model_get_info(model)->n_vocab, prompt, N_PROMPT);
    if (judgeq_session_prefill(session, prompt, (size_t)kinds[kind].n_prompt, &error) != JUDGEQ_OK) {
        fail_msg("%s", error.message);
    }
    return session;
}

static int32_t best(const judgeq_model *model, const judgeq_session *session) {
    return fixture_best(judgeq_session_logits(session), judgeq_model_get_info(model)->n_vocab);
}

/* True where `together` would choose the token, or one that is as good within the difference of the logits. */
static bool chooses(const judgeq_model *model, const judgeq_session *together, int32_t token, double difference) {
    const float *logits = judgeq_session_logits(together);
    return (double)(logits[best(model, together)] - logits[token]) <= 2 * difference;
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

/* A Q4_0 cache makes more of a difference in a key or value: its steps are an eighth of the largest number. */
static double allowed_of(int kind, double allowed) {
    if (kinds[kind].plain) return 0;
    return kinds[kind].kv_type == JUDGEQ_KV_Q4_0 && allowed > SAME_LOGITS ? 2 * allowed : allowed;
}

/* Greedy tokens, and logits all the way. Sessions end one after the other, so that batches of every size run. */
static void compare(const judgeq_model *model, double allowed, const char *name) {
    const bool exact = allowed <= SAME_LOGITS;
    const size_t n_vocab = (size_t)judgeq_model_get_info(model)->n_vocab;
    judgeq_session *alone[N_SESSION], *together[N_SESSION];
    double worst = 0;
    for (int k = 0; k < N_SESSION; k++) {
        alone[k] = start(model, k);
        together[k] = start(model, k);
    }
    for (int i = 0; i < N_DECODE; i++) {
        const size_t n = (size_t)(N_SESSION - i * N_SESSION / N_DECODE);
        judgeq_error error = {0};
        int32_t tokens[N_SESSION];
        for (size_t k = 0; k < n; k++) {
            const double difference =
                fixture_max_difference(judgeq_session_logits(alone[k]), judgeq_session_logits(together[k]), n_vocab);
            worst = difference > worst ? difference : worst;
            tokens[k] = best(model, alone[k]);
            const bool same =
                exact ? best(model, together[k]) == tokens[k] : chooses(model, together[k], tokens[k], difference);
            if (!same || difference > allowed_of((int)k, allowed)) {
                fail_msg("%s, session %zu, token %d: logits differ by %g, best %d and %d", name, k, i, difference,
                         best(model, together[k]), tokens[k]);
            }
            assert_int_equal(judgeq_session_decode(alone[k], tokens[k], &error), JUDGEQ_OK);
        }
        if (judgeq_session_decode_all(together, tokens, n, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    }
    print_message("%-24s logits differ by %g at most\n", name, worst);
    for (int k = 0; k < N_SESSION; k++) {
        judgeq_stats a, b;
        judgeq_session_get_stats(alone[k], &a);
        judgeq_session_get_stats(together[k], &b);
        assert_int_equal(a.n_decoded, b.n_decoded);
        assert_int_equal(a.n_position, b.n_position);
        assert_int_equal(a.kv_bytes_held, b.kv_bytes_held);
        judgeq_session_free(alone[k]);
        judgeq_session_free(together[k]);
    }
}

static void test_families_and_quirks(void **state) {
    (void)state;
    for (size_t i = 0; i < tiny_spec_count() && !tiny_spec_is_type(i); i++) {
        const tiny_spec spec = tiny_spec_at(i);
        judgeq_model *model = load(&spec);
        compare(model, SAME_LOGITS, spec.name);
        judgeq_model_free(model);
    }
}

static void test_quantised(void **state) {
    (void)state;
    /* of the first, ggml multiplies every column alone */
    const char *names[] = {"q4_1", "q8_0", "q4_K", "mixed-first", "mixed-within", "fused-quantised"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        tiny_spec spec;
        size_t n_bytes = 0;
        judgeq_error error = {0};
        assert_true(tiny_spec_find(names[i], &spec));
        judgeq_model *model = load(&spec);
        compare(model, i == 0 ? 0 : QUANTISED_LOGITS, names[i]);
        assert_int_equal(judgeq_model_expand(model, (size_t)1 << 30, 1, &n_bytes, &error), JUDGEQ_OK);
        compare(model, QUANTISED_LOGITS, names[i]);
        judgeq_model_free(model);
    }
}

/* [n_vocab] after a prompt, in a session alone. */
static float *logits_alone(const judgeq_model *model, const int32_t *prompt, size_t n) {
    judgeq_error error = {0};
    judgeq_session *session = NULL;
    judgeq_session_params params = judgeq_session_default_params();
    params.slack = JUDGEQ_SLACK_NONE;
    params.n_threads = 1;
    if (judgeq_session_new(model, &params, &session, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    if (judgeq_session_prefill(session, prompt, n, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    if (judgeq_session_decode(session, prompt[0], &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    const size_t bytes = (size_t)judgeq_model_get_info(model)->n_vocab * sizeof(float);
    float *copy = malloc(bytes);
    assert_non_null(copy);
    memcpy(copy, judgeq_session_logits(session), bytes);
    judgeq_session_free(session);
    return copy;
}

/* Bytes of the quantised matrices of all layers as 16-bit floats. */
static size_t expanded_bytes(const judgeq_model *model) {
    size_t n = 0;
    for (int32_t l = 0; l < model->info.n_layer; l++) {
        struct ggml_tensor **slot[MODEL_LAYER_SLOTS];
        model_layer_slots(&model->layer[l], slot);
        for (int i = 0; i < MODEL_LAYER_SLOTS; i++) {
            if (*slot[i] && ggml_is_quantized((*slot[i])->type)) n += 2 * (size_t)ggml_nelements(*slot[i]);
        }
    }
    return n;
}

static void compare_expanded(const char *name) {
    enum { N = 200 };
    tiny_spec spec;
    judgeq_error error = {0};
    size_t n_bytes = 1;
    assert_true(tiny_spec_find(name, &spec));
    judgeq_model *model = load(&spec), *expanded = load(&spec);
    const size_t bytes = expanded_bytes(model);
    assert_int_equal(judgeq_model_expand(expanded, bytes - 1, 1, &n_bytes, &error), JUDGEQ_OK);
    assert_int_equal(n_bytes, 0);
    assert_int_equal(judgeq_model_expand(expanded, bytes, 1, &n_bytes, &error), JUDGEQ_OK);
    assert_int_equal(n_bytes, bytes);
    int32_t prompt[N];
    tiny_prompt(3, model->info.n_vocab, prompt, N);
    for (size_t n = 20; n <= N; n += 180) {
        float *a = logits_alone(model, prompt, n), *b = logits_alone(expanded, prompt, n);
        if (memcmp(a, b, (size_t)model->info.n_vocab * sizeof *a) != 0) fail_msg("%s: expanded, it differs", name);
        free(a);
        free(b);
    }
    judgeq_model_free(model);
    judgeq_model_free(expanded);
}

/* A session alone computes the same with an expanded model, short prompts and long ones; bytes by the layers' types. */
static void test_expanded_model_alone(void **state) {
    (void)state;
    const char *names[] = {"q4_1",      "mixed-first",     "mixed-last",  "mixed-within",
                           "mixed-all", "fused-quantised", "nvfp4-scales"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) compare_expanded(names[i]);
    tiny_spec spec;
    assert_true(tiny_spec_find("q4_1", &spec));
    judgeq_model *model = load(&spec);
    const size_t heads = (size_t)(spec.n_head + spec.n_head_kv) * (size_t)spec.head_dim;
    assert_int_equal(expanded_bytes(model),
                     2 * (size_t)spec.n_layer * (size_t)spec.n_embd * (2 * heads + 3 * (size_t)spec.n_ff));
    judgeq_model_free(model);
}

/* What is refused leaves every session as it was. */
static void test_refusals(void **state) {
    (void)state;
    tiny_spec spec, other_spec;
    judgeq_error error = {0};
    assert_true(tiny_spec_find("llama", &spec));
    assert_true(tiny_spec_find("qwen2", &other_spec));
    judgeq_model *model = load(&spec), *other_model = load(&other_spec);
    judgeq_session *a = start(model, 0), *b = start(model, 1), *stranger = start(other_model, 0);
    judgeq_session *pair[] = {a, b}, *twice[] = {a, a}, *strangers[] = {a, stranger};
    const int32_t good[] = {5, 6}, bad[] = {5, -1};
    assert_int_equal(judgeq_session_decode_all(pair, good, 0, &error), JUDGEQ_ERROR_ARGUMENT);
    assert_int_equal(judgeq_session_decode_all(twice, good, 2, &error), JUDGEQ_ERROR_ARGUMENT);
    assert_int_equal(judgeq_session_decode_all(strangers, good, 2, &error), JUDGEQ_ERROR_ARGUMENT);
    assert_int_equal(judgeq_session_decode_all(pair, bad, 2, &error), JUDGEQ_ERROR_ARGUMENT);
    judgeq_stats stats;
    judgeq_session_get_stats(a, &stats);
    assert_int_equal(stats.n_position, N_PROMPT);
    assert_int_equal(judgeq_session_decode_all(pair, good, 2, &error), JUDGEQ_OK);
    judgeq_session_get_stats(b, &stats);
    assert_int_equal(stats.n_position, N_PROMPT + 1);
    judgeq_session_free(a);
    judgeq_session_free(b);
    judgeq_session_free(stranger);
    judgeq_model_free(model);
    judgeq_model_free(other_model);
}

TESTS_MAIN(fixture_set_up, fixture_tear_down, cmocka_unit_test(test_families_and_quirks),
           cmocka_unit_test(test_quantised), cmocka_unit_test(test_expanded_model_alone),
           cmocka_unit_test(test_refusals))
