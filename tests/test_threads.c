/* The chooser of threads, on made-up clocks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "threads.h"

/* Runs the chooser for `runs` graphs that take one[0] seconds with one thread and one[1] with all; the seconds lost
 * against always taking the faster way. */
static double lost(const double one[2], int runs, const threads_seen *hint, int32_t *last) {
    const threads_chooser chooser = {.most = 2};
    threads_seen seen = {0};
    const double best = one[0] < one[1] ? one[0] : one[1];
    double all = 0;
    for (int i = 0; i < runs; i++) {
        *last = threads_choose(&chooser, &seen, hint);
        const double took = one[*last > 1];
        threads_note(&chooser, &seen, *last, 1, took);
        all += took - best;
    }
    return all;
}

static void test_takes_the_faster_way(void **state) {
    (void)state;
    const double idle[] = {2, 1}, busy[] = {1, 30};
    int32_t last = 0;
    assert_true(lost(idle, 1000, NULL, &last) < 0.06 * 1000);
    assert_int_equal(last, 2);
    assert_true(lost(busy, 1000, NULL, &last) < 30 + 0.06 * 1000);
    assert_int_equal(last, 1);
}

/* With a kind of work that was seen before, not even the first run is slow. */
static void test_starts_as_the_hint_says(void **state) {
    (void)state;
    const threads_seen hint = {.speed = {1, 0.1}};
    const double busy[] = {1, 30};
    int32_t last = 0;
    assert_true(lost(busy, 20, &hint, &last) == 0.0);
}

static void test_follows_a_change(void **state) {
    (void)state;
    const threads_chooser chooser = {.most = 2};
    threads_seen seen = {.speed = {1, 0.1}, .trial = 10};
    int with_all = 0;
    for (int i = 0; i < 1000; i++) { /* the other program has ended */
        const int32_t n = threads_choose(&chooser, &seen, NULL);
        threads_note(&chooser, &seen, n, 1, n > 1 ? 0.5 : 1);
        with_all += n > 1;
    }
    assert_true(with_all > 700);
}

static void test_does_as_it_is_told(void **state) {
    (void)state;
    const threads_seen seen = {.speed = {9, 1}};
    const threads_chooser three = threads_init(3), any = threads_init(0);
    assert_int_equal(threads_choose(&three, &seen, NULL), 3);
    assert_true(any.most >= 1 && !any.fixed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_takes_the_faster_way),
        cmocka_unit_test(test_starts_as_the_hint_says),
        cmocka_unit_test(test_follows_a_change),
        cmocka_unit_test(test_does_as_it_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
