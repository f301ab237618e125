/* eval_options: the command line of `judgeq eval`, read into one struct. */
#ifndef JUDGEQ_CLI_EVAL_OPTIONS_H
#define JUDGEQ_CLI_EVAL_OPTIONS_H

#include "judgeq.h"
#include "reading.h"

enum { EVAL_LENGTHS_MOST = 16 };

typedef struct eval_options {
    bool help;
    char *tasks; /* all that were named, a line each. Owned */
    const char *model, *judge, *output, *haystack, *policies, *budgets, *versus;
    int32_t length[EVAL_LENGTHS_MOST];
    size_t n_length;
    int32_t n_samples, n_depths, cut_to, n_tokens, n_threads, expand_mib;
    uint32_t seed;
    reading_format format;
    judgeq_kv_type kv_type;
    bool divergence, heads, prompts, json, quiet;
} eval_options;

/* The exit status: 0, or 2 after a message. */
int eval_options_read(int argc, char **argv, eval_options *out);
void eval_options_free(eval_options *o);

#endif
