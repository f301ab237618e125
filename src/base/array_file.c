#include "array_file.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "array_npy.h"
#include "error.h"
#include "file.h"
#include "ggml.h"
#include "gguf_check.h"
#include "visible.h"

void array_file_free(array_file *array) {
    free(array->data);
    *array = (array_file){0};
}

/* The bytes of `shape` in elements of `type`; false on overflow. */
static bool array_bytes(const int64_t *shape, int n_dim, enum ggml_type type, size_t *bytes) {
    *bytes = ggml_type_size(type);
    for (int i = 0; i < n_dim; i++)
        if (__builtin_mul_overflow(*bytes, (size_t)shape[i], bytes)) return false;
    return true;
}

/* Takes the array out of the file's bytes [data, data + size). */
static judgeq_status convert(const char *path, const char *tensor, const array_source *source,
                             const unsigned char *data, size_t size, array_file *out, judgeq_error *error) {
    size_t bytes;
    if (!array_bytes(source->shape, source->n_dim, source->type, &bytes) || bytes != size)
        return error_set(error, JUDGEQ_ERROR_FORMAT,
                         "%s: %s holds %zu bytes, which is not what its shape and type need", path, tensor, size);
    size_t n = bytes / ggml_type_size(source->type);
    if (n > SIZE_MAX / sizeof(float)) return error_memory(error, "an array");
    float *values = malloc(n * sizeof *values);
    if (!values) return error_memory(error, "an array");
    if (source->type == GGML_TYPE_F32)
        memcpy(values, data, bytes);
    else
        for (size_t i = 0; i < n; i++) { /* one at a time: the file's bytes may lie at odd addresses */
            uint16_t half;
            memcpy(&half, data + 2 * i, sizeof half);
            values[i] = source->type == GGML_TYPE_F16 ? ggml_fp16_to_fp32(half)
                                                      : ggml_bf16_to_fp32((ggml_bf16_t){.bits = half});
        }
    out->n_dim = source->n_dim;
    memcpy(out->shape, source->shape, sizeof out->shape);
    out->data = values;
    return JUDGEQ_OK;
}

static judgeq_status read_npy(const char *path, const file_mapping *map, array_file *out, judgeq_error *error) {
    array_source source;
    size_t start;
    judgeq_status status = npy_read_header(path, map->data, map->size, &source, &start, error);
    if (status != JUDGEQ_OK) return status;
    return convert(path, "the array", &source, map->data + start, map->size - start, out, error);
}

/* ---- safetensors: u64 header length, JSON {"NAME": {"dtype", "shape", "data_offsets"}, ...}, data ---------------- */

#define SAFETENSORS_MAX_HEADER 100000000 /* as its own reader has it */

static bool is_safetensors(const file_mapping *map) {
    uint64_t length;
    if (map->size < sizeof length + 2 || map->data[sizeof length] != '{') return false;
    memcpy(&length, map->data, sizeof length);
    return length >= 2 && length <= SAFETENSORS_MAX_HEADER;
}

static judgeq_status parse_header(const char *path, const file_mapping *map, json_t **header, size_t *start,
                                  judgeq_error *error) {
    uint64_t length;
    memcpy(&length, map->data, sizeof length);
    if (length > map->size - sizeof length)
        return error_set(error, JUDGEQ_ERROR_FORMAT,
                         "%s: the header of %" PRIu64 " bytes runs past the end of the file (%zu bytes)", path, length,
                         map->size);
    json_error_t json_error;
    *header = json_loadb((const char *)map->data + sizeof length, (size_t)length, JSON_REJECT_DUPLICATES, &json_error);
    if (!json_is_object(*header)) {
        json_decref(*header);
        return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: the safetensors header is not a JSON object: %s, byte %d",
                         path, json_error.text, json_error.position);
    }
    *start = sizeof length + (size_t)length;
    return JUDGEQ_OK;
}

/* "a", "b", "c", ... as far as it fits. */
static void list_tensors(json_t *header, char *text, size_t size) {
    const char *name;
    json_t *value;
    size_t length = 0;
    text[0] = 0;
    json_object_foreach(header, name, value) {
        if (strcmp(name, "__metadata__") == 0) continue;
        int n = snprintf(text + length, size - length, "%s\"%.*s\"", length ? ", " : "", VISIBLE_FIT(name, 64));
        if (n < 0 || (size_t)n >= size - length) {
            text[length] = 0;
            break;
        }
        length += (size_t)n;
    }
}

