#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/utf8.h"
#include "benchmark.h"

/* RULER's files, in RULER's own layout and in HELMET's. */

/* ---- names ------------------------------------------------------------------------------------------------------- */

/* Tokens of an answer by a part of the task's name, as RULER's scripts set them. */
static int32_t ruler_tokens(const char *name) {
    static const struct {
        const char *part;
        int32_t n_tokens;
    } tokens[] = {{"niah", 128}, {"vt", 30}, {"cwe", 120}, {"fwe", 50}, {"qa", 32}};
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
        if (strcasestr(name, tokens[i].part)) return tokens[i].n_tokens;
    }
    return 128;
}

/* "validation", "test", also with a length after them ("validation_4096"), say nothing of the task. *length: that one,
 * or 0. */
static bool is_generic(const char *base, size_t n, int32_t *length) {
    static const char *const split[] = {"validation", "test"};
    *length = 0;
    for (size_t i = 0; i < sizeof split / sizeof split[0]; i++) {
        const size_t m = strlen(split[i]);
        if (n < m || strncmp(base, split[i], m) != 0) continue;
        if (n == m) return true;
        char *end;
        const long number = strtol(base + m + 1, &end, 10);
        if (base[m] != '_' || end != base + n || number < 1 || number > INT32_MAX) continue;
        *length = (int32_t)number;
        return true;
    }
    return false;
}

/* A file's name without its folder and ending, or its folder's where that says nothing; as UTF-8, the caller's. */
static char *name_of(const char *path, int32_t *length) {
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *dot = strrchr(base, '.');
    size_t n = dot ? (size_t)(dot - base) : strlen(base);
    if (is_generic(base, n, length) && slash) {
        const char *folder = slash;
        while (folder > path && folder[-1] != '/') folder--;
        base = folder;
        n = (size_t)(slash - folder);
    }
    return utf8_repaired(base, n, &n);
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static judgeq_status add_file(benchmarks *all, const char *path, judgeq_error *error) {
    benchmark b = {.family = SAMPLE_RULER, .path = strdup(path), .chat = true};
    b.name = name_of(path, &b.length);
    judgeq_status status = b.name && b.path ? benchmark_read_lines(&b, error) : error_memory(error, "a benchmark");
    if (status != JUDGEQ_OK) {
        benchmark_free(&b);
        return status;
    }
    b.n_tokens = ruler_tokens(b.name);
    b.metric = metric_find(strcasestr(b.name, "qa") ? "any" : "all");
    return benchmarks_take(all, &b, error);
}

static bool is_folder(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static bool is_lines(const char *name) {
    const size_t n = strlen(name), m = strlen(".jsonl");
    return n > m && strcmp(name + n - m, ".jsonl") == 0;
}

/* validation.jsonl, validation_4096.jsonl */
static int is_of_task(const struct dirent *entry) {
    int32_t length;
    return is_lines(entry->d_name) && is_generic(entry->d_name, strlen(entry->d_name) - strlen(".jsonl"), &length);
}

static int is_visible(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

/* Calls `add` with every entry of a folder that `wanted` lets through, in the order of their names, by numbers. */
static judgeq_status each_entry(benchmarks *all, const char *path, int (*wanted)(const struct dirent *),
                                judgeq_status (*add)(benchmarks *, const char *, judgeq_error *), judgeq_error *error) {
    struct dirent **entry = NULL;
    const int n = scandir(path, &entry, wanted, versionsort);
    judgeq_status status = n < 0 ? error_set(error, JUDGEQ_ERROR_IO, "%s: %s", path, strerror(errno)) : JUDGEQ_OK;
    for (int i = 0; i < n; i++) {
        char *inner = NULL;
        if (status == JUDGEQ_OK && asprintf(&inner, "%s/%s", path, entry[i]->d_name) < 0) {
            inner = NULL;
            status = error_memory(error, "a path");
        }
        if (inner) status = add(all, inner, error);
        free(inner);
        free(entry[i]);
    }
    free((void *)entry);
    return status;
}

/* A task's folder, or a file beside such folders. */
static judgeq_status add_entry(benchmarks *all, const char *path, judgeq_error *error) {
    if (is_folder(path)) return each_entry(all, path, is_of_task, add_file, error);
    return is_lines(path) ? add_file(all, path, error) : JUDGEQ_OK;
}

judgeq_status benchmarks_add_ruler(benchmarks *all, const char *path, judgeq_error *error) {
    if (!is_folder(path)) return add_file(all, path, error);
    const size_t before = all->n;
    judgeq_status status = each_entry(all, path, is_visible, add_entry, error);
    if (status == JUDGEQ_OK && all->n == before) {
        status =
            error_set(error, JUDGEQ_ERROR_IO,
                      "%s: holds no TASK/validation.jsonl and no TASK/validation_LENGTH.jsonl, as RULER and HELMET "
                      "name them, and no TASK.jsonl",
                      path);
    }
    return status;
}
