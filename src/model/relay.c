#include "relay.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ggml-rpc.h"

#include "base/clock.h"

/* A request is a command, a size and as many bytes; an answer is a size and as many bytes. */
enum { COMMAND_BYTES = 1, SIZE_BYTES = 8, HELLO = 14, DEVICE_COUNT = 15, HELLO_BYTES = 24, HELLO_ANSWER_BYTES = 28 };
enum { TICK_MS = 250, PIECE = 64 << 10 };

/* The commands that the server answers; where another version of ggml numbers them differently, only the first. */
#define BIT(command) (UINT32_C(1) << (command))
#if RPC_PROTO_MAJOR_VERSION == 7
static const uint32_t ANSWERED =
    BIT(0) | BIT(1) | BIT(2) | BIT(3) | BIT(7) | BIT(8) | BIT(9) | BIT(11) | BIT(13) | BIT(HELLO) | BIT(DEVICE_COUNT);
#else
static const uint32_t ANSWERED = BIT(HELLO);
#endif

/* One direction: where in a message it is. */
typedef struct stream {
    int from, to;
    size_t head_bytes, n_head;
    uint8_t head[COMMAND_BYTES + SIZE_BYTES];
    uint64_t left; /* bytes of the message that come yet, after its head */
} stream;

typedef struct relay {
    const relay_limits *limits;
    stream request, answer;
    uint64_t n_owed; /* answers */
    bool greeted;
    int quiet_ms;
    uint8_t piece[PIECE];
} relay;

/* ---- whose turn it is -------------------------------------------------------------------------------------------- */

static void end_message(relay *r, stream *s) {
    s->n_head = 0;
    if (s == &r->answer) {
        r->n_owed -= r->n_owed > 0;
    } else {
        r->greeted = true;
        r->n_owed += s->head[0] < 32 && (ANSWERED & BIT(s->head[0])) != 0;
    }
}

static relay_end follow(relay *r, stream *s, const uint8_t *data, size_t n) {
    while (n > 0) {
        size_t taken = 1;
        if (s->n_head < s->head_bytes) {
            s->head[s->n_head++] = *data;
            if (s->n_head == s->head_bytes) memcpy(&s->left, s->head + s->head_bytes - SIZE_BYTES, SIZE_BYTES);
            const uint64_t most = s == &r->request ? r->limits->most_bytes : 0;
            if (most > 0 && s->n_head == s->head_bytes && s->left > most) return RELAY_CLIENT_WRONG;
        } else {
            taken = s->left < n ? (size_t)s->left : n;
            s->left -= taken;
        }
        data += taken;
        n -= taken;
        if (s->n_head == s->head_bytes && s->left == 0) end_message(r, s);
    }
    return RELAY_GOES_ON;
}

static bool another_waits(const relay_limits *limits) {
    struct pollfd waiting = {.fd = limits->waiting, .events = POLLIN};
    return limits->waiting >= 0 && poll(&waiting, 1, 0) == 1;
}

/* Nothing moved for a tick. Ticks are counted, and no clock is read: a process that was stopped was not silent.
 * full: the socket that takes no more, or -1. */
static relay_end count_silence(relay *r, int full) {
    const relay_limits *l = r->limits;
    r->quiet_ms += r->quiet_ms < INT32_MAX - TICK_MS ? TICK_MS : 0;
    if (full == r->request.to || (full < 0 && r->n_owed > 0)) {
        return l->answer_ms > 0 && r->quiet_ms >= l->answer_ms ? RELAY_SERVER_SILENT : RELAY_GOES_ON;
    }
    const int most = r->greeted ? l->idle_ms : l->hello_ms;
    return r->quiet_ms >= most && another_waits(l) ? RELAY_CLIENT_SILENT : RELAY_GOES_ON;
}

/* ---- bytes ------------------------------------------------------------------------------------------------------- */

