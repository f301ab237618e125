/* Intervals and tests against what enumeration and the normal distribution give. */
#include "statistics.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>

#include "chance.h"
#include "check.h"

/* n values of one stratum. */
static statistics_series series(double *value, size_t *stratum, size_t n, size_t n_stratum) {
    return (statistics_series){.value = value, .stratum = stratum, .n = n, .n_stratum = n_stratum};
}

static void test_mean_weighs_strata_equally(void **state) {
    (void)state;
    double value[] = {1, 1, 1, 1, 0};
    size_t stratum[] = {0, 0, 0, 0, 1};
    const statistics_series s = series(value, stratum, 5, 2);
    const statistics_estimate e = statistics_mean(&s);
    assert_true(e.mean == 0.5 && e.low == 0.5 && e.high == 0.5); /* nothing varies within a stratum */
}

/* 1.96 standard errors of a large sample's mean. */
static void test_interval_is_the_normal_one(void **state) {
    (void)state;
    enum { N = 400 };
    double value[N], sum = 0, squares = 0;
    size_t stratum[N] = {0};
    chance c = chance_from("test", 1, 2);
    for (int i = 0; i < N; i++) {
        value[i] = chance_share(&c);
        sum += value[i];
        squares += value[i] * value[i];
    }
    const double mean = sum / N, error = sqrt((squares / N - mean * mean) / N);
    const statistics_series s = series(value, stratum, N, 1);
    const statistics_estimate e = statistics_mean(&s), again = statistics_mean(&s);
    assert_true(fabs(e.mean - mean) < 1e-12);
    assert_true(fabs((e.high - e.low) / (2 * 1.96 * error) - 1) < 0.08);
    assert_true(e.low == again.low && e.high == again.high);
}

/* All 2^n signs. */
static double exact(const double *value, int n) {
    double seen = 0;
    int as_far = 0;
    for (int i = 0; i < n; i++) seen += value[i];
    for (int signs = 0; signs < 1 << n; signs++) {
        double sum = 0;
        for (int i = 0; i < n; i++) sum += signs >> i & 1 ? -value[i] : value[i];
        as_far += fabs(sum) >= fabs(seen) - 1e-12;
    }
    return (double)as_far / (1 << n);
}

static void test_sign_flips(void **state) {
    (void)state;
    double clear[] = {0.5, 1, 0.25, 0.75, 1, 0.5, 1, 0.25, 0.5, 1},
           mixed[] = {0.5, -1, 0.25, 0.75, -0.5, 0.5, 1, -0.25}, none[] = {0, 0, 0};
    size_t stratum[10] = {0};
    const statistics_series a = series(clear, stratum, 10, 1), b = series(mixed, stratum, 8, 1),
                            c = series(none, stratum, 3, 1), empty = series(none, stratum, 0, 0);
    assert_true(fabs(statistics_sign_flip(&a) - exact(clear, 10)) < 0.002);
    assert_true(fabs(statistics_sign_flip(&b) - exact(mixed, 8)) < 0.02);
    assert_true(statistics_sign_flip(&c) == 1);
    assert_true(isnan(statistics_sign_flip(&empty)));
    assert_true(isnan(statistics_mean(&empty).mean));
}

/* Scores come from files with nine digits: 1/3 and 2/3 of them still make the ties that they are. */
static void test_ties_of_rounded_scores(void **state) {
    (void)state;
    double whole[] = {2.0 / 3, -1.0 / 3, 1, -1.0 / 3, 1.0 / 3, -2.0 / 3, 1.0 / 3, -0.5}, rounded[8];
    size_t stratum[8] = {0};
    for (int i = 0; i < 8; i++) rounded[i] = round(whole[i] * 1e9) / 1e9;
    const statistics_series a = series(whole, stratum, 8, 1), b = series(rounded, stratum, 8, 1);
    assert_true(statistics_sign_flip(&a) == statistics_sign_flip(&b));
}

TESTS_MAIN(NULL, NULL, cmocka_unit_test(test_mean_weighs_strata_equally),
           cmocka_unit_test(test_interval_is_the_normal_one), cmocka_unit_test(test_sign_flips),
           cmocka_unit_test(test_ties_of_rounded_scores))
