/* attention: how the new rows of a block attend: over one cache, or one row each over the caches of a batch. */
#ifndef JUDGEQ_SRC_ATTENTION_H
#define JUDGEQ_SRC_ATTENTION_H

#include "attend.h"
#include "block.h"
#include "cache.h"

/* Appends the rows' keys and values to a cache (which must have room; cache_layer_append tells it afterwards), and lets
 * them attend to the rows held and to each other, causally, on the cache's device. The cache must outlive the graph. */
block_attention attention_over_cache(const cache_layer *cache);

/* Appends one row to each of the caches of `layer`, whatever their shapes when the graph runs, as attend.h says. On the
 * CPU; cannot return attention. */
block_attention attention_over_batch(const attend_layer *layer);

/* softmax(scale * query . K^T) over rows [0, run.n_row) of a run: query [n_head of the run, n, head_dim] to [n_head of
 * the run, n, run.n_row and padding]. causal: the queries are those of the last n rows, and do not see later ones. */
struct ggml_tensor *attention_add_scores(graph *g, const model_layer *layer, const cache_layer *cache, cache_run run,
                                         bool causal, struct ggml_tensor *query);

#endif
