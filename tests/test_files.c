/* Texts in every encoding that says what it is, folders with everything in them, and places to cut a text at. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "cuts.h"
#include "files.h"
#include "haystack.h"
#include "unicode.h"

/* ---- reading ----------------------------------------------------------------------------------------------------- */

#define BYTES(literal) literal, sizeof(literal) - 1

/* "Aé京🚣" as Python's str.encode has it. */
static const struct {
    const char *bytes;
    size_t size;
    const char *text, *message; /* one of them */
} TEXTS[] = {
    {BYTES(""), "", NULL},
    {BYTES("A\xc3\xa9"), "A\xc3\xa9", NULL},
    {BYTES("\xef\xbb\xbf"), "", NULL},
    {BYTES("\xef\xbb\xbf"
           "A\xc3\xa9\xe4\xba\xac\xf0\x9f\x9a\xa3"),
     "Aé京🚣", NULL},
    {BYTES("\xef\xbb"), "\xef\xbb", NULL},
    {BYTES("caf\xe9"), "caf\xe9", NULL}, /* whoever reads it has to say something */
    {BYTES("\xff\xfe"
           "A\0\xe9\0\xac\x4e\x3d\xd8\xa3\xde"),
     "Aé京🚣", NULL},
    {BYTES("\xfe\xff"
           "\0A\0\xe9\x4e\xac\xd8\x3d\xde\xa3"),
     "Aé京🚣", NULL},
    {BYTES("\xff\xfe\0\0"
           "A\0\0\0\xe9\0\0\0\xac\x4e\0\0\xa3\xf6\x01\0"),
     "Aé京🚣", NULL},
    {BYTES("\0\0\xfe\xff"
           "\0\0\0A\0\0\0\xe9\0\0\x4e\xac\0\x01\xf6\xa3"),
     "Aé京🚣", NULL},
    {BYTES("\xff\xfe"), "", NULL},
    {BYTES("\xff\xfe"
           "A\0B"),
     NULL, "begins as UTF-16 text and is none"},
    {BYTES("\xff\xfe"
           "\x3d\xd8"
           "A\0"),
     NULL, "begins as UTF-16 text and is none"}, /* a lone surrogate */
    {BYTES("\xff\xfe\0\0"
           "\0\0\x11\0"),
     NULL, "begins as UTF-32 text and is none"},
    {BYTES("\xff\xfe"
           "A\0\0\0B\0"),
     NULL, "zero byte"},
    {BYTES("A\0B\0"), NULL, "need a byte order mark"},
    {BYTES("A\0"), NULL, "zero byte"},
};

static void test_encodings(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
        judgeq_error error = {0};
        char *text = NULL;
        assert_int_equal(fixture_write(path_in("text"), TEXTS[i].bytes, TEXTS[i].size), 0);
        const judgeq_status status = files_read_text(path_in("text"), &text, &error);
        if (TEXTS[i].text) {
            assert_int_equal(status, JUDGEQ_OK);
            assert_string_equal(text, TEXTS[i].text);
        } else {
            assert_int_equal(status, JUDGEQ_ERROR_FORMAT);
            assert_null(text);
            assert_non_null(strstr(error.message, TEXTS[i].message));
            assert_non_null(strstr(error.message, path_in("text")));
        }
        free(text);
    }
}

/* What never ends, or is larger than memory may be, is refused at its beginning. */
static void test_sizes(void **state) {
    (void)state;
    judgeq_error error = {0};
    char *text = NULL;
    FILE *file = fopen(path_in("huge"), "wb");
    assert_non_null(file);
    assert_int_equal(ftruncate(fileno(file), (off_t)5 << 30), 0);
    fclose(file);
    assert_int_equal(files_read_text(path_in("huge"), &text, &error), JUDGEQ_ERROR_LIMIT);
    assert_non_null(strstr(error.message, "2 GiB"));
    assert_int_equal(files_read_text("/dev/zero", &text, &error), JUDGEQ_ERROR_FORMAT);
    assert_int_equal(files_read_text("/no/such", &text, &error), JUDGEQ_ERROR_IO);
    assert_int_equal(files_read_text(fixture_folder, &text, &error), JUDGEQ_ERROR_IO);
    unlink(path_in("huge"));
}

