/* text: a text that grows. Memory that runs out is remembered: one check at the end suffices. */
#ifndef JUDGEQ_SRC_TEXT_H
#define JUDGEQ_SRC_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct text_buffer {
    char *bytes; /* [length], terminated; NULL while empty. Owned: free() */
    size_t length, capacity;
    bool failed;
} text_buffer;

void text_add(text_buffer *t, const char *bytes, size_t n);
/* With U+FFFD for every U+0000. */
void text_add_without_zeros(text_buffer *t, const char *bytes, size_t n);
__attribute__((format(printf, 2, 3))) void text_print(text_buffer *t, const char *format, ...);
/* The bytes, now the caller's, "" for an empty text; NULL where memory ran out. */
char *text_take(text_buffer *t);
/* Empty again; its memory stays. */
void text_clear(text_buffer *t);
void text_free(text_buffer *t);

#endif
