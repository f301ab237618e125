#include "array_npy.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"

/* magic, version 1.0 and u16 length, or version 2.0 or 3.0 and u32 length; then a Python dictionary, as
 *   {'descr': '<f4', 'fortran_order': False, 'shape': (32, 576), }
 * padded with spaces to a multiple of 64 bytes in all. */
#define NPY_MAGIC "\x93NUMPY"
#define NPY_MAGIC_SIZE 6
#define NPY_ALIGNMENT 64

typedef struct reader {
    const char *path;
    const char *at, *end;
    judgeq_error *error;
} reader;

bool npy_has_magic(const unsigned char *data, size_t size) {
    return size >= NPY_MAGIC_SIZE && memcmp(data, NPY_MAGIC, NPY_MAGIC_SIZE) == 0;
}

static judgeq_status fail(reader *r, const char *what) {
    return error_set(r->error, JUDGEQ_ERROR_FORMAT, "%s: the .npy header %s", r->path, what);
}

static void skip_space(reader *r) {
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n')) r->at++;
}

static bool take(reader *r, const char *text) {
    skip_space(r);
    size_t length = strlen(text);
    if ((size_t)(r->end - r->at) < length || memcmp(r->at, text, length) != 0) return false;
    r->at += length;
    return true;
}

/* A Python string without escapes, of less than `size` bytes. */
static bool take_string(reader *r, char *text, size_t size) {
    skip_space(r);
    if (r->at == r->end || (*r->at != '\'' && *r->at != '"')) return false;
    const char *first = r->at + 1;
    const char *last = memchr(first, *r->at, (size_t)(r->end - first));
    if (!last || (size_t)(last - first) >= size) return false;
    memcpy(text, first, (size_t)(last - first));
    text[last - first] = 0;
    r->at = last + 1;
    return true;
}

static bool take_length(reader *r, int64_t *length) {
    skip_space(r);
    const char *first = r->at;
    *length = 0;
    for (; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++)
        if (__builtin_mul_overflow(*length, 10, length) || __builtin_add_overflow(*length, *r->at - '0', length))
            return false;
    return r->at > first;
}

static judgeq_status read_type(reader *r, enum ggml_type *type) {
    char descr[16];
    if (!take_string(r, descr, sizeof descr))
        return fail(r, "has a 'descr' that is not a plain type; '<f4' and '<f2' are read");
    if (strcmp(descr, "<f4") == 0)
        *type = GGML_TYPE_F32;
    else if (strcmp(descr, "<f2") == 0)
        *type = GGML_TYPE_F16;
    else
        return error_set(r->error, JUDGEQ_ERROR_UNSUPPORTED,
                         "%s: the array has type '%s'; '<f4' and '<f2' are read: save array.astype('<f4')", r->path,
                         descr);
    return JUDGEQ_OK;
}

static judgeq_status read_order(reader *r) {
    if (take(r, "False")) return JUDGEQ_OK;
    if (take(r, "True"))
        return error_set(r->error, JUDGEQ_ERROR_UNSUPPORTED,
                         "%s: the array is in Fortran order; save numpy.ascontiguousarray(array)", r->path);
    return fail(r, "has a 'fortran_order' that is neither True nor False");
}

static judgeq_status read_shape(reader *r, array_source *out) {
    if (!take(r, "(")) return fail(r, "has a 'shape' that is not a tuple");
    out->n_dim = 0;
    while (!take(r, ")")) {
        if (out->n_dim == ARRAY_FILE_MAX_DIM) return fail(r, "has more than 8 dimensions");
        int64_t length;
        if (!take_length(r, &length)) return fail(r, "has a 'shape' that is not a tuple of numbers");
        if (length == 0)
            return error_set(r->error, JUDGEQ_ERROR_FORMAT, "%s: the array is empty (a dimension is 0)", r->path);
        out->shape[out->n_dim++] = length;
        if (take(r, ",")) continue;
        if (!take(r, ")")) return fail(r, "has a 'shape' without its closing bracket");
        break;
    }
    return JUDGEQ_OK;
}

