#include "attention_back.h"

#include <string.h>

#include "cpu/every_cpu.h"
#include "cpu/own_scale.h"
#include "cpu/parts.h"
#include "cpu/product_kernel.h"
#include "cpu/rows.h"

/* ---- scores ------------------------------------------------------------------------------------------------------ */

/* What a thread keeps near: so many rows of a KV head's queries, a block of its values. */
enum { ROWS = 48, ROWS_UNIT = 8, BLOCK_DIMS = 128, BLOCK_KEYS = 64, LANES = 16 };

/* A row of the soft tokens, counted through a KV head's query heads. */
typedef struct stacked_row {
    int64_t head, soft;
} stacked_row;

static stacked_row row_at(const struct ggml_tensor *attention, int64_t index) {
    return (stacked_row){index / attention->ne[1], index % attention->ne[1]};
}

/* dP without what comes from the values, [n, n_key]. */
static void start_rows(const struct ggml_tensor *attention, const struct ggml_tensor *slope, int64_t first, int64_t n,
                       float *out) {
    const int64_t n_key = attention->ne[0], n_prompt = slope->ne[0];
    const float share = 1.0f / (float)attention->ne[1];
    for (int64_t i = 0; i < n; i++, out += n_key) {
        const float *from = (const float *)slope->data + row_at(attention, first + i).head * n_prompt;
        for (int64_t k = 0; k < n_prompt; k++) out[k] = share * from[k];
        memset(out + n_prompt, 0, (size_t)(n_key - n_prompt) * sizeof *out);
    }
}

/* out [n, n_key] += flow V^T */
static void add_values(const struct ggml_tensor *attention, const struct ggml_tensor *values, int64_t head_kv,
                       const struct ggml_tensor *flow, int64_t first, int64_t n, float *out) {
    const product_kernel *kernel = product_kernel_best();
    const int64_t n_key = values->ne[0], head_dim = values->ne[1];
    float row[ROWS * BLOCK_DIMS], block[BLOCK_DIMS * BLOCK_KEYS];
    for (int64_t d = 0; d < head_dim; d += BLOCK_DIMS) {
        const int64_t n_dim = least(head_dim - d, BLOCK_DIMS);
        for (int64_t i = 0; i < n; i++) {
            const stacked_row at = row_at(attention, first + i);
            memcpy(row + i * BLOCK_DIMS, (const float *)flow->data + (at.soft * flow->ne[1] + at.head) * head_dim + d,
                   (size_t)n_dim * sizeof *row);
        }
        for (int64_t k = 0; k < n_key; k += BLOCK_KEYS) {
            const int64_t keys = least(n_key - k, BLOCK_KEYS);
            rows_read(values, head_kv, d, n_dim, k, keys, block, BLOCK_KEYS);
            for (int64_t c = 0; c < keys; c += KERNEL_COLUMNS) {
                kernel->multiply(out + k + c, n_key, row, BLOCK_DIMS, block + c, BLOCK_KEYS, n, n_dim);
            }
        }
    }
}

/* d [n] becomes scale * p o (d - sum(p o d)). */
FOR_EVERY_CPU
static void softmax_back(const float *restrict p, float *restrict d, int64_t n, float scale) {
    float lane[LANES] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int k = 0; k < LANES; k++) lane[k] += p[i + k] * d[i + k];
    }
    for (; i < n; i++) sum += p[i] * d[i];
    for (int k = 0; k < LANES; k++) sum += lane[k];
    for (i = 0; i < n; i++) d[i] = scale * p[i] * (d[i] - sum);
}

static void compute_scores(struct ggml_tensor *out, int thread, int n_thread, void *data) {
    (void)data;
    const struct ggml_tensor *attention = out->src[0], *slope = out->src[1], *values = out->src[2], *flow = out->src[3];
    const int64_t n_key = out->ne[0], n_head_kv = values->ne[2], n_row = out->ne[1] * out->ne[2] / n_head_kv;
    const float scale = own_scale(out);
    const int64_t size = part_size(n_row, ROWS, ROWS_UNIT, n_head_kv, n_thread), down = parts(n_row, size);
    const int64_t all = down * n_head_kv;
    for (int64_t i = thread * all / n_thread; i < (thread + 1) * all / n_thread; i++) {
        const int64_t r = i % down * size, first = i / down * n_row + r, n = least(n_row - r, size);
        float *to = (float *)out->data + first * n_key;
        const float *p = (const float *)attention->data + first * n_key;
        start_rows(attention, slope, first, n, to);
        if (flow) add_values(attention, values, i / down, flow, first, n, to);
        for (int64_t k = 0; k < n; k++) softmax_back(p + k * n_key, to + k * n_key, n_key, scale);
    }
}

struct ggml_tensor *attention_back_scores(struct ggml_context *context, struct ggml_tensor *attention,
                                          struct ggml_tensor *slope, struct ggml_tensor *values,
                                          struct ggml_tensor *flow, float scale) {
    struct ggml_tensor *sources[] = {attention, slope, values, flow};
    struct ggml_tensor *out =
        ggml_custom_4d(context, GGML_TYPE_F32, attention->ne[0], attention->ne[1], attention->ne[2], 1, sources,
                       flow ? 4 : 3, compute_scores, GGML_N_TASKS_MAX, NULL);
    own_scale_set(out, scale);
    return out;
}

/* ---- the soft rows' own keys and values -------------------------------------------------------------------------- */

/* out [width] += the sum of weight * row over n of both */
FOR_EVERY_CPU
static void add_rows(const float *weight, int64_t weight_row, const float *row, int64_t row_row, int64_t n,
                     int64_t width, float *restrict out) {
    for (int64_t i = 0; i < n; i++) {
        const float factor = weight[i * weight_row];
        for (int64_t k = 0; k < width; k++) out[k] += factor * row[i * row_row + k];
    }
}

static void compute_own(struct ggml_tensor *out, int thread, int n_thread, void *data) {
    const struct ggml_tensor *weight = out->src[0], *row = out->src[1];
    const int64_t n_prompt = (int64_t)(intptr_t)data, n_key = weight->ne[0], n_head = weight->ne[2];
    const int64_t head_dim = out->ne[0], n_head_kv = out->ne[1], n_soft = out->ne[2], group = n_head / n_head_kv;
    for (int64_t i = thread; i < n_head_kv * n_soft; i += n_thread) {
        const int64_t head_kv = i % n_head_kv, own = i / n_head_kv;
        float *to = (float *)out->data + i * head_dim;
        memset(to, 0, (size_t)head_dim * sizeof *to);
        for (int64_t h = head_kv * group; h < (head_kv + 1) * group; h++) {
            add_rows((const float *)weight->data + (h * n_soft + own) * n_key + n_prompt + own, n_key,
                     (const float *)row->data + (own * n_head + h) * head_dim, n_head * head_dim, n_soft - own,
                     head_dim, to);
        }
    }
}

struct ggml_tensor *attention_back_own(struct ggml_context *context, struct ggml_tensor *weight,
                                       struct ggml_tensor *row, int64_t n_head_kv, int64_t n_prompt) {
    struct ggml_tensor *sources[] = {weight, row};
    return ggml_custom_4d(context, GGML_TYPE_F32, row->ne[0], n_head_kv, row->ne[2], 1, sources, 2, compute_own,
                          GGML_N_TASKS_MAX, (void *)(intptr_t)n_prompt);
}
