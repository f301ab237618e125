#include "value_norm.h"

#include <math.h>
#include <string.h>

/* norm [n_prompt]: sums of the absolute values of one KV head, which are stored as [head_dim, capacity]. */
static void find_norms(const cache_layer *layer, int32_t head_kv, int32_t n_prompt, float *norm) {
    const cache_head *head = &layer->head[head_kv];
    const size_t first = (size_t)head->first * (size_t)layer->head_dim;
    memset(norm, 0, (size_t)n_prompt * sizeof *norm);
    for (int32_t d = 0; d < layer->head_dim; d++) {
        const size_t at = first + (size_t)d * (size_t)head->capacity;
        if (layer->type == GGML_TYPE_F32) {
            const float *value = (const float *)layer->v->data + at;
            for (int32_t i = 0; i < n_prompt; i++) norm[i] += fabsf(value[i]);
        } else {
            const ggml_fp16_t *value = (const ggml_fp16_t *)layer->v->data + at;
            for (int32_t i = 0; i < n_prompt; i++) norm[i] += fabsf(ggml_fp16_to_fp32(value[i]));
        }
    }
}

static void weigh_map(const float *target, const float *norm, int32_t n, float *out) {
    double before = 0, after = 0;
    for (int32_t i = 0; i < n; i++) {
        out[i] = target[i] * norm[i];
        before += (double)target[i];
        after += (double)out[i];
    }
    const float scale = after > 0 ? (float)(before / after) : 1;
    for (int32_t i = 0; i < n; i++) out[i] *= scale;
}

void value_norm_weigh(const example *e, float *norm, float *out) {
    for (int32_t l = 0; l < e->n_layer; l++) {
        const cache_layer *layer = &e->layer[l];
        const int32_t group = e->n_head / layer->n_head_kv;
        for (int32_t h = 0; h < e->n_head; h++) {
            const size_t at = ((size_t)l * (size_t)e->n_head + (size_t)h) * (size_t)e->n_prompt;
            if (h % group == 0) find_norms(layer, h / group, e->n_prompt, norm);
            weigh_map(e->target + at, norm, e->n_prompt, out + at);
        }
    }
}
