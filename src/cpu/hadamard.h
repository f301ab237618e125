/* hadamard: turns a head's rows by a Hadamard matrix (a Walsh-Hadamard transform; not the rotation of RoPE). It turns
 * queries, keys and values alike, so that attention stays what it is, and spreads a large number over all of a row, so
 * that a block of quantised numbers loses less to it (QuaRot, arXiv 2404.00456, section 4; libllama does the same). */
#ifndef JUDGEQ_SRC_HADAMARD_H
#define JUDGEQ_SRC_HADAMARD_H

#include <stdbool.h>
#include <stdint.h>

#include "ggml.h"

/* Whether keys and values of this type are turned before they are rounded: quantised ones of a head_dim that is a
 * multiple of 64, as in libllama. */
bool hadamard_applies(enum ggml_type type, int32_t head_dim);

/* x[0..head_dim) = H x, where H, orthonormal and its own inverse, consists of blocks as large as the largest power of 2
 * that divides head_dim. */
void hadamard_row(float *x, int32_t head_dim);

/* The rows of x [n, n_head, head_dim], F32 of any strides, turned in this way, as a new tensor. For CPUs: a scheduler
 * copies what another device holds. */
struct ggml_tensor *hadamard_add(struct ggml_context *context, struct ggml_tensor *x);

#endif
