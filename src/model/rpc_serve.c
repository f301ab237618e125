/* rpc_serve: a device of this machine, lent to others. ggml's server serves one client at a time, and waits for it
 * without end; so it listens to this process only, which lets clients come to it one by one, and go. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ggml-backend.h"

#include "base/error.h"
#include "base/quiet.h"
#include "base/threads.h"
#include "relay.h"
#include "rpc.h"

enum { HELLO_MS = 3000, IDLE_SECONDS = 60, QUEUED = 16, START_MS = 10000, TRY_MS = 20 };

typedef void (*start_server)(const char *endpoint, const char *cache, size_t n_threads, size_t n_devices,
                             ggml_backend_dev_t *devices);

/* ggml's server. It is never freed: a thread runs in it until the process ends. */
typedef struct lender {
    start_server start;
    ggml_backend_dev_t device;
    size_t n_threads;
    struct sockaddr_in address;
    atomic_bool ended; /* it could not listen */
} lender;

static void *lend(void *of) {
    lender *l = of;
    char endpoint[32];
    snprintf(endpoint, sizeof endpoint, "127.0.0.1:%d", ntohs(l->address.sin_port));
    l->start(endpoint, NULL, l->n_threads, 1, &l->device);
    atomic_store(&l->ended, true);
    return NULL;
}

/* A port of this machine's own where nobody listens. */
static int choose_port(struct sockaddr_in *own) {
    socklen_t size = sizeof *own;
    *own = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    const struct addrinfo any = {.ai_family = AF_INET, .ai_addr = (struct sockaddr *)own, .ai_addrlen = size};
    const int fd = rpc_listen(&any, 1);
    if (fd < 0) return errno;
    const int failure = getsockname(fd, (struct sockaddr *)own, &size) == 0 ? 0 : errno;
    close(fd);
    return failure;
}

/* Once ggml listens. */
static int connect_to_lender(lender *l, int *fd) {
    const struct addrinfo own = {.ai_family = AF_INET,
                                 .ai_socktype = SOCK_STREAM,
                                 .ai_addr = (struct sockaddr *)&l->address,
                                 .ai_addrlen = sizeof l->address};
    int failure = ECONNREFUSED;
    for (int ms = 0; failure == ECONNREFUSED && ms < START_MS && !atomic_load(&l->ended); ms += TRY_MS) {
        if (ms > 0) poll(NULL, 0, TRY_MS);
        failure = relay_connect(&own, START_MS, fd);
    }
    return failure;
}

static judgeq_status start_lender(lender *l, judgeq_error *error) {
    int fd, failure = choose_port(&l->address);
    if (failure == 0) failure = relay_thread(lend, l);
    if (failure == 0) failure = connect_to_lender(l, &fd);
    if (failure != 0) {
        return error_set(error, JUDGEQ_ERROR_BACKEND, "ggml's RPC server does not start on device %s: %s",
                         ggml_backend_dev_name(l->device), strerror(failure));
    }
    close(fd);
    return JUDGEQ_OK;
}

/* ---- clients ----------------------------------------------------------------------------------------------------- */

static const char *why(relay_end end) {
    if (end == RELAY_CLIENT_SILENT) return "disconnected: it was silent, and another client waits";
    if (end == RELAY_CLIENT_WRONG) return "disconnected: its message is longer than the device's memory";
    if (end == RELAY_SERVER_CLOSED) return "disconnected by ggml: it does not speak the protocol of this ggml";
    return "gone";
}

static judgeq_status serve_client(lender *l, int client, const struct sockaddr_in *from, const relay_limits *limits,
                                  judgeq_error *error) {
    int server;
    char name[INET_ADDRSTRLEN] = "";
    inet_ntop(AF_INET, &from->sin_addr, name, sizeof name);
    const int failure = connect_to_lender(l, &server);
    if (failure != 0) {
        return error_set(error, JUDGEQ_ERROR_BACKEND, "ggml's RPC server is gone: %s", strerror(failure));
    }
    quiet_inform("client %s:%d came", name, ntohs(from->sin_port));
    const relay_end end = relay_run(client, server, limits);
    quiet_inform("client %s:%d %s", name, ntohs(from->sin_port), why(end));
    close(server);
    return JUDGEQ_OK;
}

