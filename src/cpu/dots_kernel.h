/* dots_kernel: the inner loops of dots.h, for processors with AVX-512 and VNNI: dots_32.c for types whose blocks have
 * 32 numbers, dots_256.c for those of 256. */
#ifndef JUDGEQ_SRC_DOTS_KERNEL_H
#define JUDGEQ_SRC_DOTS_KERNEL_H

#include <stdint.h>

#include "ggml.h"

/* A kernel takes so many rows of the matrix at once, and so many rows of x at most. */
enum { DOTS_ROWS = 4, DOTS_X = 4 };

/* What a kernel takes out of each block of a row of x beforehand. */
typedef struct dots_x {
    const uint8_t *blocks;
    float *scale, *sum;  /* [n_block] */
    int32_t (*start)[8]; /* [n_block] */
} dots_x;

typedef struct dots_kernel {
    enum ggml_type matrix, x; /* their types */
    int64_t block;            /* numbers in a block of either */
    void (*prepare)(const dots_x *x, int64_t n_block);
    /* out[t][r] = row r of the matrix, rows being `stride` bytes apart, times x[t]; n_x of these */
    void (*multiply)(const uint8_t *matrix, size_t stride, const dots_x *x, int n_x, int64_t n_block,
                     float (*out)[DOTS_ROWS]);
    /* a row of the matrix as floats */
    void (*read)(const uint8_t *row, int64_t n_block, float *out);
} dots_kernel;

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define DOTS_KERNELS /* this compiler makes them; the processor may lack the instructions */
enum { DOTS_32_TYPES = 5, DOTS_256_TYPES = 3 };
extern const dots_kernel dots_32[DOTS_32_TYPES], dots_256[DOTS_256_TYPES];
#endif

#endif
