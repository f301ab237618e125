/* context: a document that is read before its question is known, and questions that follow it: the two parts of what
 * one user's message would be, "document, blank line, question". */
#ifndef JUDGEQ_APP_CONTEXT_H
#define JUDGEQ_APP_CONTEXT_H

#include "prompt.h"

/* The label of a document's session (judgeq_session_set_label): how the document was read. */
#define CONTEXT_RAW "raw"         /* as it is, with PROMPT_RAW */
#define CONTEXT_MESSAGE "message" /* as a user's message */
#define CONTEXT_TURNS "turns"     /* it is no document but a conversation, each turn of which is closed */

/* The beginning of a prompt, up to the document's last token. system: a message before it, or NULL. *tokens:
 * judgeq_free. Fails as prompt_tokenize does. */
judgeq_status context_document_tokens(const judgeq_model *model, const prompt_params *params, const char *system,
                                      const char *text, int32_t **tokens, size_t *n_tokens, judgeq_error *error);
/* What follows it where another document does: a blank line, and the document up to its last token. */
judgeq_status context_more_tokens(const judgeq_model *model, const prompt_params *params, const char *text,
                                  int32_t **tokens, size_t *n_tokens, judgeq_error *error);
/* What follows them: a blank line, the question, the end of the turn, and the beginning of the answer. */
judgeq_status context_question_tokens(const judgeq_model *model, const prompt_params *params, const char *question,
                                      int32_t **tokens, size_t *n_tokens, judgeq_error *error);
/* What follows an answer, without the token that ended it: the end of its turn, another question, and the beginning of
 * the next answer. UNSUPPORTED where the chat template refuses a conversation or forgets its answers. */
judgeq_status context_next_tokens(const judgeq_model *model, const prompt_params *params, const char *question,
                                  int32_t **tokens, size_t *n_tokens, judgeq_error *error);

#endif
