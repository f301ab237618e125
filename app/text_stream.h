/* text_stream: bytes of tokens in, whole UTF-8 characters out, as early as they are certain: not before a character is
 * complete, and not while it could be the beginning of a stop text. Bytes that are not UTF-8 become U+FFFD. */
#ifndef JUDGEQ_APP_TEXT_STREAM_H
#define JUDGEQ_APP_TEXT_STREAM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/utf8.h"
#include "judgeq.h"

/* Takes bytes[0..n), whole characters. What it fails with is what the stream fails with. */
typedef judgeq_status (*text_put)(void *data, const char *bytes, size_t n, judgeq_error *error);

typedef struct text_stream {
    text_put put; /* gets the text as it comes, with `data`; or NULL */
    void *data;
    const char *const *stop; /* [n_stop], none of them empty */
    size_t n_stop;
    const judgeq_chat_plan *plan; /* whose preserved control tokens have a text; or NULL */
    char *text;                   /* [length], all text so far; ends before a stop text once `stopped`. The stream's */
    size_t length, capacity;
    size_t n_put;       /* bytes of `text` that `put` has */
    utf8_pieces pieces; /* a character that is not complete yet */
    bool stopped;       /* a stop text came */
    size_t stopped_by;  /* its number */
} text_stream;

/* After a stop text nothing is taken. */
judgeq_status text_stream_add(text_stream *stream, const char *bytes, size_t n, judgeq_error *error);
/* The token's text, which is empty for a control token. */
judgeq_status text_stream_add_token(text_stream *stream, const judgeq_model *model, int32_t token, judgeq_error *error);
/* The texts of tokens [n], to the end: nothing more comes. end [n]: where in the text each token's own ends. A token
 * has the characters that it completes, and the last one what stays incomplete. */
judgeq_status text_stream_add_all(text_stream *stream, const judgeq_model *model, const int32_t *token, size_t n,
                                  size_t *end, judgeq_error *error);
/* What was held back: nothing more comes. */
judgeq_status text_stream_end(text_stream *stream, judgeq_error *error);
void text_stream_free(text_stream *stream);

#endif
