/* Our own tasks, without a model: what is asked for is in the text, once, where it should be; and a seed is a sample.
 */
#include "task.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "needle.h"
#include "prose.h"
#include "unicode.h"

static int64_t words_of(const char *text) {
    size_t n;
    free(unicode_split(text, &n));
    return (int64_t)n;
}

/* Of all texts of an array, or none. */
static int64_t words_in(const json_t *texts) {
    int64_t all = 0;
    for (size_t i = 0; i < json_array_size(texts); i++) all += words_of(json_string_value(json_array_get(texts, i)));
    return all;
}

/* Words stand for tokens. Of the questions that come after everything else, the longest counts. */
static int64_t count_words(void *data, const sample *s, judgeq_error *error) {
    int64_t all = words_in(s->messages), longest = 0;
    (void)data;
    (void)error;
    if (!s->asked) return all;
    all += words_in(s->parts) + words_in(s->given) + words_in(s->follow_ups);
    if (json_array_size(s->given) > 0) return all; /* the last follow-up is the question */
    for (size_t i = 0; i < json_array_size(s->asked); i++) {
        const int64_t n = words_of(json_string_value(json_object_get(json_array_get(s->asked, i), "words")));
        if (n > longest) longest = n;
    }
    return all + longest;
}

static sample make(const task *t, int32_t length, uint64_t seed, int32_t index, double depth) {
    const task_request request = {.task = t,
                                  .family = isnan(depth) ? SAMPLE_OWN : SAMPLE_GRID,
                                  .length = length,
                                  .depth = depth,
                                  .seed = seed,
                                  .index = index,
                                  .count = count_words};
    judgeq_error error = {0};
    sample s;
    if (task_make(&request, &s, &error) != JUDGEQ_OK) fail_msg("%s: %s", task_name(t), error.message);
    return s;
}

static void add_lines(text_buffer *t, const json_t *texts) {
    for (size_t i = 0; i < json_array_size(texts); i++) {
        text_print(t, "%s\n", json_string_value(json_array_get(texts, i)));
    }
}

/* All messages, one after the other, and what is read after them before it is answered; of later turns, if it is
 * known. */
static char *all_text(const sample *s) {
    text_buffer t = {0};
    add_lines(&t, s->messages);
    add_lines(&t, s->parts);
    if (s->asked) add_lines(&t, s->follow_ups);
    add_lines(&t, s->given);
    for (size_t i = 0; i < json_array_size(s->asked); i++) {
        text_print(&t, "%s\n", json_string_value(json_object_get(json_array_get(s->asked, i), "words")));
    }
    return text_take(&t);
}

static size_t occurrences(const char *text, const char *part) {
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, part)); at++) n++;
    return n;
}

/* A task whose texts are made up; the last one's is the user's. */
static bool made(size_t index) {
    return task_at(index) && strcmp(task_name(task_at(index)), "continuation") != 0;
}

static void test_length(void **state) {
    (void)state;
    for (size_t i = 0; made(i); i++) {
        for (int32_t length = 300; length <= 1200; length += 300) {
            sample s = make(task_at(i), length, 1, 3, NAN);
            const int64_t n = count_words(NULL, &s, NULL);
            if (n > length || n < length - 25) fail_msg("%s: %d of %d words", s.task, (int)n, length);
            sample_free(&s);
        }
    }
}

static void test_seed_is_the_sample(void **state) {
    (void)state;
    for (size_t i = 0; made(i); i++) {
        sample a = make(task_at(i), 400, 7, 2, NAN), b = make(task_at(i), 400, 7, 2, NAN);
        sample index = make(task_at(i), 400, 7, 3, NAN), seed = make(task_at(i), 400, 8, 2, NAN);
        assert_true(json_equal(a.messages, b.messages) && json_equal(a.references, b.references));
        assert_false(json_equal(a.messages, index.messages));
        assert_false(json_equal(a.messages, seed.messages));
        assert_string_equal(a.key, b.key);
        assert_string_not_equal(a.key, index.key);
        assert_string_not_equal(a.key, seed.key);
        sample_free(&a);
        sample_free(&b);
        sample_free(&index);
        sample_free(&seed);
    }
}

