#include "page.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"

/* json_dump_callback's: JSON has "<" in strings only, where an escape says the same. HTML would read "</script>" and
 * "<!--" as its own. */
static int put_escaped(const char *text, size_t n, void *data) {
    FILE *out = data;
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '<')
            fputs("\\u003c", out);
        else
            fputc(text[i], out);
    }
    return ferror(out) ? -1 : 0;
}

judgeq_status page_write(const page *p, const json_t *data, const char *path, judgeq_error *error) {
    static const char marker[] = "@DATA@";
    const unsigned char *place = memmem(p->bytes, p->size, marker, strlen(marker));
    char *text = NULL;
    size_t length = 0;
    FILE *out = place ? open_memstream(&text, &length) : NULL;
    if (!out) return error_memory(error, path);
    const size_t before = (size_t)(place - p->bytes), after = before + strlen(marker);
    bool whole = fwrite(p->bytes, 1, before, out) == before;
    whole = whole && json_dump_callback(data, put_escaped, out, JSON_COMPACT | JSON_REAL_PRECISION(9)) == 0;
    whole = whole && fwrite(p->bytes + after, 1, p->size - after, out) == p->size - after;
    if (fclose(out) != 0 || !text) whole = false;
    const judgeq_status status = whole ? file_write_atomic(path, text, length, error) : error_memory(error, path);
    free(text);
    return status;
}
