/* Examples of questions that come later: which turns are in them, and that every answer is what the model says after
 * all that is before it. A tiny model answers nothing right, so the tests decide which answers count as right. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/context.h"
#include "check.h"
#include "data_loop.h"
#include "data_maker.h"
#include "tiny_model.h"

enum { N_CTX = 4000, TOKENS_MOST = 120 };

static judgeq_model *model;
static char *source;
static size_t n_taken, n_live; /* examples handed over, and those with a session */
static size_t n_loop;          /* answers that are expected to be cut where they repeat themselves */

/* ---- a set ------------------------------------------------------------------------------------------------------- */

static bool go_on(void *data) {
    (void)data;
    return true;
}

static judgeq_status take(void *data, const data_example *example, judgeq_error *error) {
    (void)data;
    (void)error;
    n_taken++;
    n_live += example->session != NULL;
    return JUDGEQ_OK;
}

/* Bit q of `right`: an answer to question q is right, whatever it is; else none is. */
static void decide(const data_maker *m, unsigned right) {
    for (size_t i = 0; i < json_array_size(m->sources.prompts); i++) {
        const json_t *later = data_sources_later(json_array_get(m->sources.prompts, i));
        assert_true(json_array_size(later) >= 4 && json_array_size(later) <= 8);
        for (size_t q = 0; q < json_array_size(later); q++) {
            json_object_set_new(json_array_get(later, q), "answers",
                                json_pack("[s]", right >> q & 1 ? "" : "never said"));
        }
    }
}

static data_maker make(unsigned right, int32_t n_tokens) {
    data_options options = {.sampler = {.top_p = 1}};
    data_maker m = {.go_on = go_on, .take = take};
    options.output = path_in("set.jsonl");
    options.quiet = true;
    options.n_tokens = n_tokens;
    options.n_threads = 1;
    options.sources = (data_sources_params){
        .source = &source, .n_source = 1, .min_tokens = 40, .max_tokens = 1000, .retrieval = 1, .later = 1};
    remove(options.output);
    n_taken = n_live = 0;
    CHECK(data_maker_read(&m, model, &options, error));
    decide(&m, right);
    CHECK(data_maker_open(&m, error));
    while (!data_maker_done(&m)) CHECK(data_maker_next(&m, error));
    return m;
}

/* ---- what should be in it ---------------------------------------------------------------------------------------- */

typedef struct sequence {
    int32_t token[N_CTX + 1];
    size_t n, n_document, answer[8][2], n_answer;
} sequence;

static void add(sequence *s, const int32_t *token, size_t n) {
    assert_true(s->n + n <= N_CTX + 1);
    memcpy(s->token + s->n, token, n * sizeof *token);
    s->n += n;
}

/* The greedy answer of a session that reads all of it at once. *end: the token that ended it, or -1. */
static void add_answer(sequence *s, int32_t n_tokens, int32_t *end) {
    const judgeq_session_params params = {.n_threads = 1};
    const size_t room = N_CTX - s->n;
    judgeq_session *session = NULL;
    int32_t answer[TOKENS_MOST];
    size_t n = 0, good = 0;
    *end = -1;
    CHECK(judgeq_session_new(model, &params, &session, error));
    CHECK(judgeq_session_prefill(session, s->token, s->n, error));
    while (good == n && n < (size_t)n_tokens && n < room) {
        const int32_t best = fixture_best(judgeq_session_logits(session), judgeq_model_get_info(model)->n_vocab);
        if (judgeq_token_ends(model, best)) {
            *end = best;
            break;
        }
        answer[n++] = best;
        good = data_cut_loop(answer, n);
        CHECK(judgeq_session_decode(session, best, error));
    }
    n_loop += good < n;
    s->answer[s->n_answer][0] = s->n - s->n_document;
    s->answer[s->n_answer++][1] = *end < 0 ? good : n;
    add(s, answer, *end < 0 ? good : n);
    judgeq_session_free(session);
}

