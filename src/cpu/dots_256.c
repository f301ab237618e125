#include <stddef.h>

#include "dots_kernel.h"

#ifdef DOTS_KERNELS

#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4,avx512vnni")

#include "dots_lanes.h"

/* Blocks of 256 numbers, with a scale (and a minimum) of its own for every 32 or 16 of them. Products and scales are
 * whole numbers, whose sums do not depend on their order; a block's sum becomes eight lanes of floats, which are added
 * in ggml's order. */
enum { BLOCK = 256, PART = 32, PARTS = BLOCK / PART };

/* ---- x: a scale of F32, the numbers, and the sums of every 16 of them -------------------------------------------- */

enum { X_NUMBERS_AT = 4, X_SUMS_AT = X_NUMBERS_AT + BLOCK, X_BYTES = X_SUMS_AT + BLOCK / 16 * 2 };

/* The sums of every 32 as eight whole numbers of 16 bits, in the first half of `start`. */
static void prepare(const dots_x *x, int64_t n_block) {
    const uint8_t *block = x->blocks;
    for (int64_t b = 0; b < n_block; b++, block += X_BYTES) {
        memcpy(&x->scale[b], block, sizeof(float));
        const __m256i sums = load_256(block + X_SUMS_AT);
        const __m128i pairs = _mm_hadd_epi16(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
        _mm_storeu_si128((void *)x->start[b], pairs);
    }
}

/* ---- Q4_K and Q5_K ----------------------------------------------------------------------------------------------- */

enum { SCALES_AT = 4, BITS_AT = 16 };

typedef struct scales {
    __m128i minima; /* eight numbers of 16 bits */
    __m256i factor; /* eight numbers of 16 bits, twice */
} scales;

/* Scales and minima have 6 bits each, in 12 bytes. */
INLINE scales read_scales(const uint8_t *block) {
    uint32_t word[4];
    memcpy(word, block + SCALES_AT, 12);
    word[3] = (word[2] >> 4 & 0x0f0f0f0f) | (word[1] >> 6 & 0x03030303) << 4;
    const uint32_t second = word[1] & 0x3f3f3f3f;
    word[1] = (word[2] & 0x0f0f0f0f) | (word[0] >> 6 & 0x03030303) << 4;
    word[2] = second;
    word[0] &= 0x3f3f3f3f;
    const __m128i factor = _mm_cvtepu8_epi16(_mm_setr_epi32((int)word[0], (int)word[1], 0, 0));
    return (scales){.minima = _mm_cvtepu8_epi16(_mm_setr_epi32((int)word[2], (int)word[3], 0, 0)),
                    .factor = _mm256_broadcastsi128_si256(factor)};
}

#define TWO(i) 2 * (i), 2 * (i) + 1
#define EIGHT(i) TWO(i), TWO(i), TWO(i), TWO(i)
#define ALL(i) EIGHT(i), EIGHT(i), EIGHT(i), EIGHT(i)

/* Where a part's scale is among the bytes of eight; loaded, since the compiler makes constants in registers anew. */
static const uint8_t OF_PART[PARTS][32] = {{ALL(0)}, {ALL(1)}, {ALL(2)}, {ALL(3)},
                                           {ALL(4)}, {ALL(5)}, {ALL(6)}, {ALL(7)}};

/* The numbers of part i: every 32 bytes hold two parts, one in the low bits, one in the high ones. */
INLINE __m256i part_of_k(const uint8_t *block, int i, int numbers_at, __m256i bits) {
    const __m256i both = load_256(block + numbers_at + i / 2 * PART), low = _mm256_set1_epi8(15);
    const __m256i number = _mm256_and_si256(i % 2 == 0 ? both : _mm256_srli_epi16(both, 4), low);
    if (numbers_at == BITS_AT) return number;
    const __mmask32 fifth = _mm256_test_epi8_mask(bits, _mm256_set1_epi8((char)(1 << i)));
    return _mm256_mask_add_epi8(number, fifth, number, _mm256_set1_epi8(16));
}

typedef struct sums {
    __m256 lanes[DOTS_X][DOTS_ROWS];
    __m128 minima[DOTS_X][DOTS_ROWS];
} sums;

/* ggml adds the minima of Q4_K in four lanes, and those of Q5_K in one. */
INLINE __m128 add_minima(int numbers_at, float factor, __m128i products, __m128 sum) {
    if (numbers_at == BITS_AT) return _mm_fmadd_ps(_mm_set1_ps(factor), _mm_cvtepi32_ps(products), sum);
    __m128i all = _mm_hadd_epi32(products, products);
    all = _mm_hadd_epi32(all, all);
    return _mm_fmadd_ss(_mm_set_ss(factor), _mm_cvtepi32_ps(all), sum);
}

INLINE float sum_minima(int numbers_at, __m128 sum) {
    if (numbers_at == BITS_AT) {
        sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
        sum = _mm_add_ss(sum, _mm_movehdup_ps(sum));
    }
    return _mm_cvtss_f32(sum);
}

/* n_x and numbers_at, where the numbers begin, are constants where this is inlined. Fifth bits are before them. */
INLINE void add_k(const int numbers_at, const uint8_t *block, const dots_x *x, const int n_x, int64_t b, int r,
                  sums *out) {
    const scales s = read_scales(block);
    const __m256i bits = load_256(block + BITS_AT);
    __m256i sum[DOTS_X];
    UNROLL for (int t = 0; t < n_x; t++) sum[t] = _mm256_setzero_si256();
    UNROLL for (int i = 0; i < PARTS; i++) {
        const __m256i number = part_of_k(block, i, numbers_at, bits),
                      factor = _mm256_shuffle_epi8(s.factor, load_256(OF_PART[i]));
        UNROLL for (int t = 0; t < n_x; t++) {
            const uint8_t *of_x = x[t].blocks + b * X_BYTES + X_NUMBERS_AT + i * PART;
            sum[t] = _mm256_dpwssd_epi32(sum[t], factor, _mm256_maddubs_epi16(number, load_256(of_x)));
        }
    }
    const float scale = load_half(block), minimum = load_half(block + 2);
    UNROLL for (int t = 0; t < n_x; t++) {
        const __m128i products = _mm_madd_epi16(s.minima, _mm_loadu_si128((const void *)x[t].start[b]));
        out->minima[t][r] = add_minima(numbers_at, -x[t].scale[b] * minimum, products, out->minima[t][r]);
        out->lanes[t][r] =
            _mm256_fmadd_ps(_mm256_set1_ps(x[t].scale[b] * scale), _mm256_cvtepi32_ps(sum[t]), out->lanes[t][r]);
    }
}

/* ---- Q6_K -------------------------------------------------------------------------------------------------------- */

enum { HIGH_AT = 128, SCALES_6_AT = 192, D_6_AT = 208 };

/* The numbers of part i from 0 to 63: four bits of each in one place, two in another; half of the parts are in each
 * half of these. */
INLINE __m256i part_of_6(const uint8_t *block, int i) {
    const __m256i four = load_256(block + i / 4 * 64 + i % 2 * PART), two = load_256(block + HIGH_AT + i / 4 * PART);
    const __m256i low = _mm256_and_si256(i % 4 < 2 ? four : _mm256_srli_epi16(four, 4), _mm256_set1_epi8(15));
    const __m256i mask = _mm256_set1_epi8(48);
    const __m256i high = i % 4 == 0   ? _mm256_slli_epi16(two, 4)
                         : i % 4 == 1 ? _mm256_slli_epi16(two, 2)
                         : i % 4 == 2 ? two
                                      : _mm256_srli_epi16(two, 2);
    return _mm256_or_si256(low, _mm256_and_si256(high, mask));
}

INLINE void add_6(const uint8_t *block, const dots_x *x, const int n_x, int64_t b, int r, sums *out) {
    const __m256i scale = _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)(block + SCALES_6_AT)));
    __m256i sum[DOTS_X];
    UNROLL for (int t = 0; t < n_x; t++) sum[t] = _mm256_setzero_si256();
    UNROLL for (int i = 0; i < PARTS; i++) {
        const __m256i number = part_of_6(block, i);
        /* two scales, each for eight pairs of products */
        const __m256i which = _mm256_setr_epi32(0, 0, 0, 0, 0x10001, 0x10001, 0x10001, 0x10001);
        const __m256i factor =
            _mm256_permutexvar_epi16(_mm256_add_epi16(which, _mm256_set1_epi16((short)(2 * i))), scale);
        UNROLL for (int t = 0; t < n_x; t++) {
            const uint8_t *of_x = x[t].blocks + b * X_BYTES + X_NUMBERS_AT + i * PART;
            sum[t] = _mm256_dpwssd_epi32(sum[t], factor, _mm256_maddubs_epi16(number, load_256(of_x)));
        }
    }
    const float d = load_half(block + D_6_AT);
    UNROLL for (int t = 0; t < n_x; t++) {
        /* the numbers are meant from -32 on */
        const __m256i offset = _mm256_madd_epi16(load_256(x[t].blocks + b * X_BYTES + X_SUMS_AT), scale);
        const __m256i meant = _mm256_sub_epi32(sum[t], _mm256_slli_epi32(offset, 5));
        out->lanes[t][r] =
            _mm256_fmadd_ps(_mm256_set1_ps(x[t].scale[b] * d), _mm256_cvtepi32_ps(meant), out->lanes[t][r]);
    }
}

