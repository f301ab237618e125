/* The test kit itself: every tiny model loads in libllama and computes something worth comparing. */
#include "llama_oracle.h"
#include "tiny_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

enum { N_PROMPT = 40 };

static void path_of(const char *name, char out[512]) {
    snprintf(out, 512, "%s/%s.gguf", fixture_folder, name);
}

static char *build(const tiny_spec *spec, size_t *size) {
    char path[512];
    path_of("bytes", path);
    assert_int_equal(tiny_model_write(spec, path), 0);
    char *bytes = fixture_read(path, size);
    assert_non_null(bytes);
    return bytes;
}

static oracle *open_spec(const tiny_spec *spec, const oracle_options *options) {
    char path[512];
    path_of("oracle", path);
    assert_int_equal(tiny_model_write(spec, path), 0);
    oracle *o = oracle_open(path, 256, options);
    if (!o) fail_msg("%s: libllama does not load it: %s", spec->name, oracle_error());
    return o;
}

static tiny_spec find(const char *name) {
    tiny_spec spec;
    assert_true(tiny_spec_find(name, &spec));
    return spec;
}

/* Loads, and the logits are finite, spread out, and different after another prompt of the same last token: the last is
 * what a model whose attention does nothing would fail. */
static void check_spec(const tiny_spec *spec) {
    oracle *o = open_spec(spec, NULL);
    int n_vocab = oracle_n_vocab(o);
    int32_t tokens[N_PROMPT];
    tiny_prompt(7, n_vocab, tokens, N_PROMPT);
    assert_int_equal(oracle_prompt(o, tokens, N_PROMPT), 0);
    double deviation = fixture_deviation(oracle_logits(o), (size_t)n_vocab);
    if (!(deviation > 0.5 && deviation < 50)) fail_msg("%s: logits deviate by %g", spec->name, deviation);

    float *first = malloc((size_t)n_vocab * sizeof *first);
    assert_non_null(first);
    memcpy(first, oracle_logits(o), (size_t)n_vocab * sizeof *first);
    tokens[3] = (tokens[3] + 1) % n_vocab;
    oracle_reset(o);
    assert_int_equal(oracle_prompt(o, tokens, N_PROMPT), 0);
    double moved = fixture_max_difference(first, oracle_logits(o), (size_t)n_vocab);
    if (!(moved > 1e-4 && moved < 1000)) fail_msg("%s: an early token moves the logits by %g", spec->name, moved);
    if (getenv("JUDGEQ_TEST_VERBOSE")) print_message("%-24s deviation %6.3f moved %g\n", spec->name, deviation, moved);
    free(first);
    oracle_close(o);
}

static void test_families_and_quirks_load(void **state) {
    (void)state;
    for (size_t i = 0; !tiny_spec_is_type(i); i++) {
        tiny_spec spec = tiny_spec_at(i);
        check_spec(&spec);
    }
}

static void test_weight_types_load(void **state) {
    (void)state;
    size_t n_types = 0;
    for (size_t i = 0; i < tiny_spec_count(); i++) {
        if (!tiny_spec_is_type(i)) continue;
        tiny_spec spec = tiny_spec_at(i);
        check_spec(&spec);
        n_types++;
    }
    assert_true(n_types >= 23); /* those of ggml 0.17 */
}

static void test_bytes_follow_from_the_spec(void **state) {
    (void)state;
    const char *names[] = {"llama", "qwen2", "qwen3", "rope-freqs", "q4_K", "iq3_s", "iq2_xxs", "iq1_m"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        tiny_spec spec = find(names[i]);
        size_t size, size_again, size_other;
        char *bytes = build(&spec, &size), *again = build(&spec, &size_again);
        spec.seed++;
        char *other = build(&spec, &size_other);
        assert_int_equal(size, size_again);
        assert_memory_equal(bytes, again, size);
        assert_int_equal(size, size_other);
        assert_memory_not_equal(bytes, other, size);
        free(bytes);
        free(again);
        free(other);
    }
}

