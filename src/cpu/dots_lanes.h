/* dots_lanes: what dots_32.c and dots_256.c share, for functions that are compiled for AVX-512 and VNNI. */
#ifndef JUDGEQ_SRC_DOTS_LANES_H
#define JUDGEQ_SRC_DOTS_LANES_H

#include <immintrin.h>
#include <string.h>

#include "dots_kernel.h"

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

INLINE __m256i load_256(const void *at) {
    return _mm256_loadu_si256(at);
}

INLINE uint32_t load_32(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

INLINE float load_half(const uint8_t *at) {
    uint16_t bits;
    memcpy(&bits, at, sizeof bits);
    return _cvtsh_ss(bits);
}

/* hsum_float_8 of ggml */
INLINE float sum_lanes(__m256 lanes) {
    __m128 sum = _mm_add_ps(_mm256_extractf128_ps(lanes, 1), _mm256_castps256_ps128(lanes));
    sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
    return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
}

/* The rows of a group are not read in the order that they have in memory, so the processor does not foresee what comes:
 * as many bytes as are read now, from some way after the group's end, into the second cache. */
enum { FETCH_AHEAD = 16 << 10, LINE = 64 };

INLINE void fetch(const uint8_t *at, int bytes) {
    UNROLL for (int i = 0; i < bytes; i += LINE) _mm_prefetch((const char *)at + FETCH_AHEAD + i, _MM_HINT_T1);
}

/* A kernel's `multiply`, from a function of that name that is inlined with constants: `of`, which type, and n_x. */
#define MULTIPLY(name, of)                                                                                             \
    static void multiply_##name(const uint8_t *matrix, size_t stride, const dots_x *x, int n_x, int64_t n_block,       \
                                float(*out)[DOTS_ROWS]) {                                                              \
        if (n_x == 1) multiply(of, matrix, stride, x, 1, n_block, out);                                                \
        if (n_x == 2) multiply(of, matrix, stride, x, 2, n_block, out);                                                \
        if (n_x == 3) multiply(of, matrix, stride, x, 3, n_block, out);                                                \
        if (n_x == 4) multiply(of, matrix, stride, x, 4, n_block, out);                                                \
    }

#endif
