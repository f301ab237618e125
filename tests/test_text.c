/* Texts become the tokens that libllama makes of them, whatever they are: no text ends the process, and what a
 * vocabulary lacks is said. */
#include "base/stack.h"
#include "base/utf8.h"
#include "llama_oracle.h"
#include "model/gguf_file.h"
#include "model/model.h"
#include "model/tokenizer.h"
#include "tiny_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

enum { BEGIN_CONTROL = JUDGEQ_TEXT_BEGIN | JUDGEQ_TEXT_CONTROL };

static const char *const path = fixture_model;

/* ---- models ------------------------------------------------------------------------------------------------------ */

static tiny_model build(tiny_vocabulary vocabulary, const char *pre) {
    tiny_spec spec = tiny_spec_base();
    tiny_model model;
    spec.vocabulary = vocabulary;
    spec.pre = pre;
    assert_int_equal(tiny_model_build(&spec, &model), 0);
    return model;
}

/* Saves and frees it, and loads the file. */
static judgeq_model *load(tiny_model tiny) {
    judgeq_error error = {0};
    judgeq_model *model = NULL;
    assert_int_equal(tiny_model_save(&tiny, path), 0);
    tiny_model_free(&tiny);
    if (judgeq_model_load(path, &model, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    return model;
}

/* Every name of libllama's for the splitting of text before byte-pair encoding, but the one that is refused. */
static const char *const pre_tokenizers[] = {"default",
                                             "minicpm5",
                                             "llama3",
                                             "llama-bpe",
                                             "deepseek-llm",
                                             "deepseek-coder",
                                             "deepseek-v3",
                                             "spark2_5",
                                             "youtu",
                                             "falcon",
                                             "mpt",
                                             "starcoder",
                                             "gpt-2",
                                             "jais-2",
                                             "gemma4",
                                             "sarvam-moe",
                                             "jina-v2-code",
                                             "refact",
                                             "command-r",
                                             "qwen2",
                                             "qwen35",
                                             "stablelm2",
                                             "olmo",
                                             "dbrx",
                                             "smaug-bpe",
                                             "poro-chat",
                                             "chatglm-bpe",
                                             "glm4",
                                             "viking",
                                             "jais",
                                             "tekken",
                                             "smollm",
                                             "codeshell",
                                             "bloom",
                                             "gpt3-finnish",
                                             "exaone",
                                             "exaone4",
                                             "exaone-moe",
                                             "chameleon",
                                             "minerva-7b",
                                             "megrez",
                                             "gpt-4o",
                                             "llama4",
                                             "granite-embed-multi-97m",
                                             "granite-embed-multi-311m",
                                             "tiny_aya",
                                             "superbpe",
                                             "trillion",
                                             "granite-docling",
                                             "bailingmoe",
                                             "seed-coder",
                                             "hunyuan",
                                             "hunyuan-dense",
                                             "hy_v4",
                                             "joyai-llm",
                                             "kimi-k2",
                                             "ufakzeka",
                                             "grok-2",
                                             "afmoe",
                                             "laguna",
                                             "minimax-m2",
                                             "solar-open",
                                             "mellum2"};
enum { N_PRE = sizeof pre_tokenizers / sizeof *pre_tokenizers };

/* ---- the same tokens --------------------------------------------------------------------------------------------- */

typedef struct question {
    const oracle *o;
    const char *text;
    bool special;
    int32_t *tokens;
    int n, most;
} question;

static void ask(void *data) {
    question *q = data;
    q->n = oracle_tokenize(q->o, q->text, q->special, q->tokens, q->most);
}

/* libllama on a stack of its own, which its regular expressions may need. */
static void expect_same(const judgeq_model *model, const oracle *o, const char *text, bool special, const char *what) {
    const size_t length = strlen(text);
    const int most = (int)(4 * length) + 16;
    question q = {
        .o = o, .text = text, .special = special, .tokens = malloc((size_t)most * sizeof(int32_t)), .most = most};
    int32_t *tokens = NULL;
    size_t n = 0;
    judgeq_error error = {0};
    assert_int_equal(stack_call((length + 1024) * 4096, ask, &q, &error), JUDGEQ_OK);
    const unsigned flags = special ? BEGIN_CONTROL : JUDGEQ_TEXT_PLAIN;
    if (judgeq_tokenize_for(model, 0, text, length, flags, &tokens, &n, &error) != JUDGEQ_OK)
        fail_msg("%s", error.message);
    if ((int)n != q.n || memcmp(tokens, q.tokens, n * sizeof *tokens) != 0) {
        fail_msg("%s, \"%.64s\": %zu tokens, libllama makes %d, or others", what, text, n, q.n);
    }
    judgeq_free(tokens);
    free(q.tokens);
}

static oracle *open_oracle(void) {
    oracle *o = oracle_open(path, 64, NULL);
    if (!o) fail_msg("%s", oracle_error());
    return o;
}

static void test_same_tokens(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",
        " ",
        "the room in the ring",
        "  two  spaces,\ttabs\r\n\r\n and lines\n \n",
        "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n",
        "1234567 12,345.67 \xd9\xa3\xd9\xa4 x\xc2\xb2",
        "caf\xc3\xa9 na\xc3\xafve \xe4\xb8\xad\xe6\x96\x87\xe3\x80\x82\xe3\x80\x80\xec\x95\x88",
        "\xeb\x85\x95 \xf0\x9f\x98\x80\xf0\x9f\x91\x8d x",
        "I'll we've DON'T it's <sentinel:12> IMGIMGABCZ __init__(self): return a+=b // c",
        "\xe2\x96\x81\xe2\x96\x81the\xef\xbf\xbd\xcc\x81\xe0\xa4\xa8\xe0\xa5\x8d",
    };
    for (size_t i = 0; i <= N_PRE; i++) { /* the last is SentencePiece */
        const char *pre = i < N_PRE ? pre_tokenizers[i] : NULL;
        judgeq_model *model = load(build(pre ? TINY_VOCABULARY_BPE : TINY_VOCABULARY_SPM, pre));
        oracle *o = open_oracle();
        for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) {
            expect_same(model, o, texts[t], true, pre ? pre : "llama");
            expect_same(model, o, texts[t], false, pre ? pre : "llama");
        }
        oracle_close(o);
        judgeq_model_free(model);
    }
}

