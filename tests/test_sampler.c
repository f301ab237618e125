/* The sampler: penalties by their definition, grammars and JSON schemas against logits that nobody trained, and what is
 * said of grammars and schemas that are none. */
#include "check.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/splitmix.h"
#include "base/utf8.h"
#include "tiny_model.h"

enum { FIRST_BYTE = 3 }; /* the token of byte 0 in the SPM vocabulary */

static judgeq_model *model;
static int32_t n_vocab;

static int set_up(void **state) {
    if (fixture_set_up(state) != 0) return -1;
    const tiny_spec spec = tiny_spec_base();
    if (tiny_model_write(&spec, path_in("model.gguf")) != 0) return -1;
    if (judgeq_model_load(path_in("model.gguf"), &model, NULL) != JUDGEQ_OK) return -1;
    n_vocab = judgeq_model_get_info(model)->n_vocab;
    return 0;
}

static int tear_down(void **state) {
    judgeq_model_free(model);
    return fixture_tear_down(state);
}

static int32_t byte_token(char byte) {
    return FIRST_BYTE + (unsigned char)byte;
}

static judgeq_sampler *sampler_of(const judgeq_sampler_params *params) {
    judgeq_sampler *sampler = NULL;
    CHECK(judgeq_sampler_new(params, &sampler, error));
    return sampler;
}

static judgeq_sampler *sampler_with(const judgeq_grammar *grammar) {
    return sampler_of(
        &(judgeq_sampler_params){.temperature = 1, .top_p = 1, .seed = 7, .grammar = grammar, .model = model});
}

/* The text of a response by random logits, up to the end of it; the caller's. */
static char *random_text(judgeq_sampler *sampler, uint64_t seed) {
    enum { TOKENS = 4000 };
    char *text = calloc(1, 64 * TOKENS);
    float *logits = calloc((size_t)n_vocab, sizeof *logits);
    uint64_t random = seed;
    size_t length = 0;
    for (int i = 0; i < TOKENS; i++) {
        int32_t token;
        for (int32_t k = 0; k < n_vocab; k++) logits[k] = (float)(splitmix_next(&random) % 1000) / 100.0f;
        CHECK(judgeq_sampler_draw(sampler, logits, n_vocab, &token, error));
        if (judgeq_token_ends(model, token)) {
            free(logits);
            return text;
        }
        length += (size_t)judgeq_token_text(model, token, text + length, 64);
    }
    fail_msg("no end after %d tokens: %.200s", TOKENS, text);
    return NULL;
}

/* ---- grammars ---------------------------------------------------------------------------------------------------- */

static void test_grammar(void **state) {
    (void)state;
    const judgeq_grammar grammar = {.text = "# an answer\nroot ::= \"yes\" | \"no, \" [0-9]+ \".\"\n"};
    judgeq_sampler *sampler = sampler_with(&grammar);
    int n_yes = 0;
    for (uint64_t seed = 0; seed < 30; seed++) {
        char *text = random_text(sampler, seed);
        const bool yes = strcmp(text, "yes") == 0;
        const size_t digits = strncmp(text, "no, ", 4) == 0 ? strspn(text + 4, "0123456789") : 0;
        if (!yes && (digits == 0 || strcmp(text + 4 + digits, ".") != 0)) fail_msg("\"%s\"", text);
        n_yes += yes;
        free(text);
        CHECK(judgeq_sampler_restart(sampler, error));
    }
    assert_in_range(n_yes, 1, 29);
    judgeq_sampler_free(sampler);
}

/* Greedy: all logits are 0 but one, or two. */
static int32_t draw(judgeq_sampler *sampler, int32_t first, int32_t second) {
    float *logits = calloc((size_t)n_vocab, sizeof *logits);
    int32_t token;
    logits[first] = 2;
    logits[second] = 1;
    CHECK(judgeq_sampler_draw(sampler, logits, n_vocab, &token, error));
    free(logits);
    return token;
}

static void expect_text(judgeq_sampler *sampler, const char *text) {
    for (; *text; text++) assert_int_equal(draw(sampler, byte_token(*text), byte_token('?')), byte_token(*text));
}

