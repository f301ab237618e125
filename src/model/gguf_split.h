/* gguf_split: a model in several GGUF files, NAME-00001-of-0000N.gguf and so on, as llama-gguf-split writes them: all
 * keys are in the first, and every part has some of the tensors. */
#ifndef JUDGEQ_SRC_GGUF_SPLIT_H
#define JUDGEQ_SRC_GGUF_SPLIT_H

#include "gguf_file.h"

/* Opens and checks a file, with all further parts where it is the first one of several. Tensor names are unique over
 * all parts. On failure *file is zeroed. */
judgeq_status gguf_open_split(const char *path, gguf_file *file, judgeq_error *error);

#endif
