/* product_pairs: the parts of product.c's operation, and of train/product_back.c's, for a matrix of BF16, on processors
 * that multiply it: two numbers at a time, summed in F32, twice as fast as F32. The other factor is rounded to BF16, as
 * ggml does. */
#ifndef JUDGEQ_SRC_PRODUCT_PAIRS_H
#define JUDGEQ_SRC_PRODUCT_PAIRS_H

#include <stdbool.h>
#include <stdint.h>

#include "product_kernel.h"

/* Two BF16 numbers that are neighbours in the direction that is summed over; the first in the lower half. */
typedef uint32_t bf16_pair;

/* False where the processor has no such products; nothing else here may be called then. */
bool product_pairs_available(void);

/* out [m, 32] += a [m, n] * b [n, 32], a product of pairs being the sum of two products; rows are out_row, a_row and
 * b_row elements apart. */
void product_pairs_multiply(float *out, int64_t out_row, const bf16_pair *a, int64_t a_row, const bf16_pair *b,
                            int64_t b_row, int64_t m, int64_t n);

/* out [(n + 1) / 2] = in [n], rounded to the nearest; an odd one is paired with zero. */
void product_pairs_round(const float *in, bf16_pair *out, int64_t n);

/* out [n] = pairs of first [n] and second [n]; second NULL: of first and zeros. */
void product_pairs_join(const uint16_t *first, const uint16_t *second, bf16_pair *out, int64_t n);

#endif
