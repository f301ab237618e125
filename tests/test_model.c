/* Models that must be refused, each by a message that names what is wrong, and what loads must say about itself. */
#include "llama_oracle.h"
#include "model/model.h"
#include "tiny_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

static const char *const path = fixture_model;

static tiny_model build(const char *name) {
    tiny_spec spec;
    tiny_model model;
    assert_true(tiny_spec_find(name, &spec));
    assert_int_equal(tiny_model_build(&spec, &model), 0);
    return model;
}

/* Saves, frees, loads: expects a refusal with that code, whose message has all the parts. */
static void expect_refused(tiny_model model, judgeq_status code, const char *part, const char *other) {
    judgeq_error error = {0};
    judgeq_model *loaded = NULL;
    assert_int_equal(tiny_model_save(&model, path), 0);
    tiny_model_free(&model);
    const judgeq_status status = judgeq_model_load(path, &loaded, &error);
    if (status != code) fail_msg("status %d, expected %d: %s", status, code, error.message);
    assert_null(loaded);
    if (!strstr(error.message, path)) fail_msg("'%s' does not name the file", error.message);
    if (!strstr(error.message, part) || !strstr(error.message, other)) {
        fail_msg("'%s' does not say '%s' and '%s'", error.message, part, other);
    }
}

/* The same keys, and the tensors that `keep` accepts. */
static tiny_model without_tensor(tiny_model model, const char *name) {
    struct gguf_context *gguf = gguf_init_empty();
    gguf_set_kv(gguf, model.gguf);
    for (struct ggml_tensor *t = ggml_get_first_tensor(model.context); t; t = ggml_get_next_tensor(model.context, t)) {
        if (strcmp(t->name, name) != 0) gguf_add_tensor(gguf, t);
    }
    gguf_free(model.gguf);
    model.gguf = gguf;
    return model;
}

/* ---- what a model says about itself
 * ------------------------------------------------------------------------------------- */

