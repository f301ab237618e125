#include "devices.h"

#include <ggml.h>
#include <stdio.h>
#include <string.h>

#include "base/visible.h"

/* ggml's callback is the process's, and has no data of ours. */
static const char *servers_in_use;
static void (*end_process)(const char *message);

static void say_lost(const char *message) {
    const char *reason = strrchr(message, ':'); /* "FILE:LINE: MESSAGE" */
    const char *lost = judgeq_rpc_failure();
    char text[1024], line[1024];
    snprintf(text, sizeof text, "%s%s (%s)", lost ? "" : "ggml cannot go on with the servers ",
             lost ? lost : servers_in_use, reason && reason[1] ? reason + 2 : message);
    visible_copy(text, line, sizeof line);
    end_process(line);
}

judgeq_status devices_connect(const devices *d, judgeq_error *error) {
    if (!d->servers) return JUDGEQ_OK;
    servers_in_use = d->servers;
    end_process = d->lost;
    if (end_process) ggml_set_abort_callback(say_lost);
    return judgeq_rpc_connect(d->servers, d->seconds, error);
}

judgeq_status devices_load_model(const devices *d, const char *path, judgeq_model **out, judgeq_error *error) {
    const judgeq_model_params params = {.devices = d->names, .n_offload = d->n_offload};
    if (!d->names && !d->servers && d->n_offload < 0) return judgeq_model_load(path, out, error);
    const judgeq_status status = devices_connect(d, error);
    return status == JUDGEQ_OK ? judgeq_model_load_on(path, &params, out, error) : status;
}