/* ---- long runs --------------------------------------------------------------------------------------------------- */

static void test_long_runs(void **state) {
    (void)state;
    /* of each form of regular expression, one; superbpe's time grows too fast for it */
    static const char *const pres[] = {"tekken", "default", "deepseek-llm", "deepseek-v3",
                                       "gpt-4o", "viking",  "exaone-moe"};
    static const char *const units[] = {" ", "=", "\n", "a", "aB", "7", "\xe4\xb8\xad", "a "};
    enum { CHARACTERS = 30000 };
    char *text = malloc(3 * CHARACTERS + 1);
    for (size_t i = 0; i < sizeof pres / sizeof *pres; i++) {
        judgeq_model *model = load(build(TINY_VOCABULARY_BPE, pres[i]));
        oracle *o = open_oracle();
        for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
            const size_t n = strlen(units[u]);
            for (size_t c = 0; c < CHARACTERS; c++) memcpy(text + c * n, units[u], n);
            text[CHARACTERS * n] = '\0';
            expect_same(model, o, text, true, pres[i]);
        }
        oracle_close(o);
        judgeq_model_free(model);
    }
    free(text);
}

/* ---- pieces ------------------------------------------------------------------------------------------------------ */

static uint64_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

/* Texts of characters that the vocabulary has and others, with control tokens: SentencePiece texts are cut among them.
 */
static void compare_mixed(bool space_prefix) {
    static const char *const parts[] = {
        "\xf0\x9f\x98\x80", "\xe4\xb8\xad", "\xc3\xa9",     "the", " the room", " ",     "  ", "\n", "<s>",
        "<|im_end|>",       "<unk>",        "\xe2\x96\x81", ">",   "x",         "<0xE4>"};
    enum { TEXTS = 60, PARTS = 1200, N = sizeof parts / sizeof *parts };
    uint64_t random = 7;
    tiny_model tiny = build(TINY_VOCABULARY_SPM, NULL);
    gguf_set_val_bool(tiny.gguf, "tokenizer.ggml.add_space_prefix", space_prefix);
    gguf_set_val_bool(tiny.gguf, "tokenizer.ggml.add_bos_token", false);
    judgeq_model *model = load(tiny);
    assert_int_equal(model->tokenizer->cut.n_prefix, space_prefix ? 1 : 0);
    oracle *o = open_oracle();
    char *text = malloc(PARTS * 16);
    for (int i = 0; i < TEXTS; i++) {
        const size_t kinds = 1 + next_random(&random) % N; /* fewer kinds: longer runs of unknown characters */
        size_t length = 0;
        for (int p = 0; p < PARTS; p++) {
            const char *part = parts[next_random(&random) % kinds];
            memcpy(text + length, part, strlen(part));
            length += strlen(part);
        }
        text[length] = '\0';
        expect_same(model, o, text, i % 2 == 0, "llama");
    }
    free(text);
    oracle_close(o);
    judgeq_model_free(model);
}

