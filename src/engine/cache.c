#include "cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "cpu/hadamard.h"
#include "model/tensors.h"

/* Spare rows when a cache must grow while decoding: a sixteenth, so that moving costs each token 16 rows at most. */
enum { GROW_LEAST = 32, GROW_SHARE = 16 };

void cache_meter_add(cache_meter *meter, size_t bytes) {
    meter->bytes += bytes;
    if (meter->bytes > meter->peak) meter->peak = meter->bytes;
}

size_t cache_layer_allocated(const cache_layer *layer) {
    return 2 * ggml_nbytes(layer->k);
}

static int64_t capacity_sum(const cache_layer *layer) {
    const cache_head *last = &layer->head[layer->n_head_kv - 1];
    return last->first + last->capacity;
}

int64_t cache_padded(const cache_layer *layer, int64_t n) {
    return (n + layer->padding - 1) / layer->padding * layer->padding;
}

static judgeq_status allocate_heads(cache_layer *layer, const int64_t *capacity, judgeq_error *error) {
    layer->head = calloc((size_t)layer->n_head_kv, sizeof *layer->head);
    if (!layer->head) return error_memory(error, "the heads of a KV cache");
    int64_t first = 0;
    for (int32_t h = 0; h < layer->n_head_kv; h++) {
        cache_head *head = &layer->head[h];
        head->capacity = cache_padded(layer, capacity[h] > 0 ? capacity[h] : 1);
        head->first = first;
        head->position = malloc((size_t)head->capacity * sizeof *head->position);
        if (!head->position) return error_memory(error, "the positions of a KV cache");
        first += head->capacity;
    }
    return JUDGEQ_OK;
}

judgeq_status cache_layer_add_rope(cache_layer *layer, judgeq_error *error) {
    for (int32_t h = 0; h < layer->n_head_kv; h++) {
        cache_head *head = &layer->head[h];
        head->rope = malloc((size_t)head->capacity * sizeof *head->rope);
        if (!head->rope) return error_memory(error, "the positions of a KV cache");
        memcpy(head->rope, head->position, (size_t)head->n_row * sizeof *head->rope);
    }
    return JUDGEQ_OK;
}

judgeq_status cache_layer_init(cache_layer *layer, ggml_backend_t backend, cache_shape shape, const int64_t *capacity,
                               cache_meter *meter, judgeq_error *error) {
    *layer = (cache_layer){.type = shape.type,
                           .n_head_kv = shape.n_head_kv,
                           .head_dim = shape.head_dim,
                           .padding = shape.padding,
                           .backend = backend,
                           .meter = meter};
    judgeq_status status = allocate_heads(layer, capacity, error);
    if (status == JUDGEQ_OK) status = tensors_new(2, "a KV cache", &layer->context, error);
    if (status == JUDGEQ_OK) {
        const int64_t elements = capacity_sum(layer) * layer->head_dim;
        layer->k = ggml_new_tensor_1d(layer->context, layer->type, elements);
        layer->v = ggml_new_tensor_1d(layer->context, layer->type, elements);
        char what[64];
        snprintf(what, sizeof what, "%zu bytes of KV cache", 2 * ggml_nbytes(layer->k));
        status = tensors_allocate(layer->context, ggml_backend_get_default_buffer_type(backend), what, &layer->buffer,
                                  error);
    }
    if (status != JUDGEQ_OK) {
        cache_layer_free(layer);
        return status;
    }
    ggml_backend_buffer_clear(layer->buffer, 0);
    cache_meter_add(meter, cache_layer_allocated(layer));
    return JUDGEQ_OK;
}

judgeq_status cache_layer_init_even(cache_layer *layer, ggml_backend_t backend, cache_shape shape, int64_t n,
                                    cache_meter *meter, judgeq_error *error) {
    int64_t *capacity = calloc((size_t)shape.n_head_kv, sizeof *capacity);
    if (!capacity) return error_memory(error, "a KV cache");
    for (int32_t h = 0; h < shape.n_head_kv; h++) capacity[h] = n;
    const judgeq_status status = cache_layer_init(layer, backend, shape, capacity, meter, error);
    free(capacity);
    return status;
}

void cache_layer_free(cache_layer *layer) {
    if (layer->buffer) {
        layer->meter->bytes -= cache_layer_allocated(layer);
        ggml_backend_buffer_free(layer->buffer);
    }
    ggml_free(layer->context);
    for (int32_t h = 0; layer->head && h < layer->n_head_kv; h++) {
        free(layer->head[h].position);
        free(layer->head[h].rope);
    }
    free(layer->head);
    *layer = (cache_layer){0};
}

