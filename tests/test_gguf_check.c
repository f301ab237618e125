/* gguf_check: hostile headers are refused by name, and what passes is read by ggml without an abort. */
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/gguf_check.h"
#include "check.h"
#include "model/gguf_file.h"
#include "tiny_model.h"

/* ---- a GGUF file, byte by byte ----------------------------------------------------------------------------------- */

typedef struct bytes {
    unsigned char data[4096];
    size_t n;
} bytes;

static void put(bytes *b, const void *data, size_t n) {
    assert_true(b->n + n <= sizeof b->data);
    memcpy(b->data + b->n, data, n);
    b->n += n;
}

static void put_u32(bytes *b, uint32_t value) {
    put(b, &value, sizeof value);
}

static void put_u64(bytes *b, uint64_t value) {
    put(b, &value, sizeof value);
}

static void put_text(bytes *b, const char *text) {
    put_u64(b, strlen(text));
    put(b, text, strlen(text));
}

static void put_header(bytes *b, uint32_t version, uint64_t n_tensor, uint64_t n_key) {
    b->n = 0;
    put(b, "GGUF", 4);
    put_u32(b, version);
    put_u64(b, n_tensor);
    put_u64(b, n_key);
}

static void put_key_u32(bytes *b, const char *key, uint32_t value) {
    put_text(b, key);
    put_u32(b, GGUF_TYPE_UINT32);
    put_u32(b, value);
}

static void put_tensor(bytes *b, const char *name, uint64_t ne0, uint64_t ne1, uint32_t type, uint64_t offset) {
    put_text(b, name);
    put_u32(b, 2);
    put_u64(b, ne0);
    put_u64(b, ne1);
    put_u32(b, type);
    put_u64(b, offset);
}

static void put_zeros(bytes *b, size_t n) {
    assert_true(b->n + n <= sizeof b->data);
    memset(b->data + b->n, 0, n);
    b->n += n;
}

static void put_padding(bytes *b) {
    put_zeros(b, (32 - b->n % 32) % 32);
}

static judgeq_status check(const bytes *b, judgeq_error *error) {
    /* exactly as many bytes as there are, so that valgrind and AddressSanitizer see a read past them */
    unsigned char *copy = malloc(b->n + 1);
    assert_non_null(copy);
    memmove(copy, b->data, b->n);
    judgeq_status status = gguf_check("hostile.gguf", copy, b->n, error);
    free(copy);
    return status;
}

