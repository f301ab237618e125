/* The ways in which a model comes as files: in parts, with fused matrices, with one number per layer, with any name;
 * and files that are no model, each named for what it is. */
#include "judgeq.h"
#include "llama_oracle.h"
#include "tiny_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

static const char *const path = fixture_model;

static tiny_model build(const char *name) {
    tiny_spec spec;
    tiny_model tiny;
    assert_true(tiny_spec_find(name, &spec));
    assert_int_equal(tiny_model_build(&spec, &tiny), 0);
    return tiny;
}

static judgeq_model *load(const char *from) {
    judgeq_error error = {0};
    judgeq_model *model = NULL;
    if (judgeq_model_load(from, &model, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    return model;
}

static judgeq_model *load_tiny(tiny_model tiny) {
    assert_int_equal(tiny_model_save(&tiny, path), 0);
    tiny_model_free(&tiny);
    return load(path);
}

static void expect_message(const char *from, judgeq_status code, const char *part, const char *other) {
    judgeq_error error = {0};
    judgeq_model *model = NULL;
    const judgeq_status status = judgeq_model_load(from, &model, &error);
    if (status != code) fail_msg("status %d, expected %d: %s", status, code, error.message);
    assert_null(model);
    if (!strstr(error.message, from)) fail_msg("'%s' does not name %s", error.message, from);
    if (!strstr(error.message, part) || !strstr(error.message, other)) {
        fail_msg("'%s' does not say '%s' and '%s'", error.message, part, other);
    }
}

static void expect_refused(tiny_model tiny, judgeq_status code, const char *part, const char *other) {
    assert_int_equal(tiny_model_save(&tiny, path), 0);
    tiny_model_free(&tiny);
    expect_message(path, code, part, other);
}

/* libllama's logits after a prompt, bit for bit. */
static void compare(const judgeq_model *model, const char *from) {
    enum { N = 40 };
    int32_t tokens[N];
    judgeq_error error = {0};
    judgeq_session *session = NULL;
    judgeq_session_params params = judgeq_session_default_params();
    params.kv_type = JUDGEQ_KV_F32;
    params.n_threads = 1;
    params.plain_weights = true;
    const size_t n_vocab = (size_t)judgeq_model_get_info(model)->n_vocab;
    tiny_prompt(5, (int)n_vocab, tokens, N);
    oracle *o = oracle_open(from, 64, NULL);
    if (!o) fail_msg("%s", oracle_error());
    assert_int_equal(oracle_prompt(o, tokens, N), 0);
    assert_int_equal(judgeq_session_new(model, &params, &session, &error), JUDGEQ_OK);
    if (judgeq_session_prefill(session, tokens, N, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    assert_memory_equal(judgeq_session_logits(session), oracle_logits(o), n_vocab * sizeof(float));
    judgeq_session_free(session);
    oracle_close(o);
}

/* ---- parts ------------------------------------------------------------------------------------------------------- */

static void path_of(int i, int n, char out[600]) {
    snprintf(out, 600, "%s/part-%05d-of-%05d.gguf", fixture_folder, i, n);
}

static void write_parts(const char *spec, int n) {
    char prefix[512];
    tiny_model tiny = build(spec);
    snprintf(prefix, sizeof prefix, "%s/part", fixture_folder);
    assert_int_equal(tiny_model_save_parts(&tiny, prefix, n), 0);
    tiny_model_free(&tiny);
}

/* Its tokens, its logits, and the same fingerprint as in one file, so that a judge is a judge of both. */
static void test_parts(void **state) {
    (void)state;
    static const char *const names[] = {"llama", "qwen3", "fused-quantised"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        for (int n = 1; n <= 5; n += 2) {
            char first[600];
            path_of(1, n, first);
            write_parts(names[i], n);
            judgeq_model *whole = load_tiny(build(names[i])), *parts = load(first);
            const judgeq_model_info *a = judgeq_model_get_info(whole), *b = judgeq_model_get_info(parts);
            assert_string_equal(a->fingerprint, b->fingerprint);
            assert_int_equal(a->weight_bytes, b->weight_bytes);
            assert_int_equal(a->n_tensors, b->n_tensors);
            assert_int_equal(a->n_files, 1);
            assert_int_equal(b->n_files, n);
            assert_true(b->file_bytes > b->weight_bytes);
            compare(parts, first);
            judgeq_model_free(whole);
            judgeq_model_free(parts);
        }
    }
}

static void test_parts_refused(void **state) {
    (void)state;
    char first[600], second[600], third[600], other[600];
    path_of(1, 3, first);
    path_of(2, 3, second);
    path_of(3, 3, third);
    write_parts("llama", 3);
    expect_message(second, JUDGEQ_ERROR_UNSUPPORTED, "is part 2 of 3", first);
    snprintf(other, sizeof other, "%s/renamed.gguf", fixture_folder);
    assert_int_equal(rename(second, other), 0);
    expect_message(first, JUDGEQ_ERROR_IO, "part 2 of 3 is needed", second);
    expect_message(other, JUDGEQ_ERROR_FORMAT, "is part 2 of 3", "-00002-of-00003.gguf");
    assert_int_equal(link(third, second), 0);
    expect_message(first, JUDGEQ_ERROR_FORMAT, second, "says that it is part 3 of 3");
    assert_int_equal(unlink(second), 0);
    assert_int_equal(rename(other, second), 0);
    assert_int_equal(rename(first, other), 0);
    expect_message(other, JUDGEQ_ERROR_FORMAT, "is part 1 of 3", "llama-gguf-split --merge");
    assert_int_equal(rename(other, first), 0);
    judgeq_model_free(load(first));
    size_t size = 0;
    char *bytes = fixture_read(third, &size);
    assert_int_equal(fixture_write(third, bytes, size - 1000), 0);
    expect_message(first, JUDGEQ_ERROR_FORMAT, third, "is it cut short?");
    assert_int_equal(fixture_write(third, "version https://git-lfs", 23), 0);
    expect_message(first, JUDGEQ_ERROR_FORMAT, third, "Git LFS");
    free(bytes);
}

/* Parts of which one has a key changed, as `change` does it. */
static void refuse_changed(int part, void (*change)(struct gguf_context *), const char *says, const char *other) {
    char changed[600], first[600];
    write_parts("llama", 2);
    path_of(1, 2, first);
    path_of(part, 2, changed);
    tiny_model tiny = build("llama");
    struct gguf_context *keys = gguf_init_from_file(changed, (struct gguf_init_params){.no_alloc = true});
    struct gguf_context *gguf = gguf_init_empty();
    gguf_set_kv(gguf, keys);
    for (int64_t t = 0; t < gguf_get_n_tensors(keys); t++) {
        gguf_add_tensor(gguf, ggml_get_tensor(tiny.context, gguf_get_tensor_name(keys, t)));
    }
    change(gguf);
    assert_true(gguf_write_to_file(gguf, changed, false));
    gguf_free(gguf);
    gguf_free(keys);
    tiny_model_free(&tiny);
    expect_message(first, JUDGEQ_ERROR_FORMAT, says, other);
}

static void set_wrong_type(struct gguf_context *gguf) {
    gguf_set_val_u32(gguf, "split.no", 1);
}

static void set_wrong_count(struct gguf_context *gguf) {
    gguf_set_val_u16(gguf, "split.count", 3);
}

static void remove_number(struct gguf_context *gguf) {
    gguf_remove_key(gguf, "split.no");
}

static void set_wrong_total(struct gguf_context *gguf) {
    gguf_set_val_i32(gguf, "split.tensors.count", 4);
}

static void remove_total(struct gguf_context *gguf) {
    gguf_remove_key(gguf, "split.tensors.count");
}

/* libllama aborts on the first. */
static void test_parts_keys(void **state) {
    (void)state;
    refuse_changed(2, set_wrong_type, "\"split.no\" has type u32", "u16");
    refuse_changed(2, set_wrong_count, "says that it is part 2 of 3", "part 2 of 2");
    refuse_changed(2, remove_number, "\"split.no\" is missing", "part 2 of 2");
    refuse_changed(1, set_wrong_type, "\"split.no\" has type u32", "u16");
    refuse_changed(1, remove_number, "\"split.no\" is missing", "");
    refuse_changed(1, set_wrong_total, "not 4", "split.tensors.count");
    refuse_changed(1, remove_total, "split.tensors.count", "missing");
}

/* Two parts of one name: what one of them says twice. */
static void test_parts_overlap(void **state) {
    (void)state;
    char prefix[512], first[600];
    tiny_model tiny = build("llama");
    struct gguf_context *twice = gguf_init_empty();
    snprintf(prefix, sizeof prefix, "%s/part", fixture_folder);
    path_of(1, 2, first);
    assert_int_equal(tiny_model_save_parts(&tiny, prefix, 2), 0);
    struct ggml_tensor *again = ggml_get_tensor(tiny.context, "token_embd.weight");
    gguf_set_val_u16(twice, "split.no", 1);
    const int64_t n = gguf_get_n_tensors(tiny.gguf), half = n / 2;
    for (int64_t t = half + 1; t < n; t++) {
        gguf_add_tensor(twice, ggml_get_tensor(tiny.context, gguf_get_tensor_name(tiny.gguf, t)));
    }
    gguf_add_tensor(twice, again);
    char second[600];
    path_of(2, 2, second);
    assert_true(gguf_write_to_file(twice, second, false));
    expect_message(first, JUDGEQ_ERROR_FORMAT, "two of its parts", "token_embd.weight");
    gguf_free(twice);
    tiny_model_free(&tiny);
}

/* ---- one number per layer ---------------------------------------------------------------------------------------- */

static void test_numbers_of_layers(void **state) {
    (void)state;
    static const struct {
        const char *key;
        uint32_t value;
    } keys[] = {
        {"llama.attention.head_count", 4}, {"llama.attention.head_count_kv", 2}, {"llama.feed_forward_length", 128}};
    for (size_t i = 0; i < 3; i++) {
        const int32_t alike[] = {(int32_t)keys[i].value, (int32_t)keys[i].value, (int32_t)keys[i].value};
        const uint32_t differ[] = {keys[i].value, 2 * keys[i].value};
        const int32_t negative[] = {(int32_t)keys[i].value, -1};
        tiny_model tiny = build("llama");
        gguf_set_arr_data(tiny.gguf, keys[i].key, GGUF_TYPE_INT32, alike, 2);
        judgeq_model *model = load_tiny(tiny);
        compare(model, path);
        judgeq_model_free(model);
        tiny = build("llama");
        gguf_set_arr_data(tiny.gguf, keys[i].key, GGUF_TYPE_UINT32, differ, 2);
        expect_refused(tiny, JUDGEQ_ERROR_UNSUPPORTED, keys[i].key, "in layer 1");
        tiny = build("llama");
        gguf_set_arr_data(tiny.gguf, keys[i].key, GGUF_TYPE_INT32, alike, 3);
        expect_refused(tiny, JUDGEQ_ERROR_FORMAT, keys[i].key, "3 numbers");
        tiny = build("llama");
        gguf_set_arr_data(tiny.gguf, keys[i].key, GGUF_TYPE_INT32, negative, 2);
        expect_refused(tiny, JUDGEQ_ERROR_FORMAT, keys[i].key, "negative");
        tiny = build("llama");
        const char *words[] = {"two", "two"};
        gguf_set_arr_str(tiny.gguf, keys[i].key, words, 2);
        expect_refused(tiny, JUDGEQ_ERROR_FORMAT, keys[i].key, "expected an integer");
    }
    tiny_model tiny = build("llama");
    const uint32_t blocks[] = {2, 2};
    gguf_set_arr_data(tiny.gguf, "llama.block_count", GGUF_TYPE_UINT32, blocks, 2);
    expect_refused(tiny, JUDGEQ_ERROR_FORMAT, "llama.block_count", "expected an integer");
}

/* ---- fused matrices ---------------------------------------------------------------------------------------------- */

static void add_tensor(tiny_model *tiny, const tiny_model *from, const char *name, const char *as) {
    struct ggml_tensor *tensor = ggml_get_tensor(from->context, name);
    assert_non_null(tensor);
    ggml_set_name(tensor, as);
    gguf_add_tensor(tiny->gguf, tensor);
}

/* test_oracle compares their logits. */
static void test_fused_refused(void **state) {
    (void)state;
    tiny_model fused = build("fused"), apart = build("llama-bias"), scales = build("scales");
    add_tensor(&fused, &apart, "blk.0.attn_q.weight", "blk.0.attn_q.weight");
    expect_refused(fused, JUDGEQ_ERROR_UNSUPPORTED, "blk.0.attn_q.weight", "not a part");
    fused = build("fused"); /* libllama adds three biases or none */
    add_tensor(&fused, &apart, "blk.0.attn_q.bias", "blk.0.attn_q.bias");
    expect_refused(fused, JUDGEQ_ERROR_FORMAT, "blk.0.attn_k.bias", "missing");
    fused = build("fused");
    add_tensor(&fused, &apart, "blk.0.attn_k.bias", "blk.0.attn_k.bias");
    expect_refused(fused, JUDGEQ_ERROR_FORMAT, "blk.0.attn_q.bias", "missing");
    fused = build("fused");
    add_tensor(&fused, &scales, "blk.0.attn_q.scale", "blk.0.attn_q.scale");
    expect_refused(fused, JUDGEQ_ERROR_UNSUPPORTED, "blk.0.attn_q.scale", "not a part");
    tiny_model plain = build("llama");
    add_tensor(&plain, &apart, "blk.0.attn_v.bias", "blk.0.attn_v.scale");
    expect_refused(plain, JUDGEQ_ERROR_FORMAT, "blk.0.attn_v.scale", "expected [1, 1, 1, 1]");
    tiny_model_free(&apart);
    tiny_model_free(&scales);
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

static void test_names(void **state) {
    (void)state;
    char longest[1000];
    memset(longest, 'x', sizeof longest - 1);
    memcpy(longest + 126, "\xc3\xa9", 2);
    longest[sizeof longest - 1] = '\0';
    const struct {
        const char *name, *read;
    } cases[] = {
        {"", ""},
        {longest, longest},
        {"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"},
        {"caf\xe9", "caf\\xe9"},
        {"\xc3", "\\xc3"},
        {"\xc0\xaf\xed\xa0\x80\xf5", "\\xc0\\xaf\\xed\\xa0\\x80\\xf5"}, /* too long, a surrogate, above U+10FFFF */
        {"\xf0\x9f\x98x", "\\xf0\\x9f\\x98x"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tiny_model tiny = build("llama");
        gguf_set_val_str(tiny.gguf, "general.name", cases[i].name);
        judgeq_model *model = load_tiny(tiny);
        assert_string_equal(judgeq_model_get_info(model)->name, cases[i].read);
        judgeq_model_free(model);
    }
}

static void test_weight_types(void **state) {
    (void)state;
    judgeq_model *model = load_tiny(build("mixed-first"));
    const judgeq_model_info *info = judgeq_model_get_info(model);
    assert_string_equal(info->weight_type, "f32"); /* a layer, and the norms */
    assert_non_null(strstr(info->weight_types, "f32 "));
    assert_non_null(strstr(info->weight_types, " %, q8_0 "));
    judgeq_model_free(model);
}

/* ---- no models --------------------------------------------------------------------------------------------------- */

static void test_other_kinds(void **state) {
    (void)state;
    static const struct {
        const char *key, *value, *says;
    } cases[] = {
        {"general.type", "adapter", "adapter (LoRA)"},
        {"general.type", "mmproj", "multimodal"},
        {"general.type", "imatrix", "importance matrix"},
        {"general.architecture", "clip", "multimodal"},
        {"general.architecture", "controlvector", "control vector"},
        {"general.architecture", "judgeq-judge", "a judge file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tiny_model tiny = build("llama");
        gguf_set_val_str(tiny.gguf, cases[i].key, cases[i].value);
        expect_refused(tiny, JUDGEQ_ERROR_UNSUPPORTED, cases[i].says, "");
    }
    tiny_model tiny = build("llama");
    gguf_set_val_str(tiny.gguf, "general.type", "model");
    judgeq_model_free(load_tiny(tiny));
    tiny = build("llama");
    struct gguf_context *keys = gguf_init_empty();
    gguf_set_kv(keys, tiny.gguf);
    assert_true(gguf_write_to_file(keys, path, false));
    expect_message(path, JUDGEQ_ERROR_UNSUPPORTED, "vocabulary", "no weights");
    gguf_remove_key(keys, "tokenizer.ggml.model");
    assert_true(gguf_write_to_file(keys, path, false));
    expect_message(path, JUDGEQ_ERROR_FORMAT, "no tensors", "");
    gguf_free(keys);
    tiny_model_free(&tiny);
}

static void test_other_files(void **state) {
    (void)state;
    static char tar[512] = {[257] = 'u', 's', 't', 'a', 'r', [0] = 'a'};
    const struct {
        const char *bytes;
        size_t n;
        const char *says, *advice;
    } cases[] = {
#define FILE_OF(text) (text), sizeof(text) - 1
        {FILE_OF("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "Git LFS", "git lfs pull"},
        {FILE_OF("<!DOCTYPE html><html>"), "web page", "download"},
        {FILE_OF("\xef\xbb\xbf \r\n<HTML lang=\"en\">"), "web page", "download"},
        {FILE_OF("<?xml version=\"1.0\"?><Error/>"), "web page", "download"},
        {FILE_OF("Entry not found"), "\"Entry not found\"", "download"},
        {FILE_OF("{\"error\": \"Unauthorized\"}\n"), "Unauthorized", "download"},
        {FILE_OF("\x08\0\0\0\0\0\0\0{\"a\":{}}rest"), "safetensors", "convert_hf_to_gguf.py"},
        {FILE_OF("lmgg\1\0\0\0"), "GGML", "convert"},
        {FILE_OF("fmgg\1\0\0\0"), "GGMF", "convert"},
        {FILE_OF("tjgg\3\0\0\0"), "GGJT", "convert"},
        {FILE_OF("algg\1\0\0\0"), "GGLA", "adapter"},
        {FILE_OF("PK\3\4\x14\0\0\0"), "ZIP", "unpack"},
        {FILE_OF("\x1f\x8b\x08\0\0\0"), "gzip", "unpack"},
        {FILE_OF("BZh91AY"), "bzip2", "unpack"},
        {FILE_OF("\xfd"
                 "7zXZ\0\0"),
         "xz", "unpack"},
        {FILE_OF("\x28\xb5\x2f\xfd\0\0"), "zstd", "unpack"},
        {FILE_OF("7z\xbc\xaf\x27\x1c\0"), "7z", "unpack"},
        {tar, sizeof tar, "tar", "unpack"},
        {FILE_OF("\x93NUMPY\1\0"), "NumPy", "import"},
        {FILE_OF("\x80\2}q\0."), "pickle", "convert"},
        {FILE_OF("FUGG\3\0\0\0"), "swapped", "gguf_convert_endian.py"},
        {FILE_OF("GGUF\0\0\0\3\0\0\0\0\0\0\0\0"), "big-endian", "gguf_convert_endian.py"},
        {FILE_OF("GGUF\1\0\0\0\0\0\0\0\0\0\0\0"), "version 1", "convert"},
        {FILE_OF("GGUF\x09\0\0\0\0\0\0\0\0\0\0\0"), "version 9", "damaged"},
        {FILE_OF("\0\0\0\0\0\0\0\0"), "zeros", "download"},
        {FILE_OF("\xde\xad\xbe\xef\1"), "de ad be ef", "GGUF"},
        {FILE_OF("GG"), "magic", "cut short"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(fixture_write(path, cases[i].bytes, cases[i].n), 0);
        expect_message(path, JUDGEQ_ERROR_FORMAT, cases[i].says, cases[i].advice);
    }
}

TESTS_MAIN(fixture_set_up, fixture_tear_down, cmocka_unit_test(test_parts), cmocka_unit_test(test_parts_refused),
           cmocka_unit_test(test_parts_keys), cmocka_unit_test(test_parts_overlap),
           cmocka_unit_test(test_numbers_of_layers), cmocka_unit_test(test_fused_refused), cmocka_unit_test(test_names),
           cmocka_unit_test(test_weight_types), cmocka_unit_test(test_other_kinds), cmocka_unit_test(test_other_files))
