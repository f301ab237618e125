#include "chance.h"

#include <string.h>

/* splitmix64 (Steele, Lea, Flood, 2014) */
static uint64_t next(chance *d) {
    uint64_t z = (d->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

chance chance_from(const char *text, uint64_t a, uint64_t b) {
    chance d = {0xcbf29ce484222325u}; /* FNV-1a over the text */
    for (const char *c = text; *c; c++) d.state = (d.state ^ (unsigned char)*c) * 0x100000001b3u;
    d.state ^= next(&d) + a;
    d.state ^= next(&d) + b;
    return d;
}

size_t chance_below(chance *d, size_t n) {
    return (size_t)(next(d) % n);
}

double chance_share(chance *d) {
    return (double)(next(d) >> 11) * 0x1p-53;
}

void chance_shuffle(chance *d, void *item, size_t n, size_t size) {
    unsigned char swap[64], *at = item;
    for (size_t i = n; i > 1; i--) {
        const size_t k = chance_below(d, i);
        memcpy(swap, at + (i - 1) * size, size);
        memcpy(at + (i - 1) * size, at + k * size, size);
        memcpy(at + k * size, swap, size);
    }
}
