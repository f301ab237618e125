/* dots_check: for which matrices the products of cpu/dots.h have the bits of ggml's own. */
#ifndef JUDGEQ_SRC_DOTS_CHECK_H
#define JUDGEQ_SRC_DOTS_CHECK_H

#include "graph.h"

/* Gives the engine `dots`: whether such products of single rows are the same, for each type of the model's matrices. A
 * matrix of each type is multiplied both ways, once in a process, since it depends on how ggml was compiled. None
 * where a model has other devices. Starts graphs of the engine's. Fails with MEMORY. */
judgeq_status dots_check(graph_engine *engine, judgeq_error *error);

#endif
