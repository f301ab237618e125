/* Where a response repeats itself, it is cut; where it only says something similar, it is not. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "check.h"
#include "data_loop.h"

/* Feeds the letters of `text` as tokens, one by one, as a response grows; gives how many are left when it is cut, or
 * all. */
static size_t length_of(const char *text) {
    int32_t token[128];
    size_t n = 0, left = 0;
    for (const char *c = text; *c && left == n; c++) {
        token[n++] = (unsigned char)*c;
        left = data_cut_loop(token, n);
    }
    return left;
}

static void test_loops_are_cut(void **state) {
    (void)state;
    assert_int_equal(length_of("abcdefghijklmnopabcdefghijklmnop"), 16);
    assert_int_equal(length_of("And so: abcdefghijklmnop, abcdefghijklmnop, abcdefghijklmnop"), 25);
    assert_int_equal(length_of("ababababababababababababababababababab"), 16); /* a shorter loop: two runs of it */
    assert_int_equal(length_of("a list of a list of a list of a list of"), 20);
}

static void test_other_text_is_not(void **state) {
    (void)state;
    static const char *const good[] = {"", "abc", "abcdefghijklmnopabcdefghijklmno",
                                       "Held in Graz: fair. Held in Lyon: show.", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) assert_int_equal(length_of(good[i]), strlen(good[i]));
}

TESTS_MAIN(NULL, NULL, cmocka_unit_test(test_loops_are_cut), cmocka_unit_test(test_other_text_is_not))
