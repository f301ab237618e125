/* Retrieval prompts: what is asked for stands in the passage, and the passage is otherwise as it was. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "check.h"
#include "data_facts.h"

static const char PASSAGE[] =
    "Sluices were opened in the early morning. The water — cold and grey — ran past the mill.\n"
    "Nobody had expected it: neither the miller, nor his guests (\"früh auf\", as they said). A boat broke loose!\n"
    "東京の水は静かだった。 Was it the wind? It was not. By noon the meadow lay under water, and the road with it.\n";

/* Checks that what a right answer names stands in the text. */
static char *make(uint64_t seed, const char *passage) {
    chance random = {seed};
    json_t *answers = json_array();
    char *text = data_facts_hide(&random, passage, strlen(passage), answers);
    assert_non_null(text);
    assert_true(json_array_size(answers) >= 1 && json_array_size(answers) <= 3);
    for (size_t i = 0; i < json_array_size(answers); i++) {
        assert_non_null(strstr(text, json_string_value(json_array_get(answers, i))));
    }
    json_decref(answers);
    return text;
}

/* Every piece of the passage between two facts, in order: each line or sentence stands there whole. */
static void test_the_passage_stays(void **state) {
    (void)state;
    static const char *const sentences[] = {"Sluices were opened in the early morning. ",
                                            "The water — cold and grey — ran past the mill.\n",
                                            "A boat broke loose!\n",
                                            "東京の水は静かだった。 ",
                                            "Was it the wind? ",
                                            "It was not. "};
    for (uint64_t seed = 0; seed < 500; seed++) {
        char *text = make(seed, PASSAGE);
        const char *at = text;
        for (size_t i = 0; i < sizeof sentences / sizeof *sentences; i++) {
            at = strstr(at, sentences[i]);
            assert_non_null(at);
        }
        assert_true(strlen(text) > sizeof PASSAGE + 40);
        json_t *utf8 = json_string(text);
        assert_non_null(utf8);
        json_decref(utf8);
        assert_null(strchr(text, '$')); /* a placeholder that nothing replaced */
        free(text);
    }
}

/* One kind of fact, by its statement and its question: whenever it is asked for, it was stated. */
static void test_what_is_asked_was_stated(void **state) {
    (void)state;
    static const char question[] = "Where will the ", tail[] = " be held?";
    int seen = 0, first = 0;
    for (uint64_t seed = 0; seed < 3000; seed++) {
        char *text = make(seed, PASSAGE), key[64] = "", stated[2][160];
        const char *at = strstr(text, question), *end = at ? strstr(at, tail) : NULL;
        if (end) {
            snprintf(key, sizeof key, "%.*s", (int)(end - at - (long)strlen(question)), at + strlen(question));
            snprintf(stated[0], sizeof stated[0], "This time the %s will be held in ", key);
            snprintf(stated[1], sizeof stated[1], "for the %s.", key);
            assert_true(strstr(text, stated[0]) || strstr(text, stated[1]));
            seen++;
            first += at < strstr(text, "Sluices");
        }
        free(text);
    }
    assert_true(seen > 50);
    assert_true(first > seen / 6 && first < seen / 2); /* a quarter of the questions stands before the passage */
}

static void test_the_seed_decides(void **state) {
    (void)state;
    chance random = {7};
    char *a = make(7, PASSAGE), *b = make(7, PASSAGE), *c = make(8, PASSAGE);
    assert_string_equal(a, b);
    assert_string_not_equal(a, c);
    free(b);
    json_t *answers = json_array();
    free(data_facts_hide(&random, PASSAGE, strlen(PASSAGE), answers));
    b = data_facts_hide(&random, PASSAGE, strlen(PASSAGE), answers); /* the state went on */
    json_decref(answers);
    assert_string_not_equal(a, b);
    free(a);
    free(b);
    free(c);
}

/* A question about one place of one event is answered by the place that is stated of that event. */
static void test_the_answers_are_the_right_ones(void **state) {
    (void)state;
    static const char question[] = "Where will the book fair be held?";
    int seen = 0;
    for (uint64_t seed = 0; seed < 20000; seed++) {
        json_t *answers = json_array();
        chance random = {seed};
        char *text = data_facts_hide(&random, "One. Two. Three.", 16, answers), stated[2][160];
        if (strstr(text, question) && json_array_size(answers) == 1) {
            const char *place = json_string_value(json_array_get(answers, 0));
            snprintf(stated[0], sizeof stated[0], "This time the book fair will be held in %s.", place);
            snprintf(stated[1], sizeof stated[1], "People are travelling to %s for the book fair.", place);
            assert_true(strstr(text, stated[0]) || strstr(text, stated[1]));
            seen++;
        }
        free(text);
        json_decref(answers);
    }
    assert_true(seen > 20);
}

