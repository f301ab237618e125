/* prompt_text: what the model reads: text from the command line, a file or standard input; and its tokens. */
#ifndef JUDGEQ_CLI_PROMPT_TEXT_H
#define JUDGEQ_CLI_PROMPT_TEXT_H

#include "app/prompt.h"
#include "run_options.h"

/* The text of -f's file, or of standard input where it brings one, a blank line, -p's text; or the one that there is.
 * One line end at the end of a file or of standard input is dropped. *text is malloced and terminated. Fails after a
 * message: the exit status. */
int prompt_text_read(const options *options, const char *command, char **text);

/* The text of a file, "-": of standard input, without one line end at its end. *text is malloced and terminated. Fails
 * after a message: the exit status. */
int prompt_text_file(const char *path, bool quiet, char **text, size_t *length);

/* How the options say that prompts are read. */
prompt_params prompt_text_params(const options *options);

/* As the options say, with notes where something was not asked for. Fails with LIMIT where the prompt does not fit the
 * context. n_response: tokens that may follow. *tokens: judgeq_free. */
judgeq_status prompt_text_tokenize(const judgeq_model *model, const options *options, const char *text,
                                   int32_t n_response, int32_t **tokens, size_t *n_tokens, judgeq_error *error);

#endif