/* ---- products ---------------------------------------------------------------------------------------------------- */

enum { BYTES_4 = 144, BYTES_5 = 176, BYTES_6 = 210, NUMBERS_4_AT = 16, NUMBERS_5_AT = 48 };

/* bytes and n_x are constants where this is inlined. */
INLINE void multiply(const int bytes, const uint8_t *matrix, size_t stride, const dots_x *x, const int n_x,
                     int64_t n_block, float (*out)[DOTS_ROWS]) {
    const int numbers_at = bytes == BYTES_4 ? NUMBERS_4_AT : NUMBERS_5_AT;
    sums s;
    UNROLL for (int t = 0; t < n_x; t++) {
        UNROLL for (int r = 0; r < DOTS_ROWS; r++) {
            s.lanes[t][r] = _mm256_setzero_ps();
            s.minima[t][r] = _mm_setzero_ps();
        }
    }
    const uint8_t *next = matrix + DOTS_ROWS * stride;
    for (int64_t b = 0; b < n_block; b++, next += DOTS_ROWS * bytes) {
        fetch(next, DOTS_ROWS * bytes);
        UNROLL for (int r = 0; r < DOTS_ROWS; r++) {
            const uint8_t *block = matrix + (size_t)r * stride + b * bytes;
            if (bytes == BYTES_6) {
                add_6(block, x, n_x, b, r, &s);
            } else {
                add_k(numbers_at, block, x, n_x, b, r, &s);
            }
        }
    }
    UNROLL for (int t = 0; t < n_x; t++) {
        UNROLL for (int r = 0; r < DOTS_ROWS; r++) {
            out[t][r] = sum_lanes(s.lanes[t][r]);
            if (bytes != BYTES_6) out[t][r] += sum_minima(numbers_at, s.minima[t][r]);
        }
    }
}

