#include "gguf_check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "ggml.h"
#include "gguf.h"
#include "gguf_other.h"

/* Far above what any model has; they bound the memory that ggml takes per key and tensor (some 800 bytes). */
#define MAX_KEYS 65536
#define MAX_TENSORS 65536
#define MAX_KEY_LENGTH 65535 /* docs/gguf.md */
/* GGUF_MAX_STRING_LENGTH and GGUF_MAX_ARRAY_ELEMENTS of ggml's gguf.cpp, above which it refuses */
#define MAX_STRING_LENGTH ((uint64_t)1 << 30)
#define MAX_ARRAY_ELEMENTS ((uint64_t)1 << 30)
/* Least bytes of a key and its value (length, 1 character, type, 1 byte), and of a tensor's description (length,
 * 1 character, number of dimensions, 1 dimension, type, offset). */
#define LEAST_KEY_BYTES (8 + 1 + 4 + 1)
#define LEAST_TENSOR_BYTES (8 + 1 + 4 + 8 + 4 + 8)

typedef struct name {
    const char *text; /* in the file, not terminated */
    size_t length;
} name;

typedef struct cursor {
    const char *path;
    const unsigned char *data;
    size_t size;
    size_t at;     /* next byte to read; <= size */
    char item[96]; /* what is being read, for messages */
    judgeq_error *error;
} cursor;

/* Fails with "PATH: ITEM, byte N: ...". */
#define FAIL(c, format, ...)                                                                                           \
    error_set((c)->error, JUDGEQ_ERROR_FORMAT, "%s: %s, byte %zu: " format, (c)->path, (c)->item, (c)->at, __VA_ARGS__)

static judgeq_status read_bytes(cursor *c, const char *what, uint64_t n, const unsigned char **out) {
    if (n > c->size - c->at)
        return FAIL(c, "%s of %" PRIu64 " bytes runs past the end of the file (%zu bytes); is it cut short?", what, n,
                    c->size);
    *out = c->data + c->at;
    c->at += (size_t)n;
    return JUDGEQ_OK;
}

static judgeq_status read_u32(cursor *c, const char *what, uint32_t *out) {
    const unsigned char *bytes = NULL;
    judgeq_status status = read_bytes(c, what, sizeof *out, &bytes);
    if (status == JUDGEQ_OK) memcpy(out, bytes, sizeof *out);
    return status;
}

static judgeq_status read_u64(cursor *c, const char *what, uint64_t *out) {
    const unsigned char *bytes = NULL;
    judgeq_status status = read_bytes(c, what, sizeof *out, &bytes);
    if (status == JUDGEQ_OK) memcpy(out, bytes, sizeof *out);
    return status;
}

static judgeq_status read_text(cursor *c, const char *what, name *out) {
    uint64_t length;
    judgeq_status status = read_u64(c, what, &length);
    if (status != JUDGEQ_OK) return status;
    if (length > MAX_STRING_LENGTH)
        return FAIL(c, "%s of %" PRIu64 " bytes; ggml reads at most %" PRIu64, what, length, MAX_STRING_LENGTH);
    const unsigned char *bytes = NULL;
    status = read_bytes(c, what, length, &bytes);
    if (status == JUDGEQ_OK) *out = (name){(const char *)bytes, (size_t)length};
    return status;
}

/* The name of a key or tensor: not empty, not too long, and as long for C as for C++ (no NUL). */
static judgeq_status read_name(cursor *c, size_t max_length, name *out) {
    judgeq_status status = read_text(c, "name", out);
    if (status != JUDGEQ_OK) return status;
    if (out->length == 0) return FAIL(c, "%s", "the name is empty");
    if (out->length > max_length)
        return FAIL(c, "the name has %zu bytes; at most %zu are allowed", out->length, max_length);
    if (memchr(out->text, 0, out->length)) return FAIL(c, "%s", "the name contains a NUL byte");
    return JUDGEQ_OK;
}

static void set_item(cursor *c, const char *kind, uint64_t index, const name *named) {
    if (named)
        snprintf(c->item, sizeof c->item, "%s \"%.*s\"", kind, named->length < 64 ? (int)named->length : 64,
                 named->text);
    else
        snprintf(c->item, sizeof c->item, "%s %" PRIu64, kind, index);
}