static void test_broken_bytes(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t n, first;
    } cases[] = {{"", 0, 0}, {"Größe", 0, 7}, {"caf\xe9 \xe9", 2, 3}, {"\xf4\x90\x80\x80", 4, 0}, {"a\xe4\xba", 2, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t first;
        assert_int_equal(unicode_broken(cases[i].text, strlen(cases[i].text), &first), cases[i].n);
        assert_int_equal(first, cases[i].first);
    }
}

/* ---- folders ----------------------------------------------------------------------------------------------------- */

typedef struct seen {
    char files[512], others[512];
    int left; /* files until the walk shall end */
} seen;

static void note(char *list, size_t size, const char *path, const char *why) {
    const size_t used = strlen(list);
    snprintf(list + used, size - used, "%s%s ", path + strlen(fixture_folder) + 1, why);
}

static bool note_file(void *data, const char *path) {
    seen *s = data;
    note(s->files, sizeof s->files, path, "");
    return --s->left != 0;
}

static bool note_other(void *data, const char *path, const char *why, int reason) {
    seen *s = data;
    note(s->others, sizeof s->others, path, reason != 0 ? "!" : strchr(why, ' '));
    return true;
}

static seen walk(const char *path, int left, bool whole) {
    seen s = {.left = left};
    const files_visitor visitor = {note_file, note_other, &s};
    assert_true(files_walk(path, &visitor) == whole);
    return s;
}

static void test_walk(void **state) {
    (void)state;
    char root[512], inner[1024];
    snprintf(root, sizeof root, "%s", path_in("w"));
    assert_int_equal(mkdir(root, 0777), 0);
    static const char *const folders[] = {"b", "b/deep", ".hidden"};
    static const char *const files[] = {"b.txt", "Z", "b/deep/x", "b/\xff\n*[0-9]?", ".dot", ".hidden/y", "\u00e9"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        snprintf(inner, sizeof inner, "%s/%s", root, folders[i]);
        assert_int_equal(mkdir(inner, 0777), 0);
    }
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(inner, sizeof inner, "%s/%s", root, files[i]);
        assert_int_equal(fixture_write(inner, "x", 1), 0);
    }
    static const char *const links[][2] = {{".", "l1"},        {".", "l2"},     {"..", "b/up"},      {"b.txt", "again"},
                                           {"/dev/zero", "d"}, {"/nope", "no"}, {"b/deep", "a-deep"}};
    for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
        snprintf(inner, sizeof inner, "%s/%s", root, links[i][1]);
        assert_int_equal(symlink(links[i][0], inner), 0);
    }
    char other[1024];
    snprintf(inner, sizeof inner, "%s/b.txt", root);
    snprintf(other, sizeof other, "%s/hard", root);
    assert_int_equal(link(inner, other), 0);
    snprintf(inner, sizeof inner, "%s/pipe", root);
    assert_int_equal(mkfifo(inner, 0600), 0);

    const seen all = walk(root, 0, true);
    assert_string_equal(all.files, "w/Z w/a-deep/x w/again w/b/\xff\n*[0-9]? w/\u00e9 ");
    assert_string_equal(all.others,
                        "w/d a device, not a regular file w/no a link to nothing w/pipe a pipe, not a regular "
                        "file ");
    assert_string_equal(walk(root, 2, false).files, "w/Z w/a-deep/x ");
    assert_string_equal(walk(path_in("w/b.txt"), 0, true).files, "w/b.txt ");
    assert_string_equal(walk(path_in("w/pipe"), 0, true).others, "w/pipe a pipe, not a regular file ");
    assert_string_equal(walk(path_in("w/none"), 0, true).others, "w/none! ");
    assert_string_equal(walk(path_in("w/.hidden"), 0, true).files, "w/.hidden/y "); /* named by the user */
}

