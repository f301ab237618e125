#include <stdbool.h>
#include <stddef.h>

#include "dots_kernel.h"

#ifdef DOTS_KERNELS

#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4,avx512vnni")

#include "dots_lanes.h"

/* ggml adds up the products of a row in eight lanes of floats, each the sum of four neighbours in every block. So do
 * these: every number is added in ggml's order, and rounded where ggml rounds it. What they save is all that ggml does
 * again for every row and block: scales are converted sixteen at a time, and four rows are added up side by side, since
 * the sums of one row wait for each other. */

enum { BLOCK = 32, AT_ONCE = 16 / DOTS_ROWS };

/* How a block of the matrix is laid out: d, a minimum or not, fifth bits or not, numbers. */
typedef struct layout {
    enum ggml_type type;
    int bytes, bits_at, numbers_at; /* bits_at 0: none */
    int offset;                     /* what is stored is so much more than what is meant */
    bool has_minimum;
} layout;

#define Q4_0 ((layout){GGML_TYPE_Q4_0, 18, 0, 2, 8, false})
#define Q4_1 ((layout){GGML_TYPE_Q4_1, 20, 0, 4, 0, true})
#define Q5_0 ((layout){GGML_TYPE_Q5_0, 22, 2, 6, 16, false})
#define Q5_1 ((layout){GGML_TYPE_Q5_1, 24, 4, 8, 0, true})
#define Q8_0 ((layout){GGML_TYPE_Q8_0, 34, 0, 2, 128, false})

/* ---- loads ------------------------------------------------------------------------------------------------------- */

/* The numbers of a block as they are stored, from 0 on. */
INLINE __m256i stored(const layout l, const uint8_t *block) {
    const uint8_t *at = block + l.numbers_at;
    if (l.type == GGML_TYPE_Q8_0) return _mm256_xor_si256(load_256(at), _mm256_set1_epi8((char)0x80));
    const __m256i nibbles = _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)at));
    const __m256i shift = _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4);
    const __m256i low = _mm256_and_si256(_mm256_srlv_epi32(nibbles, shift), _mm256_set1_epi8(15));
    if (l.bits_at == 0) return low;
    return _mm256_mask_add_epi8(low, load_32(block + l.bits_at), low, _mm256_set1_epi8(16));
}

/* The first four bytes of blocks of all rows, d and the minimum: [AT_ONCE][DOTS_ROWS], those after n any. */
INLINE __m512i heads(const layout l, const uint8_t *block, size_t stride, int64_t n) {
    __m128i of[AT_ONCE];
    UNROLL for (int b = 0; b < AT_ONCE; b++) {
        const uint8_t *at = block + (b < n ? b * l.bytes : 0);
        of[b] = _mm_setr_epi32((int)load_32(at), (int)load_32(at + stride), (int)load_32(at + 2 * stride),
                               (int)load_32(at + 3 * stride));
    }
    const __m256i first = _mm256_inserti128_si256(_mm256_castsi128_si256(of[0]), of[1], 1);
    const __m256i second = _mm256_inserti128_si256(_mm256_castsi128_si256(of[2]), of[3], 1);
    return _mm512_inserti64x4(_mm512_castsi256_si512(first), second, 1);
}

INLINE __m512 low_halves(__m512i pairs) {
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(pairs));
}

/* ---- x ----------------------------------------------------------------------------------------------------------- */

/* What ggml stores for a block: d, the sum of all where the matrix has minima, and the numbers. */
INLINE int x_numbers_at(const layout l) {
    return l.has_minimum ? 4 : 2;
}

INLINE int x_bytes(const layout l) {
    return x_numbers_at(l) + BLOCK;
}

INLINE void prepare(const layout l, const dots_x *x, int64_t n_block) {
    const __m256i zero = _mm256_setzero_si256(), offset = _mm256_set1_epi8((char)l.offset);
    const uint8_t *block = x->blocks;
    for (int64_t b = 0; b < n_block; b++, block += x_bytes(l)) {
        const __m256i numbers = load_256(block + x_numbers_at(l));
        x->scale[b] = load_half(block);
        x->sum[b] = l.has_minimum ? load_half(block + 2) : 0;
        _mm256_storeu_si256((void *)x->start[b], _mm256_sub_epi32(zero, _mm256_dpbusd_epi32(zero, offset, numbers)));
    }
}

/* [AT_ONCE][DOTS_ROWS]: the scales of blocks, each once for every row; those after n any. */
INLINE __m512 x_scales(const float *scale, int64_t n) {
    const __m512i each = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    const __m128 some = _mm_maskz_loadu_ps(n < AT_ONCE ? (__mmask8)((1 << n) - 1) : 15, scale);
    return _mm512_permutexvar_ps(each, _mm512_castps128_ps512(some));
}

/* ---- products ---------------------------------------------------------------------------------------------------- */

typedef struct sums {
    __m256 lanes[DOTS_X][DOTS_ROWS];
    __m128 minima[DOTS_X];
} sums;

