/* http: requests in, replies out. The only file that knows libmicrohttpd. Every connection has a thread, in which a
 * handler may wait for as long as its client does. */
#ifndef JUDGEQ_SERVER_HTTP_H
#define JUDGEQ_SERVER_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "judgeq.h"

typedef struct http http;
typedef struct http_request http_request;

/* Answers a request by one of http_reply and http_stream, or, where the client has left, by neither. */
typedef void http_handler(http_request *request);

typedef struct http_route {
    const char *method, *path; /* a path that ends with * stands for all that begin like it */
    http_handler *handler;
    bool open; /* to everybody, without a key */
} http_route;

/* What became of a request. */
typedef struct http_log {
    const char *client, *method, *path; /* as they came: any bytes but zero */
    int status;                         /* 0: the client left before it was answered */
    size_t n_in, n_out;                 /* bytes of both bodies */
    double seconds;                     /* from its first line to the last byte */
} http_log;

typedef struct http_params {
    const char *host;         /* name or address to listen at */
    int32_t port;             /* 0: any that is free */
    const http_route *routes; /* [n_routes] */
    size_t n_routes;
    const char *const *keys; /* [n_keys], as for http_use_keys */
    size_t n_keys;
    const char *const *origins; /* [n_origins], of web pages that may ask; "*": all */
    size_t n_origins;
    const char *const *names; /* [n_names], of this machine: beside its addresses and localhost, no other name may a
                                 request be for where only this machine itself can ask */
    size_t n_names;
    int32_t n_connections; /* at most */
    size_t body_bytes;     /* of a request, at most */
    size_t bodies_bytes;   /* of all requests that are being received or answered */
    double seconds;        /* that a client has to send a request, and to take a part of a reply */
    void *data;            /* the handlers' */
    /* Replies to a request that no handler gets: no such path, no key, too long. */
    void (*refuse)(http_request *request, int status, const char *message);
    /* Called in the threads of connections; or NULL. */
    void (*log)(void *log_data, const http_log *line);
    void *log_data;
} http_params;

/* Listens. The texts and arrays of params must outlive it. IO where the address cannot be had. */
judgeq_status http_new(const http_params *params, http **out, judgeq_error *error);
int http_port(const http *server);
/* A client has to name one of key [n], which are copied; none: nobody has to. In any thread, at any time. */
judgeq_status http_use_keys(http *server, const char *const *key, size_t n, judgeq_error *error);
/* Takes no more connections. */
void http_close(http *server);
/* The same, and waits for so long until all requests are answered. Whoever waits then is cut off. Accepts NULL. */
void http_free(http *server, double seconds);

typedef struct http_counts {
    int64_t n_requests, n_good, n_wrong, n_failed, n_left; /* all that were answered: below 400, 500 and above; gone */
    int32_t n_connections;                                 /* now */
} http_counts;

void http_get_counts(http *server, http_counts *counts);

/* ---- within a handler -------------------------------------------------------------------------------------------- */

void *http_data(const http_request *request);
http *http_server(const http_request *request);
/* Without a / at its end. */
const char *http_path(const http_request *request);
/* [*n], and a zero after it; "" where there was none. */
const char *http_body(const http_request *request, size_t *n);
/* What the client says that its body is; "". */
const char *http_type(const http_request *request);
/* A parameter of the path's query; NULL: there is none. */
const char *http_query(const http_request *request, const char *name);
/* Reads a body that is a form (multipart/form-data): its fields, each in parts that begin `at` so many bytes; `file` is
 * a name, or NULL. False where it is none, or is damaged. */
typedef bool http_field(void *data, const char *name, const char *file, const char *bytes, size_t n, size_t at);
bool http_form(http_request *request, http_field *take, void *data);
/* A number of its own. */
uint64_t http_number(const http_request *request);

/* More headers of the reply, of which there can be a few. Both texts must outlive the request. */
void http_header(http_request *request, const char *name, const char *value);
/* body [n]: malloced; taken. NULL: without memory. */
void http_reply(http_request *request, int status, const char *type, char *body, size_t n);

/* The next part of a reply, [*n], valid until it is asked again; false: that was all. *broken: it is not, but there is
 * no more to come. */
typedef bool http_next(void *data, const char **bytes, size_t *n, bool *broken);
/* A reply of many parts, which come as they are made. `end` is called once it has ended in any way. */
void http_stream(http_request *request, const char *type, http_next *next, void (*end)(void *data), void *data);

typedef enum http_waited { HTTP_READY, HTTP_LATE, HTTP_GONE } http_waited;

/* Waits until `event`, a file descriptor, can be read, or the client has left; for so many seconds. */
http_waited http_wait(http_request *request, int event, double seconds);

#endif
