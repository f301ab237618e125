/* The metrics against the packages that LongBench uses: tools/metric_pairs.py made the pairs and their scores. */
#include "metric.h"
#include "segment.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

static json_t *pairs;

static double score_of(const json_t *pair, const char *name) {
    const metric *m = metric_find(name);
    assert_non_null(m);
    json_t *references = json_pack("[O]", json_object_get(pair, "reference"));
    const double score = metric_score(m, json_string_value(json_object_get(pair, "answer")), references,
                                      json_object_get(pair, "classes"));
    json_decref(references);
    return score;
}

/* Every pair of a metric; at least `least` of them. */
static void compare(const char *name, size_t least) {
    size_t i, n = 0;
    json_t *pair;
    json_array_foreach(pairs, i, pair) {
        if (strcmp(json_string_value(json_object_get(pair, "metric")), name) != 0) continue;
        const double score = score_of(pair, name), golden = json_number_value(json_object_get(pair, "score"));
        n++;
        if (fabs(score - golden) <= 1e-12) continue;
        char *text = json_dumps(pair, JSON_COMPACT);
        fail_msg("line %zu: %.17g, the packages give %.17g: %s", i + 1, score, golden, text);
    }
    print_message("%s: %zu pairs\n", name, n);
    assert_true(n >= least);
}

static void test_english(void **state) {
    (void)state;
    compare("f1", 60);
    compare("rouge_l", 60);
}

static void test_code(void **state) {
    (void)state;
    compare("code", 80);
}

static void test_numbers(void **state) {
    (void)state;
    compare("count", 30);
    compare("retrieval", 30);
    compare("retrieval_zh", 30);
}

static void test_classes(void **state) {
    (void)state;
    compare("classification", 40);
}

/* Chinese is cut into characters here, and into words by jieba there: close on average, not equal. docs/evaluation.md
 * gives these numbers. */
static void chinese(const char *name, const char *ours, double mean_allowed) {
    size_t i, n = 0;
    json_t *pair;
    double sum = 0, most = 0;
    json_array_foreach(pairs, i, pair) {
        if (strcmp(json_string_value(json_object_get(pair, "metric")), name) != 0) continue;
        const double difference = fabs(score_of(pair, ours) - json_number_value(json_object_get(pair, "score")));
        sum += difference;
        most = difference > most ? difference : most;
        n++;
    }
    print_message("%s: %zu pairs, %.4f off jieba on average, %.4f at most\n", ours, n, sum / (double)n, most);
    assert_true(n >= 40 && sum / (double)n <= mean_allowed);
}

static void test_chinese(void **state) {
    (void)state;
    chinese("f1_jieba", "f1_zh", 0.07);
    chinese("rouge_l_jieba", "rouge_l_zh", 0.07);
}

/* By hand: what the metrics are made of. */
static void test_segments(void **state) {
    (void)state;
    char *words = segment_chinese("GPT4模型，很好 ok");
    assert_string_equal(words, "GPT4 模 型 ， 很 好   ok");
    free(words);
}

static void test_ruler(void **state) {
    (void)state;
    json_t *references = json_pack("[s, s]", "4179", "HARBOUR");
    assert_true(metric_score(metric_find("all"), "harbour", references, NULL) == 0.5);
    assert_true(metric_score(metric_find("any"), "harbour", references, NULL) == 1);
    assert_true(metric_score(metric_find("all"), "the Harbour is 14179", references, NULL) == 1);
    assert_true(metric_score(metric_find("any"), "", references, NULL) == 0);
    assert_null(metric_find("bleu"));
    json_decref(references);
}

int main(void) {
    json_error_t reason;
    FILE *file = fopen(JUDGEQ_TEST_DATA "/../data/metric_pairs.jsonl", "r");
    pairs = json_array();
    for (json_t *pair; file && (pair = json_loadf(file, JSON_DISABLE_EOF_CHECK, &reason));) {
        json_array_append_new(pairs, pair);
    }
    if (file) fclose(file);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_english), cmocka_unit_test(test_code),    cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_classes), cmocka_unit_test(test_chinese), cmocka_unit_test(test_segments),
        cmocka_unit_test(test_ruler),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    json_decref(pairs);
    return failed;
}