/* *name: the tensor asked for, or the only one. */
static judgeq_status find_tensor(const char *path, json_t *header, const char *asked, const char **name,
                                 judgeq_error *error) {
    size_t n = json_object_size(header) - (json_object_get(header, "__metadata__") ? 1 : 0);
    char names[320];
    list_tensors(header, names, sizeof names);
    if (n == 0) return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: holds no tensor", path);
    if (asked && strcmp(asked, "__metadata__") != 0 && json_object_get(header, asked)) {
        *name = asked;
        return JUDGEQ_OK;
    }
    if (asked)
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "%s: holds no tensor \"%s\", only %s", path, asked, names);
    if (n > 1)
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "%s: holds %zu tensors, name one of them: %s", path, n, names);
    const char *only;
    json_t *value;
    json_object_foreach(header, only, value) if (strcmp(only, "__metadata__") != 0) *name = only;
    return JUDGEQ_OK;
}

static judgeq_status read_type(const char *path, const char *name, json_t *entry, enum ggml_type *type,
                               judgeq_error *error) {
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    if (dtype && strcmp(dtype, "F32") == 0)
        *type = GGML_TYPE_F32;
    else if (dtype && strcmp(dtype, "F16") == 0)
        *type = GGML_TYPE_F16;
    else if (dtype && strcmp(dtype, "BF16") == 0)
        *type = GGML_TYPE_BF16;
    else
        return error_set(error, JUDGEQ_ERROR_UNSUPPORTED,
                         "%s: tensor \"%.*s\" has type %.*s; F32, F16 and BF16 are read", path, VISIBLE_FIT(name, 64),
                         VISIBLE_FIT(dtype ? dtype : "(none)", 16));
    return JUDGEQ_OK;
}

static judgeq_status read_shape(const char *path, const char *name, json_t *entry, array_source *source,
                                judgeq_error *error) {
    json_t *shape = json_object_get(entry, "shape");
    if (!json_is_array(shape) || json_array_size(shape) > ARRAY_FILE_MAX_DIM)
        return error_set(error, JUDGEQ_ERROR_FORMAT,
                         "%s: tensor \"%.*s\": \"shape\" must be a list of at most %d numbers", path,
                         VISIBLE_FIT(name, 64), ARRAY_FILE_MAX_DIM);
    source->n_dim = (int)json_array_size(shape);
    for (int i = 0; i < source->n_dim; i++) {
        json_t *length = json_array_get(shape, (size_t)i);
        if (!json_is_integer(length) || json_integer_value(length) < 1)
            return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: tensor \"%.*s\": every dimension must be 1 or more", path,
                             VISIBLE_FIT(name, 64));
        source->shape[i] = json_integer_value(length);
    }
    return JUDGEQ_OK;
}

static judgeq_status read_entry(const char *path, const char *name, json_t *entry, const unsigned char *data,
                                size_t size, array_file *out, judgeq_error *error) {
    array_source source = {0};
    judgeq_status status = read_type(path, name, entry, &source.type, error);
    if (status == JUDGEQ_OK) status = read_shape(path, name, entry, &source, error);
    if (status != JUDGEQ_OK) return status;
    json_t *offsets = json_object_get(entry, "data_offsets");
    json_t *from = json_array_get(offsets, 0), *to = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(from) || !json_is_integer(to) ||
        json_integer_value(from) < 0 || json_integer_value(to) < json_integer_value(from) ||
        (uint64_t)json_integer_value(to) > size)
        return error_set(error, JUDGEQ_ERROR_FORMAT,
                         "%s: tensor \"%.*s\": \"data_offsets\" must be two places in the file's %zu bytes of data",
                         path, VISIBLE_FIT(name, 64), size);
    char label[96];
    snprintf(label, sizeof label, "tensor \"%.*s\"", VISIBLE_FIT(name, 64));
    size_t start = (size_t)json_integer_value(from);
    return convert(path, label, &source, data + start, (size_t)json_integer_value(to) - start, out, error);
}

