/* data_options: which examples a training set is made of, on the command lines of `judgeq data` and of
 * `judgeq train --online`. */
#ifndef JUDGEQ_CLI_DATA_OPTIONS_H
#define JUDGEQ_CLI_DATA_OPTIONS_H

#include "data_sources.h"
#include "judgeq.h"

typedef struct data_options {
    const char *output; /* the set */
    bool resume;
    int32_t n_examples; /* 0: all */
    int32_t n_tokens, n_threads;
    judgeq_kv_type kv_type;
    judgeq_sampler_params sampler;
    data_sources_params sources;
} data_options;

/* For getopt_long; -n takes a value too. */
enum { DATA_TOKENS = 512, DATA_MIN, DATA_MAX, DATA_RETRIEVAL, DATA_TEMP, DATA_TOP_P };
#define DATA_OPTION_NAMES                                                                                              \
    {"examples", required_argument, NULL, 'n'}, {"tokens", required_argument, NULL, DATA_TOKENS},                      \
        {"min", required_argument, NULL, DATA_MIN}, {"max", required_argument, NULL, DATA_MAX},                        \
        {"retrieval", required_argument, NULL, DATA_RETRIEVAL}, {"temp", required_argument, NULL, DATA_TEMP}, {        \
        "top-p", required_argument, NULL, DATA_TOP_P                                                                   \
    }

data_options data_options_default(void);
/* Reads `value` if the option is one of those above. The exit status: 0, 2 after a message; -1: it is another. */
int data_options_take(data_options *o, const char *command, int option, const char *value);
/* Whether they go together. The exit status: 0, or 2 after a message. */
int data_options_check(const data_options *o, const char *command);

#endif
