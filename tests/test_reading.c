/* Samples as tokens: what is read in parts, and the question after them, is what the chat template makes of the whole.
 */
#include "reading.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "check.h"
#include "task.h"
#include "tiny_model.h"

static const char CHATML[] =
    "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{'<|im_start|>assistant\n'}}{% endif %}";

static judgeq_model *load(tiny_vocabulary vocabulary) {
    tiny_spec spec = tiny_spec_base();
    tiny_model tiny;
    judgeq_model *model = NULL;
    spec.vocabulary = vocabulary;
    assert_int_equal(tiny_model_build(&spec, &tiny), 0);
    gguf_set_val_str(tiny.gguf, "tokenizer.chat_template", CHATML);
    gguf_set_val_u32(tiny.gguf, "llama.context_length", 1 << 16); /* nothing is computed */
    assert_int_equal(tiny_model_save(&tiny, fixture_model), 0);
    tiny_model_free(&tiny);
    CHECK(judgeq_model_load(fixture_model, &model, error));
    return model;
}

/* As many as the sample has sentences. */
static int64_t count_one(void *data, const sample *s, judgeq_error *error) {
    int64_t n = 0;
    (void)data;
    (void)error;
    for (size_t i = 0; i < json_array_size(s->messages); i++) {
        for (const char *c = json_string_value(json_array_get(s->messages, i)); (c = strchr(c, '.')); c++) n++;
    }
    return n;
}

static sample make(const char *name) {
    const task_request request = {
        .task = task_find(name), .family = SAMPLE_OWN, .length = 24, .depth = 0.5, .seed = 1, .count = count_one};
    sample s;
    CHECK(task_make_shortest(&request, &s, error));
    return s;
}

static void append(int32_t **all, size_t *n, const reading_tokens *from) {
    *all = realloc(*all, (*n + from->n_token + 1) * sizeof **all);
    memcpy(*all + *n, from->token, from->n_token * sizeof **all);
    *n += from->n_token;
}

/* The prompt, the parts and one question are the tokens of this conversation. */
static void check_whole(const judgeq_model *model, const reading *r, size_t question, const judgeq_message *message,
                        size_t n_message) {
    int32_t *all = NULL, *whole = NULL;
    size_t n = 0, n_whole;
    append(&all, &n, &r->prompt);
    for (size_t i = 0; i < r->n_part; i++) append(&all, &n, &r->part[i]);
    assert_int_equal(n, reading_context(r));
    append(&all, &n, &r->question[question]);
    CHECK(judgeq_chat_tokens(model, message, n_message, NULL, &whole, &n_whole, error));
    assert_int_equal(n, n_whole);
    assert_memory_equal(all, whole, n * sizeof *all);
    assert_true(reading_first(r) >= n);
    free(all);
    judgeq_free(whole);
}

static const char *text_at(const json_t *array, size_t i) {
    return json_string_value(json_array_get(array, i));
}

static void check_documents(const judgeq_model *model, const char *name) {
    const reading_style style = {.format = READING_AUTO};
    sample s = make(name);
    reading r;
    CHECK(reading_make(model, &style, &s, &r, error));
    assert_int_equal(r.n_question, 8);
    for (size_t i = 0; i < r.n_question; i++) {
        text_buffer t = {0};
        text_print(&t, "%s\n\n", text_at(s.messages, 0));
        for (size_t k = 0; k < json_array_size(s.parts); k++) text_print(&t, "%s\n\n", text_at(s.parts, k));
        text_print(&t, "%s", json_string_value(json_object_get(json_array_get(s.asked, i), "words")));
        const judgeq_message message = {"user", t.bytes};
        check_whole(model, &r, i, &message, 1);
        text_free(&t);
    }
    reading_free(&r);
    sample_free(&s);
}

static void check_turns(const judgeq_model *model) {
    const reading_style style = {.format = READING_AUTO};
    sample s = make("turn_ten");
    reading r;
    judgeq_message message[19] = {{"user", text_at(s.messages, 0)}};
    CHECK(reading_make(model, &style, &s, &r, error));
    for (size_t i = 0; i < 9; i++) {
        message[2 * i + 1] = (judgeq_message){"assistant", text_at(s.given, i)};
        message[2 * i + 2] = (judgeq_message){"user", text_at(s.follow_ups, i)};
    }
    assert_int_equal(r.n_part, 8);
    assert_int_equal(r.n_question, 1);
    check_whole(model, &r, 0, message, 19);
    reading_free(&r);
    sample_free(&s);
}

static void test_parts_are_the_whole(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        judgeq_model *model = load(i ? TINY_VOCABULARY_BPE : TINY_VOCABULARY_SPM);
        check_documents(model, "ingested");
        check_documents(model, "two_documents");
        check_turns(model);
        judgeq_model_free(model);
    }
}

TESTS_MAIN(fixture_set_up, fixture_tear_down, cmocka_unit_test(test_parts_are_the_whole))
