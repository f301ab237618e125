/* softmax: of rows of attention scores, in place and over the visible keys only. ggml's copies every row, and masks
 * what is hidden in a pass of its own: half of the time that this takes. */
#ifndef JUDGEQ_SRC_SOFTMAX_H
#define JUDGEQ_SRC_SOFTMAX_H

#include "ggml.h"

/* x[0..n) = exp(scale * x[i]) / their sum. NaN stays NaN. */
void softmax_row(float *x, int64_t n, float scale);

/* The same for a row that comes in parts (Milakov and Gimelshein, 2018, arXiv 1805.02867): x[0..n) = exp(scale * (x[i]
 * - *most)), where *most, -INFINITY before the first part, becomes the largest so far; *total, 0 before the first,
 * becomes their sum. Gives the factor by which all that comes from earlier parts must be multiplied, as *total was. */
float softmax_part(float *x, int64_t n, float scale, float *most, float *total);

/* score [n_head, n, n_key] -> the softmax of scale * score, in its place: row i of each head over its first seen + i
 * keys, 0 after them. For CPUs. */
struct ggml_tensor *softmax_add_causal(struct ggml_context *context, struct ggml_tensor *score, float scale,
                                       int64_t seen);

#endif
