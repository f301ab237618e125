/* devices: the options --device, --ngl and --rpc: which devices hold a model's layers. */
#ifndef JUDGEQ_CLI_DEVICES_H
#define JUDGEQ_CLI_DEVICES_H

#include "command_line.h"
#include "judgeq.h"

typedef struct devices {
    const char *names;   /* --device, or NULL */
    const char *servers; /* --rpc, or NULL */
    int32_t seconds;     /* --rpc-timeout, or 0 */
    int32_t n_offload;   /* --ngl; -1: not given */
} devices;

/* Their options, for a command's table. */
extern const command_option devices_rows[];

/* Connects to the servers, and sees to it that the process ends with a message once one of them is gone: ggml would
 * abort it. */
judgeq_status devices_connect(const devices *d, judgeq_error *error);

/* Loads a model as the options say: without any of them, for the CPU. */
judgeq_status devices_load_model(const devices *d, const char *path, judgeq_model **out, judgeq_error *error);

/* What there is, as a table or as JSON; the exit status. */
int devices_print(const devices *d, bool json);

#endif
