/* judgeq rpc-server: lends a device of this machine to judgeq run --rpc on another. */
#include <getopt.h>
#include <stdio.h>

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
    "Both sides need the same version of ggml.\n"
    "\n"
    "      --host ADDRESS  the address to listen on; 0.0.0.0 is every one of this machine's (default: 127.0.0.1)\n"
    "      --port N        the port (default: 50052)\n"
    "      --device NAME   the device, as judgeq inspect --devices names it (default: the first GPU, or the CPU)\n"
    "  -t, --threads N     threads that compute, if it is the CPU (default: one per core)\n"
    "  -h, --help          this text\n"
    "\n"
    "Example\n"
    "  judgeq rpc-server --host 0.0.0.0          on a machine 10.0.0.7, and on another:\n"
    "  judgeq run --rpc 10.0.0.7:50052 -m model.gguf -p \"Who wrote Faust?\"\n";

typedef struct server_options {
    bool help;
    const char *host, *device;
    int32_t port, n_threads;
} server_options;

const command_option rpc_server_rows[] = {{"host", 0, INTO(server_options, host)},
                                          {"port", 0, INTO(server_options, port), .least = 1, .most = UINT16_MAX},
                                          {"device", 0, INTO(server_options, device)},
                                          {"threads", 't', INTO(server_options, n_threads), .least = 1, .most = 1024},
                                          {"help", 'h', INTO(server_options, help)},
                                          {0}};

int cmd_rpc_server(int argc, char **argv) {
    server_options o = {.host = "127.0.0.1", .port = 50052};
    const int usage = command_line_read("rpc-server", rpc_server_rows, argc, argv, &o);
    if (usage != 0) return usage;
    if (o.help) {
        fputs(HELP, stdout);
        return 0;
    }
    if (optind < argc) return usage_wrong("rpc-server", "what is \"%s\"?", argv[optind]);
    judgeq_error error = {0};
    cores_note(o.n_threads, false);
    const judgeq_status status = judgeq_rpc_serve(o.host, o.port, o.device, o.n_threads, &error);
    return exit_with(status, &error);
}
