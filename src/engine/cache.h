/* cache: the key and value rows that one layer holds, per KV head, and their original positions.
 *
 * Every KV head owns a segment of its own size, so heads may hold different numbers of rows (ragged budgets). Keys are
 * stored as rows, K[head] = [capacity, head_dim]. Values that are floats are stored transposed, V[head] = [head_dim,
 * capacity], because graphs then multiply contiguous rows (2 x faster than transposing or flash attention on CPU).
 * Quantised values are stored as rows, like keys: 32 numbers share one scale, so they must belong to one row, because
 * rows come one by one. Where the head_dim allows it, quantised rows are turned by a Hadamard matrix before they are
 * rounded (hadamard.h). Neighbouring heads of equal size form a *run*, which a graph handles as one tensor: a uniform
 * cache is one run, a ragged one has up to n_head_kv.
 *
 * Rows are allocated in multiples of `padding`, and graphs read such multiples: the memory after the rows held is
 * finite (zero, or a row that was removed), and is masked. */
#ifndef JUDGEQ_SRC_CACHE_H
#define JUDGEQ_SRC_CACHE_H

#include "ggml-backend.h"
#include "ggml.h"

#include "judgeq.h"
#include "policy/select.h"

/* KV bytes allocated now, and the most at any moment. One per session, shared by all its layers. */
typedef struct cache_meter {
    size_t bytes, peak;
} cache_meter;

void cache_meter_add(cache_meter *meter, size_t bytes);

typedef struct cache_head {
    int64_t n_row;     /* rows held */
    int64_t capacity;  /* rows allocated */
    int64_t first;     /* of its segment, counted in rows of all heads before it */
    int32_t *position; /* [capacity]; original positions of the rows, ascending */
    int32_t *rope;     /* [capacity]; positions that their keys are rotated by, ascending; NULL: the original ones */
} cache_head;

/* What a layer's cache is made of, beside its rows. */
typedef struct cache_shape {
    enum ggml_type type;
    int32_t n_head_kv, head_dim, padding;
} cache_shape;

typedef struct cache_layer {
    enum ggml_type type;
    int32_t n_head_kv, head_dim, padding;
    cache_head *head; /* [n_head_kv] */
    struct ggml_context *context;
    struct ggml_tensor *k, *v; /* flat, [sum of capacities * head_dim] */
    ggml_backend_buffer_t buffer;
    ggml_backend_t backend;
    cache_meter *meter;
    int32_t shift; /* of rows that come: rotated by their position less this */
} cache_layer;

/* Heads [first_head, first_head + n_head) that hold the same number of rows in the same capacity. */
typedef struct cache_run {
    int32_t first_head, n_head;
    int64_t n_row;
} cache_run;

/* An empty cache with room for at least capacity[h] rows in each head. */
judgeq_status cache_layer_init(cache_layer *layer, ggml_backend_t backend, cache_shape shape, const int64_t *capacity,
                               cache_meter *meter, judgeq_error *error);
/* The same, with room for n rows in every head. */
judgeq_status cache_layer_init_even(cache_layer *layer, ggml_backend_t backend, cache_shape shape, int64_t n,
                                    cache_meter *meter, judgeq_error *error);
/* Makes room for positions that keys are rotated by, which are the original ones so far. */
judgeq_status cache_layer_add_rope(cache_layer *layer, judgeq_error *error);
/* Accepts a zeroed layer. */
void cache_layer_free(cache_layer *layer);

/* Makes room for n more rows in every head, moving the rows if need be. */
judgeq_status cache_layer_reserve(cache_layer *layer, int64_t n, judgeq_error *error);
/* The room that it then makes, unless n is more; most: rows of the head that has the most. */
int64_t cache_spare_rows(int64_t most);

/* Gives back the memory after the rows held and their padding. */
judgeq_status cache_layer_trim(cache_layer *layer, judgeq_error *error);

/* n rows and their padding. */
int64_t cache_padded(const cache_layer *layer, int64_t n);

/* Notes that the graph just computed has written n rows at the end of every head, at positions first, first + 1, ... */
void cache_layer_append(cache_layer *layer, int64_t n, int32_t first_position);

/* The keys of all heads' rows, one head after the other, as they were before rounding: [rows, head_dim]. */
judgeq_status cache_layer_get_keys(const cache_layer *layer, float *keys, judgeq_error *error);
/* Replaces them: keys that are rotated by the positions last - n_row + 1 ... last in each head, which holds n_row rows.
 * Positions of rows that come are less by `shift`. */
judgeq_status cache_layer_set_keys(cache_layer *layer, const float *keys, int32_t last, int32_t shift,
                                   judgeq_error *error);

/* Removes all rows at positions >= n_position. */
void cache_layer_truncate(cache_layer *layer, int32_t n_position);

/* out = the rows of `from` that `kept` names (NULL: all) as `type`, with room for `spare` more rows in each head.
 * `type` is from's own, and the bytes of K and V are copied unchanged, or a quantised one, or F16
 * where from's is quantised. `meter` counts the new bytes. */
judgeq_status cache_layer_gather(const cache_layer *from, const select_kept *kept, enum ggml_type type, int64_t spare,
                                 cache_meter *meter, cache_layer *out, judgeq_error *error);

/* Gives the rows of a quantised layer the bytes that `from`, of the same type and shape, has at their positions. */
judgeq_status cache_layer_restore(cache_layer *layer, const cache_layer *from, judgeq_error *error);

/* A layer's rows in the order of a file, whatever the layout here: one head after the other, n_row [n_head_kv],
 * position [rows], key and value [rows, head_dim], numbers of the cache's type. */
typedef struct cache_rows {
    int32_t *n_row, *position;
    int32_t *rope; /* [rows], as in cache_head; or NULL */
    unsigned char *key, *value;
} cache_rows;

/* All rows of the heads. */
int64_t cache_layer_rows(const cache_layer *layer);
/* Writes them. */
judgeq_status cache_layer_export(const cache_layer *layer, cache_rows out, judgeq_error *error);
/* out = a cache of these rows, with room for `spare` more in each head, whose positions are less by `shift`; they are
 * only read. */
judgeq_status cache_layer_import(ggml_backend_t backend, cache_shape shape, cache_rows rows, int32_t shift,
                                 int64_t spare, cache_meter *meter, cache_layer *out, judgeq_error *error);

/* The run that starts at head `first_head`. */
cache_run cache_layer_run(const cache_layer *layer, int32_t first_head);

/* True where values are stored as rows. */
bool cache_quantised(const cache_layer *layer);
/* True where keys and values are stored turned by a Hadamard matrix (hadamard.h). Queries that attend to them must be
 * turned as well, and the output of their attention turned back. */
bool cache_turned(const cache_layer *layer);

/* Views of a run for a graph in `context`, rows [first, first + n) of it:
 * keys [n_head, n, head_dim] and values [n_head, head_dim, n]; quantised values [n_head, n, head_dim]. */
struct ggml_tensor *cache_run_keys(struct ggml_context *context, const cache_layer *layer, cache_run run, int64_t first,
                                   int64_t n);
struct ggml_tensor *cache_run_values(struct ggml_context *context, const cache_layer *layer, cache_run run,
                                     int64_t first, int64_t n);

/* Bytes of the rows held, and of the capacity. */
size_t cache_layer_bytes(const cache_layer *layer);
size_t cache_layer_allocated(const cache_layer *layer);

#endif
