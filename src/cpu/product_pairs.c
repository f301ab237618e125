#include "product_pairs.h"

#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)

#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4,avx512bf16")

enum { LANES = 16, TILE = 8 };

bool product_pairs_available(void) {
    return __builtin_cpu_supports("x86-64-v4") && __builtin_cpu_supports("avx512bf16");
}

/* All 32 columns for `rows` rows; `rows` is a constant where this is inlined. */
static inline __attribute__((always_inline)) void tile(float *restrict out, int64_t out_row,
                                                       const bf16_pair *restrict a, int64_t a_row,
                                                       const bf16_pair *restrict b, int64_t b_row, int64_t n,
                                                       const int rows) {
    __m512 sum[TILE][2];
    for (int t = 0; t < rows; t++) {
        sum[t][0] = _mm512_loadu_ps(out + t * out_row);
        sum[t][1] = _mm512_loadu_ps(out + t * out_row + LANES);
    }
    for (int64_t r = 0; r < n; r++) {
        const __m512bh b0 = (__m512bh)_mm512_loadu_si512(b + r * b_row);
        const __m512bh b1 = (__m512bh)_mm512_loadu_si512(b + r * b_row + LANES);
        for (int t = 0; t < rows; t++) {
            int pair; /* of a matrix whose elements are 16 bits wide */
            memcpy(&pair, a + t * a_row + r, sizeof pair);
            const __m512bh factor = (__m512bh)_mm512_set1_epi32(pair);
            sum[t][0] = _mm512_dpbf16_ps(sum[t][0], b0, factor);
            sum[t][1] = _mm512_dpbf16_ps(sum[t][1], b1, factor);
        }
    }
    for (int t = 0; t < rows; t++) {
        _mm512_storeu_ps(out + t * out_row, sum[t][0]);
        _mm512_storeu_ps(out + t * out_row + LANES, sum[t][1]);
    }
}

void product_pairs_multiply(float *out, int64_t out_row, const bf16_pair *a, int64_t a_row, const bf16_pair *b,
                            int64_t b_row, int64_t m, int64_t n) {
    int64_t t = 0;
    for (; t + TILE <= m; t += TILE) tile(out + t * out_row, out_row, a + t * a_row, a_row, b, b_row, n, TILE);
    for (; t < m; t++) tile(out + t * out_row, out_row, a + t * a_row, a_row, b, b_row, n, 1);
}

void product_pairs_round(const float *in, bf16_pair *out, int64_t n) {
    int64_t i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        const __m512bh rounded = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(in + i + LANES), _mm512_loadu_ps(in + i));
        _mm512_storeu_si512(out + i / 2, (__m512i)rounded);
    }
    if (i == n) return;
    float rest[2 * LANES] = {0};
    bf16_pair pairs[LANES];
    memcpy(rest, in + i, (size_t)(n - i) * sizeof *in);
    product_pairs_round(rest, pairs, 2 * LANES); // NOLINT(misc-no-recursion): a whole vector, which ends above
    memcpy(out + i / 2, pairs, (size_t)((n - i + 1) / 2) * sizeof *out);
}

/* Elements of two vectors of 32, the second's from 32 on: the first halves as pairs, then the second ones. */
static const uint16_t pairing[2][2 * LANES] = {
    {0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
     8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47},
    {16, 48, 17, 49, 18, 50, 19, 51, 20, 52, 21, 53, 22, 54, 23, 55,
     24, 56, 25, 57, 26, 58, 27, 59, 28, 60, 29, 61, 30, 62, 31, 63},
};

void product_pairs_join(const uint16_t *restrict first, const uint16_t *restrict second, bf16_pair *restrict out,
                        int64_t n) {
    const __m512i low = _mm512_loadu_si512(pairing[0]), high = _mm512_loadu_si512(pairing[1]);
    int64_t i = 0;
    for (; second && i + 2 * LANES <= n; i += 2 * LANES) {
        const __m512i a = _mm512_loadu_si512(first + i), b = _mm512_loadu_si512(second + i);
        _mm512_storeu_si512(out + i, _mm512_permutex2var_epi16(a, low, b));
        _mm512_storeu_si512(out + i + LANES, _mm512_permutex2var_epi16(a, high, b));
    }
    for (; i < n; i++) out[i] = first[i] | (second ? (bf16_pair)second[i] << 16 : 0);
}

#pragma GCC pop_options

#else

bool product_pairs_available(void) {
    return false;
}

void product_pairs_multiply(float *out, int64_t out_row, const bf16_pair *a, int64_t a_row, const bf16_pair *b,
                            int64_t b_row, int64_t m, int64_t n) {
    (void)out, (void)out_row, (void)a, (void)a_row, (void)b, (void)b_row, (void)m, (void)n;
}

void product_pairs_round(const float *in, bf16_pair *out, int64_t n) {
    (void)in, (void)out, (void)n;
}

void product_pairs_join(const uint16_t *first, const uint16_t *second, bf16_pair *out, int64_t n) {
    (void)first, (void)second, (void)out, (void)n;
}

#endif
