/* A document read before its question: document and question are what one message of both is, and a turn after an
 * answer is what the template makes of the whole conversation. */
#include "app/context.h"
#include "tiny_model.h"

#include <stdio.h>
#include <string.h>

#include "check.h"

typedef struct tokens {
    int32_t *id; /* judgeq_free */
    size_t n;
} tokens;

/* Templates that close a turn with a control token, with text, and not at all; the last one trims. */
static const char *const TEMPLATES[] = {
    NULL,
    "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{'<|im_start|>assistant\n'}}{% endif %}",
    "{% for m in messages %}{% if m['role'] == 'user' %}{{'[INST] ' + m['content'] + ' [/INST]'}}"
    "{% elif m['role'] == 'system' %}{{'<<SYS>>' + m['content'] + '<</SYS>>'}}"
    "{% else %}{{' ' + m['content'] + '<|im_end|>'}}{% endif %}{% endfor %}",
    "{% for m in messages %}{{ m['role'] + ':\n' + m['content'] | trim + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{'assistant:\n'}}{% endif %}",
};
enum { N_TEMPLATES = sizeof TEMPLATES / sizeof TEMPLATES[0] };

static const char *const DOCUMENTS[] = {"the room in the rain", "One line.\nAnother: 東京 <|im_end|> 7", "k", "7",
                                        "7k\n\nk7"};
static const char *const QUESTIONS[] = {"Where is the ring?", "k", "the", "Größe?\n\nIn one word."};
enum { N_DOCUMENTS = sizeof DOCUMENTS / sizeof *DOCUMENTS, N_QUESTIONS = sizeof QUESTIONS / sizeof *QUESTIONS };

/* ---- models ------------------------------------------------------------------------------------------------------ */

static judgeq_model *load(tiny_vocabulary vocabulary, const char *template_text) {
    tiny_spec spec = tiny_spec_base();
    tiny_model tiny;
    judgeq_model *model = NULL;
    spec.vocabulary = vocabulary;
    assert_int_equal(tiny_model_build(&spec, &tiny), 0);
    if (template_text) gguf_set_val_str(tiny.gguf, "tokenizer.chat_template", template_text);
    assert_int_equal(tiny_model_save(&tiny, fixture_model), 0);
    tiny_model_free(&tiny);
    CHECK(judgeq_model_load(fixture_model, &model, error));
    return model;
}

typedef void with_model(const judgeq_model *model, const prompt_params *params);

/* Each vocabulary with each template, and what there is no template for in each form that does without. */
static void for_every_model(with_model *test) {
    for (int i = 0; i < 2 * N_TEMPLATES; i++) {
        judgeq_model *model = load(i % 2 ? TINY_VOCABULARY_BPE : TINY_VOCABULARY_SPM, TEMPLATES[i / 2]);
        const prompt_params params[] = {{.format = PROMPT_AUTO}, {.format = i / 2 ? PROMPT_CHAT : PROMPT_PLAIN}};
        for (int p = 0; p < 2; p++) test(model, &params[p]);
        judgeq_model_free(model);
    }
}

static bool is(const int32_t *found, const tokens *wanted) {
    return memcmp(found, wanted->id, wanted->n * sizeof *found) == 0;
}

/* ---- documents and questions ------------------------------------------------------------------------------------- */

static void check_pair(const judgeq_model *model, const prompt_params *params, const char *system, const char *document,
                       const char *question) {
    tokens a, b, whole;
    char both[256];
    snprintf(both, sizeof both, "%s\n\n%s", document, question);
    const judgeq_message messages[] = {{"system", system}, {"user", both}};
    const size_t skip = system ? 0 : 1;
    CHECK(context_document_tokens(model, params, system, document, &a.id, &a.n, error));
    CHECK(context_question_tokens(model, params, question, &b.id, &b.n, error));
    CHECK(prompt_tokenize(model, params, messages + skip, 2 - skip, &whole.id, &whole.n, error));
    /* no token of these vocabularies merges over a blank line */
    assert_int_equal(a.n + b.n, whole.n);
    assert_true(is(whole.id, &a) && is(whole.id + a.n, &b));
    judgeq_free(a.id);
    judgeq_free(b.id);
    judgeq_free(whole.id);
}

/* Two documents, one after the other, and a question. */
static void check_more(const judgeq_model *model, const prompt_params *params, const char *document,
                       const char *question) {
    tokens part[3], whole;
    char all[256];
    size_t n = 0;
    snprintf(all, sizeof all, "the rain\n\n%s\n\n%s", document, question);
    const judgeq_message message = {"user", all};
    CHECK(context_document_tokens(model, params, NULL, "the rain", &part[0].id, &part[0].n, error));
    CHECK(context_more_tokens(model, params, document, &part[1].id, &part[1].n, error));
    CHECK(context_question_tokens(model, params, question, &part[2].id, &part[2].n, error));
    CHECK(prompt_tokenize(model, params, &message, 1, &whole.id, &whole.n, error));
    assert_int_equal(part[0].n + part[1].n + part[2].n, whole.n);
    for (int i = 0; i < 3; i++) {
        assert_true(is(whole.id + n, &part[i]));
        n += part[i].n;
        judgeq_free(part[i].id);
    }
    judgeq_free(whole.id);
}

