/* reading: a read that is under way, for the files that carry it out: read, and read_chunk, which sends rows through a
 * layer. */
#ifndef JUDGEQ_SRC_READING_H
#define JUDGEQ_SRC_READING_H

#include "engine/expand.h"
#include "read.h"
#include "reader.h"

/* What a session was before the read, to which it returns unless the read is complete. */
typedef struct before {
    cache_layer *layer;
    float *logits;
    int32_t *deferred;
    size_t n_deferred;
    int32_t n_prompt, n_position, turn_from, turn_to, budget, slack;
    bool prefilled;
} before;

struct reading {
    const judgeq_model *model;
    const judgeq_judge *judge;
    graph_engine *engine;
    int32_t *tokens; /* [n_new] */
    int32_t n_new, n_soft;
    int32_t n_held;     /* the most rows that a head of a layer holds before */
    int32_t n_position; /* of the first new row */
    int32_t n_shift;    /* the sessions' */
    int32_t chunk, again_chunk, rows_at_once;
    reader *reader; /* [n_reader] */
    before *before; /* [n_reader] */
    size_t n_reader;
    struct ggml_context *context;
    again_plan again;           /* rows that are read a second time, after new and soft ones */
    struct ggml_tensor *hidden; /* [n_new + n_soft + again.n_row, n_embd], input of the next layer */
    ggml_backend_buffer_t buffer;
    const model_expanded *expanded; /* [n_layer], the model's; or NULL */
    expand expand;
    model_layer layer;           /* the layer that is being read, with weights from one of these */
    int32_t index, at, again_at; /* its number; the next of its rows to read, and to read again */
    cache_layer staging;         /* its rows: held, new, soft or of the second reading */
    size_t staged;               /* bytes of `staging` that the sessions' meters count, as if it were theirs */
    cache_meter meter;           /* of `staging` */
    struct ggml_tensor **by_run; /* [n_head_kv], the attention that a chunk's block returned */
    double embed_s, blocks_s, read_s, spent_s;
    bool complete;
};

/* Rows [start, stop) through the layer: their keys and values into `staging`, their outputs back into `hidden`, the
 * attention of probes among them to the scorers. *seconds gets what the layer took, added. */
judgeq_status read_chunk(reading *r, int32_t start, int32_t stop, double *seconds, judgeq_error *error);

/* The next rows of the second reading. */
judgeq_status read_rows_again(reading *r, judgeq_error *error);

/* The soft rows, after the new ones. Their keys and values are removed again: the cache is as it was before. */
judgeq_status read_soft_rows(reading *r, judgeq_error *error);

#endif
