#include "attend.h"

#include <stdlib.h>
#include <string.h>

#include "ggml-cpu.h"

#include "base/error.h"
#include "cpu/every_cpu.h"
#include "cpu/hadamard.h"
#include "cpu/softmax.h"

/* ---- quantised values ------------------------------------------------------------------------------------------- */

/* ggml's Q4_0: 32 numbers, of which byte k holds the k-th and the (k + 16)-th. */
typedef struct block_q4_0 {
    ggml_fp16_t scale;
    uint8_t pair[16];
} block_q4_0;

/* As ggml's own, which is compiled for the oldest CPUs: 4 x as fast. */
FOR_EVERY_CPU
static void unpack_q4_0(const block_q4_0 *block, float *restrict x, int64_t n) {
    for (int64_t i = 0; 32 * i < n; i++) {
        const float scale = ggml_fp16_to_fp32(block[i].scale);
        uint8_t pair[16];
        float *restrict to = x + 32 * i;
        memcpy(pair, block[i].pair, sizeof pair);
        for (int k = 0; k < 16; k++) to[k] = scale * (float)((pair[k] & 15) - 8);
        for (int k = 0; k < 16; k++) to[16 + k] = scale * (float)((pair[k] >> 4) - 8);
    }
}

static void unpack(enum ggml_type type, const void *rows, float *x, int64_t n) {
    if (type == GGML_TYPE_Q4_0) {
        unpack_q4_0(rows, x, n);
    } else {
        ggml_get_type_traits(type)->to_float(rows, x, n);
    }
}

enum { COLUMNS = 32 };

/* The sums over `width` columns stay in registers. */
static inline void add_columns(const float *restrict row, int64_t n, const float *restrict weight, int64_t head_dim,
                               int64_t width, float *restrict out) {
    float total[2 * COLUMNS];
    for (int64_t k = 0; k < width; k++) total[k] = out[k];
    for (int64_t r = 0; r < n; r++) {
        for (int64_t k = 0; k < width; k++) total[k] += weight[r] * row[r * head_dim + k];
    }
    for (int64_t k = 0; k < width; k++) out[k] = total[k];
}

/* out [head_dim] += weight [n] . row [n, head_dim]; head_dim is a multiple of COLUMNS. */
FOR_EVERY_CPU
static void add_rows(const float *row, int64_t n, const float *weight, int64_t head_dim, float *out) {
    const int64_t wide = 2 * (int64_t)COLUMNS;
    int64_t d = 0;
    for (; d + wide <= head_dim; d += wide) add_columns(row + d, n, weight, head_dim, wide, out + d);
    if (d < head_dim) add_columns(row + d, n, weight, head_dim, COLUMNS, out + d);
}

/* ---- one KV head ------------------------------------------------------------------------------------------------- */

/* The addresses and strides of a KV head's rows. */
typedef struct segment {
    enum ggml_type type;
    const struct ggml_type_traits_cpu *traits;
    char *k, *v;
    size_t row_size;         /* bytes of a row */
    size_t size, line_size;  /* transposed values: bytes of a number, and from one line to the next */
    int64_t n_row, n_padded; /* with the new one */
    int32_t head_dim;
    bool quantised; /* values are stored as rows */
    bool turned;
} segment;

static segment segment_of(const cache_layer *layer, int32_t head) {
    const cache_head *h = &layer->head[head];
    const size_t size = ggml_type_size(layer->type), row = ggml_row_size(layer->type, layer->head_dim);
    return (segment){.type = layer->type,
                     .traits = ggml_get_type_traits_cpu(layer->type),
                     .k = (char *)layer->k->data + (size_t)h->first * row,
                     .v = (char *)layer->v->data + (size_t)h->first * row,
                     .row_size = row,
                     .size = size,
                     .line_size = size * (size_t)h->capacity,
                     .n_row = h->n_row + 1,
                     .n_padded = cache_padded(layer, h->n_row + 1),
                     .head_dim = layer->head_dim,
                     .quantised = cache_quantised(layer),
                     .turned = cache_turned(layer)};
}

/* A row as the cache holds it, before it is rounded: itself, or in `room` [head_dim]. */
static const float *turned_row(const segment *s, const float *row, float *room) {
    if (!s->turned) return row;
    memcpy(room, row, (size_t)s->head_dim * sizeof *room);
    hadamard_row(room, s->head_dim);
    return room;
}

