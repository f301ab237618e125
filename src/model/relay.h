/* relay: carries one RPC connection between a client and a server of ggml's, which wait for each other without end. It
 * follows the messages, so that it knows whose turn it is, and ends the connection when that side stays silent. */
#ifndef JUDGEQ_SRC_RELAY_H
#define JUDGEQ_SRC_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct addrinfo;

typedef struct relay_limits {
    int answer_ms;       /* the server's silence while the client waits for an answer; 0: no limit */
    int hello_ms;        /* the client's silence before it said hello, while another client waits */
    int idle_ms;         /* and after it did */
    int waiting;         /* the socket where other clients wait; -1: there is none, and these two do not count */
    uint64_t most_bytes; /* of one message of the client; 0: no limit */
} relay_limits;

typedef enum relay_end {
    RELAY_GOES_ON,
    RELAY_CLIENT_CLOSED,
    RELAY_CLIENT_SILENT,
    RELAY_CLIENT_WRONG, /* a longer message than may be */
    RELAY_SERVER_CLOSED,
    RELAY_SERVER_SILENT
} relay_end;

/* Returns when the connection is to end. Closes neither socket. */
relay_end relay_run(int client, int server, const relay_limits *limits);

/* Connects within ms. 0 and *fd, or an errno. */
int relay_connect(const struct addrinfo *address, int ms, int *fd);

/* Asks an RPC server how many devices it lends, within ms. */
typedef struct relay_hello {
    relay_end end; /* RELAY_GOES_ON: it answered */
    bool known;    /* and as ggml's servers do; major and minor are the protocol it speaks */
    int major, minor;
    uint32_t n_device;
} relay_hello;

relay_hello relay_ask(int server, int ms);

/* Starts a thread that is never joined and takes no signal. 0 or an errno. */
int relay_thread(void *(*run)(void *), void *of);

#endif
