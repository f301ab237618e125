/* tokenizer: text to tokens and back, and the chat template, by libllama; here is what it needs checked beforehand. */
#ifndef JUDGEQ_SRC_TOKENIZER_H
#define JUDGEQ_SRC_TOKENIZER_H

#include "model.h"

/* Loads the vocabulary of model->file into model->vocabulary. */
judgeq_status tokenizer_load(judgeq_model *model, judgeq_error *error);
void tokenizer_free(judgeq_model *model);

#endif
