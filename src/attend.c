#include "attend.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ggml-cpu.h"

#include "error.h"
#include "every_cpu.h"

/* ---- softmax ----------------------------------------------------------------------------------------------------- */

enum { LANES = 16 };

FOR_EVERY_CPU
static float largest(const float *x, int64_t n) {
    float lane[LANES], most = -INFINITY;
    for (int k = 0; k < LANES; k++) lane[k] = -INFINITY;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int k = 0; k < LANES; k++) lane[k] = x[i + k] > lane[k] ? x[i + k] : lane[k];
    }
    for (; i < n; i++) most = x[i] > most ? x[i] : most;
    for (int k = 0; k < LANES; k++) most = lane[k] > most ? lane[k] : most;
    return most;
}

FOR_EVERY_CPU
static float sum(const float *x, int64_t n) {
    float lane[LANES] = {0}, total = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int k = 0; k < LANES; k++) lane[k] += x[i + k];
    }
    for (; i < n; i++) total += x[i];
    for (int k = 0; k < LANES; k++) total += lane[k];
    return total;
}

/* x[i] = exp(scale * (x[i] - most)), for x[i] <= most. 2^y is split into 2^round(y), an exponent's bits, and the power
 * series of the rest, |rest| <= 1/2, whose first missing term is below 2e-7. Adding `magic` rounds y, and leaves it as
 * a whole number in the lowest bits. NaN stays NaN. */
FOR_EVERY_CPU
static void exponentials(float *x, int64_t n, float scale, float most) {
    const float to_base_2 = scale * 1.44269504f, magic = 0x1.8p23f;
    for (int64_t i = 0; i < n; i++) {
        float y = (x[i] - most) * to_base_2;
        y = y < -126.0f ? -126.0f : y;
        const float shifted = y + magic, r = (y - (shifted - magic)) * 0.69314718f;
        const float power =
            1.0f + r * (1.0f + r * (1.0f / 2 + r * (1.0f / 6 + r * (1.0f / 24 + r * (1.0f / 120 + r / 720)))));
        uint32_t bits;
        float exponent;
        memcpy(&bits, &shifted, sizeof bits);
        bits = (bits + 127) << 23;
        memcpy(&exponent, &bits, sizeof exponent);
        x[i] = power * exponent;
    }
}

static void softmax(float *x, int64_t n, float scale) {
    exponentials(x, n, scale, largest(x, n));
    const float share = 1.0f / sum(x, n);
    for (int64_t i = 0; i < n; i++) x[i] *= share;
}

/* ---- one KV head ------------------------------------------------------------------------------------------------- */

/* Where a KV head's rows lie. */
typedef struct segment {
    const struct ggml_type_traits_cpu *traits;
    char *k, *v;
    size_t size, row_size, line_size; /* bytes of a number, of a key, and from one line of V to the next */
    int64_t n_row, n_padded;          /* with the new one */
    int32_t head_dim;
} segment;

static segment segment_of(const cache_layer *layer, int32_t head) {
    const cache_head *h = &layer->head[head];
    const size_t size = ggml_type_size(layer->type), row = size * (size_t)layer->head_dim;
    return (segment){.traits = ggml_get_type_traits_cpu(layer->type),
                     .k = (char *)layer->k->data + (size_t)h->first * row,
                     .v = (char *)layer->v->data + (size_t)h->first * row,
                     .size = size,
                     .row_size = row,
                     .line_size = size * (size_t)h->capacity,
                     .n_row = h->n_row + 1,
                     .n_padded = cache_padded(layer, h->n_row + 1),
                     .head_dim = layer->head_dim};
}

static void store(const segment *s, const float *key, const float *value, char *scratch) {
    const size_t last = (size_t)(s->n_row - 1);
    s->traits->from_float(key, s->k + last * s->row_size, s->head_dim);
    s->traits->from_float(value, scratch, s->head_dim);
    for (size_t d = 0; d < (size_t)s->head_dim; d++) {
        memcpy(s->v + d * s->line_size + last * s->size, scratch + d * s->size, s->size);
    }
}

