/* files: whole texts in, and what a folder holds. */
#ifndef JUDGEQ_EVAL_FILES_H
#define JUDGEQ_EVAL_FILES_H

#include <stdio.h>

#include "judgeq.h"

/* All of a stream as text, terminated, the caller's: free(); *length: its bytes, may be NULL. A byte order mark is
 * dropped; UTF-16 and UTF-32 that begin with one become UTF-8. Text without one stays as it is, which need not be
 * UTF-8. Refuses a zero byte, which no text has, and more than 2 GiB. `name` is what messages call the stream. */
judgeq_status files_read_stream(FILE *stream, const char *name, char **out, size_t *length, judgeq_error *error);
judgeq_status files_read_text(const char *path, char **out, judgeq_error *error);
/* The same as UTF-8: bytes that belong to no character become U+FFFD. */
judgeq_status files_read_utf8(const char *path, char **out, judgeq_error *error);

/* Told of what a folder holds; false ends the walk. */
typedef struct files_visitor {
    bool (*file)(void *data, const char *path); /* a regular file */
    /* what cannot be read as one, and why; reason: errno, 0 where it is a pipe, a device or a link to nothing */
    bool (*other)(void *data, const char *path, const char *why, int reason);
    void *data;
} files_visitor;

/* The regular file `path`, or those of the folder `path` and of the folders in it, in the byte order of their names.
 * Links are followed, and nothing is visited twice, however many links lead there. Hidden files and folders (.NAME) are
 * passed over. False: the visitor ended the walk, or memory ran out. */
bool files_walk(const char *path, const files_visitor *visitor);

#endif
