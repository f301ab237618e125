/* gguf_bytes: a GGUF file as bytes in memory, for files that are written whole: judges, checkpoints, sessions. */
#ifndef JUDGEQ_SRC_GGUF_BYTES_H
#define JUDGEQ_SRC_GGUF_BYTES_H

#include "ggml.h"
#include "gguf.h"
#include "judgeq.h"

/* A tensor of the file. */
typedef struct gguf_array {
    char name[GGML_MAX_NAME];
    enum ggml_type type;
    int64_t ne[GGML_MAX_DIMS]; /* fastest first, as ggml has it; none is 0 */
    const void *data;          /* copied; NULL: zeros, to be written at gguf_bytes_at */
} gguf_array;

/* What a file holds. */
typedef struct gguf_content {
    const char *what;                                               /* "a judge file", for messages */
    void (*set_keys)(struct gguf_context *gguf, const void *owner); /* may throw as ggml does (guard.h) */
    const void *owner;
    const gguf_array *array; /* [n_array], in the file's order */
    size_t n_array;
} gguf_content;

typedef struct gguf_bytes {
    unsigned char *bytes; /* the whole file, owned */
    size_t size;
    size_t header; /* bytes before the tensors' data */
    struct gguf_context *gguf;
} gguf_bytes;

/* On failure *out is zeroed. */
judgeq_status gguf_bytes_new(const gguf_content *content, gguf_bytes *out, judgeq_error *error);
/* Accepts a zeroed struct. */
void gguf_bytes_free(gguf_bytes *bytes);

/* Where tensor number `index` has its data. */
unsigned char *gguf_bytes_at(const gguf_bytes *bytes, size_t index);

/* Makes them and writes them to a file (file_write_atomic). */
judgeq_status gguf_bytes_write(const gguf_content *content, const char *path, judgeq_error *error);

#endif
