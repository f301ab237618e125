/* chance: numbers by a seed, the same on every machine. */
#ifndef JUDGEQ_EVAL_CHANCE_H
#define JUDGEQ_EVAL_CHANCE_H

#include <stddef.h>
#include <stdint.h>

typedef struct chance {
    uint64_t state;
} chance;

/* A stream of its own for every text and pair of numbers. */
chance chance_from(const char *text, uint64_t a, uint64_t b);
/* Below n, which must not be 0. */
size_t chance_below(chance *d, size_t n);
/* 0 <= x < 1 */
double chance_share(chance *d);
/* Puts item[0..n), of `size` bytes each and at most 64, into random order. */
void chance_shuffle(chance *d, void *item, size_t n, size_t size);

#endif