static void test_cut_texts(void **state) {
    (void)state;
    compare_mixed(true);
    compare_mixed(false);
}

/* ---- what is not UTF-8 ------------------------------------------------------------------------------------------- */

/* In two pieces, wherever they are cut, and byte by byte, it is repaired as at once. */
static void check_pieces(const char *bytes, size_t n, const char *valid) {
    for (size_t cut = 0; cut <= n + 1; cut++) {
        char out[UTF8_REPAIR_MOST * 64];
        utf8_pieces pieces = {0};
        size_t length = 0;
        for (size_t i = 0; cut > n && i < n; i++) length += utf8_repair_piece(&pieces, bytes + i, 1, out + length);
        if (cut <= n) length = utf8_repair_piece(&pieces, bytes, cut, out);
        if (cut <= n) length += utf8_repair_piece(&pieces, bytes + cut, n - cut, out + length);
        assert_true(utf8_valid(out, length));
        length += utf8_repair_end(&pieces, out + length);
        assert_int_equal(length, strlen(valid));
        assert_memory_equal(out, valid, length);
    }
}

static void test_damaged_texts(void **state) {
    (void)state;
    /* the right side by Python's bytes.decode("utf-8", "replace") */
    static const struct {
        const char *bytes;
        const char *valid;
    } cases[] = {
        {"abc", "abc"},
        {"", ""},
        {"\xff", "\xef\xbf\xbd"},
        {"a\xff"
         "b",
         "a\xef\xbf\xbd"
         "b"},
        {"\xc0\x80", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xe2\x82", "\xef\xbf\xbd"},
        {"\xe2\x82"
         "a",
         "\xef\xbf\xbd"
         "a"},
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xf0\x80\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xf1\x80\x80\xe1\x80\xc2"
         "b\x80"
         "c\x80\xbf"
         "d",
         "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
         "b\xef\xbf\xbd"
         "c\xef\xbf\xbd\xef\xbf\xbd"
         "d"},
        {"\xf6\xb2\xb1\xac", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xc3\xa9\xc3", "\xc3\xa9\xef\xbf\xbd"},
        {"\xf0\x9f\x98\x80\x80", "\xf0\x9f\x98\x80\xef\xbf\xbd"},
        {"\xfc\x80\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf"},
    };
    for (tiny_vocabulary v = TINY_VOCABULARY_SPM; v <= TINY_VOCABULARY_BPE; v++) {
        judgeq_model *model = load(build(v, NULL));
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            char repaired[64];
            const size_t n = strlen(cases[i].bytes), length = utf8_repair(cases[i].bytes, n, repaired);
            assert_int_equal(length, strlen(cases[i].valid));
            assert_memory_equal(repaired, cases[i].valid, length);
            assert_int_equal(utf8_repair(cases[i].bytes, n, NULL), length);
            check_pieces(cases[i].bytes, n, cases[i].valid);
            int32_t *ours = NULL, *valid = NULL;
            size_t n_ours = 0, n_valid = 0;
            assert_int_equal(judgeq_tokenize(model, cases[i].bytes, n, BEGIN_CONTROL, &ours, &n_ours, NULL), JUDGEQ_OK);
            assert_int_equal(judgeq_tokenize(model, cases[i].valid, length, BEGIN_CONTROL, &valid, &n_valid, NULL),
                             JUDGEQ_OK);
            assert_int_equal(n_ours, n_valid);
            assert_memory_equal(ours, valid, n_ours * sizeof *ours);
            judgeq_free(ours);
            judgeq_free(valid);
        }
        judgeq_model_free(model);
    }
}

