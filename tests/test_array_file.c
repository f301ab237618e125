/* array_file: .npy and .safetensors, against files that numpy and safetensors wrote (tests/data/make.py). */
#include <stddef.h>
#include <stdint.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array_file.h"
#include "check.h"

#define DATA JUDGEQ_TEST_DATA "/../data/"

/* (numpy.arange(6).reshape(2, 3) - 2.5) * numpy.float32(1.1), as numpy prints it in full */
static const float golden[6] = {
    -2.75f, -1.6500000953674316f, -0.550000011920929f, 0.550000011920929f, 1.6500000953674316f, 2.75f};
/* the same .astype("<f2").astype("<f4") */
static const float golden_half[6] = {-2.75f, -1.650390625f, -0.5498046875f, 0.5498046875f, 1.650390625f, 2.75f};

static void assert_golden(const char *path, const char *tensor, const float *expected) {
    array_file array;
    judgeq_error error = {0};
    if (array_file_read(path, tensor, &array, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    assert_int_equal(array.n_dim, 2);
    assert_int_equal(array.shape[0], 2);
    assert_int_equal(array.shape[1], 3);
    assert_memory_equal(array.data, expected, 6 * sizeof(float));
    array_file_free(&array);
    assert_null(array.data);
}

static void assert_refused(const char *path, const char *tensor, judgeq_status code, const char *reason) {
    array_file array;
    judgeq_error error = {0};
    judgeq_status status = array_file_read(path, tensor, &array, &error);
    if (status != code) fail_msg("status %d, not %d: %s", status, code, error.message);
    assert_memory_equal(error.message, path, strlen(path));
    if (!strstr(error.message, reason)) fail_msg("\"%s\" lacks \"%s\"", error.message, reason);
    assert_null(array.data);
}

static void test_golden(void **state) {
    (void)state;
    assert_golden(DATA "f4_2x3.npy", NULL, golden);
    assert_golden(DATA "f2_2x3.npy", NULL, golden_half);
    assert_golden(DATA "one.safetensors", NULL, golden);
    assert_golden(DATA "one.safetensors", "soft", golden);
    assert_golden(DATA "two.safetensors", "soft", golden);
    assert_golden(DATA "two.safetensors", "half", golden_half);
}

static void test_refused(void **state) {
    (void)state;
    assert_refused(DATA "f8_2x3.npy", NULL, JUDGEQ_ERROR_UNSUPPORTED, "'<f8'");
    assert_refused(DATA "fortran_2x3.npy", NULL, JUDGEQ_ERROR_UNSUPPORTED, "Fortran order");
    assert_refused(DATA "f4_2x3.npy", "soft", JUDGEQ_ERROR_ARGUMENT, "without a name");
    assert_refused(DATA "two.safetensors", NULL, JUDGEQ_ERROR_ARGUMENT, "name one of them: ");
    assert_refused(DATA "two.safetensors", NULL, JUDGEQ_ERROR_ARGUMENT, "\"half\"");
    assert_refused(DATA "two.safetensors", "other", JUDGEQ_ERROR_ARGUMENT, "no tensor \"other\", only ");
    assert_refused(DATA "two.safetensors", "__metadata__", JUDGEQ_ERROR_ARGUMENT, "no tensor");
    assert_refused(DATA "make.py", NULL, JUDGEQ_ERROR_FORMAT, "neither .npy nor .safetensors");
    assert_refused(DATA "missing.npy", NULL, JUDGEQ_ERROR_IO, "No such file");
    assert_int_equal(fixture_write(path_in("x"), "GGUF\3\0\0\0", 8), 0);
    assert_refused(path_in("x"), NULL, JUDGEQ_ERROR_FORMAT, "GGUF");
    assert_int_equal(fixture_write(path_in("x"), "PK\3\4", 4), 0);
    assert_refused(path_in("x"), NULL, JUDGEQ_ERROR_FORMAT, "zip archive");
}

/* The same bytes as numpy's own, and as those of the safetensors package. */
static void test_write_as_others_do(void **state) {
    (void)state;
    static const char *const files[][2] = {{"a.npy", DATA "f4_2x3.npy"}, {"a.safetensors", DATA "one.safetensors"}};
    for (size_t i = 0; i < 2; i++) {
        const char *path = path_in(files[i][0]);
        assert_int_equal(array_file_write(path, "soft", (int64_t[]){2, 3}, 2, golden, NULL), JUDGEQ_OK);
        size_t size, expected_size;
        char *expected = fixture_read(files[i][1], &expected_size);
        char *written = fixture_read(path, &size);
        assert_non_null(expected);
        assert_non_null(written);
        assert_int_equal(size, expected_size);
        assert_memory_equal(written, expected, size);
        free(written);
        free(expected);
    }
}

static void test_round_trips(void **state) {
    (void)state;
    static const char *const names[] = {"a.npy", "a.safetensors"};
    /* bits that a conversion would lose */
    const float values[] = {0.0f, -0.0f, 1e-45f, 3.4028234e38f, INFINITY, NAN, 1.0f / 3, -1e-20f};
    static const int64_t shapes[][4] = {{8}, {2, 4}, {1, 8, 1}, {2, 2, 2, 1}};
    for (size_t f = 0; f < 2; f++)
        for (int n_dim = 1; n_dim <= 4; n_dim++) {
            const char *path = path_in(names[f]);
            assert_int_equal(array_file_write(path, "t", shapes[n_dim - 1], n_dim, values, NULL), JUDGEQ_OK);
            array_file array;
            assert_int_equal(array_file_read(path, NULL, &array, NULL), JUDGEQ_OK);
            assert_int_equal(array.n_dim, n_dim);
            assert_memory_equal(array.shape, shapes[n_dim - 1], (size_t)n_dim * sizeof(int64_t));
            assert_memory_equal(array.data, values, sizeof values);
            array_file_free(&array);
        }
}

static void test_write_errors(void **state) {
    (void)state;
    judgeq_error error = {0};
    judgeq_status status = array_file_write(path_in("a.bin"), "t", (int64_t[]){2, 3}, 2, golden, &error);
    assert_int_equal(status, JUDGEQ_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, ".npy or .safetensors"));
    assert_int_equal(array_file_write(path_in("no/a.npy"), "t", (int64_t[]){2, 3}, 2, golden, NULL), JUDGEQ_ERROR_IO);
}

/* ---- headers ----------------------------------------------------------------------------------------------------- */

static const char *write_npy(int version, const char *dictionary, size_t n_float) {
    unsigned char file[1024] = "\x93NUMPY";
    uint32_t length = (uint32_t)strlen(dictionary);
    size_t length_size = version == 1 ? 2 : 4;
    file[6] = (unsigned char)version;
    memcpy(file + 8, &length, length_size);
    memcpy(file + 8 + length_size, dictionary, length);
    size_t start = 8 + length_size + length;
    memcpy(file + start, golden, n_float * sizeof(float));
    assert_int_equal(fixture_write(path_in("h.npy"), file, start + n_float * sizeof(float)), 0);
    return path_in("h.npy");
}

static void test_npy_headers(void **state) {
    (void)state;
    static const char plain[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n";
    for (int version = 1; version <= 3; version++) assert_golden(write_npy(version, plain, 6), NULL, golden);
    assert_golden(write_npy(1, "{\"shape\":(2,3),\"descr\":\"<f4\",\"fortran_order\":False}", 6), NULL, golden);
    assert_refused(write_npy(4, plain, 6), NULL, JUDGEQ_ERROR_UNSUPPORTED, "version 4");
    assert_refused(write_npy(1, plain, 5), NULL, JUDGEQ_ERROR_FORMAT, "holds 20 bytes");
    assert_refused(write_npy(1, "{'descr': '>f4', 'fortran_order': False, 'shape': (2, 3)}", 6), NULL,
                   JUDGEQ_ERROR_UNSUPPORTED, "'>f4'");
    static const struct {
        const char *dictionary, *reason;
    } cases[] = {
        {"", "not a Python dictionary"},
        {"{", "not a Python dictionary"},
        {"{}", "lacks"},
        {"{'descr'", "not a Python dictionary"},
        {"{'descr': '<f4', 'fortran_order': False}", "lacks"},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 3)}", "not a plain type"},
        {"{'descr': '<f4', 'fortran_order': 0, 'shape': (2, 3)}", "neither True nor False"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': 6}", "not a tuple"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, -3)}", "not a tuple of numbers"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3", "closing bracket"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 0)}", "empty"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,2,3)}", "more than 8"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", "not a tuple of numbers"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 6)}", "holds 24 bytes"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)} x", "goes on"},
        {"{'descr': '<f4', 'descr': '<f4', 'shape': (2, 3)}", "doubled"},
        {"{'other': '<f4', 'fortran_order': False, 'shape': (2, 3)}", "unknown"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_refused(write_npy(1, cases[i].dictionary, 6), NULL, JUDGEQ_ERROR_FORMAT, cases[i].reason);
}

static const char *write_safetensors(const char *json, size_t n_float) {
    unsigned char file[1024];
    uint64_t length = strlen(json);
    memcpy(file, &length, sizeof length);
    memcpy(file + sizeof length, json, length);
    memcpy(file + sizeof length + length, golden, n_float * sizeof(float));
    assert_int_equal(fixture_write(path_in("h.st"), file, sizeof length + length + n_float * sizeof(float)), 0);
    return path_in("h.st");
}

static void test_safetensors_headers(void **state) {
    (void)state;
    assert_golden(write_safetensors("{\"t\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}}", 6), NULL,
                  golden);
    static const struct {
        const char *json, *reason;
        judgeq_status code;
    } cases[] = {
        {"{x", "not a JSON object", JUDGEQ_ERROR_FORMAT},
        {"{}", "holds no tensor", JUDGEQ_ERROR_FORMAT},
        {"{\"__metadata__\":{}}", "holds no tensor", JUDGEQ_ERROR_FORMAT},
        {"{\"t\":1}", "type (none)", JUDGEQ_ERROR_UNSUPPORTED},
        {"{\"t\":{\"dtype\":\"I64\",\"shape\":[2,3],\"data_offsets\":[0,24]}}", "type I64", JUDGEQ_ERROR_UNSUPPORTED},
        {"{\"t\":{\"dtype\":\"F32\",\"data_offsets\":[0,24]}}", "\"shape\"", JUDGEQ_ERROR_FORMAT},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[2,-3],\"data_offsets\":[0,24]}}", "1 or more", JUDGEQ_ERROR_FORMAT},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[2,3.0],\"data_offsets\":[0,24]}}", "1 or more", JUDGEQ_ERROR_FORMAT},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,2,3],\"data_offsets\":[0,24]}}", "at most 8",
         JUDGEQ_ERROR_FORMAT},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[2,3]}}", "data_offsets", JUDGEQ_ERROR_FORMAT},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0]}}", "data_offsets", JUDGEQ_ERROR_FORMAT},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[24,0]}}", "data_offsets", JUDGEQ_ERROR_FORMAT},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[-24,0]}}", "data_offsets", JUDGEQ_ERROR_FORMAT},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[1,25]}}", "data_offsets", JUDGEQ_ERROR_FORMAT},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,24]}}", "holds 24 bytes", JUDGEQ_ERROR_FORMAT},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,6],\"data_offsets\":[0,24]}}", "holds 24 bytes",
         JUDGEQ_ERROR_FORMAT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_refused(write_safetensors(cases[i].json, 6), NULL, cases[i].code, cases[i].reason);
}

