/* block: one transformer block as a part of a graph, built from the layer's description. Prefill, soft rows, pseudo
 * tokens, decoding and training differ in the number of new rows, in the results that they need (block_want), and in
 * how the rows attend: that is handed in (block_attention). */
#ifndef JUDGEQ_SRC_BLOCK_H
#define JUDGEQ_SRC_BLOCK_H

#include "graph.h"

/* What a block returns beside the rows that it writes into the cache. Rows before `first_query` only store their key
 * and value. Rows from `first_query` on attend. The output has the rows from `first_output` on, the attention at least
 * those from `first_attention` on; both are first_query or later. */
typedef struct block_want {
    int64_t first_query, first_output, first_attention;
    int64_t rows_at_once; /* queries that attend in one product, so that most of the keys after them are skipped;
                             for uniform caches, and at most GRAPH_PARTS products; 0: all */
    bool output, attention, query;
    struct ggml_tensor **by_run; /* [n_head_kv], gets the attention of each run of heads at the run's first; or NULL */
    /* faster than ggml's operations; their sums run in another order */
    bool own_softmax; /* softmax.h */
    bool flash;       /* flash.h, where it can: then the attention that is returned is computed a second time */
} block_want;

typedef struct block_result {
    struct ggml_tensor *output;    /* [n - first_output, n_embd], or NULL */
    struct ggml_tensor *attention; /* [n_head, n - first_attention, rows held + n and padding], after softmax; of a
                                      cache with several runs, that of the last */
    int64_t first_attention;       /* the row that it starts with */
    struct ggml_tensor *query;     /* [n - first_query, n_head, head_dim], rotated (RoPE) */
} block_result;

/* The new rows as a layer has projected them, and rotated queries and keys (RoPE). */
typedef struct block_rows {
    struct ggml_tensor *key, *value; /* [n, n_head_kv, head_dim] */
    struct ggml_tensor *query;       /* [n - first_query, n_head, head_dim]; NULL: the rows are stored only */
} block_rows;

/* A way to attend: over one cache, or over a batch of them (attention.h). */
typedef struct block_attention block_attention;
struct block_attention {
    /* Stores keys and values, and returns what the queries get: [n - first_query, n_head * head_dim]; NULL where there
     * are none. Puts the attention into `out` where `want` asks for it. */
    struct ggml_tensor *(*add)(const block_attention *a, graph *g, const model_layer *layer, block_rows rows,
                               block_want want, block_result *out);
    const void *over;
    ggml_backend_t backend; /* where the block is computed; NULL: the CPU */
};

/* The transformer block of a layer over rows x [n, n_embd] at `position` [n]. */
block_result block_add(graph *g, const model_layer *layer, block_attention attention, struct ggml_tensor *x,
                       struct ggml_tensor *position, block_want want);

/* Embeddings [n, n_embd] F32 of token ids [n]. */
struct ggml_tensor *block_add_embedding(graph *g, const judgeq_model *model, struct ggml_tensor *tokens);

/* Logits [n, n_vocab] of the last block's output x [n, n_embd]. */
struct ggml_tensor *block_add_logits(graph *g, const judgeq_model *model, struct ggml_tensor *x);

#endif
