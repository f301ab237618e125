/* tiny_vocabulary: the tokenizer keys of a tiny model, in the two forms that libllama's readers know. */
#ifndef JUDGEQ_TESTS_TINY_VOCABULARY_H
#define JUDGEQ_TESTS_TINY_VOCABULARY_H

#include "tiny_model.h"

/* Writes the tokenizer.* keys of spec into gguf and returns the number of tokens, or -1 where memory ran out. */
int tiny_vocabulary_write(const tiny_spec *spec, struct gguf_context *gguf);

#endif
