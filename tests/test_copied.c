/* Which rows of a response copy something from its prompt, on token ids made up for it. */
#include "train/copied.h"

#include "check.h"

enum { MOST = 32, YES = 1 };

/* A list of ids, ended by -1. */
static size_t length_of(const int32_t *ids) {
    size_t n = 0;
    while (ids[n] >= 0) n++;
    return n;
}

typedef struct copied_case {
    const char *what;
    int32_t prompt[MOST], response[MOST];
    const char *answer; /* 'a' for tokens of answers; NULL: all are */
    const char *rows;   /* 'c' for those that count, one fewer than tokens */
} copied_case;

/* 90: stands everywhere. 7 8 9: a fact. 30 31: a question about it, of whose words 30 is in the prompt too. */
static const copied_case CASES[] = {
    {"the fact, not its question's words",
     {90, 30, 7, 8, 9, 90, 90, 90, 90, 90, 90, 90, -1},
     {31, 30, 30, 7, 8, 9, -1},
     "..aaaa",
     "..ccc"},
    {"nothing that the prompt lacks", {1, 7, 2, -1}, {50, 7, 51, -1}, NULL, "c."},
    {"no token that is everywhere", {90, 90, 90, 90, 90, 90, 90, 7, 90, -1}, {50, 90, 51, 7, -1}, NULL, "..c"},
    {"but one that is so only here", {90, 90, 90, 90, 90, 90, 90, 7, 90, -1}, {50, 7, 90, 51, -1}, NULL, "cc."},
    {"each answer with its own question", {7, 8, 1, 2, 3, -1}, {7, 50, 8, 8, 50, 7, -1}, "..a..a", ".c..c"},
    {"rows of answers where nothing is copied", {1, 2, 3, -1}, {50, 51, 52, 53, -1}, "..aa", ".cc"},
    {"all rows where nothing is known", {1, 2, 3, -1}, {50, 51, 52, -1}, "...", "cc"},
    {"the only row", {1, -1}, {1, -1}, NULL, "c"},
};

static void test_cases(void **unused) {
    (void)unused;
    for (size_t c = 0; c < sizeof CASES / sizeof *CASES; c++) {
        const copied_case *at = &CASES[c];
        const size_t n = length_of(at->response), n_row = n > 1 ? n - 1 : 1;
        unsigned char answer[MOST], row[MOST], marker = 0xee;
        size_t expected = 0;
        for (size_t i = 0; at->answer && i < n; i++) answer[i] = at->answer[i] == 'a';
        for (size_t i = 0; i < MOST; i++) row[i] = marker;
        const size_t found =
            copied_rows(at->prompt, length_of(at->prompt), at->response, at->answer ? answer : NULL, n, row);
        for (size_t i = 0; i < n_row; i++) {
            if ((row[i] == YES) != (at->rows[i] == 'c')) fail_msg("%s: row %zu", at->what, i);
            expected += at->rows[i] == 'c';
        }
        assert_int_equal(found, expected);
        assert_int_equal(row[n_row], marker);
    }
}

TESTS_MAIN(NULL, NULL, cmocka_unit_test(test_cases))