/* ---- beginning and end ------------------------------------------------------------------------------------------- */

/* How often the token stands at the beginning of the text's tokens, and that it does not end them. */
static size_t count_first(const judgeq_model *model, const char *text, unsigned flags, int32_t token) {
    int32_t *tokens = NULL;
    size_t n = 0, count = 0;
    assert_int_equal(judgeq_tokenize(model, text, strlen(text), flags, &tokens, &n, NULL), JUDGEQ_OK);
    while (count < n && tokens[count] == token) count++;
    assert_true(n == count || !judgeq_token_ends(model, tokens[n - 1]));
    judgeq_free(tokens);
    return count;
}

static void test_beginning(void **state) {
    (void)state;
    for (tiny_vocabulary v = TINY_VOCABULARY_SPM; v <= TINY_VOCABULARY_BPE; v++) {
        const int32_t bos = v == TINY_VOCABULARY_SPM ? 1 : 0;
        const char *written = v == TINY_VOCABULARY_SPM ? "<s>abc" : "<|endoftext|>abc";
        for (int adds = 0; adds < 2; adds++) {
            tiny_model tiny = build(v, NULL);
            gguf_set_val_bool(tiny.gguf, "tokenizer.ggml.add_bos_token", adds != 0);
            gguf_set_val_bool(tiny.gguf, "tokenizer.ggml.add_eos_token", true);
            judgeq_model *model = load(tiny);
            const size_t one = adds ? 1 : 0;
            assert_int_equal(count_first(model, "abc", BEGIN_CONTROL, bos), one);
            assert_int_equal(count_first(model, "", BEGIN_CONTROL, bos), one);
            assert_int_equal(count_first(model, "abc", JUDGEQ_TEXT_CONTROL, bos), 0);
            assert_int_equal(count_first(model, written, BEGIN_CONTROL, bos), 1);
            assert_int_equal(count_first(model, written, JUDGEQ_TEXT_CONTROL, bos), 1);
            assert_int_equal(count_first(model, written, JUDGEQ_TEXT_BEGIN, bos), one); /* the text is no token */
            assert_int_equal(count_first(model, written, JUDGEQ_TEXT_PLAIN, bos), 0);
            judgeq_model_free(model);
        }
    }
}

/* ---- too long ---------------------------------------------------------------------------------------------------- */

static void expect_limit(const judgeq_model *model, int32_t n_ctx, const char *text, size_t length, const char *part) {
    int32_t *tokens = NULL;
    size_t n = 0;
    judgeq_error error = {0};
    assert_int_equal(judgeq_tokenize_for(model, n_ctx, text, length, BEGIN_CONTROL, &tokens, &n, &error),
                     JUDGEQ_ERROR_LIMIT);
    assert_null(tokens);
    if (!strstr(error.message, part)) fail_msg("'%s' does not say '%s'", error.message, part);
}

static void test_too_long(void **state) {
    (void)state;
    enum { LENGTH = (1 << 22) + 1 };
    judgeq_model *model = load(build(TINY_VOCABULARY_BPE, "smollm"));
    char *text = malloc(LENGTH);
    memset(text, 'a', LENGTH);
    expect_limit(model, 0, text, LENGTH, "4194304 characters without an end of a line"); /* no run fits into memory */
    for (size_t i = 1; i < LENGTH; i += 2) text[i] = '\n';
    int32_t *tokens = NULL;
    size_t n = 0;
    assert_int_equal(judgeq_tokenize(model, text, 1 << 20, BEGIN_CONTROL, &tokens, &n, NULL), JUDGEQ_OK);
    assert_int_equal(n, 1 << 20);
    judgeq_free(tokens);
    /* <|endoftext|> is the longest token: 13 bytes, of which 1,024 are fewer than what is always read */
    expect_limit(model, 1024, text, LENGTH, "1024 tokens, which the context holds, stand for 13312 bytes");
    expect_limit(model, LENGTH / 13, text, LENGTH, "too long");
    expect_limit(model, 1 << 30, text, (size_t)1 << 30, "libllama reads");
    /* as many bytes as fit, or any where no context is meant */
    assert_int_equal(judgeq_tokenize_for(model, LENGTH / 13 + 1, text, LENGTH, BEGIN_CONTROL, &tokens, &n, NULL),
                     JUDGEQ_OK);
    assert_int_equal(n, LENGTH);
    judgeq_free(tokens);
    assert_int_equal(judgeq_tokenize_for(model, 0, text, LENGTH, BEGIN_CONTROL, &tokens, &n, NULL), JUDGEQ_OK);
    judgeq_free(tokens);
    /* a byte that is not UTF-8 is three, in the end */
    memset(text, '\xff', LENGTH);
    expect_limit(model, 1024, text, (1 << 20) / 2, "1572864 bytes");
    free(text);
    judgeq_model_free(model);
}

