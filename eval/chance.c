#include "chance.h"

#include <string.h>

#include "base/splitmix.h"

chance chance_from(const char *text, uint64_t a, uint64_t b) {
    chance d = {0xcbf29ce484222325u}; /* FNV-1a over the text */
    for (const char *c = text; *c; c++) d.state = (d.state ^ (unsigned char)*c) * 0x100000001b3u;
    uint64_t drawn = splitmix_next(&d.state); /* which changes the state that it joins */
    d.state ^= drawn + a;
    drawn = splitmix_next(&d.state);
    d.state ^= drawn + b;
    return d;
}

size_t chance_below(chance *d, size_t n) {
    return (size_t)(splitmix_next(&d->state) % n);
}

double chance_share(chance *d) {
    return (double)(splitmix_next(&d->state) >> 11) * 0x1p-53;
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
