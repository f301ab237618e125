#include "gguf_split.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* libllama's getter of this one aborts on another type, and it reads the vocabulary from the same files. */
static judgeq_status read_u16(const gguf_file *file, const char *key, gguf_need need, int32_t *out,
                              judgeq_error *error) {
    uint32_t value = (uint32_t)*out;
    judgeq_status status = gguf_read_u32(file, key, need, &value, error);
    const int64_t id = gguf_find_key(file->gguf, key);
    if (status != JUDGEQ_OK || id < 0) return status;
    if (gguf_get_kv_type(file->gguf, id) != GGUF_TYPE_UINT16) {
        return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: key \"%s\" has type %s; expected u16", file->path, key,
                         gguf_type_name(gguf_get_kv_type(file->gguf, id)));
    }
    *out = (int32_t)value;
    return JUDGEQ_OK;
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

/* Writes what follows a path's prefix, for part `index` from 0. */
static void write_ending(char *out, size_t size, int32_t index, int32_t n_part) {
    snprintf(out, size, "-%05" PRId32 "-of-%05" PRId32 ".gguf", index + 1, n_part);
}

/* The path of another part, the caller's; NULL: no memory. */
static char *path_of_part(const char *path, int32_t from, int32_t to, int32_t n_part) {
    char old[48], new[48];
    char *out = NULL;
    write_ending(old, sizeof old, from, n_part);
    write_ending(new, sizeof new, to, n_part);
    const int length = (int)(strlen(path) - strlen(old));
    return asprintf(&out, "%.*s%s", length, path, new) < 0 ? NULL : out;
}

/* The other parts are found by the name of this one. */
static judgeq_status check_name(const char *path, int32_t index, int32_t n_part, judgeq_error *error) {
    char ending[48];
    write_ending(ending, sizeof ending, index, n_part);
    const size_t length = strlen(path), needed = strlen(ending);
    if (length > needed && strcmp(path + length - needed, ending) == 0) return JUDGEQ_OK;
    return error_set(
        error, JUDGEQ_ERROR_FORMAT,
        "%s: is part %d of %d (split.count), but its name does not end in %s, by which the other parts are "
        "found: name it so, or join all with llama-gguf-split --merge",
        path, index + 1, n_part, ending);
}

static judgeq_status refuse_later_part(const char *path, int32_t index, int32_t n_part, judgeq_error *error) {
    judgeq_status status = check_name(path, index, n_part, error);
    if (status != JUDGEQ_OK) return status;
    char *first = path_of_part(path, index, 0, n_part);
    if (!first) return error_memory(error, "a path");
    status = error_set(error, JUDGEQ_ERROR_UNSUPPORTED, "%s: is part %d of %d: name the first part, %s", path,
                       index + 1, n_part, first);
    free(first);
    return status;
}

/* ---- parts ------------------------------------------------------------------------------------------------------- */

static judgeq_status check_part(const gguf_file *part, int32_t index, int32_t n_part, judgeq_error *error) {
    int32_t number = -1, count = n_part;
    judgeq_status status = read_u16(part, "split.no", GGUF_REQUIRED, &number, error);
    if (status == JUDGEQ_OK) status = read_u16(part, "split.count", GGUF_OPTIONAL, &count, error);
    if (status != JUDGEQ_OK || (number == index && count == n_part)) return status;
    return error_set(error, JUDGEQ_ERROR_FORMAT,
                     "%s: says that it is part %d of %d (split.no, split.count), its name says part %d of %d",
                     part->path, number + 1, count, index + 1, n_part);
}

static judgeq_status open_part(const gguf_file *first, int32_t index, int32_t n_part, gguf_file *part,
                               judgeq_error *error) {
    char *path = path_of_part(first->path, 0, index, n_part);
    if (!path) return error_memory(error, "a path");
    judgeq_error reason = {0};
    judgeq_status status = gguf_open_checked(path, part, &reason);
    if (status == JUDGEQ_OK) status = check_part(part, index, n_part, &reason);
    if (status != JUDGEQ_OK) {
        (void)error_set(error, status, "%s: part %d of %d is needed with it: %s", first->path, index + 1, n_part,
                        reason.message);
    }
    free(path);
    return status;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* No two parts have a tensor of the same name, and together they have as many as the first says. */
static judgeq_status check_tensors(const gguf_file *file, judgeq_error *error) {
    const size_t n = (size_t)gguf_file_n_tensors(file);
    uint32_t expected = 0;
    judgeq_status status = gguf_read_u32(file, "split.tensors.count", GGUF_REQUIRED, &expected, error);
    if (status != JUDGEQ_OK) return status;
    if (expected != n) {
        return error_set(error, JUDGEQ_ERROR_FORMAT,
                         "%s: its %d parts hold %zu tensors, not %" PRIu32
                         " (split.tensors.count): are they all of one model?",
                         file->path, file->n_more + 1, n, expected);
    }
    const char **names = malloc((n + 1) * sizeof *names);
    if (!names) return error_memory(error, "the names in a GGUF file");
    size_t i = 0;
    for (gguf_walk w = gguf_walk_tensors(file); w.tensor; gguf_walk_on(&w)) names[i++] = w.tensor->name;
    qsort((void *)names, n, sizeof *names, compare_names);
    for (i = 1; status == JUDGEQ_OK && i < n; i++) {
        if (strcmp(names[i - 1], names[i]) != 0) continue;
        status =
            error_set(error, JUDGEQ_ERROR_FORMAT, "%s: two of its parts have a tensor \"%s\"", file->path, names[i]);
    }
    free((void *)names);
    return status;
}

static judgeq_status open_more(gguf_file *file, int32_t n_part, judgeq_error *error) {
    file->more = calloc((size_t)n_part, sizeof *file->more);
    if (!file->more) return error_memory(error, "the parts of a file");
    judgeq_status status = JUDGEQ_OK;
    for (int32_t i = 1; status == JUDGEQ_OK && i < n_part; i++) {
        status = open_part(file, i, n_part, &file->more[file->n_more], error);
        if (status == JUDGEQ_OK)
            file->n_more++;
        else
            gguf_file_close(&file->more[file->n_more]);
    }
    return status == JUDGEQ_OK ? check_tensors(file, error) : status;
}

judgeq_status gguf_open_split(const char *path, gguf_file *file, judgeq_error *error) {
    int32_t index = 0, n_part = 1;
    judgeq_status status = gguf_open_checked(path, file, error);
    if (status == JUDGEQ_OK) status = read_u16(file, "split.count", GGUF_OPTIONAL, &n_part, error);
    if (status == JUDGEQ_OK && n_part > 1) {
        status = read_u16(file, "split.no", GGUF_REQUIRED, &index, error);
        if (status == JUDGEQ_OK && index > 0) status = refuse_later_part(path, index, n_part, error);
        if (status == JUDGEQ_OK) status = check_name(path, index, n_part, error);
        if (status == JUDGEQ_OK) status = open_more(file, n_part, error);
    }
    if (status != JUDGEQ_OK) gguf_file_close(file);
    return status;
}
