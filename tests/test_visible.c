/* Messages show text from outside, and nothing of it steers a terminal. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/text_stream.h"
#include "base/error.h"
#include "base/visible.h"
#include "check.h"
#include "response_out.h"

static const struct {
    const char *text, *shown;
} CASES[] = {
    {"", ""},
    {"plain", "plain"},
    {"Größe 東京 🚣", "Größe 東京 🚣"},
    {"a\nb\tc\r", "a\\x0ab\\x09c\\x0d"},
    {"\033[31m\033]0;title\007", "\\x1b[31m\\x1b]0;title\\x07"},
    {"\x7f\x01", "\\x7f\\x01"},
    {"\xc2\x9b"
     "31m",
     "\\u009b31m"},                                                         /* C1's CSI */
    {"\xc2\xa0", "\xc2\xa0"},                                               /* the first character after C1 */
    {"\xe2\x80\xae", "\\u202e"},                                            /* right-to-left override */
    {"\xe2\x81\xa6\xe2\x81\xa9", "\\u2066\\u2069"},                         /* isolates */
    {"\xd8\x9c\xe2\x80\x8e", "\\u061c\\u200e"},                             /* marks */
    {"\xe2\x80\xa8\xe2\x80\xa9", "\\u2028\\u2029"},                         /* separators */
    {"\xe2\x80\xa7\xe2\x80\xaf", "\xe2\x80\xa7\xe2\x80\xaf"},               /* neighbours of these */
    {"\xef\xbf\xbd\xef\xbf\xbe\xef\xbf\xbf", "\xef\xbf\xbd\\ufffe\\uffff"}, /* U+FFFD is a character */
    {"caf\xe9 x", "caf\\xe9 x"},
    {"\xe6\x9d", "\\xe6\\x9d"},                            /* cut off */
    {"\xc0\xaf\xe0\x80\xaf", "\\xc0\\xaf\\xe0\\x80\\xaf"}, /* overlong */
    {"\xed\xa0\x80", "\\xed\\xa0\\x80"},                   /* a surrogate */
    {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},          /* above U+10FFFF */
    {"\xf4\x8f\xbf\xbd", "\xf4\x8f\xbf\xbd"},
};

static void test_forms(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        char out[128], *written = NULL;
        size_t size = 0;
        visible_copy(CASES[i].text, out, sizeof out);
        assert_string_equal(out, CASES[i].shown);
        visible_copy(out, out + 64, 64); /* shown once more, it is the same */
        assert_string_equal(out + 64, CASES[i].shown);
        FILE *file = open_memstream(&written, &size);
        visible_write(file, CASES[i].text, strlen(CASES[i].text), "");
        fclose(file);
        assert_string_equal(written, CASES[i].shown);
        free(written);
    }
}

static void test_a_part_of_a_text_is_of_whole_characters(void **state) {
    (void)state;
    static const char text[] = "aé京🚣"; /* 1, 2, 3 and 4 bytes */
    static const int fits[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10};
    for (size_t most = 0; most < sizeof fits / sizeof *fits; most++) {
        char out[16];
        assert_int_equal(visible_fit(text, most), fits[most]);
        snprintf(out, sizeof out, "%.*s", VISIBLE_FIT(text, most));
        assert_int_equal(strlen(out), fits[most]);
    }
    assert_int_equal(visible_fit("caf\xe9", 8), 4);                      /* not ours to take away */
    assert_int_equal(visible_fit("\x80\x80\x80\x80\x80\x80\x80", 5), 2); /* no character begins anywhere */
}

static void test_a_long_text_is_cut_between_characters(void **state) {
    (void)state;
    static const struct {
        size_t size;
        const char *shown;
    } cuts[] = {{1, ""},
                {3, "ab"},
                {4, "..."},
                {5, "a..."},
                {6, "ab..."},
                {7, "ab..."},
                {8, "ab..."},
                {9, "ab\u6771..."},
                {13, "ab\u6771\\x1b..."},
                {14, "ab\u6771\\x1b\u4eac!"}};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        char out[32];
        memset(out, 'X', sizeof out);
        visible_copy("ab\u6771\033\u4eac!", out, cuts[i].size);
        assert_string_equal(out, cuts[i].shown);
        assert_int_equal(out[cuts[i].size], 'X');
    }
}

static void test_errors(void **state) {
    (void)state;
    judgeq_error error;
    char name[4096] = "";
    for (size_t i = 0; i + 4 < sizeof name; i += 3) memcpy(name + i, "\u6771", 4);
    error_write(&error, JUDGEQ_ERROR_IO, "\033[2J\xff: %s", name);
    assert_true(strncmp(error.message, "\\x1b[2J\\xff: \u6771", 16) == 0);
    const size_t length = strlen(error.message);
    assert_true(length + 4 > sizeof error.message - 3 && length < sizeof error.message);
    assert_string_equal(error.message + length - 6, "\u6771...");
    error_write(&error, JUDGEQ_ERROR_IO, "x");
    error_write(&error, JUDGEQ_ERROR_IO, "%s again", error.message);
    assert_string_equal(error.message, "x again");
}

/* A response goes into a file as it is, and onto a terminal without what would steer it. */
static void test_responses(void **state) {
    (void)state;
    static const char response[] = "a\033[2J\n\t\u202eb\r";
    for (int terminal = 0; terminal < 2; terminal++) {
        char *written = NULL;
        size_t size = 0;
        FILE *file = open_memstream(&written, &size);
        response_out out = {.file = file, .terminal = terminal != 0};
        text_stream stream = {.put = response_out_put, .data = &out};
        for (const char *c = response; *c; c++) assert_int_equal(text_stream_add(&stream, c, 1, NULL), JUDGEQ_OK);
        assert_int_equal(text_stream_end(&stream, NULL), JUDGEQ_OK);
        assert_int_equal(response_out_end(&out, NULL), JUDGEQ_OK);
        assert_string_equal(stream.text, response);
        text_stream_free(&stream);
        fclose(file);
        assert_string_equal(written, terminal ? "a\\x1b[2J\n\t\\u202eb\\x0d\n" : "a\033[2J\n\t\u202eb\r\n");
        free(written);
    }
}

TESTS_MAIN(NULL, NULL, cmocka_unit_test(test_forms), cmocka_unit_test(test_a_part_of_a_text_is_of_whole_characters),
           cmocka_unit_test(test_a_long_text_is_cut_between_characters), cmocka_unit_test(test_errors),
           cmocka_unit_test(test_responses))