/* A reference that stood in the question, or twice in the text, would be found without the needle. */
static void test_references_stand_once(void **state) {
    (void)state;
    for (size_t i = 0; made(i); i++) {
        const char *name = task_name(task_at(i));
        if (strstr(name, "words") || strstr(name, "variable")) continue; /* they repeat them by design */
        for (int32_t index = 0; index < 12; index++) {
            sample s = make(task_at(i), 500, 1, index, NAN);
            char *text = all_text(&s);
            size_t k;
            json_t *reference;
            json_array_foreach(s.references, k, reference) {
                const char *value = json_string_value(reference);
                if (occurrences(text, value) != 1)
                    fail_msg("%s: \"%s\" %zu times in: %s", s.key, value, occurrences(text, value), text);
                if (s.answer_prefix) assert_null(strstr(s.answer_prefix, value));
            }
            free(text);
            sample_free(&s);
        }
    }
}

static void test_depth(void **state) {
    (void)state;
    for (int step = 0; step <= 10; step++) {
        const double depth = step / 10.0;
        sample s = make(task_find("needle_text"), 1000, 1, 0, depth);
        char *text = all_text(&s);
        const char *question = strstr(text, "Answer from the text above");
        const char *needle = strstr(text, json_string_value(json_array_get(s.references, 0)));
        assert_true(fabs((double)(needle - text) / (double)(question - text) - depth) < 0.04);
        assert_true(s.depth == depth);
        free(text);
        sample_free(&s);
    }
    double least = 1, most = 0;
    for (int32_t i = 0; i < 20; i++) { /* by themselves they are spread */
        sample s = make(task_find("needle_text"), 300, 1, i, NAN);
        least = s.depth < least ? s.depth : least;
        most = s.depth > most ? s.depth : most;
        sample_free(&s);
    }
    assert_true(least >= 0.05 && least < 0.12 && most > 0.88 && most <= 0.95);
}

/* How often a word stands in a text. */
static size_t times(const char *text, unicode_word word) {
    size_t n, same = 0;
    unicode_word *words = unicode_split(text, &n);
    for (size_t i = 0; i < n; i++) same += unicode_same(words[i], word);
    free(words);
    return same;
}

/* No word but a reference stands as often as the rarest reference. Words that hold no letter are the list's numbers. */
static void test_most_frequent(void **state) {
    (void)state;
    const char *const tasks[] = {"common_words", "frequent_words"};
    for (int i = 0; i < 2; i++) {
        sample s = make(task_find(tasks[i]), 600, 3, 1, NAN);
        const char *whole = json_string_value(json_array_get(s.messages, 0));
        const char *list = strstr(whole, "\n\n") + 2;
        char *text = strndup(list, (size_t)(strstr(list, "\n\n") - list));
        size_t rarest = SIZE_MAX, n, k;
        json_t *reference;
        json_array_foreach(s.references, k, reference) {
            const char *value = json_string_value(reference);
            const size_t seen = times(text, (unicode_word){value, strlen(value)});
            rarest = seen < rarest ? seen : rarest;
        }
        assert_true(rarest >= 10);
        unicode_word *words = unicode_split(text, &n);
        for (size_t w = 0; w < n; w++) {
            bool expected = words[w].bytes[0] >= '0' && words[w].bytes[0] <= '9';
            json_array_foreach(s.references, k, reference) {
                const char *value = json_string_value(reference);
                expected = expected || unicode_same(words[w], (unicode_word){value, strlen(value)});
            }
            if (!expected) assert_true(times(text, words[w]) < rarest);
        }
        free(words);
        free(text);
        sample_free(&s);
    }
}

