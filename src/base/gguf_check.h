/* gguf_check: walks the header of a GGUF file before ggml reads it, because ggml aborts, or allocates what the file
 * asks for, on some hostile files. The format: ggml/include/gguf.h, and ggml/docs/gguf.md. */
#ifndef JUDGEQ_SRC_GGUF_CHECK_H
#define JUDGEQ_SRC_GGUF_CHECK_H

#include "judgeq.h"

/* True if the bytes start as a GGUF file does. */
bool gguf_has_magic(const unsigned char *data, size_t size);

/* Checks data[0..size), the whole file (path is for messages). After JUDGEQ_OK ggml's reader with no_alloc neither
 * aborts nor takes more memory than a small multiple of the file's size, keys and tensor names are unique and hold no
 * NUL, booleans are 0 or 1, and every tensor's bytes lie in the file. */
judgeq_status gguf_check(const char *path, const unsigned char *data, size_t size, judgeq_error *error);

#endif