static void store(const segment *s, const float *key, const float *value, char *scratch) {
    const size_t last = (size_t)(s->n_row - 1);
    float *room = (float *)(void *)scratch;
    s->traits->from_float(turned_row(s, key, room), s->k + last * s->row_size, s->head_dim);
    if (s->quantised) {
        s->traits->from_float(turned_row(s, value, room), s->v + last * s->row_size, s->head_dim);
        return;
    }
    s->traits->from_float(value, scratch, s->head_dim);
    for (size_t d = 0; d < (size_t)s->head_dim; d++) {
        memcpy(s->v + d * s->line_size + last * s->size, scratch + d * s->size, s->size);
    }
}

/* Quantised rows that are unpacked at once: they stay in the CPU's nearest cache until all query heads have used them.
 */
enum { ROWS = 16 };

/* Bytes that `attend` works in: scores [group, n_padded], and then queries [group, head_dim] and probabilities [group,
 * n_padded] as the cache's type, or unpacked values [ROWS, head_dim]. */
static size_t scratch_bytes(int64_t group, int64_t n_padded, int64_t head_dim) {
    int64_t other = group * (n_padded > head_dim ? n_padded : head_dim);
    if (other < ROWS * head_dim) other = ROWS * head_dim;
    return (size_t)(group * n_padded + other) * sizeof(float);
}

/* score [group, n_padded] = softmax(scale * query [group, head_dim] . K^T), and 0 in the padding. room [head_dim] */
static void find_scores(const segment *s, const float *query, int64_t group, float scale, float *score, char *rounded,
                        float *room) {
    const ggml_vec_dot_t dot = s->traits->vec_dot;
    const size_t size = ggml_row_size(s->traits->vec_dot_type, s->head_dim);
    const ggml_from_float_t from_float = ggml_get_type_traits_cpu(s->traits->vec_dot_type)->from_float;
    for (int64_t g = 0; g < group; g++) {
        from_float(turned_row(s, query + g * s->head_dim, room), rounded + (size_t)g * size, s->head_dim);
    }
    for (int64_t r = 0; r < s->n_row; r++) {
        for (int64_t g = 0; g < group; g++) {
            dot(s->head_dim, &score[g * s->n_padded + r], 0, s->k + (size_t)r * s->row_size, 0,
                rounded + (size_t)g * size, 0, 1);
        }
    }
    for (int64_t g = 0; g < group; g++) {
        float *row = score + g * s->n_padded;
        softmax_row(row, s->n_row, scale);
        memset(row + s->n_row, 0, (size_t)(s->n_padded - s->n_row) * sizeof *row);
    }
}

/* out [group, head_dim] = score . V, where V is stored transposed. */
static void mix_lines(const segment *s, const float *score, int64_t group, float *out, char *rounded) {
    const ggml_vec_dot_t dot = s->traits->vec_dot;
    const ggml_from_float_t from_float = ggml_get_type_traits_cpu(s->traits->vec_dot_type)->from_float;
    const size_t line = (size_t)s->n_padded * s->size;
    for (int64_t g = 0; g < group; g++) {
        from_float(score + g * s->n_padded, rounded + (size_t)g * line, s->n_padded);
    }
    for (int64_t d = 0; d < s->head_dim; d++) {
        for (int64_t g = 0; g < group; g++) {
            dot((int)s->n_padded, &out[g * s->head_dim + d], 0, s->v + (size_t)d * s->line_size, 0,
                rounded + (size_t)g * line, 0, 1);
        }
    }
}

/* The same where V is stored as quantised rows. value [ROWS, head_dim] */
static void mix_rows(const segment *s, const float *score, int64_t group, float *out, float *value) {
    memset(out, 0, (size_t)(group * s->head_dim) * sizeof *out);
    for (int64_t r = 0; r < s->n_row; r += ROWS) {
        const int64_t n = s->n_row - r < ROWS ? s->n_row - r : ROWS;
        unpack(s->type, s->v + (size_t)r * s->row_size, value, n * s->head_dim);
        for (int64_t g = 0; g < group; g++) {
            add_rows(value, n, score + g * s->n_padded + r, s->head_dim, out + g * s->head_dim);
        }
    }
}

