#include "gguf_file.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/gguf_check.h"
#include "base/quiet.h"
#include "guard.h"

/* From the bytes that were checked, not from the path, which may be another file by now. */
static void open_bytes(void *data) {
    gguf_file *file = data;
    file->gguf = gguf_init_from_buffer(file->map.data, file->map.size,
                                       (struct gguf_init_params){.no_alloc = true, .ctx = &file->tensors});
}

static judgeq_status open_mapping(const char *path, gguf_file *file, judgeq_error *error) {
    const judgeq_status status = guard_call(open_bytes, file, "a GGUF file's header", error);
    if (status != JUDGEQ_OK) {
        file->tensors = NULL; /* what it points to, if anything, is not whole */
        return status;
    }
    if (file->gguf) return JUDGEQ_OK;
    if (errno == ENOMEM) return error_memory(error, "a GGUF file's header");
    return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: ggml cannot read this GGUF file", path);
}

judgeq_status gguf_open_checked(const char *path, gguf_file *file, judgeq_error *error) {
    quiet_ggml_log();
    *file = (gguf_file){0};
    judgeq_status status = file_map(path, &file->map, error);
    if (status == JUDGEQ_OK) status = gguf_check(path, file->map.data, file->map.size, error);
    if (status == JUDGEQ_OK) status = open_mapping(path, file, error);
    if (status == JUDGEQ_OK && !(file->path = strdup(path))) status = error_memory(error, "a path");
    if (file->map.data) status = file_check(path, &file->map, status, error);
    if (status != JUDGEQ_OK) gguf_file_close(file);
    return status;
}

void gguf_file_close(gguf_file *file) {
    for (int32_t i = 0; i < file->n_more; i++) gguf_file_close(&file->more[i]);
    free(file->more);
    if (file->tensors) ggml_free(file->tensors);
    if (file->gguf) gguf_free(file->gguf);
    file_unmap(&file->map);
    free(file->path);
    *file = (gguf_file){0};
}

const gguf_file *gguf_file_part(const gguf_file *file, int32_t part) {
    return part == 0 ? file : &file->more[part - 1];
}

int64_t gguf_file_n_tensors(const gguf_file *file) {
    int64_t n = 0;
    for (int32_t i = 0; i <= file->n_more; i++) n += gguf_get_n_tensors(gguf_file_part(file, i)->gguf);
    return n;
}

struct ggml_tensor *gguf_file_tensor(const gguf_file *file, const char *name) {
    struct ggml_tensor *tensor = NULL;
    for (int32_t i = 0; !tensor && i <= file->n_more; i++) {
        tensor = ggml_get_tensor(gguf_file_part(file, i)->tensors, name);
    }
    return tensor;
}

int32_t gguf_file_part_of(const gguf_file *file, const struct ggml_tensor *tensor) {
    int32_t part = 0;
    while (part < file->n_more && gguf_find_tensor(gguf_file_part(file, part)->gguf, tensor->name) < 0) part++;
    return part;
}

const void *gguf_file_data(const gguf_file *file, const struct ggml_tensor *tensor) {
    const gguf_file *part = gguf_file_part(file, gguf_file_part_of(file, tensor));
    const int64_t id = gguf_find_tensor(part->gguf, tensor->name);
    return part->map.data + gguf_get_data_offset(part->gguf) + gguf_get_tensor_offset(part->gguf, id);
}

/* Goes to the first tensor of the current part, or, if that has none, of the next one that has. */
static void walk_to_part(gguf_walk *walk) {
    for (; walk->part <= walk->file->n_more; walk->part++) {
        walk->tensor = ggml_get_first_tensor(gguf_file_part(walk->file, walk->part)->tensors);
        if (walk->tensor) return;
    }
}

gguf_walk gguf_walk_tensors(const gguf_file *file) {
    gguf_walk walk = {.file = file};
    walk_to_part(&walk);
    return walk;
}

void gguf_walk_on(gguf_walk *walk) {
    walk->tensor = ggml_get_next_tensor(gguf_file_part(walk->file, walk->part)->tensors, walk->tensor);
    if (walk->tensor) return;
    walk->part++;
    walk_to_part(walk);
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

/* *id is the key's, or -1 where it is absent and optional. */
static judgeq_status find_key(const gguf_file *file, const char *key, gguf_need need, int64_t *id,
                              judgeq_error *error) {
    *id = gguf_find_key(file->gguf, key);
    if (*id < 0 && need == GGUF_REQUIRED)
        return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: key \"%s\" is missing", file->path, key);
    return JUDGEQ_OK;
}

