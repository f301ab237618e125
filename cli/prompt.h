/* prompt: what the model reads: text from the command line, a file or standard input; and its tokens. */
#ifndef JUDGEQ_CLI_PROMPT_H
#define JUDGEQ_CLI_PROMPT_H

#include "run_options.h"

/* The text of -f's file, or of standard input where it brings one, a blank line, -p's text; or the one that there is.
 * One line end at the end of a file or of standard input is dropped. *text is malloced and terminated. Fails after a
 * message: the exit status. */
int prompt_read(const options *options, const char *command, char **text);

/* In the model's chat template, or as it is; a note says why where that was not asked for. *tokens: judgeq_free. */
judgeq_status prompt_tokenize(const judgeq_model *model, const options *options, const char *text, int32_t **tokens,
                              size_t *n_tokens, judgeq_error *error);

/* Fails with LIMIT where the prompt does not fit the context, and says what would; a note where it is longer than what
 * the model was trained for. n_response: tokens that may follow. */
judgeq_status prompt_check_length(const judgeq_model *model, const options *options, size_t n_tokens,
                                  int32_t n_response, judgeq_error *error);

#endif
