#include "cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ggml-cpu.h"

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

static judgeq_status allocate_rope(cache_layer *layer, judgeq_error *error) {
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
    int64_t *capacity = malloc((size_t)shape.n_head_kv * sizeof *capacity);
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

judgeq_status cache_layer_reserve(cache_layer *layer, int64_t n, judgeq_error *error) {
    bool room = true;
    int64_t most = 0;
    for (int32_t h = 0; h < layer->n_head_kv; h++) {
        const cache_head *head = &layer->head[h];
        room = room && head->capacity - head->n_row >= n;
        if (head->n_row > most) most = head->n_row;
    }
    if (room) return JUDGEQ_OK;
    int64_t spare = most / GROW_SHARE;
    if (spare < GROW_LEAST) spare = GROW_LEAST;
    if (spare < n) spare = n;
    return move_rows(layer, spare, error);
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

/* One head's rows in host copies of a layer. */
typedef struct head_image {
    char *k, *v;
    size_t row, line; /* bytes of a row, and from one line of transposed values to the next */
} head_image;

static head_image head_image_of(const cache_layer *layer, char *k, char *v, int32_t h) {
    const cache_head *head = &layer->head[h];
    const size_t row = ggml_row_size(layer->type, layer->head_dim);
    return (head_image){.k = k + (size_t)head->first * row,
                        .v = v + (size_t)head->first * row,
                        .row = row,
                        .line = ggml_type_size(layer->type) * (size_t)head->capacity};
}

static void copy_rows(const char *from, char *to, size_t size, const int32_t *row, int64_t n) {
    for (int64_t i = 0; i < n; i++) memcpy(to + (size_t)i * size, from + (size_t)(row ? row[i] : i) * size, size);
}

/* Columns row[i] (or i where row is NULL) of transposed values. */
static void copy_columns(const head_image *from, const head_image *to, int32_t head_dim, size_t size,
                         const int32_t *row, int64_t n) {
    for (size_t d = 0; d < (size_t)head_dim; d++) {
        const char *v = from->v + d * from->line;
        char *out = to->v + d * to->line;
        if (!row) {
            memcpy(out, v, (size_t)n * size);
        } else if (size == 2) {
            for (int64_t i = 0; i < n; i++) memcpy(out + 2 * i, v + 2 * (size_t)row[i], 2);
        } else {
            for (int64_t i = 0; i < n; i++) memcpy(out + 4 * i, v + 4 * (size_t)row[i], 4);
        }
    }
}

static void quantise_row(float *row, enum ggml_type type, int32_t head_dim, char *to) {
    if (hadamard_applies(type, head_dim)) hadamard_row(row, head_dim);
    ggml_get_type_traits_cpu(type)->from_float(row, to, head_dim);
}

/* Rows of F16 keys and transposed values as rows of `type`. scratch [2, head_dim] */
static void quantise_rows(const head_image *from, const head_image *to, enum ggml_type type, int32_t head_dim,
                          const int32_t *row, int64_t n, float *scratch) {
    ggml_fp16_t *column = (ggml_fp16_t *)(void *)(scratch + head_dim);
    for (int64_t i = 0; i < n; i++) {
        const size_t r = (size_t)(row ? row[i] : i);
        ggml_fp16_to_fp32_row((const ggml_fp16_t *)(const void *)(from->k + r * from->row), scratch, head_dim);
        quantise_row(scratch, type, head_dim, to->k + (size_t)i * to->row);
        for (size_t d = 0; d < (size_t)head_dim; d++) {
            memcpy(column + d, from->v + d * from->line + r * sizeof *column, sizeof *column);
        }
        ggml_fp16_to_fp32_row(column, scratch, head_dim);
        quantise_row(scratch, type, head_dim, to->v + (size_t)i * to->row);
    }
}

/* Rows of a quantised type as rows of F16 keys and transposed values. scratch [2, head_dim] */
static void unquantise_rows(const head_image *from, const head_image *to, enum ggml_type type, int32_t head_dim,
                            const int32_t *row, int64_t n, float *scratch) {
    const ggml_to_float_t to_float = ggml_get_type_traits(type)->to_float;
    ggml_fp16_t *column = (ggml_fp16_t *)(void *)(scratch + head_dim);
    const bool turned = hadamard_applies(type, head_dim);
    for (int64_t i = 0; i < n; i++) {
        const size_t r = (size_t)(row ? row[i] : i);
        to_float(from->k + r * from->row, scratch, head_dim);
        if (turned) hadamard_row(scratch, head_dim);
        ggml_fp32_to_fp16_row(scratch, (ggml_fp16_t *)(void *)(to->k + (size_t)i * to->row), head_dim);
        to_float(from->v + r * from->row, scratch, head_dim);
        if (turned) hadamard_row(scratch, head_dim);
        ggml_fp32_to_fp16_row(scratch, column, head_dim);
        for (size_t d = 0; d < (size_t)head_dim; d++) {
            memcpy(to->v + d * to->line + (size_t)i * sizeof *column, column + d, sizeof *column);
        }
    }
}

/* Host images of a layer's K and V: the tensors themselves where the device's memory is the host's. */
typedef struct host_image {
    char *k, *v;
    bool owned;
} host_image;

static host_image image_of(const cache_layer *layer) {
    if (ggml_backend_buffer_is_host(layer->buffer)) return (host_image){layer->k->data, layer->v->data, false};
    host_image image = {calloc(1, ggml_nbytes(layer->k)), calloc(1, ggml_nbytes(layer->v)), true};
    return image;
}

static void image_free(host_image image) {
    if (!image.owned) return;
    free(image.k);
    free(image.v);
}

static void image_get(const cache_layer *layer, host_image image) {
    if (!image.owned) return;
    ggml_backend_tensor_get(layer->k, image.k, 0, ggml_nbytes(layer->k));
    ggml_backend_tensor_get(layer->v, image.v, 0, ggml_nbytes(layer->v));
}

static void image_set(const cache_layer *layer, host_image image) {
    if (!image.owned) return;
    ggml_backend_tensor_set(layer->k, image.k, 0, ggml_nbytes(layer->k));
    ggml_backend_tensor_set(layer->v, image.v, 0, ggml_nbytes(layer->v));
}

/* Copies n rows of every head, those of `kept` or all, between host images of both layers. */
static judgeq_status gather_heads(const cache_layer *from, host_image source, const cache_layer *to, host_image target,
                                  const select_kept *kept, judgeq_error *error) {
    float *scratch = malloc(2 * (size_t)from->head_dim * sizeof *scratch);
    if (!scratch) return error_memory(error, "a row of a KV cache");
    for (int32_t h = 0; h < from->n_head_kv; h++) {
        const head_image a = head_image_of(from, source.k, source.v, h), b = head_image_of(to, target.k, target.v, h);
        const int32_t *row = kept ? kept->row[h] : NULL;
        const int64_t n = kept ? kept->n_row[h] : from->head[h].n_row;
        if (to->type != from->type && cache_quantised(from)) {
            unquantise_rows(&a, &b, from->type, from->head_dim, row, n, scratch);
        } else if (to->type != from->type) {
            quantise_rows(&a, &b, to->type, from->head_dim, row, n, scratch);
        } else {
            copy_rows(a.k, b.k, a.row, row, n);
            if (cache_quantised(from)) {
                copy_rows(a.v, b.v, a.row, row, n);
            } else {
                copy_columns(&a, &b, from->head_dim, ggml_type_size(from->type), row, n);
            }
        }
        for (int64_t i = 0; i < n; i++) {
            to->head[h].position[i] = from->head[h].position[row ? row[i] : i];
            if (from->head[h].rope) to->head[h].rope[i] = from->head[h].rope[row ? row[i] : i];
        }
        to->head[h].n_row = n;
    }
    free(scratch);
    return JUDGEQ_OK;
}

judgeq_status cache_layer_gather(const cache_layer *from, const select_kept *kept, enum ggml_type type, int64_t spare,
                                 cache_meter *meter, cache_layer *out, judgeq_error *error) {
    *out = (cache_layer){0};
    int64_t *capacity = malloc((size_t)from->n_head_kv * sizeof *capacity);
    if (!capacity) return error_memory(error, "a KV cache");
    for (int32_t h = 0; h < from->n_head_kv; h++) {
        capacity[h] = (kept ? kept->n_row[h] : from->head[h].n_row) + spare;
    }
    const cache_shape shape = {type, from->n_head_kv, from->head_dim, from->padding};
    judgeq_status status = cache_layer_init(out, from->backend, shape, capacity, meter, error);
    free(capacity);
    if (status == JUDGEQ_OK && from->head[0].rope) status = allocate_rope(out, error);
    if (status != JUDGEQ_OK) {
        cache_layer_free(out);
        return status;
    }
    out->shift = from->shift;
    host_image source = image_of(from), target = image_of(out);
    if (!source.k || !source.v || !target.k || !target.v) {
        status = error_memory(error, "the host's copy of a KV cache");
    } else {
        image_get(from, source);
        status = gather_heads(from, source, out, target, kept, error);
        if (status == JUDGEQ_OK) image_set(out, target);
    }
    image_free(source);
    image_free(target);
    if (status != JUDGEQ_OK) cache_layer_free(out);
    return status;
}

/* Copies the rows of one head whose positions both have. */
static void restore_head(const cache_layer *from, host_image source, const cache_layer *to, host_image target,
                         int32_t h) {
    const head_image a = head_image_of(from, source.k, source.v, h), b = head_image_of(to, target.k, target.v, h);
    const cache_head *old = &from->head[h], *now = &to->head[h];
    for (int64_t i = 0, k = 0; i < now->n_row; i++) {
        while (k < old->n_row && old->position[k] < now->position[i]) k++;
        if (k == old->n_row) return;
        if (old->position[k] != now->position[i]) continue;
        memcpy(b.k + (size_t)i * b.row, a.k + (size_t)k * a.row, a.row);
        memcpy(b.v + (size_t)i * b.row, a.v + (size_t)k * a.row, a.row);
    }
}

judgeq_status cache_layer_restore(cache_layer *layer, const cache_layer *from, judgeq_error *error) {
    host_image source = image_of(from), target = image_of(layer);
    judgeq_status status = JUDGEQ_OK;
    if (!source.k || !source.v || !target.k || !target.v) {
        status = error_memory(error, "the host's copy of a KV cache");
    } else {
        image_get(from, source);
        image_get(layer, target);
        for (int32_t h = 0; h < layer->n_head_kv; h++) restore_head(from, source, layer, target, h);
        image_set(layer, target);
    }
    image_free(source);
    image_free(target);
    return status;
}

/* ---- keys -------------------------------------------------------------------------------------------------------- */

judgeq_status cache_layer_get_keys(const cache_layer *layer, float *keys, judgeq_error *error) {
    const host_image image = image_of(layer);
    const ggml_to_float_t to_float = ggml_get_type_traits(layer->type)->to_float;
    if (!image.k || !image.v) {
        image_free(image);
        return error_memory(error, "the host's copy of a KV cache");
    }
    image_get(layer, image);
    for (int32_t h = 0; h < layer->n_head_kv; h++) {
        const head_image head = head_image_of(layer, image.k, image.v, h);
        for (int64_t i = 0; i < layer->head[h].n_row; i++, keys += layer->head_dim) {
            const char *row = head.k + (size_t)i * head.row;
            if (layer->type == GGML_TYPE_F32) {
                memcpy(keys, row, head.row);
            } else {
                to_float(row, keys, layer->head_dim);
            }
            if (cache_turned(layer)) hadamard_row(keys, layer->head_dim);
        }
    }
    image_free(image);
    return JUDGEQ_OK;
}

/* One head's. row [head_dim] */
static void set_head(const cache_layer *layer, const head_image *head, int32_t h, const float *keys, float *row) {
    const ggml_from_float_t from_float = ggml_get_type_traits_cpu(layer->type)->from_float;
    for (int64_t i = 0; i < layer->head[h].n_row; i++, keys += layer->head_dim) {
        char *to = head->k + (size_t)i * head->row;
        memcpy(row, keys, (size_t)layer->head_dim * sizeof *row);
        if (cache_turned(layer)) hadamard_row(row, layer->head_dim);
        if (layer->type == GGML_TYPE_F32) {
            memcpy(to, row, head->row);
        } else {
            from_float(row, to, layer->head_dim);
        }
    }
}

judgeq_status cache_layer_set_keys(cache_layer *layer, const float *keys, int32_t last, int32_t shift,
                                   judgeq_error *error) {
    const host_image image = image_of(layer);
    float *row = malloc((size_t)layer->head_dim * sizeof *row);
    judgeq_status status = row && image.k && image.v ? JUDGEQ_OK : error_memory(error, "a row of a KV cache");
    if (status == JUDGEQ_OK && !layer->head[0].rope) status = allocate_rope(layer, error);
    if (status == JUDGEQ_OK) {
        image_get(layer, image);
        for (int32_t h = 0; h < layer->n_head_kv; h++) {
            const head_image head = head_image_of(layer, image.k, image.v, h);
            const int64_t n = layer->head[h].n_row;
            set_head(layer, &head, h, keys, row);
            for (int64_t i = 0; i < n; i++) layer->head[h].rope[i] = last - (int32_t)(n - 1 - i);
            keys += n * layer->head_dim;
        }
        image_set(layer, image);
        layer->shift = shift;
    }
    free(row);
    image_free(image);
    return status;
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
    int64_t rows = 0;
    for (int32_t h = 0; h < layer->n_head_kv; h++) rows += layer->head[h].n_row;
    return 2 * (size_t)rows * ggml_row_size(layer->type, layer->head_dim);
}
