/* bandwidth: how fast threads of this machine read memory, and copy it with a little arithmetic (STREAM's triad,
 * McCalpin 1995). Decoding reads every weight and every row of the cache once per token, so this is its limit. */
#ifndef JUDGEQ_CLI_BANDWIDTH_H
#define JUDGEQ_CLI_BANDWIDTH_H

#include <stdbool.h>
#include <stdint.h>

typedef struct bandwidth {
    double read, triad; /* bytes per second; the best of several passes, as in STREAM */
} bandwidth;

/* n_threads at once, 1 or more, each over its part of arrays that no cache holds (288 MiB, given back). False where
 * there is no memory, or a thread cannot be started. */
bool bandwidth_measure(int32_t n_threads, bandwidth *out);

#endif
