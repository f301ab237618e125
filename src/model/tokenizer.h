/* tokenizer: text to tokens and back, by libllama. */
#ifndef JUDGEQ_SRC_TOKENIZER_H
#define JUDGEQ_SRC_TOKENIZER_H

#include "base/quiet.h"
#include "model.h"
#include "text_cut.h"

/* What libllama's vocabulary does not tell. */
typedef struct tokenizer {
    size_t longest;     /* bytes of text that one token can stand for, at most */
    bool sentencepiece; /* no regular expressions, so that no text needs much stack */
    text_cut cut;
    quiet_record record; /* libllama's, of the load */
    char more[64];       /* that libllama gave more warnings */
} tokenizer;

/* Loads the vocabulary of model->file into model->vocabulary, from the keys that were read with the weights: the file
 * is not opened again. */
judgeq_status tokenizer_load(judgeq_model *model, judgeq_error *error);
void tokenizer_free(judgeq_model *model);

#endif
