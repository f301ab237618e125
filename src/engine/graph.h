/* graph: transformer blocks as ggml graphs over a KV cache, and the engine that runs them. The same function builds the
 * block for prefill, soft rows, decoding and pseudo tokens: they differ in the number of new rows, and in the results
 * that they need (graph_want). */
#ifndef JUDGEQ_SRC_GRAPH_H
#define JUDGEQ_SRC_GRAPH_H

#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "ggml.h"

#include "attend.h"
#include "base/threads.h"
#include "cache.h"
#include "model/model.h"

typedef struct graph {
    struct ggml_context *context;
    struct ggml_cgraph *nodes;
    ggml_backend_sched_t scheduler; /* the engine's */
    ggml_backend_t cpu;             /* the engine's */
    struct ggml_tensor *newest;     /* the last tensor that has been placed on a device */
} graph;

/* What a graph's speed depends on: how many rows pass, and how often threads wait for each other. */
typedef enum graph_kind { GRAPH_ROWS, GRAPH_TOKEN, GRAPH_BATCH, GRAPH_KINDS } graph_kind;

/* Runs graphs, one at a time, in buffers that are reused: on the CPU, or across it and a model's devices. */
typedef struct graph_engine {
    const judgeq_model *model; /* whose weights the graphs read */
    ggml_backend_t backend;    /* the CPU */
    ggml_gallocr_t allocator;
    ggml_backend_t *device;         /* [n_device], as the model's */
    int32_t n_device;               /* 0: all is on the CPU, and there is no scheduler */
    ggml_backend_sched_t scheduler; /* instead of the allocator; moves what passes from one device to another */
    void *memory;                   /* of the current graph's tensors */
    size_t memory_size, n_node;
    bool broken; /* ggml ran out of memory within allocator or scheduler: neither can be used or freed */
    graph current;
    uint64_t n_graph; /* graphs started so far: the number of the current one */
    ggml_backend_set_n_threads_t set_threads;
    threads_chooser threads;
    threads_seen seen[GRAPH_KINDS];
} graph_engine;

/* n_threads 0: chosen (threads.h). */
judgeq_status graph_engine_init(graph_engine *engine, const judgeq_model *model, int32_t n_threads,
                                judgeq_error *error);
void graph_engine_free(graph_engine *engine);
/* The backend that holds a layer's weights and rows. */
ggml_backend_t graph_engine_of_layer(const graph_engine *engine, const judgeq_model *model, int32_t index);

/* Starts a graph, the engine's; its tensors live until the next one starts, and until then it can be run again. */
graph *graph_begin(graph_engine *engine);
/* Fails with UNSUPPORTED, naming device and operation, where a device cannot compute what was put on it. */
judgeq_status graph_check_devices(const graph *g, judgeq_error *error);
/* Gives the tensors their memory: inputs may be set from here on. `result` is what must be
 * computed, besides what the builders have put into the graph themselves; NULL: nothing. */
judgeq_status graph_allocate(graph_engine *engine, struct ggml_tensor *result, judgeq_error *error);
/* Runs it; fails with IO where the model's file has lost a part meanwhile. `work`: its size, in a unit of its own for
 * each kind; the number of threads is chosen by the speeds that come out. 0: not typical of its kind, so its speed is
 * not noted. */
judgeq_status graph_compute(graph_engine *engine, graph_kind kind, double work, judgeq_error *error);

/* An input of the graph, [ne1, ne0]. */
struct ggml_tensor *graph_input(graph *g, enum ggml_type type, int64_t ne0, int64_t ne1);

enum { GRAPH_PARTS = 16 };

/* What a block returns beside the rows that it writes into the cache. Rows before `first_query` only store their key
 * and value. Rows from `first_query` on attend. The output has the rows from `first_output` on, the attention at least
 * those from `first_attention` on; both are first_query or later. */
typedef struct graph_want {
    int64_t first_query, first_output, first_attention;
    int64_t rows_at_once; /* queries that attend in one product, so that most of the keys after them are skipped;
                             for uniform caches, and at most GRAPH_PARTS products; 0: all */
    bool output, attention, query;
    /* faster than ggml's operations; their sums run in another order */
    bool own_softmax; /* softmax.h */
    bool flash;       /* flash.h, where it can: then the attention that is returned is computed a second time */
} graph_want;

typedef struct graph_block {
    struct ggml_tensor *output;    /* [n - first_output, n_embd], or NULL */
    struct ggml_tensor *attention; /* [n_head, n - first_attention, rows held + n and padding], after softmax; uniform
                                      caches only */
    int64_t first_attention;       /* the row that it starts with */
    struct ggml_tensor *query;     /* [n - first_query, n_head, head_dim], rotated (RoPE) */
} graph_block;

/* The transformer block of a layer over rows x [n, n_embd] at `position` [n], on the cache's device: appends their keys
 * and values to the cache (which must have room; cache_layer_append tells it afterwards), and lets them attend to the
 * rows held and to each other, causally. */
graph_block graph_add_block(graph *g, const judgeq_model *model, const model_layer *layer, const cache_layer *cache,
                            struct ggml_tensor *x, struct ggml_tensor *position, graph_want want);

/* The block over rows x [n, n_embd] that each belong to another sequence, at `position` [n]: appends one row to the
 * caches of `attend`, whatever their shapes when the graph runs. Gives output and query. */
graph_block graph_add_decode_block(graph *g, const judgeq_model *model, const model_layer *layer,
                                   const attend_layer *attend, struct ggml_tensor *x, struct ggml_tensor *position);

/* Embeddings [n, n_embd] F32 of token ids [n]. */
struct ggml_tensor *graph_add_embedding(graph *g, const judgeq_model *model, struct ggml_tensor *tokens);

/* Logits [n, n_vocab] of the last block's output x [n, n_embd]. */
struct ggml_tensor *graph_add_logits(graph *g, const judgeq_model *model, struct ggml_tensor *x);

/* softmax(query . K^T / sqrt(head_dim)) over rows [0, run.n_row) of a run: query [n_head of the run, n, head_dim] to
 * [n_head of the run, n, run.n_row and padding]. */
struct ggml_tensor *graph_add_attention(graph *g, const judgeq_model *model, const cache_layer *cache, cache_run run,
                                        struct ggml_tensor *query);

#endif
