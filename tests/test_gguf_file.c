/* gguf_file: metadata read with type checks. */
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "model/gguf_file.h"

typedef struct values {
    gguf_file file;
    char folder[256];
} values;

static int open_values(void **state) {
    values *v = calloc(1, sizeof *v);
    *state = v;
    if (!v || fixture_folder_new(v->folder, sizeof v->folder) != 0) return -1;
    struct gguf_context *gguf = gguf_init_empty();
    gguf_set_val_u8(gguf, "u8", 200);
    gguf_set_val_i8(gguf, "i8", -1);
    gguf_set_val_u16(gguf, "u16", 60000);
    gguf_set_val_i16(gguf, "i16", 300);
    gguf_set_val_u32(gguf, "u32", UINT32_MAX);
    gguf_set_val_i32(gguf, "i32", -7);
    gguf_set_val_u64(gguf, "u64", (uint64_t)1 << 63);
    gguf_set_val_i64(gguf, "i64", (int64_t)1 << 32);
    gguf_set_val_f32(gguf, "f32", 0.5f);
    gguf_set_val_f64(gguf, "f64", 0.25);
    gguf_set_val_f64(gguf, "f64.large", 1e300);
    gguf_set_val_f32(gguf, "nan", __builtin_nanf(""));
    gguf_set_val_bool(gguf, "bool", true);
    gguf_set_val_str(gguf, "string", "text");
    const char *words[] = {"one", "two"};
    gguf_set_arr_str(gguf, "words", words, 2);
    gguf_set_arr_data(gguf, "numbers", GGUF_TYPE_INT32, (int32_t[]){1, 2, 3}, 3);
    char path[300];
    snprintf(path, sizeof path, "%s/values.gguf", v->folder);
    bool ok = gguf_write_to_file(gguf, path, false);
    gguf_free(gguf);
    return ok && gguf_open_checked(path, &v->file, NULL) == JUDGEQ_OK ? 0 : -1;
}

static int close_values(void **state) {
    values *v = *state;
    gguf_file_close(&v->file);
    int failed = fixture_folder_remove(v->folder);
    free(v);
    return failed;
}

