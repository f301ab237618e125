#include "device_options.h"

#include <jansson.h>
#include <stdio.h>
#include <unistd.h>

#include "base/visible.h"
#include "exit_status.h"
#include "say.h"

static const double MIB = 1 << 20;

const command_option device_options_rows[] = {
    {"device", 0, INTO(devices, names)},
    /* -ngl is how llama.cpp writes it */
    {"ngl", 0, INTO(devices, n_offload), .most = INT32_MAX, .also = "-ngl"},
    {"rpc", 0, INTO(devices, servers)},
    {"rpc-timeout", 0, INTO(devices, seconds), .least = 1, .most = JUDGEQ_RPC_SECONDS_MOST},
    {0}};

static void end_with_message(const char *message) {
    dprintf(STDERR_FILENO, "\njudgeq: %s\n", message);
    _exit(1);
}

devices device_options_default(void) {
    return (devices){.n_offload = -1, .lost = end_with_message};
}

static json_t *device_object(const judgeq_device_info *info) {
    return json_pack("{s:s, s:s, s:b, s:I, s:I}", "name", info->name, "description", info->description, "offload",
                     !info->cpu, "free_bytes", (json_int_t)info->free_bytes, "total_bytes",
                     (json_int_t)info->total_bytes);
}

int device_options_print(const devices *d, bool json) {
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