/* A quirk that libllama ignored would make its spec worthless. rope_original_context changes nothing but YaRN. */
static void test_rope_quirks_change_the_logits(void **state) {
    (void)state;
    const char *names[] = {"rope-base", "rope-freqs", "linear", "yarn", "yarn-attention-scale"};
    enum { N = sizeof names / sizeof *names };
    float *logits[N + 1] = {0};
    size_t n_vocab = 0;
    for (int i = 0; i <= N; i++) {
        tiny_spec spec = find(i < N ? names[i] : "llama");
        oracle *o = open_spec(&spec, NULL);
        n_vocab = (size_t)oracle_n_vocab(o);
        int32_t tokens[N_PROMPT];
        tiny_prompt(7, (int)n_vocab, tokens, N_PROMPT);
        assert_int_equal(oracle_prompt(o, tokens, N_PROMPT), 0);
        logits[i] = malloc(n_vocab * sizeof **logits);
        assert_non_null(logits[i]);
        memcpy(logits[i], oracle_logits(o), n_vocab * sizeof **logits);
        oracle_close(o);
        for (int j = 0; j < i; j++) assert_true(fixture_max_difference(logits[i], logits[j], n_vocab) > 0.01);
    }
    for (int i = 0; i <= N; i++) free(logits[i]);
}

/* The oracle's own ways to the same sequence agree: batches, single tokens, all logits. */
static void test_oracle_is_consistent(void **state) {
    (void)state;
    tiny_spec spec = find("llama");
    oracle *whole = open_spec(&spec, &(oracle_options){.all_logits = true});
    oracle *parts = open_spec(&spec, &(oracle_options){.n_batch = 7});
    size_t n_vocab = (size_t)oracle_n_vocab(whole);
    int32_t tokens[N_PROMPT], greedy[8];
    tiny_prompt(7, (int)n_vocab, tokens, N_PROMPT);
    assert_int_equal(oracle_prompt(whole, tokens, N_PROMPT), 0);
    assert_int_equal(oracle_prompt(parts, tokens, N_PROMPT), 0);
    assert_true(fixture_max_difference(oracle_logits(whole), oracle_logits(parts), n_vocab) < 1e-3);
    oracle_reset(parts);
    for (int i = 0; i < N_PROMPT; i++) {
        assert_int_equal(oracle_decode(parts, tokens[i]), 0);
        const float *row = oracle_all_logits(whole) + (size_t)i * n_vocab;
        assert_true(fixture_max_difference(row, oracle_logits(parts), n_vocab) < 1e-3);
    }
    assert_int_equal(oracle_continue(parts, greedy, 8), 0);
    assert_int_equal(oracle_n_past(parts), N_PROMPT + 7);
    assert_int_equal(greedy[0], oracle_best(whole));
    oracle_close(whole);
    oracle_close(parts);
}

static void test_cache_types_and_flash_attention(void **state) {
    (void)state;
    const oracle_options options[] = {
        {0}, {.kv_type = GGML_TYPE_F16}, {.kv_type = GGML_TYPE_F16, .flash_attention = true}};
    tiny_spec spec = find("llama");
    float *first = NULL;
    for (int i = 0; i < 3; i++) {
        oracle *o = open_spec(&spec, &options[i]);
        size_t n_vocab = (size_t)oracle_n_vocab(o);
        int32_t tokens[N_PROMPT];
        tiny_prompt(7, (int)n_vocab, tokens, N_PROMPT);
        assert_int_equal(oracle_prompt(o, tokens, N_PROMPT), 0);
        if (!first) {
            first = malloc(n_vocab * sizeof *first);
            assert_non_null(first);
            memcpy(first, oracle_logits(o), n_vocab * sizeof *first);
        } else {
            double difference = fixture_max_difference(first, oracle_logits(o), n_vocab);
            assert_true(difference > 0); /* the option did something */
            assert_true(difference < 0.2);
        }
        oracle_close(o);
    }
    free(first);
}

