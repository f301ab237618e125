/* answer_options: the options that constrain answers, --grammar and --json-schema, and --chat-template: what they name
 * is read, and the sampler made. */
#ifndef JUDGEQ_CLI_ANSWER_OPTIONS_H
#define JUDGEQ_CLI_ANSWER_OPTIONS_H

#include "run_options.h"

/* The lines of --help about how tokens are drawn, for commands that call what is written `what`. */
#define ANSWER_OPTIONS_HELP(what)                                                                                      \
    "      --temp T       temperature; 0 takes the likeliest token, and the next four do not matter (default: 0)\n"    \
    "      --top-k K      draw from the K likeliest tokens; 0: from all (default: 40)\n"                               \
    "      --top-p P      draw from the likeliest tokens that together have probability P (default: 0.95)\n"           \
    "      --min-p P      draw from tokens of at least P times the likeliest one's probability (default: 0.05)\n"      \
    "      --repeat-penalty R\n"                                                                                       \
    "                     divide the logits of tokens that the " what " already has by R (default: 1, which is off)\n" \
    "      --presence-penalty P, --frequency-penalty P\n"                                                              \
    "                     subtract P from them, once, or for every time that they were written (default: 0)\n"         \
    "      --penalty-window N\n"                                                                                       \
    "                     how many of the last tokens penalties count (default: 64)\n"                                 \
    "      --grammar FILE only texts of this grammar, in llama.cpp's notation, GBNF\n"                                 \
    "      --json-schema FILE|TEXT\n"                                                                                  \
    "                     only JSON that this schema allows; {} allows any JSON\n"

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
