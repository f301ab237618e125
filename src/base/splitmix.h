/* splitmix: splitmix64 (Steele, Lea, Flood, 2014): numbers by a seed, the same on every machine. */
#ifndef JUDGEQ_SRC_SPLITMIX_H
#define JUDGEQ_SRC_SPLITMIX_H

#include <stdint.h>

/* What a number of the sequence is made of: a hash of 64 bits. */
static inline uint64_t splitmix_hash(uint64_t z) {
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* The next number of the sequence that *state stands in. */
static inline uint64_t splitmix_next(uint64_t *state) {
    return splitmix_hash(*state += 0x9e3779b97f4a7c15u);
}

#endif
