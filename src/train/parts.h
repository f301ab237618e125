/* parts: how the work of an operation is cut for its threads. */
#ifndef JUDGEQ_SRC_TRAIN_PARTS_H
#define JUDGEQ_SRC_TRAIN_PARTS_H

#include <stdint.h>

static inline int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static inline int64_t parts(int64_t n, int64_t size) {
    return (n + size - 1) / size;
}

/* The size, a multiple of `unit`, of parts of n, `most` at most, such that the threads get equally many of them, if n
 * is not too small for that; there are `times` such n. */
static inline int64_t part_size(int64_t n, int64_t most, int64_t unit, int64_t times, int n_thread) {
    int64_t n_part = parts(n, most);
    while (n_part * times % n_thread != 0 && n_part * unit < n) n_part++;
    return parts(parts(n, n_part), unit) * unit;
}

#endif
