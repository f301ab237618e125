#include "data_options.h"

#include "values.h"

data_options data_options_default(void) {
    return (data_options){.n_tokens = 128,
                          .sampler = {.temperature = 0, .top_p = 1},
                          .sources = {.min_tokens = 300, .max_tokens = 900, .retrieval = 0.5}};
}

enum { COUNT_MOST = 1 << 30 };

const command_option data_options_rows[] = {
    {"examples", 'n', INTO(data_options, n_examples), .least = 1, .most = COUNT_MOST},
    {"tokens", 0, INTO(data_options, n_tokens), .least = 2, .most = COUNT_MOST},
    {"min", 0, INTO(data_options, sources.min_tokens), .least = 1, .most = COUNT_MOST},
    {"max", 0, INTO(data_options, sources.max_tokens), .least = 1, .most = COUNT_MOST},
    {"retrieval", 0, INTO(data_options, sources.retrieval), .to = 1},
    {"later", 0, INTO(data_options, sources.later), .to = 1},
    {"no-think", 0, INTO(data_options, no_think)},
    {"temp", 0, INTO(data_options, sampler.temperature), .to = 100},
    {"top-p", 0, INTO(data_options, sampler.top_p), .to = 1},
    {0},
};

int data_options_check(const data_options *o, const char *command) {
    if (o->sources.n_source == 0) return usage_wrong(command, "which sources? Folders or files are missing");
    if (o->sources.min_tokens > o->sources.max_tokens) return usage_wrong(command, "--min is more than --max");
    return 0;
}