/* ---- the vocabulary ---------------------------------------------------------------------------------------------- */

/* Replaces token `id` of a tiny model. */
static void rename_token(tiny_model *model, size_t id, const char *text) {
    const int64_t key = gguf_find_key(model->gguf, "tokenizer.ggml.tokens");
    const size_t n = gguf_get_arr_n(model->gguf, key);
    char **copies = malloc(n * sizeof *copies);
    for (size_t i = 0; i < n; i++) copies[i] = strdup(i == id ? text : gguf_get_arr_str(model->gguf, key, i));
    gguf_set_arr_str(model->gguf, "tokenizer.ggml.tokens", (const char **)copies, n);
    for (size_t i = 0; i < n; i++) free(copies[i]);
    free((void *)copies);
}

static void set_type(tiny_model *model, size_t id, int32_t type) {
    const int64_t key = gguf_find_key(model->gguf, "tokenizer.ggml.token_type");
    const size_t n = gguf_get_arr_n(model->gguf, key);
    int32_t *copy = malloc(n * sizeof *copy);
    memcpy(copy, gguf_get_arr_data(model->gguf, key), n * sizeof *copy);
    copy[id] = type;
    gguf_set_arr_data(model->gguf, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, copy, n);
    free(copy);
}

static void expect_refused(tiny_model tiny, const char *part) {
    judgeq_error error = {0};
    judgeq_model *model = NULL;
    assert_int_equal(tiny_model_save(&tiny, path), 0);
    tiny_model_free(&tiny);
    assert_int_not_equal(judgeq_model_load(path, &model, &error), JUDGEQ_OK);
    assert_null(model);
    if (!strstr(error.message, path) || !strstr(error.message, part)) {
        fail_msg("'%s' does not name the file and '%s'", error.message, part);
    }
}

static void test_refused(void **state) {
    (void)state;
    static const char *const pres[] = {"whitespace", "my-finetune"};
    for (size_t i = 0; i < 2; i++) expect_refused(build(TINY_VOCABULARY_BPE, pres[i]), pres[i]);
    tiny_model tiny = build(TINY_VOCABULARY_BPE, "smollm");
    gguf_remove_key(tiny.gguf, "tokenizer.ggml.merges");
    expect_refused(tiny, "cannot find tokenizer merges in model file");
    tiny = build(TINY_VOCABULARY_BPE, "smollm");
    gguf_set_val_u32(tiny.gguf, "tokenizer.ggml.add_bos_token", 1);
    expect_refused(tiny, "tokenizer.ggml.add_bos_token");
    tiny = build(TINY_VOCABULARY_BPE, "smollm");
    gguf_remove_key(tiny.gguf, "tokenizer.ggml.bos_token_id"); /* then it is 11, unless the pre-tokenizer has none */
    gguf_set_val_str(tiny.gguf, "tokenizer.ggml.pre", "chatglm-bpe");
    gguf_set_val_bool(tiny.gguf, "tokenizer.ggml.add_bos_token", true);
    expect_refused(tiny, "tokenizer.ggml.bos_token_id");
    tiny = build(TINY_VOCABULARY_BPE, "smollm");
    set_type(&tiny, 40, 6);
    expect_refused(tiny, "token 40");
    tiny = build(TINY_VOCABULARY_BPE, "smollm");
    rename_token(&tiny, 40, "");
    rename_token(&tiny, 41, "[EMPTY_40]");
    expect_refused(tiny, "tokens 40 and 41 are the same");
    tiny = build(TINY_VOCABULARY_BPE, "smollm");
    rename_token(&tiny, 270, "a\xf7\xbf\xbf\xbf");
    expect_refused(tiny, "invalid codepoint");
    char *longest = calloc(1, 70001); /* libllama would make two GiB of it */
    for (size_t i = 0; i < 70000; i += 2) memcpy(longest + i, "\xd0\xb0", 2);
    tiny = build(TINY_VOCABULARY_BPE, "smollm");
    rename_token(&tiny, 270, longest);
    expect_refused(tiny, "token 270, of 70000 bytes");
    free(longest);
}