static void test_lazy(void **state) {
    (void)state;
    const char *pattern[] = {"<n>"}, *end[] = {"</think>"};
    const judgeq_grammar grammar = {.text = "root ::= \"<n>\" [0-9]+ \"</n>\"",
                                    .lazy = true,
                                    .patterns = pattern,
                                    .n_patterns = 1,
                                    .think_begin = "<think>",
                                    .think_ends = end,
                                    .n_think_ends = 1,
                                    .thinks_first = true};
    judgeq_sampler *sampler = sampler_of(&(judgeq_sampler_params){.grammar = &grammar, .model = model});
    for (int round = 0; round < 2; round++) {
        expect_text(sampler, "ab <n>cd</think> so ");
        for (int i = 0; i < 3000; i++) expect_text(sampler, "x"); /* more than it looks back on */
        expect_text(sampler, "<think><n>e</think><n>");
        assert_int_equal(draw(sampler, byte_token('x'), byte_token('7')), byte_token('7'));
        expect_text(sampler, "12");
        assert_int_equal(draw(sampler, byte_token('x'), byte_token('<')), byte_token('<'));
        expect_text(sampler, "/n>");
        CHECK(judgeq_sampler_restart(sampler, error));
    }
    judgeq_sampler_free(sampler);
}

static void test_prefill_and_accept(void **state) {
    (void)state;
    const int32_t prefill[] = {byte_token('a'), byte_token('b')};
    const judgeq_grammar grammar = {.text = "root ::= \"abcd\"", .prefill = prefill, .n_prefill = 2};
    judgeq_sampler *sampler = sampler_of(&(judgeq_sampler_params){.grammar = &grammar, .model = model});
    judgeq_error why = {0};
    CHECK(judgeq_sampler_accept(sampler, byte_token('c'), error));
    assert_int_equal(draw(sampler, byte_token('x'), byte_token('d')), byte_token('d'));
    assert_int_equal(judgeq_sampler_accept(sampler, byte_token('x'), &why), JUDGEQ_ERROR_BACKEND);
    judgeq_sampler_free(sampler);
}

static void test_no_token(void **state) {
    (void)state;
    const judgeq_grammar grammar = {.text = "root ::= \"a\""};
    judgeq_sampler *sampler = sampler_of(&(judgeq_sampler_params){.grammar = &grammar, .model = model});
    float *logits = malloc((size_t)n_vocab * sizeof *logits);
    int32_t token;
    judgeq_error error = {0};
    for (int32_t i = 0; i < n_vocab; i++) logits[i] = -INFINITY;
    logits[byte_token('b')] = 0;
    assert_int_equal(judgeq_sampler_draw(sampler, logits, n_vocab, &token, &error), JUDGEQ_ERROR_UNSUPPORTED);
    assert_string_equal(error.message, "the grammar allows no token of the model's vocabulary here");
    assert_int_equal(token, -1);
    free(logits);
    judgeq_sampler_free(sampler);
}

static void test_bad_grammars(void **state) {
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"root ::= \"a\"\nb = c\n", "grammar: line 2: expecting ::= at \"= c\""},
        {"root ::= (\"a\" \n", "grammar: line 2: expecting ')' at its end"},
        {"root ::= a b\na ::= \"x\"\n", "grammar: the rule \"b\" is used, and nowhere defined"},
        {"answer ::= \"x\"\n", "grammar: it has no rule \"root\", where every text begins"},
        {"root ::= root \"a\" | \"b\"\n",
         "grammar: unsupported grammar, left recursion detected for nonterminal at index 0"},
        {"", "grammar: it has no rule \"root\", where every text begins"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const judgeq_grammar grammar = {.text = cases[i].text};
        judgeq_sampler *sampler = NULL;
        judgeq_error error = {0};
        const judgeq_sampler_params params = {.grammar = &grammar, .model = model};
        assert_int_equal(judgeq_sampler_new(&params, &sampler, &error), JUDGEQ_ERROR_ARGUMENT);
        assert_string_equal(error.message, cases[i].says);
        assert_null(sampler);
    }
    char *deep = malloc(5000);
    memset(deep, '(', 4999);
    memcpy(deep, "root ::= ", 9);
    deep[4999] = '\0';
    const judgeq_grammar grammar = {.text = deep};
    judgeq_sampler *sampler = NULL;
    judgeq_error error = {0};
    assert_int_equal(
        judgeq_sampler_new(&(judgeq_sampler_params){.grammar = &grammar, .model = model}, &sampler, &error),
        JUDGEQ_ERROR_ARGUMENT);
    assert_string_equal(error.message, "grammar: its brackets are nested too deeply");
    free(deep);
}