/* Bytes that `attend` works in: scores [group, n_padded], and the queries [group, head_dim], later the probabilities
 * [group, n_padded], as the cache's type. */
static size_t scratch_bytes(int64_t group, int64_t n_padded, int64_t head_dim) {
    const int64_t rounded = n_padded > head_dim ? n_padded : head_dim;
    return (size_t)(group * (n_padded + rounded)) * sizeof(float);
}

/* out [group, head_dim] = what the query heads `query` [group, head_dim] of one KV head see. */
static void attend(const segment *s, const float *query, int64_t group, float scale, float *out, char *scratch) {
    const ggml_vec_dot_t dot = s->traits->vec_dot;
    const ggml_from_float_t from_float = ggml_get_type_traits_cpu(s->traits->vec_dot_type)->from_float;
    float *score = (float *)(void *)scratch;
    char *rounded = (char *)(score + group * s->n_padded);
    const size_t line = (size_t)s->n_padded * s->size;
    for (int64_t g = 0; g < group; g++) {
        from_float(query + g * s->head_dim, rounded + (size_t)g * s->row_size, s->head_dim);
    }
    for (int64_t r = 0; r < s->n_row; r++) {
        for (int64_t g = 0; g < group; g++) {
            dot(s->head_dim, &score[g * s->n_padded + r], 0, s->k + (size_t)r * s->row_size, 0,
                rounded + (size_t)g * s->row_size, 0, 1);
        }
    }
    for (int64_t g = 0; g < group; g++) {
        float *row = score + g * s->n_padded;
        softmax(row, s->n_row, scale);
        memset(row + s->n_row, 0, (size_t)(s->n_padded - s->n_row) * sizeof *row);
        from_float(row, rounded + (size_t)g * line, s->n_padded);
    }
    for (int64_t d = 0; d < s->head_dim; d++) {
        for (int64_t g = 0; g < group; g++) {
            dot((int)s->n_padded, &out[g * s->head_dim + d], 0, s->v + (size_t)d * s->line_size, 0,
                rounded + (size_t)g * line, 0, 1);
        }
    }
}

/* ---- the operation ----------------------------------------------------------------------------------------------- */

static void compute(struct ggml_tensor *out, int thread, int n_thread, void *data) {
    const attend_layer *layer = data;
    const attend_batch *batch = layer->batch;
    const struct ggml_tensor *query = out->src[0], *key = out->src[1], *value = out->src[2];
    const int64_t head_dim = query->ne[0], n_head_kv = key->ne[1], group = query->ne[1] / n_head_kv;
    const float scale = 1.0f / sqrtf((float)head_dim);
    char *scratch = batch->scratch + (size_t)thread * batch->scratch_size;
    for (int64_t task = thread; task < batch->n * n_head_kv; task += n_thread) {
        const int64_t i = task / n_head_kv, h = task % n_head_kv;
        const segment s = segment_of(&batch->layers[i][layer->index], (int32_t)h);
        const float *k = (const float *)key->data + (i * n_head_kv + h) * head_dim;
        const float *v = (const float *)value->data + (i * n_head_kv + h) * head_dim;
        const int64_t first = (i * n_head_kv + h) * group * head_dim;
        store(&s, k, v, scratch);
        attend(&s, (const float *)query->data + first, group, scale, (float *)out->data + first, scratch);
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
    free(batch->scratch);
    *batch = (attend_batch){0};
}

judgeq_status attend_batch_resize(attend_batch *batch, int64_t n, judgeq_error *error) {
    batch->n = n;
    if (n <= batch->capacity) return JUDGEQ_OK;
    cache_layer **larger = realloc(batch->layers, (size_t)n * sizeof(cache_layer *));
    if (!larger) return error_memory(error, "a batch of sequences");
    batch->layers = larger;
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
