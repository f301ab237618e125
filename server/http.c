#include "http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"
#include "connections.h"
#include "host_name.h"
#include "keys.h"

enum {
    HEADERS_MOST = 8,
    /* Of headers, in bytes, and of what is read at once. */
    CONNECTION_BYTES = 64 << 10,
    /* What a client sends in vain is read, so that it reads why: up to so many times the longest body. */
    DRAINED_MOST = 4,
    BACKLOG = 128
};

struct http {
    http_params params;
    int socket, port;
    bool loopback; /* nobody else can reach it */
    struct MHD_Daemon *daemon;
    connections *connections;
    keys keys;
    atomic_size_t bodies;
    atomic_uint_least64_t n_number;
    atomic_int_least64_t n_requests, n_good, n_wrong, n_failed, n_left;
};

struct http_request {
    http *server;
    struct MHD_Connection *mhd;
    connection *connection;
    uint64_t number;
    char *method, *path;
    const http_route *route;
    char allow[64]; /* the methods of this path */
    int refused;    /* with this status, once all has come; 0: not */
    const char *why;
    text_buffer body;
    size_t n_in, n_out;
    bool handled, replied;
    int status;
    const char *header[HEADERS_MOST][2];
    size_t n_header;
    double started;
    http_next *next;
    void (*end)(void *data);
    void *stream;
    const char *part;
    size_t n_part;
};

/* ---- what a handler asks ----------------------------------------------------------------------------------------- */

void *http_data(const http_request *request) {
    return request->server->params.data;
}

http *http_server(const http_request *request) {
    return request->server;
}

const char *http_path(const http_request *request) {
    return request->path;
}

const char *http_body(const http_request *request, size_t *n) {
    *n = request->body.length;
    return request->body.bytes ? request->body.bytes : "";
}

const char *http_type(const http_request *request) {
    const char *type = MHD_lookup_connection_value(request->mhd, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_TYPE);
    return type ? type : "";
}

const char *http_query(const http_request *request, const char *name) {
    return MHD_lookup_connection_value(request->mhd, MHD_GET_ARGUMENT_KIND, name);
}

typedef struct form {
    http_field *take;
    void *data;
} form;

static enum MHD_Result take_field(void *data, enum MHD_ValueKind kind, const char *name, const char *file,
                                  const char *type, const char *encoding, const char *bytes, uint64_t at, size_t n) {
    const form *f = data;
    (void)kind, (void)type, (void)encoding;
    return f->take(f->data, name ? name : "", file, bytes, n, (size_t)at) ? MHD_YES : MHD_NO;
}

bool http_form(http_request *request, http_field *take_data, void *data) {
    enum { BUFFER = 4096 };
    form f = {take_data, data};
    struct MHD_PostProcessor *processor = MHD_create_post_processor(request->mhd, BUFFER, take_field, &f);
    if (!processor) return false;
    const bool read =
        request->body.length > 0 && MHD_post_process(processor, request->body.bytes, request->body.length) == MHD_YES;
    return MHD_destroy_post_processor(processor) == MHD_YES && read;
}

uint64_t http_number(const http_request *request) {
    return request->number;
}

http_waited http_wait(http_request *request, int event, double seconds) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(request->mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct pollfd on[] = {{.fd = event, .events = POLLIN}, {.fd = info ? info->connect_fd : -1, .events = POLLRDHUP}};
    const double end = clock_seconds() + seconds;
    for (;;) {
        const double left = end - clock_seconds();
        const int n = poll(on, 2, left > 0 ? (int)(left * 1000) + 1 : 0);
        if (n < 0 && errno != EINTR) return HTTP_GONE;
        if (n > 0 && on[1].revents != 0) return HTTP_GONE;
        if (n > 0) return HTTP_READY;
        if (n == 0) return HTTP_LATE;
    }
}

/* ---- replies ----------------------------------------------------------------------------------------------------- */

void http_header(http_request *request, const char *name, const char *value) {
    if (request->n_header == HEADERS_MOST) return;
    request->header[request->n_header][0] = name;
    request->header[request->n_header++][1] = value;
}

static const char *header_of(const http_request *request, const char *name) {
    return MHD_lookup_connection_value(request->mhd, MHD_HEADER_KIND, name);
}

/* The origin that a web page may read this reply in; NULL: none. */
static const char *shared_origin(const http_request *request) {
    const http_params *params = &request->server->params;
    const char *origin = header_of(request, "Origin");
    for (size_t i = 0; i < params->n_origins; i++) {
        if (strcmp(params->origins[i], "*") == 0) return "*";
        if (origin && strcmp(params->origins[i], origin) == 0) return origin;
    }
    return NULL;
}

