#include "rank.h"

#include <math.h>
#include <string.h>

uint64_t rank_key(float score, int32_t position) {
    uint32_t bits = 0, earlier = ~(uint32_t)position;
    if (!isnan(score)) {
        float value = score + 0.0f; /* -0 and 0 are the same score */
        memcpy(&bits, &value, sizeof bits);
        bits = bits & 0x80000000u ? ~bits : bits | 0x80000000u; /* IEEE order as unsigned order */
    }
    return (uint64_t)bits << 32 | earlier;
}

/* The count-th largest key that is not 0, found byte by byte from the top (radix select); count is at most the number
 * of such keys. *n_equal: how many keys of exactly this value belong to the `count` largest. */
static uint64_t rank_threshold(const uint64_t *key, int64_t n, int64_t count, int64_t *n_equal) {
    uint64_t prefix = 0, mask = 0;
    for (int shift = 56; shift >= 0; shift -= 8) {
        int64_t histogram[256] = {0};
        for (int64_t i = 0; i < n; i++) {
            if ((key[i] & mask) == prefix) histogram[key[i] >> shift & 255]++;
        }
        int byte = 255;
        while (histogram[byte] < count) count -= histogram[byte--];
        prefix |= (uint64_t)byte << shift;
        mask |= (uint64_t)255 << shift;
    }
    *n_equal = count;
    return prefix;
}

int64_t rank_take(uint64_t *key, int64_t n, int64_t count) {
    int64_t left = 0;
    for (int64_t i = 0; i < n; i++) left += key[i] != 0;
    if (count > left) count = left;
    if (count <= 0) return 0;
    int64_t n_equal;
    uint64_t threshold = rank_threshold(key, n, count, &n_equal);
    for (int64_t i = 0; i < n; i++) {
        if (key[i] > threshold || (key[i] == threshold && n_equal-- > 0)) key[i] = 0;
    }
    return count;
}
