/* gguf_other: what a file that is not GGUF is, and what to do about it, by its first bytes. */
#ifndef JUDGEQ_SRC_GGUF_OTHER_H
#define JUDGEQ_SRC_GGUF_OTHER_H

#include "judgeq.h"

/* Always FORMAT: data[0..size) does not start as a GGUF file does. */
judgeq_status gguf_refuse_other(const char *path, const unsigned char *data, size_t size, judgeq_error *error);

#endif