static void check_pairs(const judgeq_model *model, const prompt_params *params) {
    judgeq_error error;
    const bool chat = prompt_check_template(model, NULL, &error) == JUDGEQ_OK;
    for (size_t d = 0; d < N_DOCUMENTS; d++) {
        for (size_t q = 0; q < N_QUESTIONS; q++) {
            check_pair(model, params, NULL, DOCUMENTS[d], QUESTIONS[q]);
            check_more(model, params, DOCUMENTS[d], QUESTIONS[q]);
            if (chat) check_pair(model, params, "Be brief.", DOCUMENTS[d], QUESTIONS[q]);
        }
    }
}

static void test_two_parts_are_one_message(void **state) {
    (void)state;
    for_every_model(check_pairs);
}

/* ---- turns ------------------------------------------------------------------------------------------------------- */

static void check_turn(const judgeq_model *model, const prompt_params *params, const char *question) {
    static const char answer[] = "in the room";
    const judgeq_message messages[] = {{"user", "the rain\n\nWho?"}, {"assistant", answer}, {"user", question}};
    const bool chat = prompt_check_template(model, NULL, NULL) == JUDGEQ_OK;
    const prompt_params settled = {.format = chat ? PROMPT_CHAT : PROMPT_PLAIN};
    tokens first[2], next, whole;
    char middle[256] = "";
    CHECK(context_document_tokens(model, params, NULL, "the rain", &first[0].id, &first[0].n, error));
    CHECK(context_question_tokens(model, params, "Who?", &first[1].id, &first[1].n, error));
    CHECK(context_next_tokens(model, params, question, &next.id, &next.n, error));
    CHECK(prompt_tokenize(model, &settled, messages, 3, &whole.id, &whole.n, error));
    const size_t before = first[0].n + first[1].n;
    assert_true(before + next.n < whole.n);
    assert_true(is(whole.id, &first[0]) && is(whole.id + first[0].n, &first[1]));
    assert_true(is(whole.id + whole.n - next.n, &next));
    for (size_t i = before; i < whole.n - next.n; i++) {
        char piece[64];
        const size_t n = judgeq_token_text(model, whole.id[i], piece, sizeof piece);
        strncat(middle, piece, n);
    }
    /* the answer, and what the template itself puts between two turns */
    const char *at = strstr(middle, answer);
    assert_true(at && at[strlen(answer)] == 0 && strspn(middle, " \n") == (size_t)(at - middle));
    judgeq_free(first[0].id);
    judgeq_free(first[1].id);
    judgeq_free(next.id);
    judgeq_free(whole.id);
}

static void check_turns(const judgeq_model *model, const prompt_params *params) {
    for (size_t q = 0; q < N_QUESTIONS; q++) check_turn(model, params, QUESTIONS[q]);
}

static void test_a_turn_is_what_the_template_makes_of_it(void **state) {
    (void)state;
    for_every_model(check_turns);
}

/* ---- refusals ---------------------------------------------------------------------------------------------------- */

static void test_refusals(void **state) {
    (void)state;
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"{{ messages[0]['content'] }}{% if messages | length > 1 %}{{ raise_exception('one only') }}{% endif %}",
         "one only"},
        {"{{ messages[-1]['content'] }}", "leaves the answers"}};
    const prompt_params params = {.format = PROMPT_CHAT};
    judgeq_error error = {0};
    tokens t;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        judgeq_model *model = load(TINY_VOCABULARY_BPE, cases[c].text);
        assert_int_equal(context_document_tokens(model, &params, NULL, "", &t.id, &t.n, &error), JUDGEQ_ERROR_ARGUMENT);
        assert_null(t.id);
        assert_int_equal(context_document_tokens(model, &params, "Be brief.", "k", &t.id, &t.n, &error),
                         JUDGEQ_ERROR_UNSUPPORTED);
        assert_null(t.id);
        assert_int_equal(context_question_tokens(model, &params, "Who?", &t.id, &t.n, &error), JUDGEQ_OK);
        judgeq_free(t.id);
        assert_int_equal(context_next_tokens(model, &params, "Who?", &t.id, &t.n, &error), JUDGEQ_ERROR_UNSUPPORTED);
        assert_non_null(strstr(error.message, cases[c].why));
        assert_null(t.id);
        judgeq_model_free(model);
    }
}

TESTS_MAIN(fixture_set_up, fixture_tear_down, cmocka_unit_test(test_two_parts_are_one_message),
           cmocka_unit_test(test_a_turn_is_what_the_template_makes_of_it), cmocka_unit_test(test_refusals))
