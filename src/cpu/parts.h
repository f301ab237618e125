/* parts: how the work of an operation is cut for its threads. */
#ifndef JUDGEQ_SRC_PARTS_H
#define JUDGEQ_SRC_PARTS_H

#include <stdint.h>

static inline int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static inline int64_t parts(int64_t n, int64_t size) {
    return (n + size - 1) / size;
}

/* The smallest number of parts, from `n` to `most`, that gives every thread the same number of them; `most` where none
 * does. There are `times` as many in all. */
static inline int64_t part_count(int64_t n, int64_t most, int64_t times, int n_thread) {
    while (n * times % n_thread != 0 && n < most) n++;
    return n;
}

/* The size, a multiple of `unit`, of such parts of n, `most` at most; there are `times` such n. */
static inline int64_t part_size(int64_t n, int64_t most, int64_t unit, int64_t times, int n_thread) {
    const int64_t n_part = part_count(parts(n, most), parts(n, unit), times, n_thread);
    return parts(parts(n, n_part), unit) * unit;
}

#endif
