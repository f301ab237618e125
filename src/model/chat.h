/* chat: messages in the model's chat template, as text and as tokens. */
#ifndef JUDGEQ_SRC_CHAT_H
#define JUDGEQ_SRC_CHAT_H

#include "guard.h"
#include "model.h"

/* Reads the template of model->file into model->chat. A file without one, or with one that the engine does not know,
 * is loaded all the same; whoever renders is told. */
judgeq_status chat_load(judgeq_model *model, judgeq_error *error);
void chat_free(judgeq_model *model);

/* ---- for texts that others render -------------------------------------------------------------------------------- */

enum { CHAT_BREAK = 4 }; /* bytes of a break, with the zero after it */

/* The candidate number k, from 0, for a break: the text that holds apart what would be a control token. It must occur
 * in nothing that is rendered. False past the last. */
bool chat_break_at(int k, char out[CHAT_BREAK]);
/* text with a break in every control token that is written out in it; free(). NULL: no memory. */
char *chat_break_up(const judgeq_model *model, const char *text, const char *mark);
/* Whether a control token could begin at the end of the text and go on in what comes after it. */
bool chat_ends_open(const judgeq_model *model, const char *text);
/* Takes the breaks out again, and notes in text->input where they were. */
void chat_take_breaks_out(guard_chat_text *text, const char *mark);
/* Only what the template itself wrote becomes control tokens. *tokens: free(). */
judgeq_status chat_tokenise(const judgeq_model *model, const guard_chat_text *text, size_t skip, int32_t n_ctx,
                            int32_t **tokens, size_t *n_tokens, judgeq_error *error);

#endif