/* out [group, head_dim] = what the query heads `query` [group, head_dim] of one KV head see. */
static void attend(const segment *s, const float *query, int64_t group, float scale, float *out, char *scratch) {
    float *score = (float *)(void *)scratch, *rest = score + group * s->n_padded;
    find_scores(s, query, group, scale, score, (char *)rest, out);
    if (s->quantised) {
        mix_rows(s, score, group, out, rest);
        for (int64_t g = 0; s->turned && g < group; g++) hadamard_row(out + g * s->head_dim, s->head_dim);
    } else {
        mix_lines(s, score, group, out, (char *)rest);
    }
}

/* ---- the operation ----------------------------------------------------------------------------------------------- */

static void compute(struct ggml_tensor *out, int thread, int n_thread, void *data) {
    const attend_layer *layer = data;
    const attend_batch *batch = layer->batch;
    const struct ggml_tensor *query = out->src[0], *key = out->src[1], *value = out->src[2];
    const int64_t head_dim = query->ne[0], n_head_kv = key->ne[1], group = query->ne[1] / n_head_kv;
    char *scratch = batch->scratch + (size_t)thread * batch->scratch_size;
    for (int64_t task = thread; task < batch->n * n_head_kv; task += n_thread) {
        const int64_t i = task / n_head_kv, h = task % n_head_kv;
        const segment s = segment_of(&batch->layers[i][layer->index], (int32_t)h);
        const float *k = (const float *)key->data + (i * n_head_kv + h) * head_dim;
        const float *v = (const float *)value->data + (i * n_head_kv + h) * head_dim;
        const int64_t first = (i * n_head_kv + h) * group * head_dim;
        store(&s, k, v, scratch);
        attend(&s, (const float *)query->data + first, group, layer->scale, (float *)out->data + first, scratch);
        if (!batch->sums[i]) continue;
        score_map part = score_map_part(&batch->sums[i][layer->index], (int32_t)h, 1);
        score_map_add(&part, (const float *)(const void *)scratch, 1, s.n_padded, s.n_padded, 0, s.n_row);
    }
}

struct ggml_tensor *attend_add(struct ggml_context *context, const attend_layer *layer, struct ggml_tensor *query,
                               struct ggml_tensor *key, struct ggml_tensor *value) {
    struct ggml_tensor *from[] = {query, key, value};
    return ggml_custom_4d(context, GGML_TYPE_F32, query->ne[0] * query->ne[1], query->ne[2], 1, 1, from, 3, compute,
                          GGML_N_TASKS_MAX, (void *)(uintptr_t)layer);
}

/* ---- room -------------------------------------------------------------------------------------------------------- */

void attend_batch_free(attend_batch *batch) {
    free(batch->layers);
    free(batch->sums);
    free(batch->scratch);
    *batch = (attend_batch){0};
}

judgeq_status attend_batch_resize(attend_batch *batch, int64_t n, judgeq_error *error) {
    batch->n = n;
    if (n <= batch->capacity) return JUDGEQ_OK;
    cache_layer **larger = realloc(batch->layers, (size_t)n * sizeof(cache_layer *));
    if (!larger) return error_memory(error, "a batch of sequences");
    batch->layers = larger;
    score_map **maps = realloc(batch->sums, (size_t)n * sizeof(score_map *));
    if (!maps) return error_memory(error, "a batch of sequences");
    batch->sums = maps;
    memset(maps, 0, (size_t)n * sizeof(score_map *));
    batch->capacity = n;
    return JUDGEQ_OK;
}

judgeq_status attend_batch_prepare(attend_batch *batch, int32_t n_layer, int32_t n_thread, int64_t group,
                                   judgeq_error *error) {
    int64_t most = 0;
    for (int64_t i = 0; i < batch->n; i++) {
        for (int32_t l = 0; l < n_layer; l++) {
            const cache_layer *layer = &batch->layers[i][l];
            for (int32_t h = 0; h < layer->n_head_kv; h++) {
                const int64_t n = cache_padded(layer, layer->head[h].n_row + 1);
                most = n > most ? n : most;
            }
        }
    }
    const size_t size = scratch_bytes(group, most, batch->layers[0]->head_dim);
    if (size * (size_t)n_thread > batch->scratch_bytes) {
        char *larger = realloc(batch->scratch, size * (size_t)n_thread);
        if (!larger) return error_memory(error, "attention rows");
        batch->scratch = larger;
        batch->scratch_bytes = size * (size_t)n_thread;
    }
    batch->scratch_size = size;
    return JUDGEQ_OK;
}
