/* flash: causal attention of many rows, tile by tile, as one operation of a CPU graph (FlashAttention, Dao et al.,
 * NeurIPS 2022, arXiv 2205.14135, section 3.1). The scores of a few rows with a few keys exist at a time, in the CPU's
 * nearest cache, and what is hidden is not computed. Products and softmax over whole rows send every score through
 * memory several times. Sums are F32, and so is everything else, whatever the cache's type, unless the caller lets it
 * be rounded. For rows whose attention nobody has to see. */
#ifndef JUDGEQ_SRC_FLASH_H
#define JUDGEQ_SRC_FLASH_H

#include <stdbool.h>

#include "ggml.h"

/* True for what flash_add can take: keys and values of this type, heads of head_dim numbers. */
bool flash_available(enum ggml_type type, int64_t head_dim);

/* out [n_head, n, head_dim] = softmax(scale * query [n_head, n, head_dim] . K^T) . V, written in its place.
 * keys [n_head_kv, n_key, head_dim], values [n_head_kv, head_dim, n_key], F16 or F32. The last row sees all keys, the
 * one before it all but the last, and so on: n_key >= n. Elements of a row, and numbers of a line of values, must be
 * contiguous; rows, lines and heads may be anywhere. rounded: where the processor multiplies BF16, and unless the cache
 * is F32, queries, keys, probabilities and values are multiplied so, in half the time. */
struct ggml_tensor *flash_add(struct ggml_context *context, struct ggml_tensor *out, struct ggml_tensor *query,
                              struct ggml_tensor *keys, struct ggml_tensor *values, float scale, bool rounded);

#endif