/* "root ::= "a" | "a" ..." of n alternatives, each with a continuation of its own. */
static char *alternatives(int n) {
    char *text = malloc((size_t)n * 20 + 20), *at = text + sprintf(text, "root ::= \"z\"");
    for (int i = 1; i < n; i++) at += sprintf(at, "|\"a%d\"", i);
    return text;
}

/* libllama's time would grow with the square of the ways, with every token, in the only thread of a server. */
static void test_too_many_ways(void **state) {
    (void)state;
    judgeq_sampler *sampler = NULL;
    judgeq_error why = {0};
    char *most = alternatives(1024), *more = alternatives(1025);
    const judgeq_grammar good = {.text = most}, bad = {.text = more};
    judgeq_sampler_free(sampler_of(&(judgeq_sampler_params){.grammar = &good, .model = model}));
    assert_int_equal(judgeq_sampler_new(&(judgeq_sampler_params){.grammar = &bad, .model = model}, &sampler, &why),
                     JUDGEQ_ERROR_ARGUMENT);
    assert_string_equal(why.message, "grammar: a text can go on in more than 1024 ways at one place: give fewer "
                                     "alternatives");
    free(most);
    free(more);
    /* paths through what may be empty are followed too, one by one: 2^12, first of all and after a character */
    static const char *const empty[] = {"root ::= b b b b b b b b b b b b \"c\"\nb ::= \"\" | \"\"",
                                        "root ::= \"a\" b b b b b b b b b b b b \"c\"\nb ::= \"\" | \"\""};
    char *nested = malloc(2000), *at = nested; /* one path of 2^40 steps */
    at += sprintf(at, "root ::= \"a\" x0\n");
    for (int i = 0; i < 40; i++) at += sprintf(at, "x%d ::= x%d x%d\n", i, i + 1, i + 1);
    sprintf(at, "x40 ::= \"\"");
    for (int i = 0; i < 3; i++) {
        const judgeq_grammar paths = {.text = i < 2 ? empty[i] : nested};
        assert_int_equal(
            judgeq_sampler_new(&(judgeq_sampler_params){.grammar = &paths, .model = model}, &sampler, &why),
            JUDGEQ_ERROR_ARGUMENT);
        assert_non_null(strstr(why.message, "more than 1024 ways"));
    }
    free(nested);
    /* twice as many after every token */
    const judgeq_grammar doubles = {.text = "root ::= \"a\" root \"b\" | \"a\" root \"c\" | \"d\""};
    float *logits = calloc((size_t)n_vocab, sizeof *logits);
    int32_t token;
    logits[byte_token('a')] = 9;
    sampler = sampler_of(&(judgeq_sampler_params){.grammar = &doubles, .model = model});
    int n = 0;
    while (n < 20 && judgeq_sampler_draw(sampler, logits, n_vocab, &token, &why) == JUDGEQ_OK) n++;
    assert_in_range(n, 5, 11);
    assert_int_equal(why.code, JUDGEQ_ERROR_UNSUPPORTED);
    assert_non_null(strstr(why.message, "more than 1024 ways"));
    free(logits);
    judgeq_sampler_free(sampler);
}

/* ---- schemas ----------------------------------------------------------------------------------------------------- */

