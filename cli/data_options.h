/* data_options: which examples a training set is made of, on the command lines of `judgeq data` and of
 * `judgeq train --online`. */
#ifndef JUDGEQ_CLI_DATA_OPTIONS_H
#define JUDGEQ_CLI_DATA_OPTIONS_H

#include "command_line.h"
#include "data_sources.h"
#include "judgeq.h"

typedef struct data_options {
    const char *output; /* the set */
    bool resume, quiet;
    bool no_think;      /* the model answers without thinking first */
    int32_t n_examples; /* 0: all */
    int32_t n_tokens, n_threads;
    judgeq_kv_type kv_type;
    judgeq_sampler_params sampler;
    data_sources_params sources;
} data_options;

/* Those of both commands, for their tables. */
extern const command_option data_options_rows[];

data_options data_options_default(void);
/* Whether they go together. The exit status: 0, or 2 after a message. */
int data_options_check(const data_options *o, const char *command);

#endif