/* The parts of the response that the model wrote, [first, number] each. */
static void check_answers(const json_t *answers, const sequence *s) {
    assert_int_equal(json_array_size(answers), s->n_answer);
    for (size_t i = 0; i < s->n_answer; i++) {
        const json_t *part = json_array_get(answers, i);
        assert_int_equal(json_integer_value(json_array_get(part, 0)), s->answer[i][0]);
        assert_int_equal(json_integer_value(json_array_get(part, 1)), s->answer[i][1]);
    }
}

static void add_question(sequence *s, const json_t *question, bool first) {
    const prompt_params params = {.format = PROMPT_CHAT};
    const char *text = json_string_value(json_object_get(question, "question"));
    int32_t *token;
    size_t n;
    if (first) {
        CHECK(context_question_tokens(model, &params, text, &token, &n, error));
    } else {
        CHECK(context_next_tokens(model, &params, text, &token, &n, error));
    }
    add(s, token, n);
    judgeq_free(token);
}

/* Prompt and response of an example whose right answers are those of `right`. */
static void expect(const json_t *prompt, unsigned right, int32_t n_tokens, sequence *s, size_t *n_prompt) {
    const prompt_params params = {.format = PROMPT_CHAT};
    const json_t *message = json_array_get(prompt, 0), *later = data_sources_later(prompt);
    int32_t *token, end = -1;
    size_t n_turn = 0;
    CHECK(context_document_tokens(model, &params, NULL, json_string_value(json_object_get(message, "content")), &token,
                                  n_prompt, error));
    s->n = s->n_answer = 0;
    s->n_document = *n_prompt;
    add(s, token, *n_prompt);
    judgeq_free(token);
    for (size_t q = 0; q < json_array_size(later); q++) {
        if (!(right >> q & 1)) continue;
        add_question(s, json_array_get(later, q), n_turn == 0);
        add_answer(s, n_tokens, &end);
        n_turn++;
    }
    if (end >= 0) add(s, &end, 1);
}

static void check_ids(const json_t *array, const int32_t *token, size_t n) {
    assert_int_equal(json_array_size(array), n);
    for (size_t i = 0; i < n; i++) assert_int_equal(json_integer_value(json_array_get(array, i)), token[i]);
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

/* Which questions are answered rightly, and how long answers may be: at once, and so long that they repeat themselves.
 */
static const struct {
    unsigned right;
    int32_t n_tokens;
} CASES[] = {{0xff, 6}, {0x0a, 6}, {0x0f, TOKENS_MOST}};

static void test_turns(void **state) {
    (void)state;
    sequence *s = malloc(sizeof *s);
    assert_non_null(s);
    for (size_t c = 0; c < sizeof CASES / sizeof *CASES; c++) {
        data_maker m = make(CASES[c].right, CASES[c].n_tokens);
        FILE *file = fopen(path_in("set.jsonl"), "r");
        assert_non_null(file);
        json_t *line = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL);
        assert_true(json_real_value(json_object_get(line, "later")) == 1);
        json_decref(line);
        assert_int_equal(m.n_examples + m.n_long, json_array_size(m.sources.prompts));
        assert_true(m.n_examples > 2);
        for (size_t i = 0; i < m.n_examples; i++) {
            size_t n_prompt;
            line = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL);
            const json_int_t number = json_integer_value(json_object_get(line, "prompt_number"));
            expect(json_array_get(m.sources.prompts, (size_t)number), CASES[c].right, CASES[c].n_tokens, s, &n_prompt);
            check_ids(json_object_get(line, "prompt"), s->token, n_prompt);
            check_ids(json_object_get(line, "response"), s->token + n_prompt, s->n - n_prompt);
            check_answers(json_object_get(line, "answers"), s);
            json_decref(line);
        }
        fclose(file);
        assert_int_equal(n_taken, m.n_examples);
        assert_int_equal(n_live, 0);
        CHECK(data_maker_close(&m, error));
    }
    assert_true(n_loop > 0);
    free(s);
}

/* One right answer is too few, and is counted as a wrong one. */
static void test_too_few_right_answers(void **state) {
    (void)state;
    static const unsigned right[] = {0, 1, 8};
    for (size_t c = 0; c < sizeof right / sizeof *right; c++) {
        data_maker m = make(right[c], 6);
        judgeq_error refused;
        assert_int_equal(m.n_examples, 0);
        assert_int_equal(m.n_wrong + m.n_long, json_array_size(m.sources.prompts));
        assert_true(m.n_wrong > 2);
        assert_int_equal(data_maker_refuse_empty(&m, &refused), JUDGEQ_ERROR_FORMAT);
        CHECK(data_maker_close(&m, error));
    }
}

