#include "devices.h"

#include <ggml.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/visible.h"
#include "exit_status.h"
#include "say.h"

static const double MIB = 1 << 20;
static const char *servers_in_use;

const command_option devices_rows[] = {
    {"device", 0, INTO(devices, names)},
    /* -ngl is how llama.cpp writes it */
    {"ngl", 0, INTO(devices, n_offload), .most = INT32_MAX, .also = "-ngl"},
    {"rpc", 0, INTO(devices, servers)},
    {"rpc-timeout", 0, INTO(devices, seconds), .least = 1, .most = JUDGEQ_RPC_SECONDS_MOST},
    {0}};

/* In whatever thread ggml found it out; nothing can be freed, because that would ask the server again. */
static void end_with_message(const char *message) {
    const char *reason = strrchr(message, ':'); /* "FILE:LINE: MESSAGE" */
    const char *lost = judgeq_rpc_failure();
    char text[1024], line[1024];
    snprintf(text, sizeof text, "%s%s (%s)", lost ? "" : "ggml cannot go on with the servers ",
             lost ? lost : servers_in_use, reason && reason[1] ? reason + 2 : message);
    visible_copy(text, line, sizeof line);
    dprintf(STDERR_FILENO, "\njudgeq: %s\n", line);
    _exit(1);
}

judgeq_status devices_connect(const devices *d, judgeq_error *error) {
    if (!d->servers) return JUDGEQ_OK;
    servers_in_use = d->servers;
    ggml_set_abort_callback(end_with_message);
    return judgeq_rpc_connect(d->servers, d->seconds, error);
}

judgeq_status devices_load_model(const devices *d, const char *path, judgeq_model **out, judgeq_error *error) {
    const judgeq_model_params params = {.devices = d->names, .n_offload = d->n_offload};
    if (!d->names && !d->servers && d->n_offload < 0) return judgeq_model_load(path, out, error);
    const judgeq_status status = devices_connect(d, error);
    return status == JUDGEQ_OK ? judgeq_model_load_on(path, &params, out, error) : status;
}

static json_t *device_object(const judgeq_device_info *info) {
    return json_pack("{s:s, s:s, s:b, s:I, s:I}", "name", info->name, "description", info->description, "offload",
                     !info->cpu, "free_bytes", (json_int_t)info->free_bytes, "total_bytes",
                     (json_int_t)info->total_bytes);
}

int devices_print(const devices *d, bool json) {
    judgeq_error error = {0};
    judgeq_device_info info;
    const judgeq_status status = devices_connect(d, &error);
    if (status != JUDGEQ_OK) return exit_with(status, &error);
    json_t *all = json_array();
    if (!json) printf("%-10s %12s %12s  %s\n", "device", "free MiB", "of MiB", "");
    for (size_t i = 0; judgeq_device_at(i, &info); i++) {
        if (json) json_array_append_new(all, device_object(&info));
        if (!json) {
            char name[64], description[256]; /* another machine's */
            visible_copy(info.name, name, sizeof name);
            visible_copy(info.description, description, sizeof description);
            printf("%-10s %12.0f %12.0f  %s\n", name, (double)info.free_bytes / MIB, (double)info.total_bytes / MIB,
                   description);
        }
    }
    if (json) say_json(all, JSON_COMPACT);
    json_decref(all);
    return 0;
}
