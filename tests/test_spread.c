/* Medians and ranges of numbers that were worked out by hand. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "check.h"
#include "spread.h"

static void expect(double *value, size_t n, double median, double low, double high) {
    const spread s = spread_of(value, n);
    assert_true(s.median == median);
    assert_true(s.low == low);
    assert_true(s.high == high);
}

static void test_medians(void **state) {
    (void)state;
    expect((double[]){4}, 1, 4, 4, 4);
    expect((double[]){5, -1}, 2, 2, -1, 5);
    expect((double[]){9, 1, 8}, 3, 8, 1, 9);
    expect((double[]){7, 100, 3, 4}, 4, 5.5, 3, 100);
    expect((double[]){2, 2, 30, 1, 3}, 5, 2, 1, 30); /* the mean would be 7.6 */
}

static void test_nothing(void **state) {
    (void)state;
    double value[] = {1, NAN, 3};
    assert_true(isnan(spread_of(value, 0).median));
    const spread s = spread_of(value, 3);
    assert_true(isnan(s.median) && isnan(s.low) && isnan(s.high));
    assert_true(spread_of(value, 1).median == 1); /* and they were left in their order */
}

TESTS_MAIN(NULL, NULL, cmocka_unit_test(test_medians), cmocka_unit_test(test_nothing))
