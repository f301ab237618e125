/* answer_options: the options that constrain answers, --grammar and --json-schema, and --chat-template: what they name
 * is read, and the sampler made. */
#ifndef JUDGEQ_CLI_ANSWER_OPTIONS_H
#define JUDGEQ_CLI_ANSWER_OPTIONS_H

#include "run_options.h"

/* What does not go together; the exit status. */
int answer_options_check(const options *o, const char *command);

/* Reads the grammar or the schema into o->grammar_text, before a model is loaded. ARGUMENT for a schema that is none.
 */
judgeq_status answer_options_read(options *o, judgeq_error *error);

/* The chat template into o->template_text: one of the model's or a common one by its name, else a file. */
judgeq_status answer_options_template(options *o, const judgeq_model *model, judgeq_error *error);

/* A sampler as the options say. ARGUMENT, and the file, for a grammar that is none. */
judgeq_status answer_options_sampler(const options *o, const judgeq_model *model, judgeq_sampler **out,
                                     judgeq_error *error);

#endif
