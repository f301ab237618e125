/* Sentences of the user's own files. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fail.h"
#include "files.h"
#include "haystack.h"

enum { SENTENCE_MOST = 600, SENTENCE_LEAST = 2, DEPTH_MOST = 32 };

static bool add_sentence(haystack_source *s, const char *bytes, size_t n) {
    text_buffer t = {0};
    bool space = false;
    for (size_t i = 0; i < n; i++) { /* line ends and runs of spaces are one space */
        const bool blank = strchr(" \t\r\n\f\v", bytes[i]) != NULL;
        if (!blank && space && t.length > 0) text_add(&t, " ", 1);
        if (!blank) text_add(&t, bytes + i, 1);
        space = blank;
    }
    if (!t.failed && t.length < SENTENCE_LEAST) {
        text_free(&t);
        return true;
    }
    if (s->n_sentence == s->capacity) {
        const size_t capacity = s->capacity ? 2 * s->capacity : 1024;
        char **larger = realloc((void *)s->sentence, capacity * sizeof *larger);
        if (!larger) {
            text_free(&t);
            return false;
        }
        s->sentence = larger;
        s->capacity = capacity;
    }
    char *sentence = text_take(&t);
    if (!sentence) return false;
    for (const char *c = sentence; *c; c++) s->hash = (s->hash ^ (unsigned char)*c) * 0x100000001b3u; /* FNV-1a */
    s->hash = (s->hash ^ 0xff) * 0x100000001b3u;
    s->sentence[s->n_sentence++] = sentence;
    return true;
}

/* A sentence ends behind . ! ? and a space, at a blank line, and at a space where it has grown too long. */
static bool ends_here(const char *start, const char *at) {
    if (at[0] == '\n' && at[1] == '\n') return true;
    if (at[0] != ' ' && at[0] != '\n') return false;
    return (at > start && strchr(".!?", at[-1])) || at - start > SENTENCE_MOST;
}

static bool add_text(haystack_source *s, const char *bytes) {
    const char *start = bytes;
    for (const char *at = bytes;; at++) {
        if (*at && !ends_here(start, at)) continue;
        if (!add_sentence(s, start, (size_t)(at - start))) return false;
        if (!*at) return true;
        start = at;
    }
}

static judgeq_status read_file(haystack_source *s, const char *path, judgeq_error *error) {
    char *bytes = NULL;
    judgeq_status status = files_read_text(path, &bytes, error);
    if (status == JUDGEQ_OK && !add_text(s, bytes)) status = eval_fail_memory(error, "the haystack");
    free(bytes);
    return status;
}

static bool is_text(const char *name) {
    const size_t n = strlen(name);
    return (n > 4 && strcmp(name + n - 4, ".txt") == 0) || (n > 3 && strcmp(name + n - 3, ".md") == 0);
}

static int is_visible(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

static judgeq_status read_path(haystack_source *s, const char *path, int depth, // NOLINT(misc-no-recursion)
                               judgeq_error *error) {
    struct stat info;
    if (stat(path, &info) != 0) return eval_fail(error, JUDGEQ_ERROR_IO, "haystack %s: %s", path, strerror(errno));
    if (!S_ISDIR(info.st_mode)) return depth > 0 && !is_text(path) ? JUDGEQ_OK : read_file(s, path, error);
    if (depth == DEPTH_MOST) return JUDGEQ_OK; /* a link to a folder above, most likely */
    struct dirent **entry = NULL;
    const int n = scandir(path, &entry, is_visible, alphasort);
    judgeq_status status =
        n < 0 ? eval_fail(error, JUDGEQ_ERROR_IO, "haystack %s: %s", path, strerror(errno)) : JUDGEQ_OK;
    for (int i = 0; i < n; i++) {
        char *inner = NULL;
        if (status == JUDGEQ_OK && asprintf(&inner, "%s/%s", path, entry[i]->d_name) < 0) {
            status = eval_fail_memory(error, "a path");
        }
        if (status == JUDGEQ_OK) status = read_path(s, inner, depth + 1, error);
        free(inner);
        free(entry[i]);
    }
    free((void *)entry);
    return status;
}

judgeq_status haystack_source_read(const char *path, haystack_source *out, judgeq_error *error) {
    *out = (haystack_source){.hash = 0xcbf29ce484222325u};
    judgeq_status status = read_path(out, path, 0, error);
    if (status == JUDGEQ_OK && out->n_sentence == 0) {
        status = eval_fail(error, JUDGEQ_ERROR_FORMAT,
                           "haystack %s: no text; expected a text file, or a folder of .txt or .md files", path);
    }
    if (status != JUDGEQ_OK) haystack_source_free(out);
    return status;
}

void haystack_source_free(haystack_source *s) {
    for (size_t i = 0; i < s->n_sentence; i++) free(s->sentence[i]);
    free((void *)s->sentence);
    *s = (haystack_source){0};
}