static judgeq_status serve_clients(lender *l, const relay_limits *limits, judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    while (status == JUDGEQ_OK) {
        struct sockaddr_in from = {0};
        socklen_t size = sizeof from;
        const int client = accept4(limits->waiting, (struct sockaddr *)&from, &size, SOCK_CLOEXEC);
        if (client >= 0) {
            status = serve_client(l, client, &from, limits, error);
            close(client);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            poll(NULL, 0, TRY_MS); /* until there is room again */
        } else if (errno == EBADF || errno == EINVAL || errno == ENOTSOCK) {
            status = error_set(error, JUDGEQ_ERROR_IO, "cannot accept clients: %s", strerror(errno));
        } /* any other is that one client's */
    }
    return status;
}

/* ---- public ------------------------------------------------------------------------------------------------------ */

static judgeq_status find_device(const char *name, ggml_backend_dev_t *out, judgeq_error *error) {
    *out = name ? ggml_backend_dev_by_name(name) : ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_GPU);
    if (!name && !*out) *out = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    if (*out) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_ARGUMENT, "there is no device \"%s\"", name ? name : "CPU");
}

static judgeq_status listen_on(const judgeq_rpc_params *params, int *listener, judgeq_error *error) {
    char port[16];
    struct addrinfo *found = NULL;
    const struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    snprintf(port, sizeof port, "%d", params->port);
    const int unknown = getaddrinfo(params->host, port, &hints, &found);
    if (unknown != 0) {
        return error_set(error, JUDGEQ_ERROR_IO, "cannot listen on %s:%s: %s", params->host, port,
                         gai_strerror(unknown));
    }
    *listener = rpc_listen(found, QUEUED);
    const int failure = errno;
    freeaddrinfo(found);
    if (*listener >= 0) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_IO, "cannot listen on %s:%s: %s", params->host, port, strerror(failure));
}

static judgeq_status check_params(const judgeq_rpc_params *params, judgeq_error *error) {
    if (params->port < 1 || params->port > UINT16_MAX) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "port %d: expected 1 to %d", params->port, UINT16_MAX);
    }
    if (params->idle_seconds < 0 || params->idle_seconds > JUDGEQ_RPC_SECONDS_MOST) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "%d seconds for a silent client: expected 0 to %d",
                         params->idle_seconds, JUDGEQ_RPC_SECONDS_MOST);
    }
    return JUDGEQ_OK;
}

judgeq_status judgeq_rpc_serve(const judgeq_rpc_params *params, judgeq_error *error) {
    void *function;
    size_t free_bytes, total;
    lender *l = calloc(1, sizeof *l);
    if (!l) return error_memory(error, "an RPC server");
    relay_limits limits = {.hello_ms = HELLO_MS,
                           .idle_ms = 1000 * (params->idle_seconds > 0 ? params->idle_seconds : IDLE_SECONDS),
                           .waiting = -1};
    judgeq_status status = rpc_find_function("ggml_backend_rpc_start_server", &function, error);
    if (status == JUDGEQ_OK) status = check_params(params, error);
    if (status == JUDGEQ_OK) status = find_device(params->device, &l->device, error);
    if (status == JUDGEQ_OK) status = listen_on(params, &limits.waiting, error);
    if (status != JUDGEQ_OK) {
        free(l);
        return status;
    }
    ggml_backend_dev_memory(l->device, &free_bytes, &total);
    limits.most_bytes = total;
    l->start = (start_server)function;
    l->n_threads = (size_t)threads_init(params->n_threads).most;
    status = start_lender(l, error);
    if (status == JUDGEQ_OK) {
        quiet_inform("%s:%d lends %s (%zu of %zu MiB are free)", params->host, params->port,
                     ggml_backend_dev_name(l->device), free_bytes >> 20, total >> 20);
        status = serve_clients(l, &limits, error);
    }
    close(limits.waiting);
    return status;
}
