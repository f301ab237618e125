#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool reserve(text_buffer *t, size_t n) {
    if (t->failed) return false;
    if (t->length + n + 1 <= t->capacity) return true;
    const size_t capacity = 2 * (t->length + n + 1);
    char *larger = realloc(t->bytes, capacity);
    t->failed = larger == NULL;
    if (t->failed) return false;
    t->bytes = larger;
    t->capacity = capacity;
    return true;
}

void text_add(text_buffer *t, const char *bytes, size_t n) {
    if (!reserve(t, n)) return;
    if (n > 0) memcpy(t->bytes + t->length, bytes, n);
    t->length += n;
    t->bytes[t->length] = '\0';
}

void text_add_without_zeros(text_buffer *t, const char *bytes, size_t n) {
    static const char instead[] = "\xef\xbf\xbd";
    const char *end = bytes + n, *zero;
    for (; n > 0 && (zero = memchr(bytes, '\0', (size_t)(end - bytes))); bytes = zero + 1) {
        text_add(t, bytes, (size_t)(zero - bytes));
        text_add(t, instead, sizeof instead - 1);
    }
    text_add(t, bytes, (size_t)(end - bytes));
}

void text_print(text_buffer *t, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const int n = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (n < 0 || !reserve(t, (size_t)n)) return;
    va_start(arguments, format);
    vsnprintf(t->bytes + t->length, (size_t)n + 1, format, arguments);
    va_end(arguments);
    t->length += (size_t)n;
}

char *text_take(text_buffer *t) {
    text_add(t, "", 0);
    char *bytes = t->failed ? NULL : t->bytes;
    if (t->failed) free(t->bytes);
    *t = (text_buffer){0};
    return bytes;
}

void text_clear(text_buffer *t) {
    t->length = 0;
    if (t->bytes) t->bytes[0] = '\0';
}

void text_free(text_buffer *t) {
    free(t->bytes);
    *t = (text_buffer){0};
}
