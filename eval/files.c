#include "files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "text.h"

judgeq_status files_read_text(const char *path, char **out, judgeq_error *error) {
    char part[1 << 14];
    text_buffer t = {0};
    *out = NULL;
    FILE *file = fopen(path, "rb");
    if (!file) return eval_fail(error, JUDGEQ_ERROR_IO, "%s: %s", path, strerror(errno));
    for (size_t n; (n = fread(part, 1, sizeof part, file)) > 0;) text_add(&t, part, n);
    const int reason = ferror(file) ? errno : 0;
    fclose(file);
    if (reason != 0) {
        text_free(&t);
        return eval_fail(error, JUDGEQ_ERROR_IO, "%s: %s", path, strerror(reason));
    }
    const size_t length = t.length;
    *out = text_take(&t);
    if (!*out) return eval_fail_memory(error, path);
    if (strlen(*out) == length) return JUDGEQ_OK;
    free(*out);
    *out = NULL;
    return eval_fail(error, JUDGEQ_ERROR_FORMAT, "%s: holds a zero byte: it is not text", path);
}
