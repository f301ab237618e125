/* The kernels for one width of vector. product_kernel.c includes this once for each kind of processor, with LANES
 * (floats in a vector), TILE (rows of `a` whose sums fit into the registers) and NAME(function) defined. */

typedef float NAME(lanes) __attribute__((vector_size(4 * LANES)));
typedef int32_t NAME(index) __attribute__((vector_size(4 * LANES)));

static inline NAME(lanes) NAME(load)(const float *at) {
    NAME(lanes) v;
    memcpy(&v, at, sizeof v);
    return v;
}

/* Two vectors' width of the product for `rows` rows; `rows` is a constant where this is inlined. */
static inline __attribute__((always_inline)) void NAME(tile)(float *restrict out, int64_t out_row,
                                                             const float *restrict a, int64_t a_row,
                                                             const float *restrict b, int64_t b_row, int64_t n,
                                                             const int rows) {
    NAME(lanes) sum[TILE][2];
    for (int t = 0; t < rows; t++) {
        sum[t][0] = NAME(load)(out + t * out_row);
        sum[t][1] = NAME(load)(out + t * out_row + LANES);
    }
    for (int64_t r = 0; r < n; r++) {
        const NAME(lanes) b0 = NAME(load)(b + r * b_row), b1 = NAME(load)(b + r * b_row + LANES);
        for (int t = 0; t < rows; t++) {
            const float factor = a[t * a_row + r];
            sum[t][0] += factor * b0;
            sum[t][1] += factor * b1;
        }
    }
    for (int t = 0; t < rows; t++) {
        memcpy(out + t * out_row, &sum[t][0], sizeof sum[t][0]);
        memcpy(out + t * out_row + LANES, &sum[t][1], sizeof sum[t][1]);
    }
}

static void NAME(multiply)(float *out, int64_t out_row, const float *a, int64_t a_row, const float *b, int64_t b_row,
                           int64_t m, int64_t n) {
    int64_t t = 0;
    for (; t + TILE <= m; t += TILE) {
        for (int64_t c = 0; c < KERNEL_COLUMNS; c += INT64_C(2) * LANES) {
            NAME(tile)(out + t * out_row + c, out_row, a + t * a_row, a_row, b + c, b_row, n, TILE);
        }
    }
    for (; t < m; t++) {
        for (int64_t c = 0; c < KERNEL_COLUMNS; c += INT64_C(2) * LANES) {
            NAME(tile)(out + t * out_row + c, out_row, a + t * a_row, a_row, b + c, b_row, n, 1);
        }
    }
}

#if defined(__clang__) /* whose shuffles want their indices as constants */
static inline void NAME(transpose_square)(float *restrict out, int64_t out_row, const float *restrict in,
                                          int64_t in_row) {
    for (int i = 0; i < LANES; i++) {
        for (int k = 0; k < LANES; k++) out[k * out_row + i] = in[i * in_row + k];
    }
}
#else
/* A square of LANES by LANES: swaps halves of rows that are LANES / 2 apart, then quarters, and so on. */
static inline void NAME(transpose_square)(float *restrict out, int64_t out_row, const float *restrict in,
                                          int64_t in_row) {
    NAME(lanes) row[LANES];
    for (int i = 0; i < LANES; i++) row[i] = NAME(load)(in + i * in_row);
#pragma GCC unroll 8
    for (int d = LANES / 2; d > 0; d /= 2) {
        NAME(index) low, high;
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++) {
            low[i] = i & d ? LANES + i - d : i;
            high[i] = i & d ? LANES + i : i + d;
        }
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++) {
            if (i & d) continue;
            const NAME(lanes) first = row[i], second = row[i + d];
            row[i] = __builtin_shuffle(first, second, low);
            row[i + d] = __builtin_shuffle(first, second, high);
        }
    }
    for (int i = 0; i < LANES; i++) memcpy(out + i * out_row, &row[i], sizeof row[i]);
}
#endif

static void NAME(transpose)(float *out, int64_t out_row, const float *in, int64_t in_row, int64_t m, int64_t n) {
    const int64_t whole_m = m - m % LANES, whole_n = n - n % LANES;
    for (int64_t i = 0; i < whole_m; i += LANES) {
        for (int64_t k = 0; k < whole_n; k += LANES) {
            NAME(transpose_square)(out + k * out_row + i, out_row, in + i * in_row + k, in_row);
        }
    }
    for (int64_t i = 0; i < m; i++) {
        for (int64_t k = i < whole_m ? whole_n : 0; k < n; k++) out[k * out_row + i] = in[i * in_row + k];
    }
}

/* By the processor's instruction where it has one, and without a table for the rest: the bits moved to their places
 * make a number that is too small by 2^112, subnormal or not. */
static void NAME(read_half)(const uint16_t *restrict in, float *restrict out, int64_t n) {
    int64_t i = 0;
#if LANES == 16
    for (; i + LANES <= n; i += LANES) {
        _mm512_storeu_ps(out + i, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(in + i))));
    }
#elif LANES == 8
    for (; i + LANES <= n; i += LANES) {
        _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(in + i))));
    }
#endif
    for (; i < n; i++) {
        const uint32_t bits = (uint32_t)(in[i] & 0x7fff) << 13, sign = (uint32_t)(in[i] & 0x8000) << 16;
        float value;
        memcpy(&value, &bits, sizeof value);
        value *= 0x1p112f;
        uint32_t whole;
        memcpy(&whole, &value, sizeof whole);
        whole |= sign;
        memcpy(&out[i], &whole, sizeof whole);
    }
}

static const product_kernel NAME(kernel) = {INSTRUCTIONS, NAME(multiply), NAME(transpose), NAME(read_half)};

#undef LANES
#undef INSTRUCTIONS
#undef TILE
#undef NAME
