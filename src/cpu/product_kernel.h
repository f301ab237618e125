/* product_kernel: inner loops of matrix products in F32, compiled for several kinds of processors; the best that this
 * one can run is chosen when the program runs. */
#ifndef JUDGEQ_SRC_PRODUCT_KERNEL_H
#define JUDGEQ_SRC_PRODUCT_KERNEL_H

#include <stdint.h>

/* Columns are handled this many at a time; every number of lanes divides it twice. */
enum { KERNEL_COLUMNS = 32 };

typedef struct product_kernel {
    const char *name; /* of the instructions */
    /* out [m, 32] += a [m, n] * b [n, 32]; rows are out_row, a_row and b_row floats apart. */
    void (*multiply)(float *out, int64_t out_row, const float *a, int64_t a_row, const float *b, int64_t b_row,
                     int64_t m, int64_t n);
    /* out [n, m] = the transpose of in [m, n] */
    void (*transpose)(float *out, int64_t out_row, const float *in, int64_t in_row, int64_t m, int64_t n);
    /* n floats of F16. Infinity and NaN may become finite: a model that holds them never comes this far, its logits are
     * checked first. */
    void (*read_half)(const uint16_t *in, float *out, int64_t n);
} product_kernel;

const product_kernel *product_kernel_best(void);
/* Those that this processor can run, the plainest first; NULL after the last. */
const product_kernel *product_kernel_at(int index);

#endif