/* Blocks [first, first + n), n <= AT_ONCE. n_x is a constant where this is inlined. */
INLINE void add_blocks(const layout l, const uint8_t *matrix, size_t stride, const dots_x *x, const int n_x,
                       int64_t first, int64_t n, sums *out) {
    float scale[DOTS_X][16], minimum[16];
    const __m512i head = heads(l, matrix + first * l.bytes, stride, n);
    if (l.has_minimum) _mm512_storeu_ps(minimum, low_halves(_mm512_srli_epi32(head, 16)));
    UNROLL for (int t = 0; t < n_x; t++) {
        _mm512_storeu_ps(scale[t], _mm512_mul_ps(low_halves(head), x_scales(x[t].scale + first, n)));
    }
    __asm__("" : "+m"(scale), "+m"(minimum)); /* or the compiler shuffles registers, which takes longer than loads */
    UNROLL for (int b = 0; b < AT_ONCE; b++) {
        if (b >= n) break;
        UNROLL for (int r = 0; r < DOTS_ROWS; r++) {
            const __m256i factor = stored(l, matrix + (size_t)r * stride + (first + b) * l.bytes);
            UNROLL for (int t = 0; t < n_x; t++) {
                const __m256i numbers = load_256(x[t].blocks + (first + b) * x_bytes(l) + x_numbers_at(l));
                const __m256i start = l.offset == 0 ? _mm256_setzero_si256() : load_256(x[t].start[first + b]);
                const __m256 dots = _mm256_cvtepi32_ps(_mm256_dpbusd_epi32(start, factor, numbers));
                const __m256 scales = _mm256_set1_ps(scale[t][b * DOTS_ROWS + r]);
                out->lanes[t][r] = _mm256_fmadd_ps(scales, dots, out->lanes[t][r]);
            }
        }
        if (!l.has_minimum) continue;
        UNROLL for (int t = 0; t < n_x; t++) {
            out->minima[t] =
                _mm_fmadd_ps(_mm_loadu_ps(minimum + b * DOTS_ROWS), _mm_set1_ps(x[t].sum[first + b]), out->minima[t]);
        }
    }
}

INLINE void multiply(const layout l, const uint8_t *matrix, size_t stride, const dots_x *x, const int n_x,
                     int64_t n_block, float (*out)[DOTS_ROWS]) {
    sums s;
    UNROLL for (int t = 0; t < n_x; t++) {
        s.minima[t] = _mm_setzero_ps();
        UNROLL for (int r = 0; r < DOTS_ROWS; r++) s.lanes[t][r] = _mm256_setzero_ps();
    }
    const uint8_t *next = matrix + DOTS_ROWS * stride;
    for (int64_t first = 0; first < n_block; first += AT_ONCE, next += AT_ONCE * DOTS_ROWS * l.bytes) {
        fetch(next, AT_ONCE * DOTS_ROWS * l.bytes);
        if (n_block - first >= AT_ONCE) {
            add_blocks(l, matrix, stride, x, n_x, first, AT_ONCE, &s);
        } else {
            add_blocks(l, matrix, stride, x, n_x, first, n_block - first, &s);
        }
    }
    UNROLL for (int t = 0; t < n_x; t++) {
        UNROLL for (int r = 0; r < DOTS_ROWS; r++) out[t][r] = sum_lanes(s.lanes[t][r]);
        if (l.has_minimum) _mm_storeu_ps(out[t], _mm_add_ps(_mm_loadu_ps(out[t]), s.minima[t]));
    }
}

#define KERNEL(name, l)                                                                                                \
    MULTIPLY(name, l)                                                                                                  \
    static void prepare_##name(const dots_x *x, int64_t n_block) {                                                     \
        prepare(l, x, n_block);                                                                                        \
    }

KERNEL(q4_0, Q4_0)
KERNEL(q4_1, Q4_1)
KERNEL(q5_0, Q5_0)
KERNEL(q5_1, Q5_1)
KERNEL(q8_0, Q8_0)

/* ---- as floats --------------------------------------------------------------------------------------------------- */

INLINE __m512 scaled(const layout l, __m128i numbers, __m512 d, __m512 minimum) {
    const __m512i meant = _mm512_sub_epi32(_mm512_cvtepu8_epi32(numbers), _mm512_set1_epi32(l.offset));
    const __m512 product = _mm512_mul_ps(_mm512_cvtepi32_ps(meant), d);
    return l.has_minimum ? _mm512_add_ps(product, minimum) : product;
}

INLINE void read_row(const layout l, const uint8_t *block, int64_t n_block, float *out) {
    for (int64_t b = 0; b < n_block; b++, block += l.bytes, out += BLOCK) {
        const __m512 d = _mm512_set1_ps(load_half(block));
        const __m512 minimum = l.has_minimum ? _mm512_set1_ps(load_half(block + 2)) : _mm512_setzero_ps();
        const __m256i numbers = stored(l, block);
        const __m512 low = scaled(l, _mm256_castsi256_si128(numbers), d, minimum);
        const __m512 high = scaled(l, _mm256_extracti128_si256(numbers, 1), d, minimum);
        _mm512_storeu_ps(out, low);
        _mm512_storeu_ps(out + BLOCK / 2, high);
    }
}

#define READ(name, l)                                                                                                  \
    static void read_##name(const uint8_t *row, int64_t n_block, float *out) {                                         \
        read_row(l, row, n_block, out);                                                                                \
    }

READ(q4_0, Q4_0)
READ(q4_1, Q4_1)
READ(q5_0, Q5_0)
READ(q5_1, Q5_1)
READ(q8_0, Q8_0)

#pragma GCC pop_options

#define ENTRY(matrix, x, name)                                                                                         \
    { matrix, x, BLOCK, prepare_##name, multiply_##name, read_##name }

const dots_kernel dots_32[] = {
    ENTRY(GGML_TYPE_Q4_0, GGML_TYPE_Q8_0, q4_0), ENTRY(GGML_TYPE_Q4_1, GGML_TYPE_Q8_1, q4_1),
    ENTRY(GGML_TYPE_Q5_0, GGML_TYPE_Q8_0, q5_0), ENTRY(GGML_TYPE_Q5_1, GGML_TYPE_Q8_1, q5_1),
    ENTRY(GGML_TYPE_Q8_0, GGML_TYPE_Q8_0, q8_0),
};

#endif
