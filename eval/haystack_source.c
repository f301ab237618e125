/* Sentences of the user's own files. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/error.h"
#include "cuts.h"
#include "files.h"
#include "haystack.h"
#include "unicode.h"

enum { SENTENCE_LEAST = 2, SENTENCE_MOST = 600, SENTENCE_LONGEST = 1200 }; /* bytes; longest: without a space */

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

/* A sentence ends at a blank line, after . ! ? before a space and after other scripts' full stops; where it has grown
 * too long, at a space, and where there is none, between two characters. */
static bool ends_here(const char *start, const char *at, const char *end) {
    const size_t length = (size_t)(at - start);
    if (at[0] == '\n' && at[1] == '\n') return true;
    if (at[0] != ' ' && at[0] != '\n') {
        return length > SENTENCE_LONGEST && cuts_character(start, (size_t)(end - start), length) == length;
    }
    return (at > start && strchr(".!?", at[-1])) || length > SENTENCE_MOST;
}

static bool add_text(haystack_source *s, const char *bytes, size_t n) {
    const char *start = bytes, *end = bytes + n;
    for (const char *at = bytes;;) {
        const size_t stop = cuts_wide_stop(at, (size_t)(end - at), 0);
        at += stop;
        if (at < end && stop == 0 && !ends_here(start, at, end)) {
            at++;
            continue;
        }
        if (!add_sentence(s, start, (size_t)(at - start))) return false;
        if (at == end) return true;
        start = at;
        if (stop == 0) at++;
    }
}

static judgeq_status read_file(haystack_source *s, const char *path, judgeq_error *error) {
    char *bytes = NULL;
    judgeq_status status = files_read_text(path, &bytes, error);
    const size_t n = bytes ? strlen(bytes) : 0;
    size_t first;
    if (status == JUDGEQ_OK && unicode_broken(bytes, n, &first) > 0) {
        status = error_set(error, JUDGEQ_ERROR_FORMAT,
                           "haystack %s: is not UTF-8 text from byte %zu on; iconv converts texts", path, first + 1);
    }
    if (status == JUDGEQ_OK && !add_text(s, bytes, n)) status = error_memory(error, "the haystack");
    free(bytes);
    return status;
}

static bool is_text(const char *name) {
    const char *ending = strrchr(name, '.');
    return ending && (strcasecmp(ending, ".txt") == 0 || strcasecmp(ending, ".md") == 0);
}

/* The walk through a folder, and what came of it. */
typedef struct folder_walk {
    haystack_source *source;
    judgeq_status status;
    judgeq_error *error;
} folder_walk;

static bool take_file(void *data, const char *path) {
    folder_walk *walk = data;
    if (is_text(path)) walk->status = read_file(walk->source, path, walk->error);
    return walk->status == JUDGEQ_OK;
}

/* A pipe or a device is no text of the folder's. */
static bool take_other(void *data, const char *path, const char *why, int reason) {
    folder_walk *walk = data;
    if (reason != 0) walk->status = error_set(walk->error, JUDGEQ_ERROR_IO, "haystack %s: %s", path, why);
    return walk->status == JUDGEQ_OK;
}

static judgeq_status read_folder(haystack_source *s, const char *path, judgeq_error *error) {
    folder_walk walk = {.source = s, .error = error};
    const files_visitor visitor = {.file = take_file, .other = take_other, .data = &walk};
    const bool walked = files_walk(path, &visitor);
    return walked || walk.status != JUDGEQ_OK ? walk.status : error_memory(error, "the haystack");
}

judgeq_status haystack_source_read(const char *path, haystack_source *out, judgeq_error *error) {
    struct stat info;
    *out = (haystack_source){.hash = 0xcbf29ce484222325u};
    if (stat(path, &info) != 0) return error_set(error, JUDGEQ_ERROR_IO, "haystack %s: %s", path, strerror(errno));
    judgeq_status status = S_ISDIR(info.st_mode) ? read_folder(out, path, error) : read_file(out, path, error);
    if (status == JUDGEQ_OK && out->n_sentence == 0) {
        status = error_set(error, JUDGEQ_ERROR_FORMAT,
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