static judgeq_status read_dictionary(reader *r, array_source *out) {
    bool has_type = false, has_order = false, has_shape = false;
    if (!take(r, "{")) return fail(r, "is not a Python dictionary");
    while (!take(r, "}")) {
        char key[16];
        if (!take_string(r, key, sizeof key) || !take(r, ":")) return fail(r, "is not a Python dictionary");
        judgeq_status status;
        if (strcmp(key, "descr") == 0 && !has_type) {
            has_type = true;
            status = read_type(r, &out->type);
        } else if (strcmp(key, "fortran_order") == 0 && !has_order) {
            has_order = true;
            status = read_order(r);
        } else if (strcmp(key, "shape") == 0 && !has_shape) {
            has_shape = true;
            status = read_shape(r, out);
        } else {
            status = fail(r, "has a key that is unknown or doubled");
        }
        if (status != JUDGEQ_OK) return status;
        if (take(r, ",")) continue;
        if (!take(r, "}")) return fail(r, "is not a Python dictionary");
        break;
    }
    if (!has_type || !has_order || !has_shape) return fail(r, "lacks 'descr', 'fortran_order' or 'shape'");
    skip_space(r);
    return r->at == r->end ? JUDGEQ_OK : fail(r, "goes on after its dictionary");
}

judgeq_status npy_read_header(const char *path, const unsigned char *data, size_t size, array_source *out,
                              size_t *start, judgeq_error *error) {
    *out = (array_source){0};
    reader r = {.path = path, .error = error};
    if (size < NPY_MAGIC_SIZE + 2) return fail(&r, "is cut short");
    int version = data[NPY_MAGIC_SIZE];
    if (version < 1 || version > 3)
        return error_set(error, JUDGEQ_ERROR_UNSUPPORTED, "%s: .npy version %d; versions 1, 2 and 3 are read", path,
                         version);
    size_t length_size = version == 1 ? sizeof(uint16_t) : sizeof(uint32_t), first = NPY_MAGIC_SIZE + 2 + length_size;
    uint32_t length = 0;
    if (size < first) return fail(&r, "is cut short");
    memcpy(&length, data + NPY_MAGIC_SIZE + 2, length_size); /* little-endian, as this machine */
    if (length > size - first) return fail(&r, "runs past the end of the file");
    *start = first + length;
    r.at = (const char *)data + first;
    r.end = r.at + length;
    return read_dictionary(&r, out);
}

char *npy_make_header(const int64_t *shape, int n_dim, size_t *size) {
    char tuple[ARRAY_FILE_MAX_DIM * 24] = "";
    size_t length = 0;
    for (int i = 0; i < n_dim; i++)
        length += (size_t)snprintf(tuple + length, sizeof tuple - length, "%s%" PRId64, i ? ", " : "", shape[i]);
    char text[ARRAY_FILE_MAX_DIM * 24 + 80];
    size_t n = (size_t)snprintf(text, sizeof text, "{'descr': '<f4', 'fortran_order': False, 'shape': (%s%s), }", tuple,
                                n_dim == 1 ? "," : "");
    size_t before = NPY_MAGIC_SIZE + 2 + sizeof(uint16_t);
    *size = (before + n + 1 + NPY_ALIGNMENT - 1) / NPY_ALIGNMENT * NPY_ALIGNMENT;
    char *header = malloc(*size);
    if (!header) return NULL;
    memset(header, ' ', *size);
    memcpy(header, NPY_MAGIC "\x01\x00", NPY_MAGIC_SIZE + 2);
    uint16_t rest = (uint16_t)(*size - before);
    memcpy(header + NPY_MAGIC_SIZE + 2, &rest, sizeof rest);
    memcpy(header + before, text, n);
    header[*size - 1] = '\n';
    return header;
}