static int compare_names(const void *first, const void *second) {
    const name *a = first, *b = second;
    int order = memcmp(a->text, b->text, a->length < b->length ? a->length : b->length);
    return order ? order : (a->length > b->length) - (a->length < b->length);
}

/* Sorts the names. */
static judgeq_status check_unique(cursor *c, const char *kind, name *names, size_t n) {
    if (n > 1) qsort(names, n, sizeof *names, compare_names);
    for (size_t i = 1; i < n; i++) {
        if (compare_names(&names[i - 1], &names[i]) != 0) continue;
        set_item(c, kind, 0, &names[i]);
        return FAIL(c, "%s", "appears twice");
    }
    return JUDGEQ_OK;
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

/* Bytes of one value; 0 for strings and arrays, whose length the file says. */
static const uint8_t value_size[GGUF_TYPE_COUNT] = {
    [GGUF_TYPE_UINT8] = 1,   [GGUF_TYPE_INT8] = 1,    [GGUF_TYPE_UINT16] = 2, [GGUF_TYPE_INT16] = 2,
    [GGUF_TYPE_UINT32] = 4,  [GGUF_TYPE_INT32] = 4,   [GGUF_TYPE_UINT64] = 8, [GGUF_TYPE_INT64] = 8,
    [GGUF_TYPE_FLOAT32] = 4, [GGUF_TYPE_FLOAT64] = 8, [GGUF_TYPE_BOOL] = 1,
};

static judgeq_status check_values(cursor *c, uint32_t type, uint64_t n) {
    if (type == GGUF_TYPE_STRING) {
        for (uint64_t i = 0; i < n; i++) {
            name text;
            judgeq_status status = read_text(c, "string", &text);
            if (status != JUDGEQ_OK) return status;
        }
        return JUDGEQ_OK;
    }
    const unsigned char *bytes = NULL; /* n <= MAX_ARRAY_ELEMENTS: no overflow */
    judgeq_status status = read_bytes(c, n == 1 ? "value" : "array", n * value_size[type], &bytes);
    if (status != JUDGEQ_OK) return status;
    for (uint64_t i = 0; type == GGUF_TYPE_BOOL && i < n; i++)
        if (bytes[i] > 1) return FAIL(c, "a boolean is %d; it must be 0 or 1", bytes[i]);
    return JUDGEQ_OK;
}

static judgeq_status check_array(cursor *c) {
    uint32_t type;
    uint64_t n;
    judgeq_status status = read_u32(c, "array type", &type);
    if (status == JUDGEQ_OK) status = read_u64(c, "array length", &n);
    if (status != JUDGEQ_OK) return status;
    if (type == GGUF_TYPE_ARRAY) return FAIL(c, "%s", "an array of arrays, which ggml does not read");
    if (type >= GGUF_TYPE_COUNT) return FAIL(c, "unknown array type %" PRIu32, type);
    if (n > MAX_ARRAY_ELEMENTS)
        return FAIL(c, "an array of %" PRIu64 " elements; ggml reads at most %" PRIu64, n, MAX_ARRAY_ELEMENTS);
    return check_values(c, type, n);
}

static judgeq_status check_alignment(cursor *c, uint32_t type, size_t at, uint32_t *alignment) {
    if (type != GGUF_TYPE_UINT32) return FAIL(c, "has type %s; it must be u32", gguf_type_name(type));
    memcpy(alignment, c->data + at, sizeof *alignment);
    if (*alignment == 0 || (*alignment & (*alignment - 1)) != 0)
        return FAIL(c, "is %" PRIu32 "; it must be a power of two", *alignment);
    return JUDGEQ_OK;
}

static judgeq_status check_key(cursor *c, uint64_t index, name *key, uint32_t *alignment) {
    set_item(c, "key", index, NULL);
    judgeq_status status = read_name(c, MAX_KEY_LENGTH, key);
    if (status != JUDGEQ_OK) return status;
    set_item(c, "key", index, key);
    uint32_t type;
    status = read_u32(c, "value type", &type);
    if (status != JUDGEQ_OK) return status;
    if (type >= GGUF_TYPE_COUNT) return FAIL(c, "unknown value type %" PRIu32, type);

    size_t at = c->at;
    status = type == GGUF_TYPE_ARRAY ? check_array(c) : check_values(c, type, 1);
    if (status != JUDGEQ_OK) return status;
    static const char aligned[] = GGUF_KEY_GENERAL_ALIGNMENT;
    if (key->length == sizeof aligned - 1 && memcmp(key->text, aligned, key->length) == 0)
        return check_alignment(c, type, at, alignment);
    return JUDGEQ_OK;
}

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

typedef struct tensor_place {
    uint64_t offset, bytes;
} tensor_place;

static judgeq_status check_shape(cursor *c, int64_t *row, int64_t *n_row) {
    uint32_t n_dim;
    judgeq_status status = read_u32(c, "number of dimensions", &n_dim);
    if (status != JUDGEQ_OK) return status;
    if (n_dim < 1 || n_dim > GGML_MAX_DIMS)
        return FAIL(c, "has %" PRIu32 " dimensions; 1 to %d are allowed", n_dim, GGML_MAX_DIMS);
    *row = *n_row = 1;
    for (uint32_t i = 0; i < n_dim; i++) {
        uint64_t length;
        status = read_u64(c, "dimension", &length);
        if (status != JUDGEQ_OK) return status;
        if (length < 1 || length > INT64_MAX)
            return FAIL(c, "dimension %" PRIu32 " is %" PRIu64 "; it must be 1 to 2^63 - 1", i, length);
        if (i == 0)
            *row = (int64_t)length;
        else if (__builtin_mul_overflow(*n_row, (int64_t)length, n_row))
            return FAIL(c, "%s", "its dimensions multiply to more than 2^63 - 1");
    }
    int64_t n_element;
    if (__builtin_mul_overflow(*row, *n_row, &n_element))
        return FAIL(c, "%s", "its dimensions multiply to more than 2^63 - 1");
    return JUDGEQ_OK;
}

static judgeq_status check_tensor(cursor *c, uint64_t index, name *tensor, tensor_place *place) {
    set_item(c, "tensor", index, NULL);
    judgeq_status status = read_name(c, GGML_MAX_NAME - 1, tensor);
    if (status != JUDGEQ_OK) return status;
    set_item(c, "tensor", index, tensor);
    int64_t row = 0, n_row = 0;
    uint32_t type;
    status = check_shape(c, &row, &n_row);
    if (status == JUDGEQ_OK) status = read_u32(c, "type", &type);
    if (status != JUDGEQ_OK) return status;
    /* ggml keeps the numbers of types that it gave up, with block size 0 */
    if (type >= GGML_TYPE_COUNT || ggml_blck_size((enum ggml_type)type) <= 0)
        return FAIL(c, "type %" PRIu32 " is none that ggml %s knows", type, ggml_version());
    int64_t block = ggml_blck_size((enum ggml_type)type);
    if (row % block != 0)
        return FAIL(c, "rows of %" PRId64 " elements do not divide into %s blocks of %" PRId64, row,
                    ggml_type_name((enum ggml_type)type), block);
    /* the product of the rows' blocks and n_row is below 2^63: only the size of a block can overflow it */
    uint64_t n_block = (uint64_t)(row / block) * (uint64_t)n_row;
    if (__builtin_mul_overflow(n_block, (uint64_t)ggml_type_size((enum ggml_type)type), &place->bytes))
        return FAIL(c, "%s", "its size in bytes does not fit into 64 bits");
    return read_u64(c, "offset", &place->offset);
}

static uint64_t pad(uint64_t n, uint64_t alignment) {
    return (n + alignment - 1) / alignment * alignment;
}

/* Tensors follow each other without gaps other than the padding, as ggml wants them. */
static judgeq_status check_place(cursor *c, const name *tensor, tensor_place place, uint64_t first, uint64_t expected) {
    set_item(c, "tensor", 0, tensor);
    if (place.offset != expected)
        return FAIL(c, "its data is at offset %" PRIu64 "; after the tensor before it, %" PRIu64 " is expected",
                    place.offset, expected);
    uint64_t start = first + expected;
    if (start > c->size || place.bytes > c->size - start)
        return FAIL(c,
                    "its %" PRIu64 " bytes of data at byte %" PRIu64
                    " run past the end of the file (%zu bytes); is it cut short?",
                    place.bytes, start, c->size);
    return JUDGEQ_OK;
}

static judgeq_status check_tensors(cursor *c, uint64_t n, uint32_t alignment, name *names, tensor_place *places) {
    for (uint64_t i = 0; i < n; i++) {
        judgeq_status status = check_tensor(c, i, &names[i], &places[i]);
        if (status != JUDGEQ_OK) return status;
    }
    uint64_t first = pad(c->at, alignment), expected = 0;
    for (uint64_t i = 0; i < n; i++) { /* every tensor lies in the file, so that no sum overflows */
        judgeq_status status = check_place(c, &names[i], places[i], first, expected);
        if (status != JUDGEQ_OK) return status;
        expected += pad(places[i].bytes, alignment);
    }
    return check_unique(c, "tensor", names, n);
}

/* ---- file -------------------------------------------------------------------------------------------------------- */

bool gguf_has_magic(const unsigned char *data, size_t size) {
    return size >= 4 && memcmp(data, GGUF_MAGIC, 4) == 0;
}

static judgeq_status check_version(cursor *c) {
    const unsigned char *magic = NULL;
    if (c->size >= 4 && !gguf_has_magic(c->data, c->size))
        return gguf_refuse_other(c->path, c->data, c->size, c->error);
    judgeq_status status = read_bytes(c, "magic", 4, &magic);
    if (status != JUDGEQ_OK) return status;
    uint32_t version;
    status = read_u32(c, "version", &version);
    if (status != JUDGEQ_OK) return status;
    if ((version & 0xffff) == 0 && version != 0)
        return error_set(c->error, JUDGEQ_ERROR_FORMAT,
                         "%s: a big-endian GGUF file; convert it to little-endian (gguf_convert_endian.py)", c->path);
    if (version != 2 && version != 3)
        return error_set(c->error, JUDGEQ_ERROR_FORMAT, "%s: GGUF version %" PRIu32 "; versions 2 and 3 are read: %s",
                         c->path, version,
                         version == 1 ? "convert the model again, or download it anew" : "is it damaged?");
    return JUDGEQ_OK;
}

static judgeq_status read_count(cursor *c, const char *what, uint64_t most, uint64_t least_bytes, uint64_t *n) {
    judgeq_status status = read_u64(c, what, n);
    if (status != JUDGEQ_OK) return status;
    if (*n > most) return FAIL(c, "%s is %" PRIu64 "; at most %" PRIu64 " are read", what, *n, most);
    if (*n > (c->size - c->at) / least_bytes)
        return FAIL(c, "%s is %" PRIu64 ", more than a file of %zu bytes can hold", what, *n, c->size);
    return JUDGEQ_OK;
}

judgeq_status gguf_check(const char *path, const unsigned char *data, size_t size, judgeq_error *error) {
    cursor c = {.path = path, .data = data, .size = size, .item = "header", .error = error};
    uint64_t n_tensor, n_key;
    judgeq_status status = check_version(&c);
    if (status == JUDGEQ_OK) status = read_count(&c, "number of tensors", MAX_TENSORS, LEAST_TENSOR_BYTES, &n_tensor);
    if (status == JUDGEQ_OK) status = read_count(&c, "number of keys", MAX_KEYS, LEAST_KEY_BYTES, &n_key);
    if (status != JUDGEQ_OK) return status;

    name *names = calloc((n_key > n_tensor ? n_key : n_tensor) + 1, sizeof *names);
    tensor_place *places = calloc(n_tensor + 1, sizeof *places);
    if (!names || !places) status = error_memory(error, "the names in a GGUF file");
    uint32_t alignment = GGUF_DEFAULT_ALIGNMENT;
    for (uint64_t i = 0; status == JUDGEQ_OK && i < n_key; i++) status = check_key(&c, i, &names[i], &alignment);
    if (status == JUDGEQ_OK) status = check_unique(&c, "key", names, n_key);
    if (status == JUDGEQ_OK) status = check_tensors(&c, n_tensor, alignment, names, places);
    free(places);
    free(names);
    return status;
}
