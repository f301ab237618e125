/* rpc: devices of other machines, through ggml's RPC backend: using them, and lending one's own. The backend is looked
 * up when it is asked for, because not every ggml is built with it. */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ggml-backend.h"
#include "judgeq.h"

#include "base/error.h"
#include "base/threads.h"
#include "device.h"

enum { CONNECT_MS = 5000 };

typedef ggml_backend_reg_t (*add_server)(const char *endpoint);
typedef void (*start_server)(const char *endpoint, const char *cache, size_t n_threads, size_t n_devices,
                             ggml_backend_dev_t *devices);

static judgeq_status find_function(const char *name, void **out, judgeq_error *error) {
    device_load_backends();
    ggml_backend_reg_t registry = ggml_backend_reg_by_name("RPC");
    *out = registry ? ggml_backend_reg_get_proc_address(registry, name) : NULL;
    if (*out) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_UNSUPPORTED, "this ggml is built without its RPC backend (-DGGML_RPC=ON)");
}

/* ---- using ------------------------------------------------------------------------------------------------------- */

/* Whether somebody answers there. ggml aborts where nobody does. 0 or an errno. */
static int try_address(const struct addrinfo *address) {
    const int fd = socket(address->ai_family, address->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return errno;
    int failure = connect(fd, address->ai_addr, address->ai_addrlen) == 0 ? 0 : errno;
    if (failure == EINPROGRESS) {
        struct pollfd wait = {.fd = fd, .events = POLLOUT};
        socklen_t size = sizeof failure;
        if (poll(&wait, 1, CONNECT_MS) != 1) {
            failure = ETIMEDOUT;
        } else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size) != 0) {
            failure = errno;
        }
    }
    close(fd);
    return failure;
}

/* "HOST:PORT"; host [size] */
static bool split_server(const char *server, char *host, size_t size, const char **port) {
    const char *colon = strrchr(server, ':');
    if (!colon || colon == server || (size_t)(colon - server) >= size) return false;
    const long number = strtol(colon + 1, NULL, 10);
    snprintf(host, size, "%.*s", (int)(colon - server), server);
    *port = colon + 1;
    return strspn(*port, "0123456789") == strlen(*port) && number >= 1 && number <= UINT16_MAX;
}

static judgeq_status check_server(const char *server, judgeq_error *error) {
    char host[256];
    const char *port;
    const struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (!split_server(server, host, sizeof host, &port)) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "RPC server \"%s\": expected host:port", server);
    }
    const int unknown = getaddrinfo(host, port, &hints, &found);
    if (unknown != 0) {
        return error_set(error, JUDGEQ_ERROR_IO, "RPC server %s: %s", server, gai_strerror(unknown));
    }
    const int failure = try_address(found);
    freeaddrinfo(found);
    if (failure == 0) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_IO, "RPC server %s: %s; judgeq rpc-server starts one there", server,
                     strerror(failure));
}

judgeq_status judgeq_rpc_connect(const char *servers, judgeq_error *error) {
    void *function;
    judgeq_status status = find_function("ggml_backend_rpc_add_server", &function, error);
    for (const char *at = servers, *end; status == JUDGEQ_OK; at = end + 1) {
        char server[320];
        end = strchrnul(at, ',');
        snprintf(server, sizeof server, "%.*s", (int)(end - at), at);
        status = check_server(server, error);
        if (status != JUDGEQ_OK) break;
        ggml_backend_reg_t registry = ((add_server)function)(server);
        if (!registry) {
            status = error_set(error, JUDGEQ_ERROR_BACKEND, "RPC server %s: ggml cannot use it", server);
        } else {
            ggml_backend_register(registry);
        }
        if (!*end) break;
    }
    return status;
}

/* ---- lending ----------------------------------------------------------------------------------------------------- */

judgeq_status judgeq_rpc_serve(const char *host, int32_t port, const char *device, int32_t n_threads,
                               judgeq_error *error) {
    void *function;
    char endpoint[320];
    judgeq_status status = find_function("ggml_backend_rpc_start_server", &function, error);
    if (status != JUDGEQ_OK) return status;
    if (port < 1 || port > UINT16_MAX) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "port %d: expected 1 to %d", port, UINT16_MAX);
    }
    ggml_backend_dev_t lent =
        device ? ggml_backend_dev_by_name(device) : ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_GPU);
    if (!device && !lent) lent = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    if (!lent) return error_set(error, JUDGEQ_ERROR_ARGUMENT, "there is no device \"%s\"", device ? device : "CPU");
    snprintf(endpoint, sizeof endpoint, "%s:%d", host, port);
    ((start_server)function)(endpoint, NULL, (size_t)threads_init(n_threads).most, 1, &lent);
    return error_set(error, JUDGEQ_ERROR_IO, "cannot listen on %s", endpoint);
}
