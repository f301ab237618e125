/* exp2: powers of two for loops that the compiler turns into vector code. */
#ifndef JUDGEQ_SRC_EXP2_H
#define JUDGEQ_SRC_EXP2_H

#include <stdint.h>
#include <string.h>

/* 2^y for y up to 127, at least 2^-126. y is split into a whole number, an exponent's bits, and the power series of the
 * rest, |rest| <= 1/2, whose first missing term is below 2e-7. Adding `magic` rounds y, and leaves it as a whole number
 * in the lowest bits. NaN stays NaN. */
static inline float exp2_of(float y) {
    const float magic = 0x1.8p23f;
    y = y < -126.0f ? -126.0f : y;
    const float shifted = y + magic, r = (y - (shifted - magic)) * 0.69314718f;
    const float power =
        1.0f + r * (1.0f + r * (1.0f / 2 + r * (1.0f / 6 + r * (1.0f / 24 + r * (1.0f / 120 + r * (1.0f / 720))))));
    uint32_t bits;
    float exponent;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 127) << 23;
    memcpy(&exponent, &bits, sizeof exponent);
    return power * exponent;
}

#endif