static void add_cors(const http_request *request, struct MHD_Response *response) {
    const char *origin = shared_origin(request), *asked = header_of(request, "Access-Control-Request-Headers");
    if (!origin) return;
    MHD_add_response_header(response, "Access-Control-Allow-Origin", origin);
    if (strcmp(origin, "*") != 0) MHD_add_response_header(response, "Vary", "Origin");
    if (strcmp(request->method, "OPTIONS") != 0) return;
    MHD_add_response_header(response, "Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS");
    MHD_add_response_header(response, "Access-Control-Allow-Headers",
                            asked ? asked : "Authorization, Content-Type, X-Api-Key");
    MHD_add_response_header(response, "Access-Control-Max-Age", "600");
}

/* Takes the response, which may be NULL: then the connection is closed. */
static void queue(http_request *request, int status, const char *type, struct MHD_Response *response) {
    if (!response) return;
    char id[32];
    snprintf(id, sizeof id, "req_%016llx", (unsigned long long)request->number);
    MHD_add_response_header(response, "X-Request-Id", id);
    MHD_add_response_header(response, "Request-Id", id); /* as Anthropic's clients call it */
    if (type) MHD_add_response_header(response, "Content-Type", type);
    for (size_t i = 0; i < request->n_header; i++) {
        MHD_add_response_header(response, request->header[i][0], request->header[i][1]);
    }
    add_cors(request, response);
    connection_due(request->server->connections, request->connection, request->server->params.seconds);
    request->replied = MHD_queue_response(request->mhd, (unsigned)status, response) == MHD_YES;
    if (request->replied) request->status = status;
    MHD_destroy_response(response);
}

void http_reply(http_request *request, int status, const char *type, char *body, size_t n) {
    if (!body) return;
    struct MHD_Response *response = MHD_create_response_from_buffer(n, body, MHD_RESPMEM_MUST_FREE);
    if (response) {
        request->n_out = n;
    } else {
        free(body);
    }
    queue(request, status, type, response);
}

/* libmicrohttpd asks for more: within this call we may wait, between two calls the client takes what it was given. */
static ssize_t fill(void *data, uint64_t at, char *out, size_t most) {
    http_request *request = data;
    connections *all = request->server->connections;
    bool broken = false, more = true;
    (void)at;
    connection_busy(all, request->connection);
    while (more && request->n_part == 0)
        more = request->next(request->stream, &request->part, &request->n_part, &broken);
    connection_due(all, request->connection, request->server->params.seconds);
    if (!more && broken) request->status = 0;
    if (!more) return broken ? MHD_CONTENT_READER_END_WITH_ERROR : MHD_CONTENT_READER_END_OF_STREAM;
    const size_t n = request->n_part < most ? request->n_part : most;
    memcpy(out, request->part, n);
    request->part += n;
    request->n_part -= n;
    request->n_out += n;
    return (ssize_t)n;
}

void http_stream(http_request *request, const char *type, http_next *next, void (*end)(void *data), void *data) {
    enum { BLOCK = 16 << 10 };
    request->next = next;
    request->end = end;
    request->stream = data;
    http_header(request, "Cache-Control", "no-cache");
    http_header(request, "X-Accel-Buffering", "no"); /* nginx would wait for more */
    queue(request, MHD_HTTP_OK, type, MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, fill, request, NULL));
}

/* ---- who may ask ------------------------------------------------------------------------------------------------- */

judgeq_status http_use_keys(http *server, const char *const *key, size_t n, judgeq_error *error) {
    return keys_use(&server->keys, key, n, error);
}

static bool has_key(const http_request *request) {
    static const char scheme[] = "Bearer ";
    const char *given = header_of(request, "Authorization");
    const bool bearer = given && strncasecmp(given, scheme, sizeof scheme - 1) == 0;
    return keys_fit(&request->server->keys, bearer ? given + sizeof scheme - 1 : header_of(request, "X-Api-Key"));
}

/* A browser says from which page a request comes. A page of anybody's could have us compute, if it could not read the
 * answer: only pages of our own, and those that were named, may. */
static bool is_welcome(const http_request *request) {
    const char *origin = header_of(request, "Origin"), *host = header_of(request, "Host");
    if (!origin || shared_origin(request)) return true;
    const char *name = strstr(origin, "://");
    return host && name && strcmp(name + 3, host) == 0;
}

