/* vocabulary_check: what libllama would abort on, or make unbounded memory of, in the tokenizer keys of a GGUF file;
 * what it refuses by itself is not looked for. */
#ifndef JUDGEQ_SRC_VOCABULARY_CHECK_H
#define JUDGEQ_SRC_VOCABULARY_CHECK_H

#include "model.h"

/* *sentencepiece: its kind, which is SentencePiece's or byte-pair encoding. */
judgeq_status vocabulary_check(const judgeq_model *model, bool *sentencepiece, judgeq_error *error);

#endif