static void test_schema(void **state) {
    (void)state;
    static const char SCHEMA[] =
        "{\"type\": \"object\", \"properties\": {\"name\": {\"type\": \"string\", \"maxLength\": 6},"
        "\"age\": {\"type\": \"integer\", \"minimum\": 10, \"maximum\": 99},"
        "\"kind\": {\"enum\": [\"cat\", \"dog\", null]},"
        "\"at\": {\"type\": \"array\", \"items\": {\"type\": \"boolean\"}, \"minItems\": 1, "
        "\"maxItems\": 3}},"
        "\"required\": [\"name\", \"age\", \"kind\", \"at\"], \"additionalProperties\": false}";
    char *text = NULL;
    CHECK(judgeq_json_schema_grammar(SCHEMA, &text, error));
    const judgeq_grammar grammar = {.text = text};
    judgeq_sampler *sampler = sampler_with(&grammar);
    for (uint64_t seed = 0; seed < 20; seed++) {
        char *bytes = random_text(sampler, seed), *written = calloc(3, strlen(bytes) + 1);
        utf8_repair(bytes, strlen(bytes),
                    written); /* a grammar knows of no wrong bytes, and a text stream mends them */
        json_t *object = json_loads(written, 0, NULL);
        if (!object) fail_msg("no JSON: %s", written);
        assert_int_equal(json_object_size(object), 4);
        assert_true(json_is_string(json_object_get(object, "name")));
        assert_in_range(json_integer_value(json_object_get(object, "age")), 10, 99);
        const json_t *kind = json_object_get(object, "kind");
        assert_true(json_is_null(kind) || strcmp(json_string_value(kind), "cat") == 0 ||
                    strcmp(json_string_value(kind), "dog") == 0);
        assert_in_range(json_array_size(json_object_get(object, "at")), 1, 3);
        assert_true(json_is_boolean(json_array_get(json_object_get(object, "at"), 0)));
        json_decref(object);
        free(bytes);
        free(written);
        CHECK(judgeq_sampler_restart(sampler, error));
    }
    judgeq_sampler_free(sampler);
    judgeq_free(text);
}

static void test_bad_schemas(void **state) {
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"{\"type\": ", "JSON schema: no JSON: line 1, column 9: unexpected token near end of file"},
        {"{\"type\": \"strnig\"}", "JSON schema: "},
        {"{\"$ref\": \"#/nowhere\"}", "JSON schema: "},
        {"{\"type\": \"string\", \"pattern\": \"^(?=a)b$\"}",
         "JSON schema: no grammar can stand for the pattern ^(?=a)b$"},
    };
    char *grammar;
    judgeq_error why;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(judgeq_json_schema_grammar(cases[i].text, &grammar, &why), JUDGEQ_ERROR_ARGUMENT);
        if (strncmp(why.message, cases[i].says, strlen(cases[i].says)) != 0) fail_msg("%s", why.message);
        assert_null(grammar);
    }
    char *deep = calloc(1, 2001);
    memset(deep, '[', 1000);
    memset(deep + 1000, ']', 1000);
    assert_int_equal(judgeq_json_schema_grammar(deep, &grammar, &why), JUDGEQ_ERROR_ARGUMENT);
    assert_string_equal(why.message, "JSON schema: it is nested more than 100 deep");
    free(deep);
    char *wide = malloc(20000), *at = wide + sprintf(wide, "{\"properties\": {\"a\": {}");
    for (int i = 0; i < 200; i++) at += sprintf(at, ", \"p%d\": {}", i);
    sprintf(at, "}}");
    assert_int_equal(judgeq_json_schema_grammar(wide, &grammar, &why), JUDGEQ_ERROR_ARGUMENT);
    assert_string_equal(why.message, "JSON schema: an object may leave out more than 200 properties: name them in "
                                     "\"required\"");
    sprintf(at, "}, \"required\": [\"a\"]}");
    CHECK(judgeq_json_schema_grammar(wide, &grammar, error));
    judgeq_free(grammar);
    free(wide);
    CHECK(judgeq_json_schema_grammar("{\"type\": \"string\", \"pattern\": \"^[a-c]{2,4}$\"}", &grammar, error));
    judgeq_free(grammar);
}

/* ---- penalties --------------------------------------------------------------------------------------------------- */

