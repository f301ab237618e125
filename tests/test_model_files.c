/* Files that are no model, each named for what it is. */
#include "fixture.h"
#include "judgeq.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static char folder[256], path[512];

static void expect_message(const char *from, judgeq_status code, const char *part, const char *other) {
    judgeq_error error = {0};
    judgeq_model *model = NULL;
    const judgeq_status status = judgeq_model_load(from, &model, &error);
    if (status != code) fail_msg("status %d, expected %d: %s", status, code, error.message);
    assert_null(model);
    if (!strstr(error.message, from)) fail_msg("'%s' does not name %s", error.message, from);
    if (!strstr(error.message, part) || !strstr(error.message, other)) {
        fail_msg("'%s' does not say '%s' and '%s'", error.message, part, other);
    }
}

static void test_other_files(void **state) {
    (void)state;
    static char tar[512] = {[257] = 'u', 's', 't', 'a', 'r', [0] = 'a'};
    const struct {
        const char *bytes;
        size_t n;
        const char *says, *advice;
    } cases[] = {
#define FILE_OF(text) text, sizeof text - 1
        {FILE_OF("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "Git LFS", "git lfs pull"},
        {FILE_OF("<!DOCTYPE html><html>"), "web page", "download"},
        {FILE_OF("\xef\xbb\xbf \r\n<HTML lang=\"en\">"), "web page", "download"},
        {FILE_OF("<?xml version=\"1.0\"?><Error/>"), "web page", "download"},
        {FILE_OF("Entry not found"), "\"Entry not found\"", "download"},
        {FILE_OF("{\"error\": \"Unauthorized\"}\n"), "Unauthorized", "download"},
        {FILE_OF("\x08\0\0\0\0\0\0\0{\"a\":{}}rest"), "safetensors", "convert_hf_to_gguf.py"},
        {FILE_OF("lmgg\1\0\0\0"), "GGML", "convert"},
        {FILE_OF("fmgg\1\0\0\0"), "GGMF", "convert"},
        {FILE_OF("tjgg\3\0\0\0"), "GGJT", "convert"},
        {FILE_OF("algg\1\0\0\0"), "GGLA", "adapter"},
        {FILE_OF("PK\3\4\x14\0\0\0"), "ZIP", "unpack"},
        {FILE_OF("\x1f\x8b\x08\0\0\0"), "gzip", "unpack"},
        {FILE_OF("BZh91AY"), "bzip2", "unpack"},
        {FILE_OF("\xfd"
                 "7zXZ\0\0"),
         "xz", "unpack"},
        {FILE_OF("\x28\xb5\x2f\xfd\0\0"), "zstd", "unpack"},
        {FILE_OF("7z\xbc\xaf\x27\x1c\0"), "7z", "unpack"},
        {tar, sizeof tar, "tar", "unpack"},
        {FILE_OF("\x93NUMPY\1\0"), "NumPy", "import"},
        {FILE_OF("\x80\2}q\0."), "pickle", "convert"},
        {FILE_OF("FUGG\3\0\0\0"), "swapped", "gguf_convert_endian.py"},
        {FILE_OF("GGUF\0\0\0\3\0\0\0\0\0\0\0\0"), "big-endian", "gguf_convert_endian.py"},
        {FILE_OF("GGUF\1\0\0\0\0\0\0\0\0\0\0\0"), "version 1", "convert"},
        {FILE_OF("GGUF\x09\0\0\0\0\0\0\0\0\0\0\0"), "version 9", "damaged"},
        {FILE_OF("\0\0\0\0\0\0\0\0"), "zeros", "download"},
        {FILE_OF("\xde\xad\xbe\xef\1"), "de ad be ef", "GGUF"},
        {FILE_OF("GG"), "magic", "cut short"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(fixture_write(path, cases[i].bytes, cases[i].n), 0);
        expect_message(path, JUDGEQ_ERROR_FORMAT, cases[i].says, cases[i].advice);
    }
}

static int set_up(void **state) {
    (void)state;
    const int failed = fixture_folder_new(folder, sizeof folder);
    snprintf(path, sizeof path, "%s/model.gguf", folder);
    return failed;
}

static int tear_down(void **state) {
    (void)state;
    return fixture_folder_remove(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_other_files),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
