/* attend: one new row in each of several caches, as one operation of a CPU graph: the row's key and value are stored,
 * and its query attends to the rows held and to itself.
 *
 * A graph of ggml's own operations has the caches' shapes in it: one product, softmax and product for each cache and
 * run of heads, and masks for their padding. This operation reads the shapes when it runs, so a graph that decodes
 * serves every token, and ragged heads cost no more than others. It computes what those operations do: queries and
 * probabilities are rounded to the cache's type, products are ggml's, sums run in another order. */
#ifndef JUDGEQ_SRC_ATTEND_H
#define JUDGEQ_SRC_ATTEND_H

#include "ggml.h"

#include "cache.h"
#include "policy/score.h"

/* The sequences that a graph decodes, and room to work. */
typedef struct attend_batch {
    cache_layer **layers; /* [n] the layers of each sequence; they must have room for a row */
    score_map **sums;     /* [n] maps of each sequence's layers, to which the attention is added; NULL: nowhere */
    int64_t n, capacity;
    char *scratch;                      /* [threads, scratch_size] */
    size_t scratch_size, scratch_bytes; /* of one thread; allocated */
} attend_batch;

/* Which layer of its sequences a node of the graph is about. */
typedef struct attend_layer {
    const attend_batch *batch;
    int32_t index;
    float scale; /* of the products of queries and keys */
} attend_layer;

void attend_batch_free(attend_batch *batch);
/* Makes room for n sequences. */
judgeq_status attend_batch_resize(attend_batch *batch, int64_t n, judgeq_error *error);
/* Before the graph runs: room for the rows that the sequences now hold in their n_layer layers, where n_thread threads
 * work for `group` query heads per KV head. */
judgeq_status attend_batch_prepare(attend_batch *batch, int32_t n_layer, int32_t n_thread, int64_t group,
                                   judgeq_error *error);

/* query [n, n_head, head_dim] and key [n, n_head_kv, head_dim], both rotated (RoPE); value as key
 * -> [n, n_head * head_dim]. `layer` must outlive the graph. */
struct ggml_tensor *attend_add(struct ggml_context *context, const attend_layer *layer, struct ggml_tensor *query,
                               struct ggml_tensor *key, struct ggml_tensor *value);

#endif