static void test_penalties(void **state) {
    (void)state;
    const int32_t a = byte_token('a'), b = byte_token('b');
    /* once: 2 / 1.25 - 0.25 - 0.3 = 1.05; twice: 0.8; three times: 0.55. b's 1 is likelier from the second on */
    judgeq_sampler *sampler = sampler_of(&(judgeq_sampler_params){.model = model,
                                                                  .repeat_penalty = 1.25f,
                                                                  .frequency_penalty = 0.25f,
                                                                  .presence_penalty = 0.3f,
                                                                  .penalty_window = 3});
    assert_int_equal(draw(sampler, a, b), a);
    assert_int_equal(draw(sampler, a, b), a); /* 1.05 */
    assert_int_equal(draw(sampler, a, b), b); /* 0.8 */
    assert_int_equal(draw(sampler, a, b), a); /* b: 1 / 1.25 - 0.55 = 0.25 */
    CHECK(judgeq_sampler_restart(sampler, error));
    assert_int_equal(draw(sampler, a, b), a);
    CHECK(judgeq_sampler_accept(sampler, a, error));
    assert_int_equal(draw(sampler, a, b), b);
    judgeq_sampler_free(sampler);
}

/* They are added to logits of 2 and 1; -INFINITY is never. */
static void test_biases(void **state) {
    (void)state;
    const int32_t a = byte_token('a'), b = byte_token('b');
    const judgeq_logit_bias biases[] = {{b, 0.75f}, {a, -0.5f}, {b, -0.15f}}, never[] = {{a, -INFINITY}};
    judgeq_sampler_params params = {.model = model, .biases = biases, .n_biases = 2};
    judgeq_sampler *sampler = sampler_of(&params);
    assert_int_equal(draw(sampler, a, b), b); /* 1.75 to 1.5 */
    CHECK(judgeq_sampler_restart(sampler, error));
    assert_int_equal(draw(sampler, a, b), b);
    judgeq_sampler_free(sampler);
    params.biases = biases + 1;
    sampler = sampler_of(&params);
    assert_int_equal(draw(sampler, a, b), a); /* 1.5 to 0.85 */
    judgeq_sampler_free(sampler);
    params.biases = never;
    params.n_biases = 1;
    sampler = sampler_of(&params);
    assert_int_equal(draw(sampler, a, b), b);
    judgeq_sampler_free(sampler);
}

static void test_refused(void **state) {
    (void)state;
    const judgeq_grammar grammar = {.text = "root ::= \"a\""};
    const struct {
        judgeq_sampler_params params;
        const char *says;
    } cases[] = {
        {{.presence_penalty = 101, .model = model}, "presence_penalty is 101, expected -100 to 100"},
        {{.frequency_penalty = NAN, .model = model}, "frequency_penalty is nan, expected -100 to 100"},
        {{.repeat_penalty = -1, .model = model}, "repeat_penalty is -1, expected 0 to 100"},
        {{.penalty_window = -1}, "penalty_window is -1, expected 0 (64) to 1048576"},
        {{.model = model, .n_biases = 2}, "biases is NULL, expected the 2 of n_biases"},
        {{.model = model, .biases = &(judgeq_logit_bias){-1, 0}, .n_biases = 1}, "biases: token -1 is not in the"},
        {{.model = model, .biases = &(judgeq_logit_bias){1, NAN}, .n_biases = 1}, "biases: token 1 has nan, expected"},
        {{.biases = &(judgeq_logit_bias){1, 1}, .n_biases = 1}, "model: penalties, biases and grammars need"},
        {{.grammar = &grammar}, "model: penalties, biases and grammars need the model whose tokens they judge"},
        {{.repeat_penalty = 1.1f}, "model: penalties, biases and grammars need the model whose tokens they judge"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        judgeq_sampler *sampler = NULL;
        judgeq_error error = {0};
        assert_int_equal(judgeq_sampler_new(&cases[i].params, &sampler, &error), JUDGEQ_ERROR_ARGUMENT);
        assert_memory_equal(error.message, cases[i].says, strlen(cases[i].says));
    }
}

TESTS_MAIN(set_up, tear_down, cmocka_unit_test(test_grammar), cmocka_unit_test(test_lazy),
           cmocka_unit_test(test_prefill_and_accept), cmocka_unit_test(test_no_token),
           cmocka_unit_test(test_bad_grammars), cmocka_unit_test(test_too_many_ways), cmocka_unit_test(test_schema),
           cmocka_unit_test(test_bad_schemas), cmocka_unit_test(test_penalties), cmocka_unit_test(test_biases),
           cmocka_unit_test(test_refused))