static uint32_t read_u32(const values *v, const char *key) {
    uint32_t value = 12345;
    judgeq_error error = {0};
    if (gguf_read_u32(&v->file, key, GGUF_REQUIRED, &value, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    return value;
}

static void assert_u32_fails(const values *v, const char *key, const char *reason) {
    uint32_t value = 12345;
    judgeq_error error = {0};
    assert_int_equal(gguf_read_u32(&v->file, key, GGUF_OPTIONAL, &value, &error), JUDGEQ_ERROR_FORMAT);
    assert_int_equal(value, 12345);
    assert_non_null(strstr(error.message, key));
    if (!strstr(error.message, reason)) fail_msg("\"%s\" lacks \"%s\"", error.message, reason);
}

static void test_read_integers(void **state) {
    const values *v = *state;
    assert_int_equal(read_u32(v, "u8"), 200);
    assert_int_equal(read_u32(v, "u16"), 60000);
    assert_int_equal(read_u32(v, "i16"), 300);
    assert_true(read_u32(v, "u32") == UINT32_MAX);
    assert_u32_fails(v, "i8", "is -1; it must not be negative");
    assert_u32_fails(v, "i32", "is -7");
    assert_u32_fails(v, "i64", "is 4294967296; at most 4294967295");
    assert_u32_fails(v, "u64", "is 9223372036854775808");
    assert_u32_fails(v, "f32", "has type f32; expected an integer");
    assert_u32_fails(v, "string", "has type str; expected an integer");
    assert_u32_fails(v, "numbers", "has type array of i32; expected an integer");
    int64_t large = 0;
    assert_int_equal(gguf_read_i64(&v->file, "i64", GGUF_REQUIRED, &large, NULL), JUDGEQ_OK);
    assert_true(large == (int64_t)1 << 32);
    assert_int_equal(gguf_read_i64(&v->file, "u64", GGUF_REQUIRED, &large, NULL), JUDGEQ_ERROR_FORMAT);
}

static void test_read_absent(void **state) {
    const values *v = *state;
    uint32_t value = 12345;
    judgeq_error error = {0};
    assert_int_equal(gguf_read_u32(&v->file, "absent", GGUF_OPTIONAL, &value, NULL), JUDGEQ_OK);
    assert_int_equal(value, 12345);
    assert_int_equal(gguf_read_u32(&v->file, "absent", GGUF_REQUIRED, &value, &error), JUDGEQ_ERROR_FORMAT);
    assert_non_null(strstr(error.message, "key \"absent\" is missing"));
    float number = 3;
    bool flag = true;
    const char *text = "default";
    assert_int_equal(gguf_read_f32(&v->file, "absent", GGUF_OPTIONAL, &number, NULL), JUDGEQ_OK);
    assert_int_equal(gguf_read_bool(&v->file, "absent", GGUF_OPTIONAL, &flag, NULL), JUDGEQ_OK);
    assert_int_equal(gguf_read_string(&v->file, "absent", GGUF_OPTIONAL, &text, NULL), JUDGEQ_OK);
    assert_true(number == 3 && flag);
    assert_string_equal(text, "default");
}

static void test_read_others(void **state) {
    const values *v = *state;
    float number = 0;
    assert_int_equal(gguf_read_f32(&v->file, "f32", GGUF_REQUIRED, &number, NULL), JUDGEQ_OK);
    assert_true(number == 0.5f);
    assert_int_equal(gguf_read_f32(&v->file, "f64", GGUF_REQUIRED, &number, NULL), JUDGEQ_OK);
    assert_true(number == 0.25f);
    assert_int_equal(gguf_read_f32(&v->file, "f64.large", GGUF_REQUIRED, &number, NULL), JUDGEQ_ERROR_NUMERIC);
    assert_int_equal(gguf_read_f32(&v->file, "nan", GGUF_REQUIRED, &number, NULL), JUDGEQ_ERROR_NUMERIC);
    assert_int_equal(gguf_read_f32(&v->file, "u8", GGUF_REQUIRED, &number, NULL), JUDGEQ_ERROR_FORMAT);
    bool flag = false;
    assert_int_equal(gguf_read_bool(&v->file, "bool", GGUF_REQUIRED, &flag, NULL), JUDGEQ_OK);
    assert_true(flag);
    assert_int_equal(gguf_read_bool(&v->file, "u8", GGUF_REQUIRED, &flag, NULL), JUDGEQ_ERROR_FORMAT);
    const char *text = NULL;
    assert_int_equal(gguf_read_string(&v->file, "string", GGUF_REQUIRED, &text, NULL), JUDGEQ_OK);
    assert_string_equal(text, "text");
    assert_int_equal(gguf_read_string(&v->file, "words", GGUF_REQUIRED, &text, NULL), JUDGEQ_ERROR_FORMAT);
    int64_t id;
    size_t n;
    assert_int_equal(gguf_read_strings(&v->file, "words", GGUF_REQUIRED, &id, &n, NULL), JUDGEQ_OK);
    assert_int_equal(n, 2);
    assert_string_equal(gguf_get_arr_str(v->file.gguf, id, 1), "two");
    assert_int_equal(gguf_read_strings(&v->file, "numbers", GGUF_REQUIRED, &id, &n, NULL), JUDGEQ_ERROR_FORMAT);
    assert_int_equal(gguf_read_strings(&v->file, "string", GGUF_REQUIRED, &id, &n, NULL), JUDGEQ_ERROR_FORMAT);
}

TESTS_MAIN(NULL, NULL, cmocka_unit_test_setup_teardown(test_read_integers, open_values, close_values),
           cmocka_unit_test_setup_teardown(test_read_absent, open_values, close_values),
           cmocka_unit_test_setup_teardown(test_read_others, open_values, close_values))
