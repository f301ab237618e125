/* options: the command line of `judgeq run`, read into one struct. */
#ifndef JUDGEQ_CLI_OPTIONS_H
#define JUDGEQ_CLI_OPTIONS_H

#include "devices.h"
#include "judgeq.h"

enum { OPTIONS_STOPS_MOST = 16, OPTIONS_LOGPROBS_MOST = 1000 };

typedef enum options_format {
    OPTIONS_AUTO, /* chat where the model has a template */
    OPTIONS_CHAT,
    OPTIONS_RAW
} options_format;

typedef struct options {
    bool help;
    const char *model, *judge;
    const char *policy; /* as given, or NULL */
    char *policy_text;  /* policy and the choices, as judgeq_policy_parse reads them. Owned */
    bool budget_given;
    int32_t budget;        /* rows; 0: budget_fraction */
    float budget_fraction; /* of the prompt */
    bool defer;
    bool plain_weights;

    const char *prompt, *file, *system;
    options_format format;

    int32_t n_tokens; /* of the response, at most */
    judgeq_sampler_params sampler;
    const char *stop[OPTIONS_STOPS_MOST];
    size_t n_stop;

    devices devices;
    int32_t n_threads, n_ctx, chunk;
    judgeq_kv_type kv_type;

    int32_t logprobs; /* alternatives per token; -1: none asked for */
    bool json, quiet;
} options;

/* The exit status: 0, or 2 after a message. */
int options_read(int argc, char **argv, options *out);
void options_free(options *o);

#endif