/* The same rows, with room for `spare` more. */
static judgeq_status move_rows(cache_layer *layer, int64_t spare, judgeq_error *error) {
    cache_layer moved;
    judgeq_status status = cache_layer_gather(layer, NULL, layer->type, spare, layer->meter, &moved, error);
    if (status != JUDGEQ_OK) return status;
    cache_layer_free(layer);
    *layer = moved;
    return JUDGEQ_OK;
}

int64_t cache_spare_rows(int64_t most) {
    return most / GROW_SHARE > GROW_LEAST ? most / GROW_SHARE : GROW_LEAST;
}

judgeq_status cache_layer_reserve(cache_layer *layer, int64_t n, judgeq_error *error) {
    bool room = true;
    int64_t most = 0;
    for (int32_t h = 0; h < layer->n_head_kv; h++) {
        const cache_head *head = &layer->head[h];
        room = room && head->capacity - head->n_row >= n;
        if (head->n_row > most) most = head->n_row;
    }
    if (room) return JUDGEQ_OK;
    const int64_t spare = cache_spare_rows(most);
    return move_rows(layer, spare > n ? spare : n, error);
}

judgeq_status cache_layer_trim(cache_layer *layer, judgeq_error *error) {
    bool tight = true;
    for (int32_t h = 0; h < layer->n_head_kv; h++) {
        tight = tight && layer->head[h].capacity == cache_padded(layer, layer->head[h].n_row);
    }
    return tight ? JUDGEQ_OK : move_rows(layer, 0, error);
}

void cache_layer_append(cache_layer *layer, int64_t n, int32_t first_position) {
    for (int32_t h = 0; h < layer->n_head_kv; h++) {
        cache_head *head = &layer->head[h];
        for (int64_t i = 0; i < n; i++) {
            head->position[head->n_row + i] = first_position + (int32_t)i;
            if (head->rope) head->rope[head->n_row + i] = first_position + (int32_t)i - layer->shift;
        }
        head->n_row += n;
    }
}

void cache_layer_truncate(cache_layer *layer, int32_t n_position) {
    for (int32_t h = 0; h < layer->n_head_kv; h++) {
        cache_head *head = &layer->head[h];
        while (head->n_row > 0 && head->position[head->n_row - 1] >= n_position) head->n_row--;
    }
}

int64_t cache_layer_rows(const cache_layer *layer) {
    int64_t rows = 0;
    for (int32_t h = 0; h < layer->n_head_kv; h++) rows += layer->head[h].n_row;
    return rows;
}

/* ---- views ------------------------------------------------------------------------------------------------------- */

cache_run cache_layer_run(const cache_layer *layer, int32_t first_head) {
    const cache_head *first = &layer->head[first_head];
    int32_t end = first_head + 1;
    while (end < layer->n_head_kv && layer->head[end].n_row == first->n_row &&
           layer->head[end].capacity == first->capacity) {
        end++;
    }
    return (cache_run){.first_head = first_head, .n_head = end - first_head, .n_row = first->n_row};
}

bool cache_quantised(const cache_layer *layer) {
    return ggml_is_quantized(layer->type);
}

bool cache_turned(const cache_layer *layer) {
    return hadamard_applies(layer->type, layer->head_dim);
}

/* Rows [first, first + n) of a run in k or v: [n_head, n, head_dim]. */
static struct ggml_tensor *run_rows(struct ggml_context *context, const cache_layer *layer, struct ggml_tensor *all,
                                    cache_run run, int64_t first, int64_t n) {
    const cache_head *head = &layer->head[run.first_head];
    const size_t row = ggml_row_size(layer->type, layer->head_dim);
    return ggml_view_3d(context, all, layer->head_dim, n, run.n_head, row, row * (size_t)head->capacity,
                        row * (size_t)(head->first + first));
}

struct ggml_tensor *cache_run_keys(struct ggml_context *context, const cache_layer *layer, cache_run run, int64_t first,
                                   int64_t n) {
    return run_rows(context, layer, layer->k, run, first, n);
}

struct ggml_tensor *cache_run_values(struct ggml_context *context, const cache_layer *layer, cache_run run,
                                     int64_t first, int64_t n) {
    if (cache_quantised(layer)) return run_rows(context, layer, layer->v, run, first, n);
    const cache_head *head = &layer->head[run.first_head];
    const size_t size = ggml_type_size(layer->type), line = size * (size_t)head->capacity;
    return ggml_view_3d(context, layer->v, n, layer->head_dim, run.n_head, line, line * (size_t)layer->head_dim,
                        size * ((size_t)head->first * (size_t)layer->head_dim + (size_t)first));
}

size_t cache_layer_bytes(const cache_layer *layer) {
    return 2 * (size_t)cache_layer_rows(layer) * ggml_row_size(layer->type, layer->head_dim);
}
