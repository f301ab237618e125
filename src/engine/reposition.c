#include "reposition.h"

#include <math.h>
#include <stdlib.h>

#include "base/error.h"

/* RoPE by `by`, without the magnitudes that YaRN scales: the keys have that already. */
static struct ggml_tensor *add_turn(graph *g, const model_layer *layer, struct ggml_tensor *x, struct ggml_tensor *by) {
    const model_rope *rope = layer->rope;
    const float again = rope->ext_factor != 0.0f ? 1.0f + 0.1f * logf(1.0f / rope->scale) : 1.0f;
    return ggml_rope_ext(g->context, x, by, rope->factors, layer->head_dim, rope->mode, rope->n_ctx_original,
                         rope->base, rope->scale, rope->ext_factor, 1.0f / again, rope->beta_fast, rope->beta_slow);
}

/* keys [n, head_dim] turned by by[n], in place. */
static judgeq_status turn_keys(float *keys, const int32_t *by, int64_t n, const model_layer *layer,
                               graph_engine *engine, judgeq_error *error) {
    graph *g = graph_begin(engine);
    struct ggml_tensor *x = ggml_new_tensor_3d(g->context, GGML_TYPE_F32, layer->head_dim, 1, n);
    struct ggml_tensor *position = graph_input(g, GGML_TYPE_I32, n, 1);
    ggml_set_input(x);
    struct ggml_tensor *turned = add_turn(g, layer, x, position);
    judgeq_status status = graph_allocate(engine, turned, error);
    if (status != JUDGEQ_OK) return status;
    ggml_backend_tensor_set(x, keys, 0, ggml_nbytes(x));
    ggml_backend_tensor_set(position, by, 0, ggml_nbytes(position));
    status = graph_compute(engine, GRAPH_ROWS, 0, error);
    if (status == JUDGEQ_OK) ggml_backend_tensor_get(turned, keys, 0, ggml_nbytes(turned));
    return status;
}

judgeq_status reposition_layer(cache_layer *layer, const model_layer *described, graph_engine *engine, int32_t last,
                               int32_t shift, judgeq_error *error) {
    int64_t n = 0, at = 0;
    for (int32_t h = 0; h < layer->n_head_kv; h++) n += layer->head[h].n_row;
    float *keys = malloc((size_t)(n + 1) * (size_t)layer->head_dim * sizeof *keys);
    int32_t *by = malloc((size_t)(n + 1) * sizeof *by);
    judgeq_status status = keys && by ? JUDGEQ_OK : error_memory(error, "keys at other positions");
    for (int32_t h = 0; status == JUDGEQ_OK && h < layer->n_head_kv; h++) {
        const cache_head *head = &layer->head[h];
        const int32_t *now = head->rope ? head->rope : head->position;
        for (int64_t i = 0; i < head->n_row; i++) by[at++] = last - (int32_t)(head->n_row - 1 - i) - now[i];
    }
    if (status == JUDGEQ_OK) status = cache_layer_get_keys(layer, keys, error);
    if (status == JUDGEQ_OK && n > 0 && described->rope) status = turn_keys(keys, by, n, described, engine, error);
    if (status == JUDGEQ_OK) status = cache_layer_set_keys(layer, keys, last, shift, error);
    free(keys);
    free(by);
    return status;
}