MULTIPLY(q4_k, BYTES_4)
MULTIPLY(q5_k, BYTES_5)
MULTIPLY(q6_k, BYTES_6)

/* ---- as floats --------------------------------------------------------------------------------------------------- */

INLINE __m512 to_floats(__m128i numbers) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(numbers));
}

INLINE void store_part(__m512 low, __m512 high, float *out) {
    _mm512_storeu_ps(out, low);
    _mm512_storeu_ps(out + PART / 2, high);
}

INLINE void read_k(const int bytes, const uint8_t *block, float *out) {
    const int numbers_at = bytes == BYTES_4 ? NUMBERS_4_AT : NUMBERS_5_AT;
    const scales s = read_scales(block);
    const float d = load_half(block), minimum = load_half(block + 2);
    int16_t factor[PARTS], of_minimum[PARTS];
    _mm_storeu_si128((void *)factor, _mm256_castsi256_si128(s.factor));
    _mm_storeu_si128((void *)of_minimum, s.minima);
    UNROLL for (int i = 0; i < PARTS; i++) {
        const __m256i numbers = part_of_k(block, i, numbers_at, load_256(block + BITS_AT));
        const __m512 scale = _mm512_set1_ps(d * (float)factor[i]),
                     less = _mm512_set1_ps(minimum * (float)of_minimum[i]);
        const __m512 low = _mm512_mul_ps(scale, to_floats(_mm256_castsi256_si128(numbers)));
        const __m512 high = _mm512_mul_ps(scale, to_floats(_mm256_extracti128_si256(numbers, 1)));
        store_part(_mm512_sub_ps(low, less), _mm512_sub_ps(high, less), out + i * PART);
    }
}

INLINE void read_6(const uint8_t *block, float *out) {
    const int8_t *scale = (const int8_t *)block + SCALES_6_AT;
    const float d = load_half(block + D_6_AT);
    const __m512 offset = _mm512_set1_ps(32);
    UNROLL for (int i = 0; i < PARTS; i++) {
        const __m256i numbers = part_of_6(block, i);
        const __m512 low = _mm512_sub_ps(to_floats(_mm256_castsi256_si128(numbers)), offset);
        const __m512 high = _mm512_sub_ps(to_floats(_mm256_extracti128_si256(numbers, 1)), offset);
        store_part(_mm512_mul_ps(_mm512_set1_ps(d * (float)scale[2 * i]), low),
                   _mm512_mul_ps(_mm512_set1_ps(d * (float)scale[2 * i + 1]), high), out + i * PART);
    }
}

static void read_q4_k(const uint8_t *row, int64_t n_block, float *out) {
    for (int64_t b = 0; b < n_block; b++) read_k(BYTES_4, row + b * BYTES_4, out + b * BLOCK);
}

static void read_q5_k(const uint8_t *row, int64_t n_block, float *out) {
    for (int64_t b = 0; b < n_block; b++) read_k(BYTES_5, row + b * BYTES_5, out + b * BLOCK);
}

static void read_q6_k(const uint8_t *row, int64_t n_block, float *out) {
    for (int64_t b = 0; b < n_block; b++) read_6(row + b * BYTES_6, out + b * BLOCK);
}

#pragma GCC pop_options

const dots_kernel dots_256[] = {
    {GGML_TYPE_Q4_K, GGML_TYPE_Q8_K, BLOCK, prepare, multiply_q4_k, read_q4_k},
    {GGML_TYPE_Q5_K, GGML_TYPE_Q8_K, BLOCK, prepare, multiply_q5_k, read_q5_k},
    {GGML_TYPE_Q6_K, GGML_TYPE_Q8_K, BLOCK, prepare, multiply_q6_k, read_q6_k},
};

#endif
