/* check: what a program of tests begins and ends with: cmocka with the headers that it needs, and main. */
#ifndef JUDGEQ_TESTS_CHECK_H
#define JUDGEQ_TESTS_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fixture.h"
#include "judgeq.h"

/* The program of these tests, each a cmocka_unit_test or an IN_FOLDER. set_up and tear_down, or NULL, come before the
 * first and after the last: fixture_set_up and fixture_tear_down give all of them one folder. */
#define TESTS_MAIN(set_up, tear_down, ...)                                                                             \
    int main(void) {                                                                                                   \
        const struct CMUnitTest tests[] = {__VA_ARGS__};                                                               \
        return cmocka_run_group_tests(tests, set_up, tear_down);                                                       \
    }

/* A call of the library that must succeed; it passes on its argument `error`. */
#define CHECK(call)                                                                                                    \
    do {                                                                                                               \
        judgeq_error check_error = {0};                                                                                \
        judgeq_error *error = &check_error;                                                                            \
        if ((call) != JUDGEQ_OK) fail_msg("%s", check_error.message);                                                  \
    } while (0)

/* A test in a folder of its own. */
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, fixture_set_up, fixture_tear_down)

#endif
