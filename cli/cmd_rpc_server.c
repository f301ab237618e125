/* judgeq rpc-server: lends a device of this machine to judgeq run --rpc on another. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "judgeq.h"
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

enum { HOST = 256, PORT, DEVICE };

static const struct option NAMES[] = {{"host", required_argument, NULL, HOST},
                                      {"port", required_argument, NULL, PORT},
                                      {"device", required_argument, NULL, DEVICE},
                                      {"threads", required_argument, NULL, 't'},
                                      {"help", no_argument, NULL, 'h'},
                                      {0}};

static const char COMMAND[] = "rpc-server";

int cmd_rpc_server(int argc, char **argv) {
    const char *host = "127.0.0.1", *device = NULL;
    int32_t port = 50052, n_threads = 0;
    int wrong = 0;
    opterr = 0;
    optind = 1;
    for (int option; wrong == 0 && (option = getopt_long(argc, argv, ":t:h", NAMES, NULL)) != -1;) {
        switch (option) {
        case 'h':
            fputs(HELP, stdout);
            return 0;
        case HOST:
            host = optarg;
            break;
        case DEVICE:
            device = optarg;
            break;
        case PORT:
            wrong = value_take_int32(COMMAND, "--port", optarg, 1, UINT16_MAX, &port);
            break;
        case 't':
            wrong = value_take_int32(COMMAND, "-t", optarg, 1, 1024, &n_threads);
            break;
        case ':':
            return usage_wrong(COMMAND, "%s needs a value", argv[optind - 1]);
        default:
            return usage_wrong(COMMAND, "unknown option %s", argv[optind - 1]);
        }
    }
    if (wrong != 0) return wrong;
    if (optind < argc) return usage_wrong(COMMAND, "what is \"%s\"?", argv[optind]);
    judgeq_error error = {0};
    const judgeq_status status = judgeq_rpc_serve(host, port, device, n_threads, &error);
    fprintf(stderr, "judgeq: %s\n", error.message);
    return status == JUDGEQ_ERROR_ARGUMENT ? 2 : 1;
}
