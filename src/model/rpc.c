/* rpc: devices of other machines. ggml would wait for a server without end, so it is never connected to one itself: it
 * connects to a thread of this process, which relays, and ends the connection when the server stays silent. */
#include "rpc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ggml-backend.h"
#include "ggml-rpc.h"

#include "backends.h"
#include "base/error.h"
#include "relay.h"

enum { FIRST_ANSWER_SECONDS = 10, ANSWER_SECONDS = 120, QUEUED = 16 };

typedef ggml_backend_reg_t (*add_server)(const char *endpoint);

/* A server in use, until the process ends: ggml keeps what it knows of one as long. */
typedef struct remote {
    struct remote *next;
    char name[320], endpoint[32]; /* host:port as it was given; where this process relays */
    struct addrinfo *address;
    int listener, first_answer_ms;
    relay_limits limits;
    char failure[512]; /* what judgeq_rpc_failure says */
} remote;

static pthread_mutex_t remotes_lock = PTHREAD_MUTEX_INITIALIZER;
static remote *remotes;
static _Atomic(const char *) first_failure;

judgeq_status rpc_find_function(const char *name, void **out, judgeq_error *error) {
    backends_load();
    ggml_backend_reg_t registry = ggml_backend_reg_by_name("RPC");
    *out = registry ? ggml_backend_reg_get_proc_address(registry, name) : NULL;
    if (*out) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_UNSUPPORTED, "this ggml is built without its RPC backend (-DGGML_RPC=ON)");
}

int rpc_listen(const struct addrinfo *address, int n_queued) {
    const int on = 1, fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, n_queued) == 0) return fd;
    const int failure = errno;
    close(fd);
    errno = failure;
    return -1;
}

/* ---- what went wrong --------------------------------------------------------------------------------------------- */

/* The first failure stays: ggml ends the process for it. */
static void note_failure(remote *r, const char *what) {
    const char *none = NULL;
    if (atomic_load(&first_failure)) return;
    snprintf(r->failure, sizeof r->failure, "RPC server %s is gone: %s", r->name, what);
    atomic_compare_exchange_strong(&first_failure, &none, r->failure);
}

const char *judgeq_rpc_failure(void) {
    return atomic_load(&first_failure);
}

/* ---- relaying ---------------------------------------------------------------------------------------------------- */

/* ggml finds out that its server is gone when it reads. It could not write to a closed socket without SIGPIPE, so what
 * it writes is taken until then. */
static void take_the_rest(int client) {
    char rest[4096];
    ssize_t n;
    shutdown(client, SHUT_WR);
    do {
        n = recv(client, rest, sizeof rest, 0);
    } while (n > 0 || (n < 0 && errno == EINTR));
}

static void serve_ggml(remote *r, int client) {
    int server;
    char silent[64];
    const int failure = relay_connect(r->address, r->first_answer_ms, &server);
    const relay_end end = failure == 0 ? relay_run(client, server, &r->limits) : RELAY_SERVER_CLOSED;
    snprintf(silent, sizeof silent, "it has not answered for %d s", r->limits.answer_ms / 1000);
    if (failure != 0) {
        note_failure(r, strerror(failure));
    } else if (end == RELAY_SERVER_CLOSED) {
        note_failure(r, "it closed the connection");
    } else if (end == RELAY_SERVER_SILENT) {
        note_failure(r, silent);
    }
    if (end != RELAY_CLIENT_CLOSED) take_the_rest(client);
    if (failure == 0) close(server);
    close(client);
}

static void *relay_for_ever(void *of) {
    remote *r = of;
    for (;;) {
        const int client = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);
        if (client >= 0) serve_ggml(r, client);
        if (client < 0 && errno != EINTR && errno != ECONNABORTED) return NULL;
    }
}

/* Listens on a port of this machine's own that the system chooses. */
static int start_relay(remote *r) {
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof own;
    const struct addrinfo any_port = {.ai_family = AF_INET, .ai_addr = (struct sockaddr *)&own, .ai_addrlen = size};
    r->listener = rpc_listen(&any_port, QUEUED);
    if (r->listener < 0 || getsockname(r->listener, (struct sockaddr *)&own, &size) != 0) return errno;
    snprintf(r->endpoint, sizeof r->endpoint, "127.0.0.1:%d", ntohs(own.sin_port));
    return relay_thread(relay_for_ever, r);
}

/* ---- connecting -------------------------------------------------------------------------------------------------- */

/* "HOST:PORT"; host [size] */
static bool split_server(const char *server, char *host, size_t size, const char **port) {
    const char *colon = strrchr(server, ':');
    if (!colon || colon == server || (size_t)(colon - server) >= size) return false;
    const long number = strtol(colon + 1, NULL, 10);
    snprintf(host, size, "%.*s", (int)(colon - server), server);
    *port = colon + 1;
    return strspn(*port, "0123456789") == strlen(*port) && number >= 1 && number <= UINT16_MAX;
}

static judgeq_status find_address(const char *server, struct addrinfo **out, judgeq_error *error) {
    char host[256];
    const char *port;
    const struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    if (!split_server(server, host, sizeof host, &port)) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "RPC server \"%s\": expected host:port", server);
    }
    const int unknown = getaddrinfo(host, port, &hints, out);
    if (unknown == 0) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_IO, "RPC server %s: %s", server, gai_strerror(unknown));
}

