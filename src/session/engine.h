/* engine: what computes for sessions, one call at a time: threads, the memory of graphs, and the graph that decodes. */
#ifndef JUDGEQ_SRC_SESSION_ENGINE_H
#define JUDGEQ_SRC_SESSION_ENGINE_H

#include "engine/attention.h"
#include "engine/graph.h"

/* The graph that decodes a token for one session, or for several together. */
typedef struct decoder {
    attend_batch batch;
    attend_layer *layer; /* [n_layer] */
    uint64_t graph;      /* its number, by the engine's count: it can run until another graph starts; 0: none */
    struct ggml_tensor *token, *position; /* [sequences] */
    struct ggml_tensor *logits;           /* [sequences, n_vocab] */
    struct ggml_tensor **query;           /* [n_layer], each [sequences, n_head, head_dim], rotated */
} decoder;

struct judgeq_engine {
    const judgeq_model *model;
    graph_engine graphs;
    decoder decoder;
};

enum { ENGINE_THREADS_MOST = 1024 };

judgeq_status engine_check_threads(int32_t n_threads, judgeq_error *error);

#endif
