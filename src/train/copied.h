/* copied: which rows of a response bring something from its prompt. Of a conversation about a document, most rows are
 * those of questions, and most rows of an answer say what the question said already; they attend to what every row
 * attends to. What a later question needs of the document is what the rows attend to that copy it. */
#ifndef JUDGEQ_SRC_TRAIN_COPIED_H
#define JUDGEQ_SRC_TRAIN_COPIED_H

#include <stddef.h>
#include <stdint.h>

/* row [n_response - 1, 1 at least]: 1 for those that are followed by a token of an answer (answer [n_response]; NULL:
 * all are) which the answer copies from the prompt: with up to two tokens before it, it stands in the prompt, in a few
 * places only, and it is not in the question before the answer. Where there is none: those that are followed by a token
 * of an answer, or all. Returns how many. */
size_t copied_rows(const int32_t *prompt, size_t n_prompt, const int32_t *response, const unsigned char *answer,
                   size_t n_response, unsigned char *row);

#endif