/* A question for which the context has no room is not asked. */
static void test_the_context_ends(void **state) {
    (void)state;
    size_t full = 0, n_least = 0;
    judgeq_model *roomy = model;
    data_maker m = make(0xff, 6);
    const json_t *prompts = m.sources.prompts;
    for (size_t i = 0; i < json_array_size(prompts); i++) {
        int32_t *token;
        size_t n;
        const prompt_params params = {.format = PROMPT_CHAT};
        const json_t *message = json_array_get(json_array_get(prompts, i), 0);
        CHECK(context_document_tokens(model, &params, NULL, json_string_value(json_object_get(message, "content")),
                                      &token, &n, error));
        judgeq_free(token);
        if (n_least == 0 || n < n_least) n_least = n;
    }
    CHECK(data_maker_close(&m, error));
    tiny_spec spec = tiny_spec_base();
    spec.vocabulary = TINY_VOCABULARY_BPE;
    spec.chat_template = true;
    spec.n_ctx = (int)n_least + 400; /* three questions, about */
    assert_int_equal(tiny_model_write(&spec, path_in("small.gguf")), 0);
    CHECK(judgeq_model_load(path_in("small.gguf"), &model, error));
    m = make(0xff, 6);
    FILE *file = fopen(path_in("set.jsonl"), "r");
    assert_non_null(file);
    json_decref(json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL));
    assert_true(m.n_examples > 0);
    for (size_t i = 0; i < m.n_examples; i++) {
        json_t *line = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL);
        const size_t n =
            json_array_size(json_object_get(line, "prompt")) + json_array_size(json_object_get(line, "response"));
        assert_true(n <= (size_t)spec.n_ctx);
        full += n + 150 > (size_t)spec.n_ctx;
        json_decref(line);
    }
    assert_true(full > 0);
    fclose(file);
    CHECK(data_maker_close(&m, error));
    judgeq_model_free(model);
    model = roomy;
}

/* ---- set-up ------------------------------------------------------------------------------------------------------ */

/* Attention counts for less: the next token follows from the last one, mostly, and answers soon repeat themselves. */
static void calm(const tiny_model *tiny, int n_layer) {
    for (int l = 0; l < n_layer; l++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%d.attn_output.weight", l);
        struct ggml_tensor *tensor = ggml_get_tensor(tiny->context, name);
        float *value = tensor->data;
        for (int64_t i = 0; i < ggml_nelements(tensor); i++) value[i] *= 0.1f;
    }
}

static int set_up(void **state) {
    static const char sentence[] = "The heron sings to the iron ring in the rain. ";
    tiny_spec spec = tiny_spec_base();
    char text[90 * sizeof sentence] = "";
    if (fixture_set_up(state) != 0) return -1;
    spec.vocabulary = TINY_VOCABULARY_BPE;
    spec.chat_template = true;
    spec.n_ctx = N_CTX;
    for (size_t n = 0; n + sizeof sentence < sizeof text; n += sizeof sentence - 1) {
        memcpy(text + n, sentence, sizeof sentence);
    }
    source = strdup(path_in("text.txt"));
    if (!source || fixture_write(source, text, strlen(text)) != 0) return -1;
    tiny_model tiny;
    if (tiny_model_build(&spec, &tiny) != 0) return -1;
    calm(&tiny, spec.n_layer);
    if (tiny_model_save(&tiny, fixture_model) != 0) return -1;
    tiny_model_free(&tiny);
    return judgeq_model_load(fixture_model, &model, NULL) == JUDGEQ_OK ? 0 : -1;
}

static int tear_down(void **state) {
    judgeq_model_free(model);
    free(source);
    return fixture_tear_down(state);
}

TESTS_MAIN(set_up, tear_down, cmocka_unit_test(test_turns), cmocka_unit_test(test_too_few_right_answers),
           cmocka_unit_test(test_the_context_ends))
