/* buffer: bytes that grow. */
#ifndef JUDGEQ_SERVER_BUFFER_H
#define JUDGEQ_SERVER_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

/* Zeroed: empty. */
typedef struct buffer {
    char *bytes; /* [n], and a zero after them; NULL while nothing was added */
    size_t n, room;
    bool failed; /* no memory: what was added since is missing */
} buffer;

/* These return false without memory, and from then on. */
bool buffer_add(buffer *b, const char *bytes, size_t n);
/* With U+FFFD for every U+0000: clients send texts back, and no request can hold one. */
bool buffer_add_text(buffer *b, const char *bytes, size_t n);
__attribute__((format(printf, 2, 3))) bool buffer_format(buffer *b, const char *format, ...);
/* Empty again; its memory stays. */
void buffer_clear(buffer *b);
void buffer_free(buffer *b);

#endif