static void test_info(void **state) {
    (void)state;
    tiny_spec spec;
    judgeq_error error = {0};
    judgeq_model *model = NULL, *again = NULL;
    assert_true(tiny_spec_find("mistral", &spec));
    assert_int_equal(tiny_model_write(&spec, path), 0);
    if (judgeq_model_load(path, &model, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    const judgeq_model_info *info = judgeq_model_get_info(model);
    assert_string_equal(info->architecture, "llama");
    assert_string_equal(info->name, "mistral");
    assert_string_equal(info->weight_type, "f32");
    /* not tied: of the embeddings, a token reads its own */
    assert_int_equal(info->weight_bytes - info->decode_bytes,
                     (size_t)(info->n_vocab - 1) * (size_t)info->n_embd * sizeof(float));
    assert_int_equal(info->n_layer, spec.n_layer);
    assert_int_equal(info->n_embd, spec.n_embd);
    assert_int_equal(info->n_head, spec.n_head);
    assert_int_equal(info->n_head_kv, spec.n_head_kv);
    assert_int_equal(info->head_dim, spec.head_dim);
    assert_int_equal(info->n_ff, spec.n_ff);
    assert_int_equal(info->n_ctx_train, spec.n_ctx);
    assert_int_equal(strlen(info->fingerprint), 32);

    /* another seed is another model; the same bytes are the same model */
    spec.seed++;
    assert_int_equal(tiny_model_write(&spec, path), 0);
    assert_int_equal(judgeq_model_load(path, &again, &error), JUDGEQ_OK);
    assert_string_not_equal(info->fingerprint, judgeq_model_get_info(again)->fingerprint);
    judgeq_model_free(again);
    spec.seed--;
    assert_int_equal(tiny_model_write(&spec, path), 0);
    assert_int_equal(judgeq_model_load(path, &again, &error), JUDGEQ_OK);
    assert_string_equal(info->fingerprint, judgeq_model_get_info(again)->fingerprint);
    judgeq_model_free(again);
    judgeq_model_free(model);
}

/* What each layer computes, by the architecture and the tensors of the file. */
static void test_block(void **state) {
    (void)state;
    static const struct {
        const char *name, *block;
    } cases[] = {
        {"llama", "attention to all rows (rope on adjacent pairs), gated feed-forward (silu)"},
        {"qwen2", "attention to all rows (rope on halves, biases), gated feed-forward (silu)"},
        {"qwen3", "attention to all rows (rope on halves, query and key norms), gated feed-forward (silu)"},
        {"smollm3",
         "attention to all rows (rope on adjacent pairs, none in every 4th layer), gated feed-forward (silu)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tiny_spec spec;
        judgeq_error error = {0};
        judgeq_model *model = NULL;
        assert_true(tiny_spec_find(cases[i].name, &spec));
        assert_int_equal(tiny_model_write(&spec, path), 0);
        if (judgeq_model_load(path, &model, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
        assert_string_equal(judgeq_model_get_info(model)->block, cases[i].block);
        judgeq_model_free(model);
    }
}

/* ---- refusals
 * ----------------------------------------------------------------------------------------------------------- */

static void test_architecture(void **state) {
    (void)state;
    tiny_model model = build("llama");
    gguf_set_val_str(model.gguf, "general.architecture", "mamba");
    expect_refused(model, JUDGEQ_ERROR_UNSUPPORTED, "mamba", "qwen3");
    model = build("llama");
    gguf_remove_key(model.gguf, "general.architecture");
    expect_refused(model, JUDGEQ_ERROR_FORMAT, "general.architecture", "");
}

static void test_shapes(void **state) {
    (void)state;
    static const struct {
        const char *key;
        uint32_t value;
        judgeq_status code;
        const char *part;
    } cases[] = {
        {"llama.block_count", 0, JUDGEQ_ERROR_FORMAT, "llama.block_count"},
        {"llama.block_count", 4000000000u, JUDGEQ_ERROR_FORMAT, "llama.block_count"},
        {"llama.block_count", 500, JUDGEQ_ERROR_FORMAT, "500"},
        {"llama.block_count", 3, JUDGEQ_ERROR_FORMAT, "blk.2.attn_norm.weight is missing"},
        {"llama.block_count", 1, JUDGEQ_ERROR_UNSUPPORTED, "blk.1."},
        {"llama.embedding_length", 32, JUDGEQ_ERROR_UNSUPPORTED, "16"},
        {"llama.feed_forward_length", 77, JUDGEQ_ERROR_FORMAT, "blk.0.ffn_gate.weight"},
        {"llama.attention.head_count", 0, JUDGEQ_ERROR_FORMAT, "llama.attention.head_count"},
        {"llama.attention.head_count", 8, JUDGEQ_ERROR_UNSUPPORTED, "16"},
        {"llama.attention.head_count_kv", 3, JUDGEQ_ERROR_FORMAT, "evenly"},
        {"llama.attention.key_length", 15, JUDGEQ_ERROR_UNSUPPORTED, "15"},
        {"llama.attention.value_length", 8, JUDGEQ_ERROR_UNSUPPORTED, "8"},
        {"llama.rope.dimension_count", 8, JUDGEQ_ERROR_UNSUPPORTED, "8"},
        {"llama.context_length", 0, JUDGEQ_ERROR_FORMAT, "llama.context_length"},
        {"llama.expert_count", 8, JUDGEQ_ERROR_UNSUPPORTED, "llama.expert_count"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tiny_model model = build("llama");
        gguf_set_val_u32(model.gguf, cases[i].key, cases[i].value);
        expect_refused(model, cases[i].code, cases[i].part, "");
    }
    tiny_model model = build("llama");
    gguf_set_val_str(model.gguf, "llama.block_count", "two");
    expect_refused(model, JUDGEQ_ERROR_FORMAT, "llama.block_count", "");
    model = build("llama");
    gguf_set_val_f32(model.gguf, "llama.attention.layer_norm_rms_epsilon", NAN);
    expect_refused(model, JUDGEQ_ERROR_NUMERIC, "layer_norm_rms_epsilon", "");
    model = build("llama");
    gguf_set_val_f32(model.gguf, "llama.attention.layer_norm_rms_epsilon", -1e-5f);
    expect_refused(model, JUDGEQ_ERROR_FORMAT, "layer_norm_rms_epsilon", "negative");
    model = build("mistral"); /* says its head_dim, so that only the embedding is of another shape */
    gguf_set_val_u32(model.gguf, "llama.embedding_length", 32);
    expect_refused(model, JUDGEQ_ERROR_FORMAT, "token_embd.weight", "32");
    model = build("llama");
    gguf_set_val_str(model.gguf, "llama.rope.scaling.type", "longrope");
    expect_refused(model, JUDGEQ_ERROR_UNSUPPORTED, "longrope", "yarn");
    model = build("linear");
    gguf_set_val_f32(model.gguf, "llama.rope.scaling.factor", -2);
    expect_refused(model, JUDGEQ_ERROR_FORMAT, "-2", "");
}

static void test_tensors(void **state) {
    (void)state;
    static const char *const names[] = {"token_embd.weight", "output_norm.weight", "blk.0.attn_q.weight",
                                        "blk.1.ffn_down.weight", "blk.1.ffn_norm.weight"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        expect_refused(without_tensor(build("llama"), names[i]), JUDGEQ_ERROR_FORMAT, names[i], "missing");
    }
    expect_refused(without_tensor(build("qwen3"), "blk.0.attn_q_norm.weight"), JUDGEQ_ERROR_FORMAT,
                   "blk.0.attn_q_norm.weight", "missing");
    /* a tensor that this architecture does not have, such as a query norm in a llama file, would be left out */
    tiny_model model = build("qwen3");
    struct ggml_tensor *norm = ggml_get_tensor(model.context, "blk.0.attn_q_norm.weight");
    assert_non_null(norm);
    tiny_model llama = build("llama");
    ggml_set_name(norm, "blk.0.attn_sub_norm.weight");
    gguf_add_tensor(llama.gguf, norm);
    expect_refused(llama, JUDGEQ_ERROR_UNSUPPORTED, "blk.0.attn_sub_norm.weight", "llama");
    tiny_model_free(&model);
}

/* Tensors of an odd size, one directly after the other. */
static void test_alignment(void **state) {
    (void)state;
    tiny_model model = build("llama");
    struct gguf_context *gguf = gguf_init_empty();
    gguf_set_kv(gguf, model.gguf);
    gguf_set_val_u32(gguf, "general.alignment", 1);
    for (struct ggml_tensor *t = ggml_get_first_tensor(model.context); t; t = ggml_get_next_tensor(model.context, t)) {
        gguf_add_tensor(gguf, t);
    }
    gguf_free(model.gguf);
    model.gguf = gguf;
    int refused = 0;
    for (int i = 0; i < 4; i++) { /* the data begin where the header ends, at one of four places */
        char name[8];
        snprintf(name, sizeof name, "%.*s", i + 1, "abcd");
        gguf_set_val_str(gguf, "general.name", name);
        judgeq_error error = {0};
        judgeq_model *loaded = NULL;
        assert_int_equal(tiny_model_save(&model, path), 0);
        const judgeq_status status = judgeq_model_load(path, &loaded, &error);
        judgeq_model_free(loaded);
        if (status == JUDGEQ_OK) continue;
        if (!strstr(error.message, "not aligned to 4 bytes")) fail_msg("%s", error.message);
        refused++;
    }
    tiny_model_free(&model);
    assert_int_equal(refused, 3);
}

static void test_norm_type(void **state) {
    (void)state;
    tiny_model model = build("llama");
    gguf_set_tensor_type(model.gguf, "blk.0.attn_norm.weight", GGML_TYPE_F16);
    expect_refused(model, JUDGEQ_ERROR_UNSUPPORTED, "blk.0.attn_norm.weight", "f32");
}

static void rename_token(tiny_model *model, const char *from, const char *to) {
    const int64_t id = gguf_find_key(model->gguf, "tokenizer.ggml.tokens");
    const size_t n = gguf_get_arr_n(model->gguf, id);
    char **tokens = malloc(n * sizeof *tokens);
    for (size_t i = 0; i < n; i++) {
        const char *text = gguf_get_arr_str(model->gguf, id, i);
        tokens[i] = strdup(strcmp(text, from) == 0 ? to : text);
    }
    gguf_set_arr_str(model->gguf, "tokenizer.ggml.tokens", (const char **)tokens, n);
    for (size_t i = 0; i < n; i++) free(tokens[i]);
    free(tokens);
}

static void test_vocabulary(void **state) {
    (void)state;
    static const char *const two[] = {"a", "b"};
    tiny_model model = build("llama");
    gguf_set_val_str(model.gguf, "tokenizer.ggml.model", "none");
    expect_refused(model, JUDGEQ_ERROR_UNSUPPORTED, "tokenizer.ggml.model", "none");
    model = build("llama");
    gguf_set_arr_str(model.gguf, "tokenizer.ggml.tokens", (const char **)two, 2);
    expect_refused(model, JUDGEQ_ERROR_FORMAT, "tokenizer.ggml.tokens", "2");
    model = build("llama");
    rename_token(&model, "<0x06>", "<0x04>");
    expect_refused(model, JUDGEQ_ERROR_FORMAT, "7",
                   "9 are the same"); /* libllama aborts on a token that occurs twice */
    model = build("llama");
    rename_token(&model, "<0x41>", "<0x4G>");
    expect_refused(model, JUDGEQ_ERROR_FORMAT, "<0x41>", ""); /* libllama throws when a text has that byte */
    model = build("llama");
    const float scores[] = {1, 2};
    gguf_set_arr_data(model.gguf, "tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, scores, 2);
    expect_refused(model, JUDGEQ_ERROR_FORMAT, "tokenizer.ggml.scores", ""); /* libllama reads past a short array */
    model = build("llama");
    gguf_set_val_u32(model.gguf, "tokenizer.ggml.token_type", 1);
    expect_refused(model, JUDGEQ_ERROR_FORMAT, "tokenizer.ggml.token_type", "");
}

static void test_truncated(void **state) {
    (void)state;
    tiny_spec spec;
    size_t size = 0;
    assert_true(tiny_spec_find("llama", &spec));
    assert_int_equal(tiny_model_write(&spec, path), 0);
    char *bytes = fixture_read(path, &size);
    for (size_t cut = 0; cut < size; cut += 997) {
        judgeq_error error = {0};
        judgeq_model *model = NULL;
        assert_int_equal(fixture_write(path, bytes, cut), 0);
        assert_int_not_equal(judgeq_model_load(path, &model, &error), JUDGEQ_OK);
        assert_non_null(strstr(error.message, path));
    }
    free(bytes);
    judgeq_error error = {0};
    judgeq_model *model = NULL;
    assert_int_equal(judgeq_model_load("/nowhere/model.gguf", &model, &error), JUDGEQ_ERROR_IO);
    assert_int_equal(judgeq_model_load(fixture_folder, &model, &error), JUDGEQ_ERROR_IO);
}

/* Weights are not read at load; the first logits tell, and then the tensor is named. */
static void test_weights_not_finite(void **state) {
    (void)state;
    tiny_model damaged = build("llama");
    ((float *)ggml_get_tensor(damaged.context, "blk.1.ffn_up.weight")->data)[5] = NAN;
    assert_int_equal(tiny_model_save(&damaged, path), 0);
    tiny_model_free(&damaged);
    judgeq_error error = {0};
    judgeq_model *model = NULL;
    judgeq_session *session = NULL;
    if (judgeq_model_load(path, &model, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    judgeq_session_params params = judgeq_session_default_params();
    params.n_threads = 1;
    assert_int_equal(judgeq_session_new(model, &params, &session, &error), JUDGEQ_OK);
    const int32_t tokens[] = {5, 6, 7};
    assert_int_equal(judgeq_session_prefill(session, tokens, 3, &error), JUDGEQ_ERROR_NUMERIC);
    if (!strstr(error.message, "blk.1.ffn_up.weight")) fail_msg("%s", error.message);
    judgeq_session_free(session);
    judgeq_model_free(model);
}

/* ---- text
 * --------------------------------------------------------------------------------------------------------------- */

static void test_text(void **state) {
    (void)state;
    static const char *const specs[] = {"llama", "bpe-smollm"};
    const char *text = "<|im_start|>user\nthe cat, 12\xc3\xa9\xf0\x9f\x98\x80<|im_end|>";
    for (size_t i = 0; i < 2; i++) {
        tiny_model tiny = build(specs[i]);
        assert_int_equal(tiny_model_save(&tiny, path), 0);
        tiny_model_free(&tiny);
        judgeq_error error = {0};
        judgeq_model *model = NULL;
        if (judgeq_model_load(path, &model, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
        oracle *o = oracle_open(path, 64, NULL);
        int32_t *tokens = NULL, theirs[128];
        size_t n = 0;
        assert_int_equal(
            judgeq_tokenize(model, text, strlen(text), JUDGEQ_TEXT_BEGIN | JUDGEQ_TEXT_CONTROL, &tokens, &n, &error),
            JUDGEQ_OK);
        assert_int_equal(oracle_tokenize(o, text, true, theirs, 128), n);
        assert_memory_equal(tokens, theirs, n * sizeof *tokens);
        assert_true(judgeq_token_ends(model, tokens[n - 1]));
        assert_int_equal(judgeq_token_text(model, tokens[n - 1], NULL, 0), 0);
        assert_int_equal(judgeq_token_text(model, -1, NULL, 0), 0);
        assert_false(judgeq_token_ends(model, -1));
        judgeq_free(tokens);

        char *chat = NULL, expected[512];
        const judgeq_message message = {"user", "hello"};
        assert_int_equal(judgeq_chat_text(model, &message, 1, NULL, &chat, &error), JUDGEQ_OK);
        assert_true(oracle_chat(o, "hello", expected, sizeof expected) > 0);
        assert_string_equal(chat, expected);
        judgeq_free(chat);
        oracle_close(o);
        judgeq_model_free(model);
    }
}

TESTS_MAIN(fixture_set_up, fixture_tear_down, cmocka_unit_test(test_info), cmocka_unit_test(test_block),
           cmocka_unit_test(test_architecture), cmocka_unit_test(test_shapes), cmocka_unit_test(test_tensors),
           cmocka_unit_test(test_norm_type), cmocka_unit_test(test_alignment), cmocka_unit_test(test_vocabulary),
           cmocka_unit_test(test_truncated), cmocka_unit_test(test_weights_not_finite), cmocka_unit_test(test_text))