static judgeq_status judge_answer(const char *server, const relay_hello *hello, int ms, judgeq_error *error) {
    if (hello->end == RELAY_SERVER_SILENT) {
        return error_set(error, JUDGEQ_ERROR_IO,
                         "RPC server %s has not answered within %d s: it serves another client, or what listens there "
                         "is not judgeq rpc-server",
                         server, ms / 1000);
    }
    if (hello->end != RELAY_GOES_ON || !hello->known) {
        return error_set(error, JUDGEQ_ERROR_IO,
                         "RPC server %s %s: what listens there is not judgeq rpc-server of the same ggml", server,
                         hello->end == RELAY_GOES_ON ? "gave another answer" : "closed the connection");
    }
    if (hello->major != RPC_PROTO_MAJOR_VERSION || hello->minor > RPC_PROTO_MINOR_VERSION) {
        return error_set(error, JUDGEQ_ERROR_UNSUPPORTED,
                         "RPC server %s speaks ggml's protocol %d.%d, and this ggml %d.%d: use the same version of "
                         "ggml on both machines",
                         server, hello->major, hello->minor, RPC_PROTO_MAJOR_VERSION, RPC_PROTO_MINOR_VERSION);
    }
    if (hello->n_device > 0) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_BACKEND, "RPC server %s lends no device", server);
}

/* Before ggml connects, which would abort where nobody answers. */
static judgeq_status check_server(const char *server, const struct addrinfo *address, int ms, judgeq_error *error) {
    int fd;
    const int failure = relay_connect(address, ms, &fd);
    if (failure != 0) {
        return error_set(error, JUDGEQ_ERROR_IO, "RPC server %s: %s; judgeq rpc-server starts one there", server,
                         strerror(failure));
    }
    const relay_hello hello = relay_ask(fd, ms);
    close(fd);
    return judge_answer(server, &hello, ms, error);
}

static judgeq_status new_remote(const char *server, int32_t seconds, remote **out, judgeq_error *error) {
    remote *r = calloc(1, sizeof *r);
    if (!r) return error_memory(error, "an RPC server's name");
    snprintf(r->name, sizeof r->name, "%s", server);
    r->first_answer_ms = (seconds > 0 ? seconds : FIRST_ANSWER_SECONDS) * 1000;
    r->limits = (relay_limits){.answer_ms = (seconds > 0 ? seconds : ANSWER_SECONDS) * 1000, .waiting = -1};
    r->listener = -1;
    judgeq_status status = find_address(server, &r->address, error);
    if (status == JUDGEQ_OK) status = check_server(server, r->address, r->first_answer_ms, error);
    const int failure = status == JUDGEQ_OK ? start_relay(r) : 0;
    if (failure != 0) status = error_set(error, JUDGEQ_ERROR_IO, "RPC server %s: %s", server, strerror(failure));
    if (status == JUDGEQ_OK) {
        *out = r;
        return status;
    }
    if (r->listener >= 0) close(r->listener);
    if (r->address) freeaddrinfo(r->address);
    free(r);
    return status;
}

/* Makes one server's devices known, once. Holds the lock. */
static judgeq_status connect_server(add_server add, const char *server, int32_t seconds, judgeq_error *error) {
    remote *r = remotes;
    while (r && strcmp(r->name, server) != 0) r = r->next;
    if (r) return JUDGEQ_OK;
    const judgeq_status status = new_remote(server, seconds, &r, error);
    if (status != JUDGEQ_OK) return status;
    r->next = remotes;
    remotes = r;
    ggml_backend_reg_t registry = add(r->endpoint);
    if (!registry) return error_set(error, JUDGEQ_ERROR_BACKEND, "RPC server %s: ggml cannot use it", server);
    ggml_backend_register(registry);
    return JUDGEQ_OK;
}

judgeq_status judgeq_rpc_connect(const char *servers, int32_t seconds, judgeq_error *error) {
    void *function;
    judgeq_status status = rpc_find_function("ggml_backend_rpc_add_server", &function, error);
    if (status == JUDGEQ_OK && (seconds < 0 || seconds > JUDGEQ_RPC_SECONDS_MOST)) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "%d seconds for an RPC server: expected 0 to %d", seconds,
                         JUDGEQ_RPC_SECONDS_MOST);
    }
    for (const char *at = servers, *end; status == JUDGEQ_OK; at = end + 1) {
        char server[sizeof remotes->name];
        end = strchrnul(at, ',');
        snprintf(server, sizeof server, "%.*s", (int)(end - at), at);
        pthread_mutex_lock(&remotes_lock);
        status = connect_server((add_server)function, server, seconds, error);
        pthread_mutex_unlock(&remotes_lock);
        if (!*end) break;
    }
    return status;
}

const char *rpc_server_name(const char *endpoint) {
    pthread_mutex_lock(&remotes_lock);
    const remote *r = remotes;
    while (r && strcmp(r->endpoint, endpoint) != 0) r = r->next;
    pthread_mutex_unlock(&remotes_lock);
    return r ? r->name : endpoint;
}