static judgeq_status read_safetensors(const char *path, const char *tensor, const file_mapping *map, array_file *out,
                                      judgeq_error *error) {
    json_t *header;
    size_t start;
    judgeq_status status = parse_header(path, map, &header, &start, error);
    if (status != JUDGEQ_OK) return status;
    const char *name = NULL;
    status = find_tensor(path, header, tensor, &name, error);
    if (status == JUDGEQ_OK)
        status =
            read_entry(path, name, json_object_get(header, name), map->data + start, map->size - start, out, error);
    json_decref(header);
    return status;
}

/* ---- reading by content, writing by ending ----------------------------------------------------------------------- */

static judgeq_status refuse(const char *path, const file_mapping *map, judgeq_error *error) {
    const char *what = "neither .npy nor .safetensors";
    if (gguf_has_magic(map->data, map->size)) what = "a GGUF file; here .npy or .safetensors is read";
    if (map->size >= 2 && memcmp(map->data, "PK", 2) == 0)
        what = "a zip archive (.npz or .pt); save the one array in it as .npy or .safetensors";
    return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: is %s", path, what);
}

judgeq_status array_file_read(const char *path, const char *tensor, array_file *out, judgeq_error *error) {
    *out = (array_file){0};
    file_mapping map;
    judgeq_status status = file_map(path, &map, error);
    if (status != JUDGEQ_OK) return status;
    if (npy_has_magic(map.data, map.size))
        status = tensor ? error_set(error, JUDGEQ_ERROR_ARGUMENT,
                                    "%s: a .npy file holds one array without a name; leave out the tensor name \"%s\"",
                                    path, tensor)
                        : read_npy(path, &map, out, error);
    else if (is_safetensors(&map))
        status = read_safetensors(path, tensor, &map, out, error);
    else
        status = refuse(path, &map, error);
    status = file_check(path, &map, status, error);
    file_unmap(&map);
    if (status != JUDGEQ_OK) array_file_free(out);
    return status;
}

/* The header with its length before it, padded with spaces so that the data starts at a multiple of 8. NULL: no memory.
 * The caller frees it. */
static char *make_safetensors_header(const char *tensor, const int64_t *shape, int n_dim, size_t bytes, size_t *size) {
    json_t *dimensions = json_array();
    for (int i = 0; i < n_dim; i++) json_array_append_new(dimensions, json_integer(shape[i]));
    json_t *root = json_pack("{s:{s:s,s:o,s:[i,I]}}", tensor, "dtype", "F32", "shape", dimensions, "data_offsets", 0,
                             (json_int_t)bytes);
    char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    if (!text) return NULL;
    size_t length = strlen(text);
    uint64_t padded = (length + 7) / 8 * 8;
    *size = sizeof padded + padded;
    char *header = malloc(*size);
    if (header) {
        memcpy(header, &padded, sizeof padded);
        memset(header + sizeof padded, ' ', padded);
        memcpy(header + sizeof padded, text, length); // NOLINT(bugprone-not-null-terminated-result): padded by spaces
    }
    free(text);
    return header;
}

static bool ends_with(const char *text, const char *ending) {
    size_t length = strlen(text), wanted = strlen(ending);
    return length >= wanted && strcmp(text + length - wanted, ending) == 0;
}

judgeq_status array_file_write(const char *path, const char *tensor, const int64_t *shape, int n_dim, const float *data,
                               judgeq_error *error) {
    bool npy = ends_with(path, ".npy");
    if (!npy && !ends_with(path, ".safetensors"))
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "%s: the name must end in .npy or .safetensors", path);
    size_t bytes, size;
    if (!array_bytes(shape, n_dim, GGML_TYPE_F32, &bytes))
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "%s: the array is too large", path);
    char *header =
        npy ? npy_make_header(shape, n_dim, &size) : make_safetensors_header(tensor, shape, n_dim, bytes, &size);
    char *file = header ? realloc(header, size + bytes) : NULL;
    if (!file) {
        free(header);
        return error_memory(error, "an array file");
    }
    memcpy(file + size, data, bytes);
    judgeq_status status = file_write_atomic(path, file, size + bytes, error);
    free(file);
    return status;
}