/* Every reference but the first is defined by the one before, and the number is never that of the other chain. */
static void test_variables_form_a_chain(void **state) {
    (void)state;
    for (int32_t index = 0; index < 8; index++) {
        sample s = make(task_find("variable_tracking"), 500, 2, index, NAN);
        char *text = all_text(&s), sentence[128];
        for (size_t i = 1; i < 4; i++) {
            snprintf(sentence, sizeof sentence, "Chest %s holds as many coins as chest %s.",
                     json_string_value(json_array_get(s.references, i)),
                     json_string_value(json_array_get(s.references, i - 1)));
            assert_int_equal(occurrences(text, sentence), 1);
        }
        assert_int_equal(occurrences(text, "as many coins as"), 4);
        free(text);
        sample_free(&s);
    }
}

/* The text of an eight_facts sample, without the question. The caller's. */
static char *eight_text(const sample *s) {
    const char *whole = json_string_value(json_array_get(s->messages, 0)), *end = strstr(whole, "\n\nAnswer from");
    assert_non_null(end);
    return strndup(whole, (size_t)(end - whole));
}

/* Where `part` stands in the text, 0 to 1. */
static double place_of(const char *text, const char *part) {
    const char *at = strstr(text, part);
    assert_non_null(at);
    return (double)(at - text) / (double)strlen(text);
}

static void test_eight_questions_about_one_text(void **state) {
    (void)state;
    const task *eight = task_find("eight_facts");
    char *first = NULL;
    unsigned depths = 0;
    for (int32_t i = 0; i < 16; i++) {
        sample s = make(eight, 2000, 1, i, NAN);
        char *text = eight_text(&s);
        if (i == 0) first = strdup(text);
        assert_int_equal(strcmp(text, first) == 0, i < 8);
        assert_null(strstr(text, s.question));
        if (i < 8) depths |= 1u << (int)(8 * s.depth);
        const double place = place_of(text, json_string_value(json_array_get(s.references, 0)));
        if (fabs(place - s.depth) > 0.04) fail_msg("%s: at %g, not at %g", s.key, place, s.depth);
        free(text);
        sample_free(&s);
    }
    free(first);
    assert_int_equal(depths, 0xff); /* each question at another place */
}

/* Seven kinds have one reference, but a date has two and the berths have three, far apart. A locker is one of four. */
static void test_eight_kinds(void **state) {
    (void)state;
    static const size_t n_reference[] = {1, 1, 1, 2, 1, 1, 1, 3};
    for (int32_t i = 0; i < 8; i++) {
        sample s = make(task_find("eight_facts"), 2000, 1, i, NAN);
        char *text = eight_text(&s);
        assert_int_equal(json_array_size(s.references), n_reference[i]);
        assert_int_equal(occurrences(text, "The key of locker "), 4);
        assert_int_equal(s.answer_prefix != NULL, i == 7);
        for (size_t k = 0; i == 7 && k < 3; k++) {
            const double a = place_of(text, json_string_value(json_array_get(s.references, k)));
            const double b = place_of(text, json_string_value(json_array_get(s.references, (k + 1) % 3)));
            assert_true(fabs(a - b) > 0.25);
        }
        free(text);
        sample_free(&s);
    }
}

/* Nothing in the generated text could be taken for an answer, and every slot of its templates is filled. */
static void test_prose_holds_no_answer(void **state) {
    (void)state;
    text_buffer t = {0};
    chance d = chance_from("prose", 1, 1);
    const char *last = NULL;
    for (int i = 0; i < 3000; i++) last = prose_add(&d, last, &t);
    assert_null(strpbrk(t.bytes, "0123456789{}"));
    const needle_kind words[] = {NEEDLE_INGREDIENT, NEEDLE_INN, NEEDLE_EVENT, NEEDLE_HOME};
    for (size_t k = 0; k < sizeof words / sizeof *words; k++) {
        needle_fact fact[16];
        needle_draw(&d, words[k], 16, fact);
        for (int i = 0; i < 16; i++) {
            if (words[k] == NEEDLE_EVENT) *strchr(fact[i].value, ' ') = '\0'; /* the month */
            if (strcasestr(t.bytes, fact[i].value)) fail_msg("\"%s\" is in the prose", fact[i].value);
        }
    }
    text_free(&t);
}