/* The upper halves of F32 numbers are BF16 numbers. */
static void test_bf16(void **state) {
    (void)state;
    const float values[6] = {1.0f, -2.5f, 0.15625f, 3.0f, -0.0f, 65536.0f};
    static const char json[] = "{\"t\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[0,12]}}";
    unsigned char file[256];
    uint64_t length = strlen(json);
    memcpy(file, &length, sizeof length);
    memcpy(file + 8, json, length);
    for (size_t i = 0; i < 6; i++) memcpy(file + 8 + length + 2 * i, (const char *)&values[i] + 2, 2);
    assert_int_equal(fixture_write(path_in("b.safetensors"), file, 8 + length + 12), 0);
    assert_golden(path_in("b.safetensors"), NULL, values);
}

static void test_truncated(void **state) {
    (void)state;
    static const char *const files[] = {DATA "f4_2x3.npy", DATA "one.safetensors"};
    for (size_t f = 0; f < 2; f++) {
        size_t size;
        char *whole = fixture_read(files[f], &size);
        assert_non_null(whole);
        while (size-- > 0) {
            assert_int_equal(fixture_write(path_in("cut"), whole, size), 0);
            array_file array;
            judgeq_error error = {0};
            assert_int_equal(array_file_read(path_in("cut"), NULL, &array, &error), JUDGEQ_ERROR_FORMAT);
            assert_null(array.data);
        }
        free(whole);
    }
}

TESTS_MAIN(NULL, NULL, IN_FOLDER(test_golden), IN_FOLDER(test_refused), IN_FOLDER(test_write_as_others_do),
           IN_FOLDER(test_round_trips), IN_FOLDER(test_write_errors), IN_FOLDER(test_npy_headers),
           IN_FOLDER(test_safetensors_headers), IN_FOLDER(test_bf16), IN_FOLDER(test_truncated))