/* Browsers always send the name that they asked for. */
static bool is_meant(const http_request *request) {
    const http *server = request->server;
    const char *host = header_of(request, "Host");
    return !server->loopback || !host || host_name_is_ours(host, server->params.names, server->params.n_names);
}

static bool path_fits(const char *route, const char *path) {
    const size_t n = strlen(route);
    if (n > 0 && route[n - 1] == '*') return strncmp(route, path, n - 1) == 0 && path[n - 1] != '\0';
    return strcmp(route, path) == 0;
}

static void refuse(http_request *request, int status, const char *why) {
    request->refused = status;
    request->why = why;
}

static void allow(http_request *request, const char *method) {
    const size_t n = strlen(request->allow);
    snprintf(request->allow + n, sizeof request->allow - n, "%s%s", n > 0 ? ", " : "", method);
}

static void find_route(http_request *request) {
    const http_params *params = &request->server->params;
    const char *method = strcmp(request->method, "HEAD") == 0 ? "GET" : request->method;
    request->allow[0] = '\0';
    for (size_t i = 0; i < params->n_routes && !request->route; i++) {
        if (!path_fits(params->routes[i].path, request->path)) continue;
        allow(request, params->routes[i].method);
        if (strcmp(params->routes[i].method, method) == 0) request->route = &params->routes[i];
    }
    if (request->route) return;
    if (!request->allow[0]) {
        refuse(request, MHD_HTTP_NOT_FOUND, "no such path; docs/server.md lists them");
        return;
    }
    allow(request, "OPTIONS");
    http_header(request, "Allow", request->allow);
    refuse(request, MHD_HTTP_METHOD_NOT_ALLOWED, "this path has other methods");
}

static void check(http_request *request) {
    if (header_of(request, "Transfer-Encoding") && header_of(request, "Content-Length")) {
        /* a proxy before us may read another request out of it than we do */
        http_header(request, "Connection", "close");
        refuse(request, MHD_HTTP_BAD_REQUEST, "Content-Length and Transfer-Encoding exclude each other");
    }
    if (!is_meant(request)) {
        refuse(request, MHD_HTTP_FORBIDDEN,
               "the Host header names neither an address nor localhost; judgeq serve --host-name NAME lets it");
    } else if (!is_welcome(request)) {
        refuse(request, MHD_HTTP_FORBIDDEN, "this web page may not ask; judgeq serve --cors ORIGIN lets it");
    }
    if (request->refused || strcmp(request->method, "OPTIONS") == 0) return;
    find_route(request);
    if (!(request->route && request->route->open) && !has_key(request)) {
        refuse(
            request, MHD_HTTP_UNAUTHORIZED,
            "a key is needed: the header \"Authorization: Bearer KEY\" or \"X-Api-Key: KEY\", with a key that judgeq "
            "serve was given");
    }
}

/* ---- a request's course ------------------------------------------------------------------------------------------ */

static connection *connection_of(struct MHD_Connection *mhd) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static void request_free(http_request *request) {
    if (!request) return;
    if (request->end) request->end(request->stream);
    atomic_fetch_sub(&request->server->bodies, request->body.length);
    text_free(&request->body);
    free(request->method);
    free(request->path);
    free(request);
}

static http_request *request_new(http *server, struct MHD_Connection *mhd, const char *method, const char *path) {
    http_request *request = calloc(1, sizeof *request);
    if (!request) return NULL;
    *request = (http_request){.server = server,
                              .mhd = mhd,
                              .connection = connection_of(mhd),
                              .number = atomic_fetch_add(&server->n_number, 1),
                              .method = strdup(method),
                              .path = strdup(path),
                              .started = clock_seconds()};
    if (request->method && request->path) {
        const size_t n = strlen(request->path);
        if (n > 1 && request->path[n - 1] == '/') request->path[n - 1] = '\0';
        return request;
    }
    request_free(request);
    return NULL;
}

/* The request's head is there. MHD_NO closes the connection. */
static enum MHD_Result begin(http_request *request) {
    const http_params *params = &request->server->params;
    const char *length = header_of(request, "Content-Length"), *expects = header_of(request, "Expect");
    connection_due(request->server->connections, request->connection, params->seconds);
    check(request);
    const unsigned long long n = length ? strtoull(length, NULL, 10) : 0;
    if (!request->refused && n > params->body_bytes) {
        refuse(request, MHD_HTTP_CONTENT_TOO_LARGE, "the request's body is too large");
    }
    if (request->refused && (expects || n / DRAINED_MOST > params->body_bytes)) {
        request->handled = true; /* it need not be sent */
        params->refuse(request, request->refused, request->why);
        return request->replied ? MHD_YES : MHD_NO;
    }
    return MHD_YES;
}