static void expect_warnings(tiny_model tiny, const char *const *expected) {
    judgeq_model *model = load(tiny);
    size_t n = 0;
    for (; expected[n]; n++) {
        const char *warning = judgeq_model_warning_at(model, n);
        if (!warning || strcmp(warning, expected[n]) != 0) fail_msg("\"%s\", expected \"%s\"", warning, expected[n]);
    }
    assert_null(judgeq_model_warning_at(model, n));
    judgeq_model_free(model);
}

static void test_warnings(void **state) {
    (void)state;
    expect_warnings(build(TINY_VOCABULARY_BPE, "smollm"), (const char *const[]){NULL});
    expect_warnings(build(TINY_VOCABULARY_BPE, ""),
                    (const char *const[]){"missing pre-tokenizer type, using: 'default'",
                                          "GENERATION QUALITY WILL BE DEGRADED!", "CONSIDER REGENERATING THE MODEL",
                                          NULL});
    tiny_model tiny = build(TINY_VOCABULARY_SPM, NULL);
    rename_token(&tiny, 280, "");
    rename_token(&tiny, 281, "");
    expect_warnings(tiny, (const char *const[]){"empty token at index 280", "empty token at index 281", NULL});
    tiny = build(TINY_VOCABULARY_BPE, "smollm");
    for (size_t i = 0; i < 20; i++) rename_token(&tiny, 40 + i, "");
    judgeq_model *model = load(tiny);
    assert_string_equal(judgeq_model_warning_at(model, 16), "and 4 more warnings");
    assert_null(judgeq_model_warning_at(model, 17));
    judgeq_model_free(model);
}

/* A file that takes the model's place after it was opened has no part in it. */
static void test_opened_once(void **state) {
    (void)state;
    tiny_model tiny = build(TINY_VOCABULARY_SPM, NULL);
    judgeq_error error = {0};
    judgeq_model model = {0};
    assert_int_equal(tiny_model_save(&tiny, path), 0);
    tiny_model_free(&tiny);
    assert_int_equal(gguf_open_checked(path, &model.file, &error), JUDGEQ_OK);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(fixture_write(path, "another file", 12), 0);
    model.info.n_vocab =
        (int32_t)gguf_get_arr_n(model.file.gguf, gguf_find_key(model.file.gguf, "tokenizer.ggml.tokens"));
    if (tokenizer_load(&model, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    assert_int_equal(llama_vocab_n_tokens(llama_model_get_vocab(model.vocabulary)), model.info.n_vocab);
    tokenizer_free(&model);
    gguf_file_close(&model.file);
}

/* ---- the log ----------------------------------------------------------------------------------------------------- */

static void find_line(void *data, judgeq_log_level level, const char *line) {
    if (level == JUDGEQ_LOG_INFO && strstr(line, "n_vocab ")) ++*(int *)data;
    assert_null(strchr(line, '\n'));
}

static void test_log(void **state) {
    (void)state;
    int n = 0;
    judgeq_set_log(find_line, &n);
    judgeq_model_free(load(build(TINY_VOCABULARY_SPM, NULL)));
    assert_int_equal(n, 1);
    judgeq_set_log(NULL, NULL);
    judgeq_model_free(load(build(TINY_VOCABULARY_SPM, NULL)));
    assert_int_equal(n, 1);
}

/* libllama's log goes to the oracle from the first one on: what is about the log comes before */
TESTS_MAIN(fixture_set_up, fixture_tear_down, cmocka_unit_test(test_log), cmocka_unit_test(test_refused),
           cmocka_unit_test(test_warnings), cmocka_unit_test(test_opened_once), cmocka_unit_test(test_beginning),
           cmocka_unit_test(test_too_long), cmocka_unit_test(test_damaged_texts), cmocka_unit_test(test_cut_texts),
           cmocka_unit_test(test_long_runs), cmocka_unit_test(test_same_tokens))