/* ---- cuts -------------------------------------------------------------------------------------------------------- */

static void test_stops(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t at, n;
    } cases[] = {
        {"a. b", 1, 2},   {"a.b", 1, 0},    {"3.14", 1, 0},     {"a.", 1, 0},         {"a! b", 1, 2},
        {"水。火", 3, 3}, {"水。", 3, 3},   {"水！？火", 3, 6}, {"「水。」火", 6, 6}, {"水。 火", 3, 4},
        {"水、火", 3, 0}, {"水。火", 4, 0}, {"क। ख", 3, 4},     {"ما؟ نعم", 4, 3},    {"", 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(cuts_stop(cases[i].text, strlen(cases[i].text), cases[i].at), cases[i].n);
    }
}

static void test_characters(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t at, cut;
    } cases[] = {
        {"abc", 1, 1},  {"水火", 1, 3},     {"水火", 3, 3},
        {"水", 2, 3},   {"", 0, 0},         {"e\u0301x", 1, 3}, /* a letter and its accent */
        {"กี่ข", 3, 9},                                           /* a Thai letter, its vowel and its tone */
        {"\r\n", 1, 2}, {"\xff\xff", 1, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(cuts_character(cases[i].text, strlen(cases[i].text), cases[i].at), cases[i].cut);
    }
}

/* Chinese has no spaces, and Thai no full stops: both come in pieces all the same, and every piece is UTF-8. */
static void test_haystack_without_spaces(void **state) {
    (void)state;
    static const char *const unit[] = {"港務長每天早上數船。他把數字寫在藍色的書裡！", "ท่าเรือมีเรือสี่สิบลำ", "abcdefghij"};
    static const size_t least[] = {400, 3, 3};
    for (size_t i = 0; i < 3; i++) {
        FILE *file = fopen(path_in("hay.txt"), "wb");
        assert_non_null(file);
        for (int k = 0; k < 400; k++) fputs(unit[i], file);
        fclose(file);
        haystack_source source;
        judgeq_error error;
        assert_int_equal(haystack_source_read(path_in("hay.txt"), &source, &error), JUDGEQ_OK);
        assert_true(source.n_sentence >= least[i]);
        for (size_t k = 0; k < source.n_sentence; k++) {
            size_t first;
            assert_int_equal(unicode_broken(source.sentence[k], strlen(source.sentence[k]), &first), 0);
            assert_true(strlen(source.sentence[k]) < 1300);
        }
        haystack_source_free(&source);
    }
}

static void test_haystack_of_another_encoding(void **state) {
    (void)state;
    haystack_source source;
    judgeq_error error;
    assert_int_equal(fixture_write(path_in("latin.txt"), BYTES("A caf\xe9. And more.")), 0);
    assert_int_equal(haystack_source_read(path_in("latin.txt"), &source, &error), JUDGEQ_ERROR_FORMAT);
    assert_non_null(strstr(error.message, "latin.txt: is not UTF-8 text from byte 6 on"));
    assert_int_equal(fixture_write(path_in("wide.txt"), BYTES("\xff\xfe"
                                                              "O\0n\0e\0.\0 \0T\0w\0o\0.\0")),
                     0);
    assert_int_equal(haystack_source_read(path_in("wide.txt"), &source, &error), JUDGEQ_OK);
    assert_int_equal(source.n_sentence, 2);
    haystack_source_free(&source);
}

TESTS_MAIN(fixture_set_up, fixture_tear_down, cmocka_unit_test(test_encodings), cmocka_unit_test(test_sizes),
           cmocka_unit_test(test_broken_bytes), cmocka_unit_test(test_walk), cmocka_unit_test(test_stops),
           cmocka_unit_test(test_characters), cmocka_unit_test(test_haystack_without_spaces),
           cmocka_unit_test(test_haystack_of_another_encoding))
