#include "say.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/visible.h"

void say(const char *format, ...) {
    char *message = NULL, *line = NULL;
    size_t size = 0;
    va_list arguments;
    va_start(arguments, format);
    const int length = vasprintf(&message, format, arguments);
    va_end(arguments);
    FILE *out = length >= 0 ? open_memstream(&line, &size) : NULL;
    if (out) {
        fputs("judgeq: ", out);
        visible_write(out, message, (size_t)length, "");
        fputc('\n', out);
    }
    if (out && fclose(out) == 0 && line) /* glibc closes a stream that had no memory left without a complaint */
        fputs(line, stderr);
    else
        fputs("judgeq: no memory for a message\n", stderr);
    free(line);
    if (length >= 0) free(message);
}

void say_plain(const char *format, ...) {
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    const int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (length < 0) return;
    fputs(text, stderr);
    free(text);
}

static void take_note(void *data, const char *note) {
    (void)data;
    say("%s", note);
}

notes say_notes(bool quiet) {
    return (notes){.take = quiet ? NULL : take_note};
}

bool say_json(const json_t *value, size_t flags) {
    if (isatty(STDOUT_FILENO)) flags |= JSON_ENSURE_ASCII;
    return json_dumpf(value, stdout, flags) == 0 && putchar('\n') != EOF;
}