static enum MHD_Result receive(http_request *request, const char *bytes, size_t n) {
    http *server = request->server;
    const http_params *params = &server->params;
    request->n_in += n;
    if (request->n_in / DRAINED_MOST > params->body_bytes) return MHD_NO;
    if (request->refused) return MHD_YES;
    if (request->body.length + n > params->body_bytes) {
        refuse(request, MHD_HTTP_CONTENT_TOO_LARGE, "the request's body is too large");
    } else if (atomic_load(&server->bodies) + n > params->bodies_bytes) {
        refuse(request, MHD_HTTP_SERVICE_UNAVAILABLE, "too many long requests at once: ask again later");
    } else {
        text_add(&request->body, bytes, n);
        if (request->body.failed)
            refuse(request, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory for the request");
        else
            atomic_fetch_add(&server->bodies, n);
    }
    return MHD_YES;
}

static enum MHD_Result handle(http_request *request) {
    const http_params *params = &request->server->params;
    request->handled = true;
    connection_busy(request->server->connections, request->connection);
    if (request->refused) {
        params->refuse(request, request->refused, request->why);
    } else if (request->route) {
        request->route->handler(request);
    } else { /* OPTIONS */
        http_reply(request, MHD_HTTP_NO_CONTENT, NULL, strdup(""), 0);
    }
    return request->replied ? MHD_YES : MHD_NO;
}

static enum MHD_Result take(void *data, struct MHD_Connection *mhd, const char *url, const char *method,
                            const char *version, const char *bytes, size_t *n, void **state) {
    http_request *request = *state;
    (void)version;
    if (!request) {
        *state = request = request_new(data, mhd, method, url);
        return request ? begin(request) : MHD_NO;
    }
    if (*n > 0) {
        const size_t some = *n;
        *n = 0;
        return receive(request, bytes, some);
    }
    return request->handled ? MHD_YES : handle(request);
}

static void client_of(const http_request *request, char *out, size_t size) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(request->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const socklen_t n = info && info->client_addr && info->client_addr->sa_family == AF_INET6
                            ? sizeof(struct sockaddr_in6)
                            : sizeof(struct sockaddr_in);
    if (!info || !info->client_addr ||
        getnameinfo(info->client_addr, n, out, (socklen_t)size, NULL, 0, NI_NUMERICHOST) != 0) {
        snprintf(out, size, "?");
    }
}

static void count(http_request *request) {
    http *server = request->server;
    const int status = request->status;
    atomic_fetch_add(&server->n_requests, 1);
    atomic_fetch_add(status == 0     ? &server->n_left
                     : status >= 500 ? &server->n_failed
                     : status >= 400 ? &server->n_wrong
                                     : &server->n_good,
                     1);
}

static void completed(void *data, struct MHD_Connection *mhd, void **state, enum MHD_RequestTerminationCode how) {
    http *server = data;
    http_request *request = *state;
    (void)mhd;
    if (!request) return;
    if (how != MHD_REQUEST_TERMINATED_COMPLETED_OK) request->status = 0;
    count(request);
    if (server->params.log) {
        char client[INET6_ADDRSTRLEN + 8];
        client_of(request, client, sizeof client);
        const http_log line = {client,
                               request->method,
                               request->path,
                               request->status,
                               request->n_in,
                               request->n_out,
                               clock_seconds() - request->started};
        server->params.log(server->params.log_data, &line);
    }
    connection_rest(server->connections, request->connection, server->params.seconds);
    request_free(request);
    *state = NULL;
}

static void connected(void *data, struct MHD_Connection *mhd, void **state, enum MHD_ConnectionNotificationCode what) {
    http *server = data;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        connections_remove(server->connections, *state);
        *state = NULL;
        return;
    }
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    *state = info ? connections_add(server->connections, info->connect_fd) : NULL;
    connection_rest(server->connections, *state, server->params.seconds);
}

/* ---- the server -------------------------------------------------------------------------------------------------- */

static int listen_at(const struct addrinfo *at) {
    const int one = 1, found = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol);
    if (found < 0) return -1;
    setsockopt(found, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(found, at->ai_addr, at->ai_addrlen) == 0 && listen(found, BACKLOG) == 0) return found;
    const int kept = errno;
    close(found);
    errno = kept;
    return -1;
}

