/* The relay between a client and a server of ggml's RPC: what goes in comes out, and whoever is silent when it is its
 * turn ends the connection, and nobody else. */
#include "model/relay.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"

enum {
    HEAD = 9,
    HELLO = 14,
    SET_TENSOR = 6,
    GET_TENSOR = 8,
    UNKNOWN = 200,
    LIMIT_MS = 1500,
    LONGER_MS = 2500,
    MIB = 1 << 20
};

/* One relay, in a thread; the client's end, the server's, and where another client waits. */
typedef struct bench {
    pthread_t thread;
    int client[2], server[2], waiting[2];
    relay_limits limits;
    relay_end end;
} bench;

static void *run(void *of) {
    bench *b = of;
    b->end = relay_run(b->client[1], b->server[1], &b->limits);
    close(b->client[1]);
    close(b->server[1]);
    return NULL;
}

static void start(bench *b, bool another_waits) {
    int *pairs[] = {b->client, b->server, b->waiting};
    for (int i = 0; i < 3; i++) assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[i]), 0);
    if (another_waits) assert_int_equal(write(b->waiting[0], "x", 1), 1);
    b->limits = (relay_limits){LIMIT_MS, LIMIT_MS, LIMIT_MS, another_waits ? b->waiting[1] : -1, MIB};
    assert_int_equal(pthread_create(&b->thread, NULL, run, b), 0);
}

static relay_end finish(bench *b) {
    assert_int_equal(pthread_join(b->thread, NULL), 0);
    const int open[] = {b->client[0], b->server[0], b->waiting[0], b->waiting[1]};
    for (int i = 0; i < 4; i++) close(open[i]);
    return b->end;
}

/* n bytes of a message whose head says n_told bytes; its head has a command, but for command -1, an answer's. */
static void put(int fd, int command, uint64_t n_told, size_t n) {
    uint8_t *message = calloc(1, HEAD + n);
    const size_t at = command >= 0;
    assert_non_null(message);
    if (command >= 0) message[0] = (uint8_t)command;
    memcpy(message + at, &n_told, sizeof n_told);
    send(fd, message, at + sizeof n_told + n, MSG_NOSIGNAL); /* fails where the relay ends before it has all */
    free(message);
}

static void take(int fd, size_t n) {
    char piece[4096];
    while (n > 0) {
        const ssize_t got = recv(fd, piece, n < sizeof piece ? n : sizeof piece, 0);
        assert_true(got > 0);
        n -= (size_t)got;
    }
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

static void test_bytes_come_out(void **state) {
    (void)state;
    enum { N = 300000 };
    bench b = {0};
    static uint8_t sent[N], came[N];
    start(&b, false);
    for (size_t i = 0; i < N; i++) sent[i] = (uint8_t)(i * 31 >> 3);
    const uint64_t size = N - HEAD;
    sent[0] = SET_TENSOR;
    memcpy(sent + 1, &size, sizeof size);
    for (size_t at = 0, n; at < N; at += n) { /* single bytes, then more */
        n = at < 20 ? 1 : (N - at < 50000 ? N - at : 50000);
        assert_int_equal(send(b.client[0], sent + at, n, 0), n);
        assert_int_equal(recv(b.server[0], came + at, n, MSG_WAITALL), n);
    }
    assert_memory_equal(sent, came, N);
    close(b.client[0]);
    b.client[0] = -1;
    assert_int_equal(finish(&b), RELAY_CLIENT_CLOSED);
}

/* A message of the client, and one of the server, -1: none; then silence. */
typedef struct silence {
    const char *name;
    int command;
    int64_t request_told, request, answer_told, answer;
    bool another_waits;
    relay_end end;
} silence;

static const silence silences[] = {
    {"nothing", -1, -1, 0, -1, 0, false, RELAY_GOES_ON},
    {"hello", HELLO, 24, 24, -1, 0, false, RELAY_SERVER_SILENT},
    {"hello, answered", HELLO, 24, 24, 28, 28, false, RELAY_GOES_ON},
    {"half an answer", HELLO, 24, 24, 28, 14, false, RELAY_SERVER_SILENT},
    {"half a request", GET_TENSOR, 24, 12, -1, 0, false, RELAY_GOES_ON},
    {"what needs no answer", SET_TENSOR, 24, 24, -1, 0, false, RELAY_GOES_ON},
    {"a command that is unknown", UNKNOWN, 24, 24, -1, 0, false, RELAY_GOES_ON},
    {"an empty request", GET_TENSOR, 0, 0, -1, 0, false, RELAY_SERVER_SILENT},
    {"an empty answer", GET_TENSOR, 0, 0, 0, 0, false, RELAY_GOES_ON},
    {"a server that does not read", SET_TENSOR, MIB, MIB, -1, 0, false, RELAY_SERVER_SILENT},
    {"too long", SET_TENSOR, MIB + 1, 0, -1, 0, false, RELAY_CLIENT_WRONG},
    {"far too long", SET_TENSOR, INT64_MAX, 0, -1, 0, false, RELAY_CLIENT_WRONG},
    {"nothing, while another waits", -1, -1, 0, -1, 0, true, RELAY_CLIENT_SILENT},
    {"hello, answered, while another waits", HELLO, 24, 24, 28, 28, true, RELAY_CLIENT_SILENT},
    {"half a request, while another waits", GET_TENSOR, 24, 12, -1, 0, true, RELAY_CLIENT_SILENT},
    {"hello, while another waits", HELLO, 24, 24, -1, 0, true, RELAY_SERVER_SILENT},
    {"a client that does not read", GET_TENSOR, 0, 0, MIB, MIB, true, RELAY_CLIENT_SILENT},
};
enum { N_SILENCE = sizeof silences / sizeof *silences };

/* All at the same time: they wait. */
static void test_silence(void **state) {
    (void)state;
    static bench benches[N_SILENCE];
    for (int i = 0; i < N_SILENCE; i++) {
        const silence *s = &silences[i];
        bench *b = &benches[i];
        const bool reads_all = s->request < MIB && s->end != RELAY_CLIENT_WRONG;
        start(b, s->another_waits);
        if (s->request_told >= 0) put(b->client[0], s->command, (uint64_t)s->request_told, (size_t)s->request);
        if (s->request_told >= 0 && reads_all) take(b->server[0], HEAD + (size_t)s->request);
        if (s->answer_told >= 0) put(b->server[0], -1, (uint64_t)s->answer_told, (size_t)s->answer);
        if (s->answer_told >= 0 && s->answer < MIB) take(b->client[0], HEAD - 1 + (size_t)s->answer);
    }
    usleep(1000 * LONGER_MS);
    for (int i = 0; i < N_SILENCE; i++) {
        bench *b = &benches[i];
        relay_end expected = silences[i].end;
        if (expected == RELAY_GOES_ON) { /* until its client goes */
            expected = RELAY_CLIENT_CLOSED;
            close(b->client[0]);
            b->client[0] = -1;
        }
        const relay_end end = finish(b);
        if (end != expected) fail_msg("%s: %d, not %d", silences[i].name, end, expected);
    }
}

static void test_a_server_that_goes(void **state) {
    (void)state;
    bench b = {0};
    start(&b, false);
    put(b.client[0], HELLO, 24, 24);
    take(b.server[0], HEAD + 24);
    close(b.server[0]);
    b.server[0] = -1;
    assert_int_equal(finish(&b), RELAY_SERVER_CLOSED);
}

TESTS_MAIN(NULL, NULL, cmocka_unit_test(test_bytes_come_out), cmocka_unit_test(test_silence),
           cmocka_unit_test(test_a_server_that_goes))
