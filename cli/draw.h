/* draw: numbers that a seed decides, the same on every machine. */
#ifndef JUDGEQ_CLI_DRAW_H
#define JUDGEQ_CLI_DRAW_H

#include <stddef.h>
#include <stdint.h>

/* Below n, n > 0. The bias of the remainder is n / 2^64. */
size_t draw_below(uint64_t *state, size_t n);
/* In [0, 1). */
double draw_share(uint64_t *state);

#endif
