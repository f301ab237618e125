/* attention_back: what flows back through the attention of soft rows, as operations of a ggml graph. A head computes
 * S = scale Q K^T, P = softmax(S) and O = P V over the rows of a cache, the soft rows' own among them. With
 * the derivatives of a number by O (flow) and by the mean of P's rows (slope),
 *
 *     dP = flow V^T + slope / n_soft, dS = P o (dP - rowsum(P o dP)),
 *     dQ = scale dS K, dK = scale dS^T Q, dV = P^T flow,
 *
 * where dK and dV are wanted for the soft rows only, and are sums over the query heads of a KV head. */
#ifndef JUDGEQ_SRC_TRAIN_ATTENTION_BACK_H
#define JUDGEQ_SRC_TRAIN_ATTENTION_BACK_H

#include "ggml.h"

/* scale dS [n_head, n_soft, n_key] of attention P, likewise contiguous, where n_key is a multiple of 32.
 * slope [n_head, n_prompt], for the first n_prompt keys. values [n_head_kv, head_dim, n_key], F32 or F16, and flow
 * [n_soft, n_head, head_dim]; flow NULL: nothing comes from there. */
struct ggml_tensor *attention_back_scores(struct ggml_context *context, struct ggml_tensor *attention,
                                          struct ggml_tensor *slope, struct ggml_tensor *values,
                                          struct ggml_tensor *flow, float scale);

/* weight^T row for the soft rows among the keys, which are [n_prompt, n_prompt + n_soft): [n_soft, n_head_kv, head_dim]
 * of weight [n_head, n_soft, n_key] and row [n_soft, n_head, head_dim]. dK is that of scale dS and Q, dV that of P and
 * flow. Weights of keys after a row's own must be 0, and are not read. */
struct ggml_tensor *attention_back_own(struct ggml_context *context, struct ggml_tensor *weight,
                                       struct ggml_tensor *row, int64_t n_head_kv, int64_t n_prompt);

#endif
