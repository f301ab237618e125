/* graph: ggml graphs, and the engine that runs them, on the CPU or across it and a model's devices. What is put into
 * them: block.h. */
#ifndef JUDGEQ_SRC_GRAPH_H
#define JUDGEQ_SRC_GRAPH_H

#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "ggml.h"

#include "base/threads.h"
#include "model/model.h"

typedef struct graph {
    struct ggml_context *context;
    struct ggml_cgraph *nodes;
    ggml_backend_sched_t scheduler;  /* the engine's */
    ggml_backend_t cpu;              /* the engine's */
    struct ggml_tensor *newest;      /* the last tensor that has been placed on a device */
    const bool *dots;                /* the engine's, or NULL: none */
    struct ggml_tensor *x, *rounded; /* what was multiplied last, and what ggml rounds it to; or NULL */
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
    bool broken;                /* ggml ran out of memory within allocator or scheduler: neither can be used or freed */
    bool dots[GGML_TYPE_COUNT]; /* whether matrices of a type are multiplied by cpu/dots.h, as dots_check says */
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
/* Writes `bytes` into an input from its byte `at` on, once the graph is allocated; nothing where no node reads it, as
 * the positions of a layer without rope. */
void graph_set(struct ggml_tensor *input, const void *data, size_t at, size_t bytes);

/* The newest of the tensors so far; NULL where none has to be placed on a device, or there is none. */
struct ggml_tensor *graph_newest(graph *g);
/* Puts the tensors that came after `last` on a device, and operations of ours on the CPU. */
void graph_place_after(graph *g, struct ggml_tensor *last, ggml_backend_t device);

/* Parts in which the queries of a graph can attend (attention.h). */
enum { GRAPH_PARTS = 16 };

#endif
