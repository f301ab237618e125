/* devices: the options --device, --ngl and --rpc: where a model's layers lie. */
#ifndef JUDGEQ_CLI_DEVICES_H
#define JUDGEQ_CLI_DEVICES_H

#include <getopt.h>

#include "judgeq.h"

typedef struct devices {
    const char *names;   /* --device, or NULL */
    const char *servers; /* --rpc, or NULL */
    int32_t n_offload;   /* --ngl; -1: not given */
} devices;

/* The options in a command's table for getopt_long, and what it gives for them; other options stay below. */
enum { DEVICES_NAMES = 512, DEVICES_OFFLOAD, DEVICES_RPC };
#define DEVICES_OPTIONS                                                                                                \
    {"device", required_argument, NULL, DEVICES_NAMES}, {"ngl", required_argument, NULL, DEVICES_OFFLOAD}, {           \
        "rpc", required_argument, NULL, DEVICES_RPC                                                                    \
    }

/* Takes optarg as the value of one of them; the exit status. */
int devices_take(devices *d, const char *command, int option);

/* Connects to the servers, and sees to it that the process ends with a message once one of them is gone: ggml would
 * abort it. */
judgeq_status devices_connect(const devices *d, judgeq_error *error);

/* Loads a model as the options say: without any of them, for the CPU. */
judgeq_status devices_load_model(const devices *d, const char *path, judgeq_model **out, judgeq_error *error);

/* What there is, as a table or as JSON; the exit status. */
int devices_print(const devices *d, bool json);

#endif