static judgeq_status wrong_type(const gguf_file *file, int64_t id, const char *expected, judgeq_error *error) {
    enum gguf_type type = gguf_get_kv_type(file->gguf, id);
    bool array = type == GGUF_TYPE_ARRAY;
    return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: key \"%s\" has type %s%s; expected %s", file->path,
                     gguf_get_key(file->gguf, id), array ? "array of " : "",
                     gguf_type_name(array ? gguf_get_arr_type(file->gguf, id) : type), expected);
}

/* Element i of an array, or the value itself (i = 0), as its two's complement and whether that is to be read as
 * negative. False: not an integer. */
static bool get_integer(const struct gguf_context *gguf, int64_t id, size_t i, uint64_t *value, bool *negative) {
    const bool array = gguf_get_kv_type(gguf, id) == GGUF_TYPE_ARRAY;
    const enum gguf_type type = array ? gguf_get_arr_type(gguf, id) : gguf_get_kv_type(gguf, id);
    if (type == GGUF_TYPE_STRING || type == GGUF_TYPE_ARRAY) return false;
    const void *data = array ? gguf_get_arr_data(gguf, id) : gguf_get_val_data(gguf, id);
    int64_t number = 0;
    switch (type) {
    case GGUF_TYPE_UINT8:
        number = ((const uint8_t *)data)[i];
        break;
    case GGUF_TYPE_INT8:
        number = ((const int8_t *)data)[i]; // NOLINT(bugprone-signed-char-misuse,cert-str34-c): a number, no character
        break;
    case GGUF_TYPE_UINT16:
        number = ((const uint16_t *)data)[i];
        break;
    case GGUF_TYPE_INT16:
        number = ((const int16_t *)data)[i];
        break;
    case GGUF_TYPE_UINT32:
        number = ((const uint32_t *)data)[i];
        break;
    case GGUF_TYPE_INT32:
        number = ((const int32_t *)data)[i];
        break;
    case GGUF_TYPE_INT64:
        number = ((const int64_t *)data)[i];
        break;
    case GGUF_TYPE_UINT64:
        *value = ((const uint64_t *)data)[i];
        *negative = false;
        return true;
    default:
        return false;
    }
    *value = (uint64_t)number;
    *negative = number < 0;
    return true;
}

/* Element i (0 for a value that is no array), an integer 0 .. most. */
static judgeq_status take_integer(const gguf_file *file, int64_t id, size_t i, uint64_t most, uint64_t *out,
                                  judgeq_error *error) {
    const char *key = gguf_get_key(file->gguf, id);
    uint64_t value;
    bool negative;
    if (!get_integer(file->gguf, id, i, &value, &negative)) return wrong_type(file, id, "an integer", error);
    if (negative)
        return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: key \"%s\" is %" PRId64 "; it must not be negative",
                         file->path, key, (int64_t)value);
    if (value > most)
        return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: key \"%s\" is %" PRIu64 "; at most %" PRIu64 " is possible",
                         file->path, key, value, most);
    *out = value;
    return JUDGEQ_OK;
}

/* An integer 0 .. most; *found says whether *out was written. */
static judgeq_status read_integer(const gguf_file *file, const char *key, gguf_need need, uint64_t most, bool *found,
                                  uint64_t *out, judgeq_error *error) {
    int64_t id;
    judgeq_status status = find_key(file, key, need, &id, error);
    *found = false;
    if (status != JUDGEQ_OK || id < 0) return status;
    if (gguf_get_kv_type(file->gguf, id) == GGUF_TYPE_ARRAY) return wrong_type(file, id, "an integer", error);
    status = take_integer(file, id, 0, most, out, error);
    *found = status == JUDGEQ_OK;
    return status;
}

judgeq_status gguf_read_u32(const gguf_file *file, const char *key, gguf_need need, uint32_t *out,
                            judgeq_error *error) {
    uint64_t value;
    bool found;
    judgeq_status status = read_integer(file, key, need, UINT32_MAX, &found, &value, error);
    if (status == JUDGEQ_OK && found) *out = (uint32_t)value;
    return status;
}