/* Means over "own" stay comparable: whatever is added is not one of it. */
static void test_own_is_fixed(void **state) {
    (void)state;
    size_t n = 0;
    for (size_t i = 0; task_at(i); i++) n += task_is_own(task_at(i));
    assert_int_equal(n, 12);
    assert_false(task_is_own(task_find("eight_facts")));
}

static void test_turns(void **state) {
    (void)state;
    sample two = make(task_find("two_questions"), 400, 1, 0, NAN), many = make(task_find("multi_turn"), 400, 1, 0, NAN);
    assert_int_equal(json_array_size(two.follow_ups), 1);
    assert_true(two.last_answer);
    assert_int_equal(json_array_size(many.messages), 3);
    assert_int_equal(json_array_size(many.follow_ups), 2);
    assert_int_equal(json_array_size(many.references), 3);
    sample_free(&two);
    sample_free(&many);
}

static const char *asked_at(const sample *s, size_t i, const char *key) {
    return json_string_value(json_object_get(json_array_get(s->asked, i), key));
}

/* Its texts and questions are those of eight_facts, but no question is in what is read first. */
static void test_ingested_are_the_eight_facts(void **state) {
    (void)state;
    for (int32_t i = 0; i < 3; i++) {
        sample s = make(task_find("ingested"), 900, 1, i, NAN);
        assert_int_equal(json_array_size(s.asked), 8);
        for (int32_t k = 0; k < 8; k++) {
            sample eight = make(task_find("eight_facts"), 900, 1, 8 * i + k, NAN);
            char *text = eight_text(&eight);
            assert_string_equal(json_string_value(json_array_get(s.messages, 0)), text);
            assert_string_equal(asked_at(&s, (size_t)k, "question"), eight.question);
            assert_null(strstr(text, eight.question));
            assert_true(
                json_equal(json_object_get(json_array_get(s.asked, (size_t)k), "references"), eight.references));
            free(text);
            sample_free(&eight);
        }
        sample_free(&s);
    }
}

/* Four of the questions are about each, and all that answers one is in one of them. */
static void test_two_documents(void **state) {
    (void)state;
    for (int32_t index = 0; index < 6; index++) {
        sample s = make(task_find("two_documents"), 900, 1, index, NAN);
        const char *document[] = {json_string_value(json_array_get(s.messages, 0)),
                                  json_string_value(json_array_get(s.parts, 0))};
        size_t n[2] = {0, 0}, k;
        json_t *reference;
        for (size_t i = 0; i < 8; i++) {
            const json_t *references = json_object_get(json_array_get(s.asked, i), "references");
            const int in = strstr(document[0], json_string_value(json_array_get(references, 0))) ? 0 : 1;
            n[in]++;
            json_array_foreach((json_t *)references, k, reference) {
                assert_int_equal(occurrences(document[in], json_string_value(reference)), 1);
                assert_int_equal(occurrences(document[1 - in], json_string_value(reference)), 0);
            }
        }
        assert_int_equal(n[0], 4);
        assert_int_equal(n[1], 4);
        assert_string_not_equal(document[0], document[1]);
        sample_free(&s);
    }
}