static void check_tokens(const char *name, const char *text, bool special, const int32_t *expected, int n_expected) {
    tiny_spec spec = find(name);
    oracle *o = open_spec(&spec, NULL);
    int32_t tokens[64];
    int n = oracle_tokenize(o, text, special, tokens, 64);
    assert_int_equal(n, n_expected);
    assert_memory_equal(tokens, expected, (size_t)n * sizeof *tokens);
    oracle_close(o);
}

/* Ids by hand. SPM: 3 + byte; 259 + join; 275 is the space, 276 + letter; 302, 303 the chat tokens.
 * BPE: byte b is 3 + b here where printable ASCII is meant; 259 + join. */
static void test_vocabularies(void **state) {
    (void)state;
    int32_t spm_the_room_7[] = {1, 261, 269, 275, 3 + '7'};
    check_tokens("llama", "the room 7", true, spm_the_room_7, 5);
    int32_t spm_chat[] = {1, 302, 303};
    check_tokens("llama", "<|im_start|><|im_end|>", true, spm_chat, 3);
    int32_t bpe_the_room_7[] = {3 + 't', 260, 269, 3 + ' ', 3 + '7'};
    check_tokens("bpe-smollm", "the room 7", true, bpe_the_room_7, 5);
    int32_t bpe_chat[] = {1, 3 + 'a', 2};
    check_tokens("bpe-smollm", "<|im_start|>a<|im_end|>", true, bpe_chat, 3);
}

static void test_chat_template(void **state) {
    (void)state;
    const char *names[] = {"llama", "qwen2", "qwen3", "bpe-smollm"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        tiny_spec spec = find(names[i]);
        oracle *o = open_spec(&spec, NULL);
        char text[256];
        const char *expected = "<|im_start|>user\nin room 7?<|im_end|>\n<|im_start|>assistant\n";
        assert_int_equal(oracle_chat(o, "in room 7?", text, sizeof text), strlen(expected));
        assert_memory_equal(text, expected, strlen(expected));
        oracle_close(o);
    }
}

static void test_impossible_specs_are_refused(void **state) {
    (void)state;
    char path[512];
    path_of("impossible", path);
    tiny_spec spec = tiny_spec_base();
    spec.weight_type = GGML_TYPE_Q4_K; /* rows of 64 */
    assert_int_equal(tiny_model_write(&spec, path), -1);
    spec = tiny_spec_base();
    spec.n_head_kv = 3;
    assert_int_equal(tiny_model_write(&spec, path), -1);
    spec = tiny_spec_base();
    snprintf(path, sizeof path, "%s/no-such-folder/model.gguf", fixture_folder);
    assert_int_equal(tiny_model_write(&spec, path), -1);
    assert_null(oracle_open(path, 256, NULL));
    assert_true(oracle_error()[0] != 0);
}

/* What the tests of damaged files do: change the model in memory, then write it. */
static void test_models_can_be_damaged(void **state) {
    (void)state;
    char path[512];
    path_of("damaged", path);
    tiny_spec spec = tiny_spec_base();
    tiny_model model;
    assert_int_equal(tiny_model_build(&spec, &model), 0);
    assert_true(gguf_remove_key(model.gguf, "llama.block_count") >= 0);
    assert_int_equal(tiny_model_save(&model, path), 0);
    tiny_model_free(&model);
    assert_null(oracle_open(path, 256, NULL));
    assert_non_null(strstr(oracle_error(), "block_count"));
}

TESTS_MAIN(fixture_set_up, fixture_tear_down, cmocka_unit_test(test_families_and_quirks_load),
           cmocka_unit_test(test_weight_types_load), cmocka_unit_test(test_bytes_follow_from_the_spec),
           cmocka_unit_test(test_rope_quirks_change_the_logits), cmocka_unit_test(test_oracle_is_consistent),
           cmocka_unit_test(test_cache_types_and_flash_attention), cmocka_unit_test(test_vocabularies),
           cmocka_unit_test(test_chat_template), cmocka_unit_test(test_impossible_specs_are_refused),
           cmocka_unit_test(test_models_can_be_damaged))