/* For questions that come later: a question for every fact, none of them in the text, each with one answer that is in
 * it and is no other's. */
static void test_all_facts_are_asked_for(void **state) {
    (void)state;
    size_t least = 99, most = 0, known = 0;
    for (uint64_t seed = 0; seed < 2000; seed++) {
        chance random = {seed};
        json_t *questions = json_array();
        char *text = data_facts_hide_all(&random, PASSAGE, strlen(PASSAGE), questions), stated[2][160];
        assert_non_null(text);
        const size_t n = json_array_size(questions);
        least = n < least ? n : least;
        most = n > most ? n : most;
        assert_non_null(strstr(text, "Nobody had expected it"));
        for (size_t i = 0; i < n; i++) {
            const json_t *object = json_array_get(questions, i), *answers = json_object_get(object, "answers");
            const char *question = json_string_value(json_object_get(object, "question"));
            const char *answer = json_string_value(json_array_get(answers, 0)),
                       *at = strstr(question, "Where will the ");
            assert_int_equal(json_array_size(answers), 1);
            assert_null(strstr(text, question));
            assert_null(strstr(question, answer));
            assert_non_null(strstr(text, answer));
            const char *end = at ? strstr(at, " be held?") : NULL;
            if (end) {
                const char *event = at + strlen("Where will the ");
                const int length = (int)(end - event);
                snprintf(stated[0], sizeof stated[0], "the %.*s will be held in %s.", length, event, answer);
                snprintf(stated[1], sizeof stated[1], "People are travelling to %s for the %.*s.", answer, length,
                         event);
                assert_true(strstr(text, stated[0]) || strstr(text, stated[1]));
                known++;
            }
            for (size_t k = 0; k < i; k++) {
                assert_string_not_equal(question,
                                        json_string_value(json_object_get(json_array_get(questions, k), "question")));
            }
        }
        free(text);
        json_decref(questions);
    }
    assert_int_equal(least, 4);
    assert_int_equal(most, 8);
    assert_true(known > 50);
}

static void test_passages_without_sentences(void **state) {
    (void)state;
    static const char *const odd[] = {"", "x", "no end", "\n", "one line\n", "東京", "....", "a. "};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        for (uint64_t seed = 0; seed < 50; seed++) {
            char *text = make(seed, odd[i]);
            assert_true(strlen(text) > strlen(odd[i]) + 20);
            free(text);
        }
    }
}

/* Facts are spread over texts without spaces or full stops too, and cut no character. */
static void test_scripts_without_spaces(void **state) {
    (void)state;
    static const char *const scripts[] = {"港務長每天早上數船。", "他把數字寫在藍色的書裡", "ท่าเรือมีเรือสี่สิบลำ",
                                          "नाविक गिनता है।", "wordwithoutanend"};
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
        char passage[3000] = "";
        const size_t n = strlen(scripts[i]);
        for (size_t used = 0; used + n < sizeof passage; used += n) memcpy(passage + used, scripts[i], n + 1);
        int early = 0;
        for (uint64_t seed = 0; seed < 100; seed++) {
            chance random = {seed};
            json_t *answers = json_array();
            char *text = data_facts_hide(&random, passage, strlen(passage), answers);
            json_t *utf8 = json_string(text);
            assert_non_null(utf8);
            json_decref(utf8);
            const char *first = strstr(text, scripts[i]),
                       *answer = strstr(text, json_string_value(json_array_get(answers, 0)));
            assert_non_null(first);
            early += answer && answer > first && answer - first < (long)sizeof passage / 2;
            free(text);
            json_decref(answers);
        }
        assert_true(early > 20);
    }
}

TESTS_MAIN(NULL, NULL, cmocka_unit_test(test_the_passage_stays), cmocka_unit_test(test_what_is_asked_was_stated),
           cmocka_unit_test(test_the_seed_decides), cmocka_unit_test(test_the_answers_are_the_right_ones),
           cmocka_unit_test(test_all_facts_are_asked_for), cmocka_unit_test(test_passages_without_sentences),
           cmocka_unit_test(test_scripts_without_spaces))
