/* eval_options: the command line of `judgeq eval`, read into one struct. */
#ifndef JUDGEQ_CLI_EVAL_OPTIONS_H
#define JUDGEQ_CLI_EVAL_OPTIONS_H

#include "choices.h"
#include "judgeq.h"

typedef struct eval_options {
    bool help;
    char *tasks; /* all that were named, a line each. Owned */
    const char *model, *judge, *output, *haystack, *text, *budgets, *versus;
    const char *policies; /* NULL: the defaults */
    choices choices;
    char *choices_text; /* as arms_parse takes them. Owned */
    command_list length;
    int32_t n_samples, n_depths, cut_to, n_tokens, n_threads;
    size_t expand_bytes;
    uint32_t seed;
    bool chat, raw; /* neither: as the task says */
    bool no_think;
    judgeq_kv_type kv_type;
    int32_t slack;
    bool divergence, heads, prompts, one_by_one, json, quiet;
} eval_options;

/* The exit status: 0, or 2 after a message. */
int eval_options_read(int argc, char **argv, eval_options *out);
void eval_options_free(eval_options *o);

#endif