judgeq_status gguf_read_u32_of_layers(const gguf_file *file, const char *key, gguf_need need, size_t n, uint32_t *out,
                                      judgeq_error *error) {
    int64_t id;
    judgeq_status status = find_key(file, key, need, &id, error);
    if (status != JUDGEQ_OK || id < 0) return status;
    if (gguf_get_kv_type(file->gguf, id) != GGUF_TYPE_ARRAY) return gguf_read_u32(file, key, need, out, error);
    const size_t n_found = gguf_get_arr_n(file->gguf, id);
    if (n_found != n)
        return error_set(error, JUDGEQ_ERROR_FORMAT,
                         "%s: key \"%s\" has %zu numbers; one for each of %zu layers is needed", file->path, key,
                         n_found, n);
    uint64_t first = 0, value = 0;
    for (size_t i = 0; status == JUDGEQ_OK && i < n; i++) {
        status = take_integer(file, id, i, UINT32_MAX, i == 0 ? &first : &value, error);
        if (status == JUDGEQ_OK && i > 0 && value != first)
            status = error_set(error, JUDGEQ_ERROR_UNSUPPORTED,
                               "%s: key \"%s\" is %" PRIu64 " in layer 0 and %" PRIu64
                               " in layer %zu; judgeq computes layers that are alike",
                               file->path, key, first, value, i);
    }
    if (status == JUDGEQ_OK) *out = (uint32_t)first;
    return status;
}

judgeq_status gguf_read_i64(const gguf_file *file, const char *key, gguf_need need, int64_t *out, judgeq_error *error) {
    uint64_t value;
    bool found;
    judgeq_status status = read_integer(file, key, need, INT64_MAX, &found, &value, error);
    if (status == JUDGEQ_OK && found) *out = (int64_t)value;
    return status;
}

judgeq_status gguf_read_u64(const gguf_file *file, const char *key, gguf_need need, uint64_t *out,
                            judgeq_error *error) {
    uint64_t value;
    bool found;
    judgeq_status status = read_integer(file, key, need, UINT64_MAX, &found, &value, error);
    if (status == JUDGEQ_OK && found) *out = value;
    return status;
}

judgeq_status gguf_read_f32(const gguf_file *file, const char *key, gguf_need need, float *out, judgeq_error *error) {
    int64_t id;
    judgeq_status status = find_key(file, key, need, &id, error);
    if (status != JUDGEQ_OK || id < 0) return status;
    enum gguf_type type = gguf_get_kv_type(file->gguf, id);
    if (type != GGUF_TYPE_FLOAT32 && type != GGUF_TYPE_FLOAT64) return wrong_type(file, id, "f32", error);
    double value =
        type == GGUF_TYPE_FLOAT32 ? (double)gguf_get_val_f32(file->gguf, id) : gguf_get_val_f64(file->gguf, id);
    if (!isfinite(value) || fabs(value) > (double)__FLT_MAX__)
        return error_set(error, JUDGEQ_ERROR_NUMERIC, "%s: key \"%s\" is %g; a finite number is needed", file->path,
                         key, value);
    *out = (float)value;
    return JUDGEQ_OK;
}

judgeq_status gguf_read_bool(const gguf_file *file, const char *key, gguf_need need, bool *out, judgeq_error *error) {
    int64_t id;
    judgeq_status status = find_key(file, key, need, &id, error);
    if (status != JUDGEQ_OK || id < 0) return status;
    if (gguf_get_kv_type(file->gguf, id) != GGUF_TYPE_BOOL) return wrong_type(file, id, "bool", error);
    *out = gguf_get_val_bool(file->gguf, id);
    return JUDGEQ_OK;
}

judgeq_status gguf_read_string(const gguf_file *file, const char *key, gguf_need need, const char **out,
                               judgeq_error *error) {
    int64_t id;
    judgeq_status status = find_key(file, key, need, &id, error);
    if (status != JUDGEQ_OK || id < 0) return status;
    if (gguf_get_kv_type(file->gguf, id) != GGUF_TYPE_STRING) return wrong_type(file, id, "a string", error);
    *out = gguf_get_val_str(file->gguf, id);
    return JUDGEQ_OK;
}

judgeq_status gguf_read_strings(const gguf_file *file, const char *key, gguf_need need, int64_t *id, size_t *n,
                                judgeq_error *error) {
    int64_t found;
    judgeq_status status = find_key(file, key, need, &found, error);
    if (status != JUDGEQ_OK || found < 0) return status;
    if (gguf_get_kv_type(file->gguf, found) != GGUF_TYPE_ARRAY ||
        gguf_get_arr_type(file->gguf, found) != GGUF_TYPE_STRING)
        return wrong_type(file, found, "an array of strings", error);
    *id = found;
    *n = gguf_get_arr_n(file->gguf, found);
    return JUDGEQ_OK;
}
