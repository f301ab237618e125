/* bench_cells: what `judgeq bench` measures: one cell for every combination of a prompt length, a policy with its
 * budget, a KV type, a number of threads and a batch size; and what every repetition of it gave. */
#ifndef JUDGEQ_CLI_BENCH_CELLS_H
#define JUDGEQ_CLI_BENCH_CELLS_H

#include <jansson.h>

#include "arms.h"
#include "bandwidth.h"
#include "bench_options.h"
#include "spread.h"

/* Measured in every repetition. */
typedef enum bench_measure {
    BENCH_FIRST_TOKEN, /* seconds from the prompt to the first token, and what they are made of: */
    BENCH_EMBED,
    BENCH_BLOCKS,
    BENCH_SCORE,
    BENCH_COMPACT,
    BENCH_LOOKAHEAD,
    BENCH_OTHER,     /* the first token's logits and choice, allocation; scoring for all but the first of a batch */
    BENCH_PREFILL,   /* prompt tokens per second */
    BENCH_DECODE,    /* tokens per second, of all sequences of the batch together */
    BENCH_RESIDENT,  /* bytes; NaN where the system does not say */
    BENCH_BANDWIDTH, /* bytes that a decoding step must read, per second, as a share of what the memory gives */
    BENCH_MEASURES
} bench_measure;

/* "first_token_s": in JSON, and in CSV. */
const char *bench_measure_name(bench_measure measure);

typedef struct bench_cell {
    int32_t length, n_threads, n_batch; /* n_threads 0: chosen by the engine */
    judgeq_kv_type kv_type;
    const arm *arm;
    double *value[BENCH_MEASURES]; /* each [n_repeat] */
    /* The same in every repetition: KV bytes of the whole batch, and bytes that a decoding step reads at least: the
     * weights once, and the rows held in the middle of the response. */
    size_t kv_bytes_held, kv_bytes_peak, step_bytes;
    spread spread[BENCH_MEASURES]; /* after bench_cells_finish */
} bench_cell;

/* Memory speed with a number of threads, measured once per repetition. */
typedef struct bench_memory {
    int32_t n_threads;
    double *read, *triad; /* [n_repeat], bytes per second */
    bandwidth now;        /* of the repetition under way */
    spread read_spread, triad_spread;
} bench_memory;

typedef struct bench_cells {
    bench_cell *cell; /* [n_cell] */
    size_t n_cell;
    bench_memory *memory; /* [n_memory] */
    size_t n_memory;
    int32_t n_repeat;
} bench_cells;

/* The cells that the options ask for, length by length. The arms must outlive them. */
judgeq_status bench_cells_make(const bench_options *o, const arms *all, bench_cells *out, judgeq_error *error);
void bench_cells_free(bench_cells *cells);

/* What all cells share. */
typedef struct bench_setup {
    const judgeq_model *model;
    const judgeq_judge *judge;
    const bench_options *options;
    const int32_t *tokens; /* of the longest prompt */
    char processor[128], *kernels;
    json_t *then; /* what --compare names; or NULL */
    judgeq_progress progress;
    void *progress_data; /* asked between units of work; false: CANCELLED */
} bench_setup;

/* Measures memory. repeat < 0: a warm-up, of which nothing is kept. */
judgeq_status bench_memory_run(bench_cells *cells, int32_t repeat, judgeq_error *error);
/* Measures a cell once. */
judgeq_status bench_cell_run(const bench_setup *setup, const bench_cells *cells, bench_cell *cell, int32_t repeat,
                             judgeq_error *error);
/* Medians and ranges, once all repetitions are done. Sorts the values. */
void bench_cells_finish(bench_cells *cells);

#endif
