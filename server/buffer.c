#include "buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool buffer_add(buffer *b, const char *bytes, size_t n) {
    if (b->failed) return false;
    if (b->room - b->n <= n) {
        const size_t room = 2 * b->room > b->n + n + 64 ? 2 * b->room : b->n + n + 64;
        char *larger = realloc(b->bytes, room);
        if (!larger) {
            b->failed = true;
            return false;
        }
        b->bytes = larger;
        b->room = room;
    }
    if (n > 0) memcpy(b->bytes + b->n, bytes, n);
    b->n += n;
    b->bytes[b->n] = '\0';
    return true;
}

bool buffer_add_text(buffer *b, const char *bytes, size_t n) {
    static const char instead[] = "\xef\xbf\xbd";
    const char *end = bytes + n, *zero;
    for (; n > 0 && (zero = memchr(bytes, '\0', (size_t)(end - bytes))); bytes = zero + 1) {
        buffer_add(b, bytes, (size_t)(zero - bytes));
        buffer_add(b, instead, sizeof instead - 1);
    }
    return buffer_add(b, bytes, (size_t)(end - bytes));
}

bool buffer_format(buffer *b, const char *format, ...) {
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    const int n = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (n < 0) {
        b->failed = true;
        return false;
    }
    const bool added = buffer_add(b, text, (size_t)n);
    free(text);
    return added;
}

void buffer_clear(buffer *b) {
    b->n = 0;
    if (b->bytes) b->bytes[0] = '\0';
}

void buffer_free(buffer *b) {
    free(b->bytes);
    *b = (buffer){0};
}
