/* judgeq rpc-server: lends a device of this machine to judgeq run --rpc on another. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "command_line.h"
#include "commands.h"
#include "cores_note.h"
#include "exit_status.h"
#include "judgeq.h"
#include "say.h"
#include "values.h"

static const char HELP[] =
    "Usage: judgeq rpc-server [OPTIONS]\n"
    "\n"
    "Lends a device of this machine to judgeq run --rpc on others, until it is stopped. Weights, rows and results go\n"
    "over the network as they are, and whoever can connect can use the memory: only for networks that are trusted.\n"
    "Both sides need the same version of ggml. One client is served at a time, and others wait; who comes and goes is\n"
    "written to standard error.\n"
    "\n"
    "      --host ADDRESS  the address to listen on; 0.0.0.0 is every one of this machine's (default: 127.0.0.1)\n"
    "      --port N        the port (default: 50052)\n"
    "      --device NAME   the device, as judgeq inspect --devices names it (default: the first GPU, or the CPU)\n"
    "  -t, --threads N     threads that compute, if it is the CPU (default: one per core)\n"
    "      --idle S        seconds that a client may be silent where another waits; then it loses its connection, and\n"
    "                      its run ends (default: 60; one that has not yet said hello: 3)\n"
    "      --quiet         do not write who comes and goes\n"
    "  -h, --help          this text\n"
    "\n"
    "Example\n"
    "  judgeq rpc-server --host 0.0.0.0          on a machine 10.0.0.7, and on another:\n"
    "  judgeq run --rpc 10.0.0.7:50052 -m model.gguf -p \"Who wrote Faust?\"\n";

typedef struct server_options {
    bool help, quiet;
    judgeq_rpc_params params;
} server_options;

const command_option rpc_server_rows[] = {
    {"host", 0, INTO(server_options, params.host)},
    {"port", 0, INTO(server_options, params.port), .least = 1, .most = UINT16_MAX},
    {"device", 0, INTO(server_options, params.device)},
    {"threads", 't', INTO(server_options, params.n_threads), .least = 1, .most = 1024},
    {"idle", 0, INTO(server_options, params.idle_seconds), .least = 1, .most = JUDGEQ_RPC_SECONDS_MOST},
    {"quiet", 0, INTO(server_options, quiet)},
    {"help", 'h', INTO(server_options, help)},
    {0}};

static void show(void *data, judgeq_log_level level, const char *line) {
    (void)data;
    if (level >= JUDGEQ_LOG_INFO) say("%s", line);
}

int cmd_rpc_server(int argc, char **argv) {
    server_options o = {.params = {.host = "127.0.0.1", .port = 50052}};
    const int usage = command_line_read("rpc-server", rpc_server_rows, argc, argv, &o);
    if (usage != 0) return usage;
    if (o.help) {
        fputs(HELP, stdout);
        return 0;
    }
    if (optind < argc) return usage_wrong("rpc-server", "what is \"%s\"?", argv[optind]);
    if (!o.quiet) judgeq_set_log(show, NULL);
    /* ggml's server prints an address where nobody but this process may connect. */
    if (!freopen("/dev/null", "w", stdout)) say("standard output stays open: %s", strerror(errno));
    judgeq_error error = {0};
    cores_note(o.params.n_threads, o.quiet);
    const judgeq_status status = judgeq_rpc_serve(&o.params, &error);
    return exit_with(status, &error);
}
