/* reposition: rows of a cache at other positions, for sequences that are longer than what a model was trained for. RoPE
 * turns a key by its position, so a key of position p becomes one of position q when it is turned by q - p:
 * StreamingLLM (Xiao et al., ICLR 2024, section 3.2) counts positions within the cache in this way. */
#ifndef JUDGEQ_SRC_REPOSITION_H
#define JUDGEQ_SRC_REPOSITION_H

#include "cache.h"
#include "graph.h"

/* Gives the rows that each head of a layer holds consecutive positions, the last one of which is `last`. Positions of
 * rows that come will be less by `shift` than those that cache_layer_append is told. */
judgeq_status reposition_layer(cache_layer *layer, const model_layer *described, graph_engine *engine, int32_t last,
                               int32_t shift, judgeq_error *error);

#endif
