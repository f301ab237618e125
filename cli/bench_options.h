/* bench_options: the command line of `judgeq bench`, read into one struct. */
#ifndef JUDGEQ_CLI_BENCH_OPTIONS_H
#define JUDGEQ_CLI_BENCH_OPTIONS_H

#include "app/devices.h"
#include "command_line.h"
#include "judgeq.h"

enum { BENCH_OUTPUTS_MOST = 4 };

typedef struct bench_options {
    bool help;
    devices devices;
    const char *model, *judge, *budgets, *compare;
    const char *policies;                             /* NULL: the default */
    command_list length, kv_type, n_threads, n_batch; /* kv_type: of judgeq_kv_type; n_threads 0: chosen */
    int32_t n_tokens, n_repeat, n_warm_up, n_chunk;
    size_t expand_bytes;
    uint64_t seed;
    bool plain_weights, json, quiet;
    const char *output[BENCH_OUTPUTS_MOST]; /* files that end in .csv, .svg or .png */
    size_t n_output;
} bench_options;

/* The exit status: 0, or 2 after a message. */
int bench_options_read(int argc, char **argv, bench_options *out);

#endif
