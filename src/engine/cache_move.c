/* cache_move: rows of a cache as bytes: from one cache to another, from one type to another, and keys as numbers. On
 * the host; a device's rows are copied there and back. */
#include <stdlib.h>
#include <string.h>

#include "ggml-cpu.h"

#include "base/error.h"
#include "cache.h"
#include "cpu/hadamard.h"

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
    if (status == JUDGEQ_OK && from->head[0].rope) status = cache_layer_add_rope(out, error);
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
    if (status == JUDGEQ_OK && !layer->head[0].rope) status = cache_layer_add_rope(layer, error);
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

/* ---- rows of a file ---------------------------------------------------------------------------------------------- */

/* to [n, n_line] = from [n_line, n], numbers of `size` bytes. */
static void transpose(const char *from, size_t from_line, int64_t n_line, char *to, size_t to_line, int64_t n,
                      size_t size) {
    for (int64_t l = 0; l < n_line; l++) {
        const char *line = from + (size_t)l * from_line;
        char *out = to + (size_t)l * size;
        for (int64_t i = 0; i < n; i++) {
            if (size == 2) {
                memcpy(out + (size_t)i * to_line, line + 2 * i, 2);
            } else {
                memcpy(out + (size_t)i * to_line, line + 4 * i, 4);
            }
        }
    }
}

static void export_heads(const cache_layer *layer, host_image source, cache_rows out) {
    const size_t size = ggml_type_size(layer->type), row = ggml_row_size(layer->type, layer->head_dim);
    for (int32_t h = 0; h < layer->n_head_kv; h++) {
        const head_image head = head_image_of(layer, source.k, source.v, h);
        const int64_t n = layer->head[h].n_row;
        memcpy(out.key, head.k, (size_t)n * row);
        if (cache_quantised(layer)) {
            memcpy(out.value, head.v, (size_t)n * row);
        } else {
            transpose(head.v, head.line, layer->head_dim, (char *)out.value, row, n, size);
        }
        memcpy(out.position, layer->head[h].position, (size_t)n * sizeof *out.position);
        if (out.rope) {
            memcpy(out.rope, layer->head[h].rope, (size_t)n * sizeof *out.rope);
            out.rope += n;
        }
        out.n_row[h] = (int32_t)n;
        out.position += n;
        out.key += (size_t)n * row;
        out.value += (size_t)n * row;
    }
}

judgeq_status cache_layer_export(const cache_layer *layer, cache_rows out, judgeq_error *error) {
    host_image source = image_of(layer);
    judgeq_status status = source.k && source.v ? JUDGEQ_OK : error_memory(error, "the host's copy of a KV cache");
    if (status == JUDGEQ_OK) {
        image_get(layer, source);
        export_heads(layer, source, out);
    }
    image_free(source);
    return status;
}

static void import_heads(cache_layer *layer, host_image target, cache_rows rows) {
    const size_t size = ggml_type_size(layer->type), row = ggml_row_size(layer->type, layer->head_dim);
    for (int32_t h = 0; h < layer->n_head_kv; h++) {
        const head_image head = head_image_of(layer, target.k, target.v, h);
        const int64_t n = rows.n_row[h];
        if (n == 0) continue;
        memcpy(head.k, rows.key, (size_t)n * row);
        if (cache_quantised(layer)) {
            memcpy(head.v, rows.value, (size_t)n * row);
        } else {
            transpose((const char *)rows.value, row, n, head.v, head.line, layer->head_dim, size);
        }
        memcpy(layer->head[h].position, rows.position, (size_t)n * sizeof *rows.position);
        if (rows.rope) {
            memcpy(layer->head[h].rope, rows.rope, (size_t)n * sizeof *rows.rope);
            rows.rope += n;
        }
        layer->head[h].n_row = n;
        rows.position += n;
        rows.key += (size_t)n * row;
        rows.value += (size_t)n * row;
    }
}

judgeq_status cache_layer_import(ggml_backend_t backend, cache_shape shape, cache_rows rows, int32_t shift,
                                 int64_t spare, cache_meter *meter, cache_layer *out, judgeq_error *error) {
    *out = (cache_layer){0};
    int64_t *capacity = calloc((size_t)shape.n_head_kv, sizeof *capacity);
    if (!capacity) return error_memory(error, "a KV cache");
    for (int32_t h = 0; h < shape.n_head_kv; h++) capacity[h] = rows.n_row[h] + spare;
    judgeq_status status = cache_layer_init(out, backend, shape, capacity, meter, error);
    free(capacity);
    if (status != JUDGEQ_OK) return status;
    out->shift = shift;
    host_image target = image_of(out);
    if (!target.k || !target.v) status = error_memory(error, "the host's copy of a KV cache");
    if (status == JUDGEQ_OK && rows.rope) status = cache_layer_add_rope(out, error);
    if (status == JUDGEQ_OK) {
        import_heads(out, target, rows);
        image_set(out, target);
    }
    image_free(target);
    if (status != JUDGEQ_OK) cache_layer_free(out);
    return status;
}