static judgeq_status open_socket(http *server, judgeq_error *error) {
    const http_params *params = &server->params;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    char port[16];
    snprintf(port, sizeof port, "%d", params->port);
    const int failed = getaddrinfo(params->host, port, &hints, &found);
    if (failed != 0) {
        return error_set(error, JUDGEQ_ERROR_IO, "cannot listen at %.*s: %s", VISIBLE_FIT(params->host, 200),
                         gai_strerror(failed));
    }
    server->socket = listen_at(found);
    const int why = errno;
    freeaddrinfo(found);
    if (server->socket >= 0) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_IO, "cannot listen at %.*s, port %d: %s; --port 0 takes one that is free",
                     VISIBLE_FIT(params->host, 200), params->port, strerror(why));
}

static bool is_loopback(int socket) {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address = {0};
    socklen_t n = sizeof address;
    if (getsockname(socket, &address.any, &n) != 0) return false;
    if (address.any.sa_family == AF_INET6) return IN6_IS_ADDR_LOOPBACK(&address.v6.sin6_addr);
    return address.any.sa_family == AF_INET && ntohl(address.v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
}

static int port_of(int socket) {
    struct sockaddr_storage address = {0};
    socklen_t n = sizeof address;
    char port[16] = "";
    if (getsockname(socket, (struct sockaddr *)&address, &n) != 0 ||
        getnameinfo((struct sockaddr *)&address, n, NULL, 0, port, sizeof port, NI_NUMERICSERV) != 0) {
        return 0;
    }
    return (int)strtol(port, NULL, 10);
}

static void say_nothing(void *data, const char *format, va_list arguments) {
    (void)data, (void)format, (void)arguments;
}

static judgeq_status start(http *server, judgeq_error *error) {
    server->connections = connections_new();
    if (!server->connections) return error_memory(error, "connections");
    const judgeq_status status = open_socket(server, error);
    if (status != JUDGEQ_OK) return status;
    server->port = port_of(server->socket);
    server->loopback = is_loopback(server->socket);
    server->daemon = MHD_start_daemon(
        MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL_INTERNAL_THREAD | MHD_USE_ITC | MHD_USE_ERROR_LOG, 0, NULL, NULL,
        take, server, MHD_OPTION_EXTERNAL_LOGGER, say_nothing, NULL, MHD_OPTION_LISTEN_SOCKET, server->socket,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)server->params.n_connections, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_BYTES, MHD_OPTION_NOTIFY_COMPLETED, completed, server, MHD_OPTION_NOTIFY_CONNECTION,
        connected, server, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
    return server->daemon ? JUDGEQ_OK : error_set(error, JUDGEQ_ERROR_IO, "libmicrohttpd cannot start");
}

judgeq_status http_new(const http_params *params, http **out, judgeq_error *error) {
    *out = NULL;
    http *server = calloc(1, sizeof *server);
    if (!server || !keys_init(&server->keys)) {
        free(server);
        return error_memory(error, "a server");
    }
    server->params = *params;
    server->n_number = (uint64_t)time(NULL) << 20; /* other ones than before a restart */
    server->socket = -1;
    judgeq_status status = http_use_keys(server, params->keys, params->n_keys, error);
    if (status == JUDGEQ_OK) status = start(server, error);
    if (status == JUDGEQ_OK) {
        *out = server;
    } else {
        http_free(server, 0);
    }
    return status;
}

int http_port(const http *server) {
    return server->port;
}

void http_close(http *server) {
    if (server->socket < 0) return;
    if (server->daemon) MHD_quiesce_daemon(server->daemon);
    close(server->socket);
    server->socket = -1;
}

void http_free(http *server, double seconds) {
    if (!server) return;
    http_close(server);
    if (server->connections) connections_wait_rest(server->connections, seconds);
    if (server->daemon) MHD_stop_daemon(server->daemon);
    connections_free(server->connections);
    keys_free(&server->keys);
    free(server);
}

void http_get_counts(http *server, http_counts *counts) {
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
    *counts = (http_counts){.n_requests = atomic_load(&server->n_requests),
                            .n_good = atomic_load(&server->n_good),
                            .n_wrong = atomic_load(&server->n_wrong),
                            .n_failed = atomic_load(&server->n_failed),
                            .n_left = atomic_load(&server->n_left),
                            .n_connections = info ? (int32_t)info->num_connections : 0};
}