/* The first turn has the fact, the last one asks, and no answer between them repeats it. */
static void test_turn_ten(void **state) {
    (void)state;
    for (int32_t index = 0; index < 8; index++) {
        sample s = make(task_find("turn_ten"), 900, 1, index, NAN);
        const char *value = json_string_value(json_array_get(s.references, 0));
        const char *last = json_string_value(json_array_get(s.follow_ups, 8));
        assert_int_equal(json_array_size(s.given), 9);
        assert_int_equal(json_array_size(s.follow_ups), 9);
        assert_non_null(strstr(json_string_value(json_array_get(s.messages, 0)), value));
        assert_non_null(strstr(last, asked_at(&s, 0, "question")));
        for (size_t i = 0; i < 9; i++) {
            assert_null(strcasestr(json_string_value(json_array_get(s.given, i)), value));
            assert_null(strcasestr(json_string_value(json_array_get(s.follow_ups, i)), value));
            for (size_t k = 0; k < i; k++) {
                assert_false(json_equal(json_array_get(s.follow_ups, i), json_array_get(s.follow_ups, k)));
            }
        }
        sample_free(&s);
    }
}

/* A group of their own, apart from "own". */
static void test_unknown_is_apart(void **state) {
    (void)state;
    size_t n = 0;
    for (size_t i = 0; task_at(i); i++) {
        n += task_is_unknown(task_at(i));
        assert_false(task_is_unknown(task_at(i)) && task_is_own(task_at(i)));
    }
    assert_int_equal(n, 3);
    assert_int_equal(task_answers(task_find("ingested")), 8);
    assert_int_equal(task_answers(task_find("turn_ten")), 1);
}

/* A stretch of the text from a line's beginning, another one for each index; without a text there is none. */
static void test_continuation(void **state) {
    (void)state;
    text_buffer t = {0};
    for (int i = 0; i < 4000; i++) text_print(&t, "Line %d of a long t\u00e9xt.\n", i);
    task_request r = {.task = task_find("continuation"), .length = 64, .depth = NAN, .seed = 1, .text = t.bytes};
    const char *last = NULL;
    sample s[4];
    judgeq_error error = {0};
    for (r.index = 0; r.index < 4; r.index++) {
        assert_int_equal(task_make(&r, &s[r.index], &error), JUDGEQ_OK);
        const char *words = json_string_value(json_array_get(s[r.index].messages, 0));
        assert_non_null(strstr(t.bytes, words));
        assert_int_equal(strncmp(words, "Line ", 5), 0);
        assert_true(strlen(words) > (64 + 512) * 7);
        if (last) assert_string_not_equal(words, last);
        last = words;
    }
    for (int i = 0; i < 4; i++) sample_free(&s[i]);
    r.text = NULL;
    assert_int_equal(task_make(&r, &s[0], &error), JUDGEQ_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "--text"));
    text_free(&t);
}

static void test_too_short(void **state) {
    (void)state;
    const task_request request = {
        .task = task_find("multi_query"), .length = 20, .depth = NAN, .seed = 1, .count = count_words};
    judgeq_error error = {0};
    sample s;
    assert_int_equal(task_make(&request, &s, &error), JUDGEQ_ERROR_LIMIT);
    assert_non_null(strstr(error.message, "multi_query"));
}

TESTS_MAIN(NULL, NULL, cmocka_unit_test(test_length), cmocka_unit_test(test_seed_is_the_sample),
           cmocka_unit_test(test_references_stand_once), cmocka_unit_test(test_depth),
           cmocka_unit_test(test_most_frequent), cmocka_unit_test(test_variables_form_a_chain),
           cmocka_unit_test(test_eight_questions_about_one_text), cmocka_unit_test(test_eight_kinds),
           cmocka_unit_test(test_prose_holds_no_answer), cmocka_unit_test(test_own_is_fixed),
           cmocka_unit_test(test_turns), cmocka_unit_test(test_ingested_are_the_eight_facts),
           cmocka_unit_test(test_two_documents), cmocka_unit_test(test_turn_ten),
           cmocka_unit_test(test_unknown_is_apart), cmocka_unit_test(test_continuation),
           cmocka_unit_test(test_too_short))
