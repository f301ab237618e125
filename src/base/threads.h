/* threads: how many threads the next graph gets. ggml's threads wait for each other by spinning, hundreds of times per
 * token. On idle cores that is the fastest way; where another program holds a core, every wait lasts until the
 * scheduler comes round, and two threads can be ten times slower than one. So the chooser measures: it keeps the speeds
 * seen with one thread and with all, runs what was faster, and tries the other for a twentieth of the time at most.
 * Where other work has shown that the cores are taken, decoding waits longest before it tries all of them. Results do
 * not depend on it: ggml computes every output element in one thread. */
#ifndef JUDGEQ_SRC_THREADS_H
#define JUDGEQ_SRC_THREADS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct threads_chooser {
    int32_t most; /* all cores, or fewer where the caller asked for them */
    bool fixed;   /* the caller asked: no choice */
    bool crowded; /* other programs used some of the cores at the beginning */
} threads_chooser;

/* The speeds measured with one kind of work; [0] with one thread, [1] with all. */
typedef struct threads_seen {
    double speed[2]; /* units of work per second, recent runs weigh most; 0: not tried yet */
    double spent;    /* seconds in the faster way since the other was tried */
    double trial;    /* seconds that the other took then */
} threads_seen;

/* n_threads: the caller's wish, which is kept. 0, or more than there are cores: choose between one and all cores. */
threads_chooser threads_init(int32_t n_threads);

/* Threads for the next run of this kind of work. hint: another kind that has run before, whose speeds decide the first
 * run of this one; or NULL. */
int32_t threads_choose(const threads_chooser *chooser, const threads_seen *seen, const threads_seen *hint);

/* Notes the speed of a run: `work` units in `seconds` with n_threads. 0 units: the run is not noted. */
void threads_note(const threads_chooser *chooser, threads_seen *seen, int32_t n_threads, double work, double seconds);

#endif