static void assert_ok(const bytes *b) {
    judgeq_error error = {0};
    if (check(b, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
}

static void assert_refused(const bytes *b, const char *reason) {
    judgeq_error error = {0};
    assert_int_equal(check(b, &error), JUDGEQ_ERROR_FORMAT);
    assert_memory_equal(error.message, "hostile.gguf: ", 14);
    if (!strstr(error.message, reason)) fail_msg("\"%s\" lacks \"%s\"", error.message, reason);
}

/* ---- header ------------------------------------------------------------------------------------------------------ */

static void test_header(void **state) {
    (void)state;
    bytes b;
    put_header(&b, 3, 0, 0);
    assert_ok(&b);
    put_header(&b, 2, 0, 0);
    assert_ok(&b);
    put_header(&b, 1, 0, 0);
    assert_refused(&b, "version 1");
    put_header(&b, 4, 0, 0);
    assert_refused(&b, "version 4");
    put_header(&b, 0, 0, 0);
    assert_refused(&b, "version 0");
    put_header(&b, 0x03000000, 0, 0);
    assert_refused(&b, "big-endian");
    put_header(&b, 3, 0, 0);
    b.data[0] = 'X';
    assert_refused(&b, "not a GGUF file");
    b.n = 3;
    assert_refused(&b, "past the end");
}

static void test_counts(void **state) {
    (void)state;
    bytes b;
    put_header(&b, 3, UINT64_MAX, 0);
    assert_refused(&b, "number of tensors is 18446744073709551615");
    put_header(&b, 3, 0, UINT64_MAX);
    assert_refused(&b, "number of keys is 18446744073709551615");
    put_header(&b, 3, 1000, 0);
    assert_refused(&b, "more than a file of 24 bytes can hold");
    put_header(&b, 3, 0, 1000);
    assert_refused(&b, "more than a file of 24 bytes can hold");
}

/* ---- keys -------------------------------------------------------------------------------------------------------- */

static void test_keys(void **state) {
    (void)state;
    bytes b;
    put_header(&b, 3, 0, 2);
    put_key_u32(&b, "a", 1);
    put_key_u32(&b, "a.b", 2);
    assert_ok(&b);
    put_header(&b, 3, 0, 1);
    put_key_u32(&b, "", 1);
    assert_refused(&b, "key 0, byte 32: the name is empty");
    put_header(&b, 3, 0, 2);
    put_key_u32(&b, "twice", 1);
    put_key_u32(&b, "twice", 2);
    assert_refused(&b, "key \"twice\"");
    put_header(&b, 3, 0, 1);
    put_u64(&b, 3);
    put(&b, "a\0b", 3);
    put_u32(&b, GGUF_TYPE_UINT8);
    put_zeros(&b, 1);
    assert_refused(&b, "NUL");
    put_header(&b, 3, 0, 1);
    put_u64(&b, UINT64_MAX);
    put_zeros(&b, 32);
    assert_refused(&b, "18446744073709551615 bytes");
    put_header(&b, 3, 0, 1);
    put_u64(&b, 1 << 20);
    put_zeros(&b, 32);
    assert_refused(&b, "past the end");
}

static void begin_value(bytes *b, uint32_t type) {
    put_header(b, 3, 0, 1);
    put_text(b, "k");
    put_u32(b, type);
}

static void test_values(void **state) {
    (void)state;
    bytes b;
    begin_value(&b, 13);
    put_u64(&b, 0);
    assert_refused(&b, "key \"k\", byte 37: unknown value type 13");
    begin_value(&b, UINT32_MAX);
    put_u64(&b, 0);
    assert_refused(&b, "unknown value type");
    begin_value(&b, GGUF_TYPE_UINT64);
    put_u32(&b, 0);
    assert_refused(&b, "value of 8 bytes runs past the end");
    begin_value(&b, GGUF_TYPE_BOOL);
    put(&b, "\1", 1);
    assert_ok(&b);
    b.data[b.n - 1] = 2;
    assert_refused(&b, "a boolean is 2");
    begin_value(&b, GGUF_TYPE_STRING);
    put_text(&b, "text");
    assert_ok(&b);
    b.n--;
    assert_refused(&b, "string of 4 bytes");
    begin_value(&b, GGUF_TYPE_STRING);
    put_u64(&b, (uint64_t)-1);
    assert_refused(&b, "string of 18446744073709551615 bytes");
}

static void begin_array(bytes *b, uint32_t type, uint64_t n) {
    begin_value(b, GGUF_TYPE_ARRAY);
    put_u32(b, type);
    put_u64(b, n);
}

static void test_arrays(void **state) {
    (void)state;
    bytes b;
    begin_array(&b, GGUF_TYPE_FLOAT64, 2);
    put_zeros(&b, 16);
    assert_ok(&b);
    b.n--;
    assert_refused(&b, "array of 16 bytes");
    begin_array(&b, GGUF_TYPE_UINT8, 0);
    assert_ok(&b);
    begin_array(&b, GGUF_TYPE_UINT64, ((uint64_t)1 << 61) + 1); /* times 8: 8 */
    put_zeros(&b, 8);
    assert_refused(&b, "an array of 2305843009213693953 elements");
    begin_array(&b, GGUF_TYPE_STRING, 1 << 30);
    put_zeros(&b, 64);
    assert_refused(&b, "past the end");
    begin_array(&b, GGUF_TYPE_STRING, 2);
    put_text(&b, "a");
    put_text(&b, "");
    assert_ok(&b);
    begin_array(&b, GGUF_TYPE_BOOL, 3);
    put(&b, "\0\1\xff", 3);
    assert_refused(&b, "a boolean is 255");
    begin_array(&b, GGUF_TYPE_ARRAY, 1);
    put_zeros(&b, 64);
    assert_refused(&b, "array of arrays");
    begin_array(&b, 99, 1);
    put_zeros(&b, 64);
    assert_refused(&b, "unknown array type 99");
}

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

/* One tensor and 512 bytes for its data, which is more than 32 x 4 floats need: the end of the file is not the limit.
 */
static void one_tensor(bytes *b, const char *name, uint64_t ne0, uint64_t ne1, uint32_t type, uint64_t offset) {
    put_header(b, 3, 1, 0);
    put_tensor(b, name, ne0, ne1, type, offset);
    put_padding(b);
    put_zeros(b, 512);
}

static void test_tensors(void **state) {
    (void)state;
    bytes b;
    one_tensor(&b, "t", 32, 4, GGML_TYPE_F32, 0);
    assert_ok(&b);
    b.n--;
    assert_refused(&b, "tensor \"t\"");
    one_tensor(&b, "", 32, 4, GGML_TYPE_F32, 0);
    assert_refused(&b, "tensor 0, byte 32: the name is empty");
    char name[70];
    memset(name, 'n', sizeof name);
    name[63] = 0;
    one_tensor(&b, name, 32, 4, GGML_TYPE_F32, 0);
    assert_ok(&b);
    name[63] = 'n';
    name[64] = 0;
    one_tensor(&b, name, 32, 4, GGML_TYPE_F32, 0);
    assert_refused(&b, "has 64 bytes; at most 63");
    one_tensor(&b, "t", 0, 4, GGML_TYPE_F32, 0);
    assert_refused(&b, "dimension 0 is 0");
    one_tensor(&b, "t", 32, (uint64_t)1 << 63, GGML_TYPE_F32, 0);
    assert_refused(&b, "dimension 1 is 9223372036854775808");
    one_tensor(&b, "t", (uint64_t)1 << 32, (uint64_t)1 << 32, GGML_TYPE_F32, 0);
    assert_refused(&b, "multiply to more");
    one_tensor(&b, "t", (uint64_t)1 << 31, (uint64_t)1 << 31, GGML_TYPE_F32, 0); /* 2^64 bytes */
    assert_refused(&b, "64 bits");
    one_tensor(&b, "t", 32, 5, GGML_TYPE_F32, 0);
    assert_refused(&b, "its 640 bytes of data at byte 96 run past the end");
    one_tensor(&b, "t", 32, 4, GGML_TYPE_COUNT, 0);
    assert_refused(&b, "is none that ggml");
    one_tensor(&b, "t", 32, 4, UINT32_MAX, 0);
    assert_refused(&b, "is none that ggml");
    one_tensor(&b, "t", 32, 4, 4, 0); /* Q4_2, which ggml gave up */
    assert_refused(&b, "type 4 is none");
    one_tensor(&b, "t", 33, 4, GGML_TYPE_Q4_0, 0);
    assert_refused(&b, "do not divide into q4_0 blocks of 32");
    one_tensor(&b, "t", 32, 4, GGML_TYPE_F32, 32);
    assert_refused(&b, "offset 32");
    one_tensor(&b, "t", 32, 4, GGML_TYPE_F32, UINT64_MAX - 31);
    assert_refused(&b, "offset 18446744073709551584");
}

static void test_dimensions(void **state) {
    (void)state;
    for (uint32_t n_dim = 0; n_dim <= 6; n_dim++) {
        bytes b;
        put_header(&b, 3, 1, 0);
        put_text(&b, "t");
        put_u32(&b, n_dim);
        for (uint32_t i = 0; i < n_dim; i++) put_u64(&b, 2);
        put_u32(&b, GGML_TYPE_F32);
        put_u64(&b, 0);
        put_padding(&b);
        put_zeros(&b, 512);
        if (n_dim >= 1 && n_dim <= 4)
            assert_ok(&b);
        else
            assert_refused(&b, "dimensions; 1 to 4");
    }
}

static void test_several_tensors(void **state) {
    (void)state;
    bytes b;
    put_header(&b, 3, 2, 0);
    put_tensor(&b, "a", 3, 1, GGML_TYPE_F32, 0);
    put_tensor(&b, "b", 3, 1, GGML_TYPE_F32, 32);
    put_padding(&b);
    put_zeros(&b, 32 + 12);
    assert_ok(&b);
    put_header(&b, 3, 2, 0);
    put_tensor(&b, "a", 3, 1, GGML_TYPE_F32, 0);
    put_tensor(&b, "b", 3, 1, GGML_TYPE_F32, 0);
    put_padding(&b);
    put_zeros(&b, 64);
    assert_refused(&b, "after the tensor before it, 32 is expected");
    put_header(&b, 3, 2, 0);
    put_tensor(&b, "a", 3, 1, GGML_TYPE_F32, 0);
    put_tensor(&b, "a", 3, 1, GGML_TYPE_F32, 32);
    put_padding(&b);
    put_zeros(&b, 64);
    assert_refused(&b, "tensor \"a\"");
}

static void test_alignment(void **state) {
    (void)state;
    static const uint32_t values[] = {0, 3, 48, UINT32_MAX, 1, 64, (uint32_t)1 << 31};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        bytes b;
        put_header(&b, 3, 0, 1);
        put_key_u32(&b, "general.alignment", values[i]);
        if (i < 4)
            assert_refused(&b, "power of two");
        else
            assert_ok(&b);
    }
    bytes b;
    put_header(&b, 3, 0, 1);
    put_text(&b, "general.alignment");
    put_u32(&b, GGUF_TYPE_UINT64);
    put_u64(&b, 32);
    assert_refused(&b, "has type u64");
    put_header(&b, 3, 1, 1);
    put_key_u32(&b, "general.alignment", (uint32_t)1 << 31);
    put_tensor(&b, "t", 1, 1, GGML_TYPE_F32, 0);
    put_zeros(&b, 64);
    assert_refused(&b, "at byte 2147483648 run past the end");
}

/* ---- files that are damaged in one place ------------------------------------------------------------------------- */

/* The path of a file in memory with these bytes. */
static void write_memory_file(int descriptor, const void *data, size_t n) {
    assert_int_equal(ftruncate(descriptor, 0), 0);
    assert_int_equal(pwrite(descriptor, data, n, 0), n);
}

static void make_sample(bytes *b) {
    put_header(b, 3, 2, 5);
    put_key_u32(b, "u", 7);
    put_text(b, "text");
    put_u32(b, GGUF_TYPE_STRING);
    put_text(b, "abc");
    put_text(b, "flag");
    put_u32(b, GGUF_TYPE_BOOL);
    put(b, "\1", 1);
    put_text(b, "words");
    put_u32(b, GGUF_TYPE_ARRAY);
    put_u32(b, GGUF_TYPE_STRING);
    put_u64(b, 2);
    put_text(b, "x");
    put_text(b, "yz");
    put_key_u32(b, "general.alignment", 32);
    put_tensor(b, "a", 32, 1, GGML_TYPE_Q4_0, 0);
    put_tensor(b, "b", 3, 2, GGML_TYPE_F32, 32);
    put_padding(b);
    put_zeros(b, 32);
    put(b, "\0\0\x80\x3f", 4);
    put_zeros(b, 20);
}

/* Whatever one byte of the header is changed to, gguf_open_checked answers and ggml does not abort. */
static void test_every_byte(void **state) {
    (void)state;
    static const unsigned char change[] = {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff};
    bytes b;
    make_sample(&b);
    int descriptor = memfd_create("gguf", MFD_CLOEXEC);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    int refused = 0, read = 0;
    for (size_t i = 0; i < b.n; i++)
        for (size_t j = 0; j < sizeof change; j++) {
            bytes damaged = b;
            damaged.data[i] ^= change[j];
            write_memory_file(descriptor, damaged.data, damaged.n);
            gguf_file file;
            if (gguf_open_checked(path, &file, NULL) == JUDGEQ_OK)
                read++;
            else
                refused++;
            gguf_file_close(&file);
        }
    close(descriptor);
    assert_true(refused > 1000);
    assert_true(read > 100); /* letters of names, numbers, data */
}

static void test_truncated(void **state) {
    (void)state;
    bytes b;
    make_sample(&b);
    assert_ok(&b);
    for (size_t n = b.n; n-- > 0;) {
        b.n = n;
        assert_int_equal(check(&b, NULL), JUDGEQ_ERROR_FORMAT);
    }
}

/* ---- files that are as they should be ---------------------------------------------------------------------------- */

static void test_open(void **state) {
    (void)state;
    bytes b;
    make_sample(&b);
    int descriptor = memfd_create("gguf", MFD_CLOEXEC);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    write_memory_file(descriptor, b.data, b.n);
    gguf_file file;
    assert_int_equal(gguf_open_checked(path, &file, NULL), JUDGEQ_OK);
    assert_string_equal(file.path, path);
    struct ggml_tensor *tensor = gguf_file_tensor(&file, "b");
    assert_non_null(tensor);
    assert_int_equal(tensor->ne[0], 3);
    assert_int_equal(tensor->ne[1], 2);
    assert_int_equal(tensor->type, GGML_TYPE_F32);
    assert_true(*(const float *)gguf_file_data(&file, tensor) == 1.0f);
    assert_null(gguf_file_tensor(&file, "c"));
    gguf_file_close(&file);
    gguf_file_close(&file);
    close(descriptor);
}

/* What ggml itself writes passes: a tiny model of every family and weight type. */
static void test_tiny_models(void **state) {
    (void)state;
    char folder[256], path[300];
    assert_int_equal(fixture_folder_new(folder, sizeof folder), 0);
    snprintf(path, sizeof path, "%s/model.gguf", folder);
    for (size_t i = 0; i < tiny_spec_count(); i++) {
        tiny_spec spec = tiny_spec_at(i);
        assert_int_equal(tiny_model_write(&spec, path), 0);
        gguf_file file;
        judgeq_error error = {0};
        if (gguf_open_checked(path, &file, &error) != JUDGEQ_OK) fail_msg("%s: %s", spec.name, error.message);
        gguf_file_close(&file);
    }
    assert_int_equal(fixture_folder_remove(folder), 0);
}

TESTS_MAIN(NULL, NULL, cmocka_unit_test(test_header), cmocka_unit_test(test_counts), cmocka_unit_test(test_keys),
           cmocka_unit_test(test_values), cmocka_unit_test(test_arrays), cmocka_unit_test(test_tensors),
           cmocka_unit_test(test_dimensions), cmocka_unit_test(test_several_tensors), cmocka_unit_test(test_alignment),
           cmocka_unit_test(test_every_byte), cmocka_unit_test(test_truncated), cmocka_unit_test(test_open),
           cmocka_unit_test(test_tiny_models))