static bool only_for_now(void) {
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

static relay_end closed_by(const relay *r, int fd) {
    return fd == r->request.from ? RELAY_CLIENT_CLOSED : RELAY_SERVER_CLOSED;
}

static relay_end pass(relay *r, int to, const uint8_t *data, size_t n) {
    relay_end end = RELAY_GOES_ON;
    while (n > 0 && end == RELAY_GOES_ON) {
        struct pollfd room = {.fd = to, .events = POLLOUT};
        const ssize_t sent = send(to, data, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent > 0) {
            data += sent;
            n -= (size_t)sent;
            r->quiet_ms = 0;
        } else if (!only_for_now()) {
            end = closed_by(r, to);
        } else if (poll(&room, 1, TICK_MS) == 0) {
            end = count_silence(r, to);
        }
    }
    return end;
}

/* What has come in one direction. */
static relay_end move(relay *r, stream *s) {
    const ssize_t n = recv(s->from, r->piece, PIECE, MSG_DONTWAIT);
    if (n < 0 && only_for_now()) return RELAY_GOES_ON;
    if (n <= 0) return closed_by(r, s->from);
    r->quiet_ms = 0;
    const relay_end end = follow(r, s, r->piece, (size_t)n);
    return end == RELAY_GOES_ON ? pass(r, s->to, r->piece, (size_t)n) : end;
}

static void set_options(int fd) {
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

relay_end relay_run(int client, int server, const relay_limits *limits) {
    relay r = {.limits = limits,
               .request = {.from = client, .to = server, .head_bytes = COMMAND_BYTES + SIZE_BYTES},
               .answer = {.from = server, .to = client, .head_bytes = SIZE_BYTES}};
    relay_end end = RELAY_GOES_ON;
    set_options(client);
    set_options(server);
    while (end == RELAY_GOES_ON) {
        struct pollfd ready[] = {{.fd = server, .events = POLLIN}, {.fd = client, .events = POLLIN}};
        const int n = poll(ready, 2, TICK_MS);
        if (n == 0) end = count_silence(&r, -1);
        if (n > 0 && ready[0].revents) end = move(&r, &r.answer);
        if (n > 0 && ready[1].revents && end == RELAY_GOES_ON) end = move(&r, &r.request);
    }
    return end;
}

/* ---- connecting -------------------------------------------------------------------------------------------------- */

/* poll, again where a signal came. */
static bool wait_for(int fd, short events, int ms) {
    struct pollfd ready = {.fd = fd, .events = events};
    int n;
    do {
        n = poll(&ready, 1, ms);
    } while (n < 0 && errno == EINTR);
    return n == 1;
}

int relay_connect(const struct addrinfo *address, int ms, int *fd) {
    *fd = socket(address->ai_family, address->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (*fd < 0) return errno;
    int failure = connect(*fd, address->ai_addr, address->ai_addrlen) == 0 ? 0 : errno;
    if (failure == EINPROGRESS) {
        socklen_t size = sizeof failure;
        if (!wait_for(*fd, POLLOUT, ms)) {
            failure = ETIMEDOUT;
        } else if (getsockopt(*fd, SOL_SOCKET, SO_ERROR, &failure, &size) != 0) {
            failure = errno;
        }
    }
    if (failure != 0) {
        close(*fd);
        *fd = -1;
    }
    return failure;
}

/* until: on clock_seconds' clock */
static relay_end receive(int server, void *data, size_t n, double until) {
    for (size_t at = 0; at < n;) {
        const double left = until - clock_seconds();
        if (left <= 0 || !wait_for(server, POLLIN, (int)(left * 1000) + 1)) return RELAY_SERVER_SILENT;
        const ssize_t got = recv(server, (uint8_t *)data + at, n - at, MSG_DONTWAIT);
        if (got == 0 || (got < 0 && !only_for_now())) return RELAY_SERVER_CLOSED;
        at += got > 0 ? (size_t)got : 0;
    }
    return RELAY_GOES_ON;
}

/* A request of zeros, and its answer; *known: it has the size that it should. */
static relay_end ask(int server, uint8_t command, uint64_t n_request, void *answer, uint64_t n_answer, double until,
                     bool *known) {
    uint8_t request[COMMAND_BYTES + SIZE_BYTES + HELLO_BYTES] = {command};
    uint64_t size = 0;
    const size_t n = COMMAND_BYTES + SIZE_BYTES + (size_t)n_request;
    memcpy(request + COMMAND_BYTES, &n_request, SIZE_BYTES);
    if (send(server, request, n, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)n) return RELAY_SERVER_CLOSED;
    relay_end end = receive(server, &size, sizeof size, until);
    *known = end == RELAY_GOES_ON && size == n_answer;
    return *known ? receive(server, answer, (size_t)n_answer, until) : end;
}

relay_hello relay_ask(int server, int ms) {
    relay_hello hello = {0};
    const double until = clock_seconds() + ms / 1000.0;
    uint8_t version[HELLO_ANSWER_BYTES] = {0};
    hello.end = ask(server, HELLO, HELLO_BYTES, version, sizeof version, until, &hello.known);
    hello.major = version[0];
    hello.minor = version[1];
    if (hello.end != RELAY_GOES_ON || !hello.known || hello.major != RPC_PROTO_MAJOR_VERSION) return hello;
    hello.end = ask(server, DEVICE_COUNT, 0, &hello.n_device, sizeof hello.n_device, until, &hello.known);
    return hello;
}

int relay_thread(void *(*run)(void *), void *of) {
    pthread_t thread;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failure = pthread_create(&thread, NULL, run, of);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure == 0) pthread_detach(thread);
    return failure;
}
