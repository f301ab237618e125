#include "draw.h"

/* splitmix64 (Steele, Lea, Flood, 2014) */
static uint64_t next(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

size_t draw_below(uint64_t *state, size_t n) {
    return (size_t)(next(state) % n);
}

double draw_share(uint64_t *state) {
    return (double)(next(state) >> 11) * 0x1p-53;
}
