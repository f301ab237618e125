#include "threads.h"

#include <stddef.h>

#include "cores.h"
#include "judgeq.h"

static const double PATIENCE = 20; /* seconds in the faster way for each second in the slower */
static const double WEIGHT = 0.5;  /* of the latest run in a speed */
/* How many times as long a small graph may take with all threads while other programs run; we have seen 10 to 30. */
static const double CROWDED = 10;
/* As PATIENCE, for the first try of all threads where some cores were taken at the beginning: that may have passed. */
static const double GLANCE = 5;

threads_chooser threads_init(int32_t n_threads) {
    const int32_t cores = judgeq_cores();
    const bool fixed = n_threads > 0 && n_threads <= cores;
    const int32_t free = fixed ? cores : cores_free("");
    return (threads_chooser){.most = fixed ? n_threads : cores, .fixed = fixed, .crowded = free >= 0 && free < cores};
}

/* The index of the faster way: 1 (all threads) unless one thread was measured to be faster. */
static int faster(const threads_seen *seen) {
    return seen->speed[1] >= seen->speed[0];
}

/* Whether all threads were so much faster than one that the cores must have been idle. If they were not, another
 * program uses some of the cores. Then one thread is faster for small graphs, whose threads wait for each other more
 * often. */
static int cores_idle(const threads_seen *seen) {
    return seen->speed[1] >= 1.4 * seen->speed[0];
}

static bool untried(const threads_seen *seen) {
    return seen->speed[0] == 0.0 || seen->speed[1] == 0.0;
}

int32_t threads_choose(const threads_chooser *chooser, const threads_seen *seen, const threads_seen *hint) {
    if (chooser->fixed || chooser->most == 1) return chooser->most;
    const bool first = seen->speed[0] == 0.0 && seen->speed[1] == 0.0;
    const int best = !first ? faster(seen) : hint ? cores_idle(hint) : !chooser->crowded;
    double patience = PATIENCE;
    if (untried(seen) && !hint) patience = chooser->crowded ? GLANCE : 1;
    if (untried(seen) && hint && !cores_idle(hint)) patience = PATIENCE * CROWDED;
    const bool other = !first && seen->spent >= patience * seen->trial;
    return (other ? !best : best) ? chooser->most : 1;
}

void threads_note(const threads_chooser *chooser, threads_seen *seen, int32_t n_threads, double work, double seconds) {
    if (chooser->fixed || chooser->most == 1 || work == 0.0 || !(seconds > 0.0)) return;
    const int which = n_threads > 1;
    const bool first = seen->speed[0] == 0.0 && seen->speed[1] == 0.0;
    const bool trial = !first && which != faster(seen);
    seen->spent = trial ? 0.0 : seen->spent + seconds;
    if (trial || first) seen->trial = seconds;
    const double speed = work / seconds;
    seen->speed[which] = seen->speed[which] == 0.0 ? speed : (1 - WEIGHT) * seen->speed[which] + WEIGHT * speed;
}
