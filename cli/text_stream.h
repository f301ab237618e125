/* text_stream: bytes of tokens in, whole UTF-8 characters out, as early as they are certain: not before a character is
 * complete, and not while it could be the beginning of a stop text. Bytes that are not UTF-8 become U+FFFD. */
#ifndef JUDGEQ_CLI_TEXT_STREAM_H
#define JUDGEQ_CLI_TEXT_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

typedef struct text_stream {
    FILE *file;              /* gets the text as it comes, or NULL */
    bool terminal;           /* it is one, which no character of the text may steer: src/base/visible.h */
    const char *const *stop; /* [n_stop], none of them empty */
    size_t n_stop;
    char *text; /* [length], all text so far; ends before a stop text once `stopped`. The stream's */
    size_t length, capacity;
    size_t n_written; /* bytes of `text` that `file` has */
    unsigned char part[4];
    size_t n_part; /* bytes of a character that is not complete yet */
    bool stopped;  /* a stop text came */
} text_stream;

/* False, with errno set, where the file takes no more or memory ran out. After a stop text nothing is taken. */
bool text_stream_put(text_stream *stream, const char *bytes, size_t n);
/* The rest, and the end of the line. */
bool text_stream_end(text_stream *stream);
void text_stream_free(text_stream *stream);

/* bytes[0..n) with everything that is not UTF-8 replaced: malloced, terminated, *length bytes; NULL without memory. */
char *text_to_utf8(const char *bytes, size_t n, size_t *length);

#endif
