#include "block_back.h"

#include "attention_back.h"
#include "glu_back.h"
#include "product_back.h"

bool block_back_reads(model_matrix matrix) {
    return matrix != MODEL_VALUE && matrix != MODEL_DOWN;
}

/* What a linear map gives, from the product with its weight that was kept. */
static struct ggml_tensor *complete(struct ggml_context *context, const block_kept *kept, const model_layer *layer,
                                    model_matrix matrix) {
    const model_linear linear = layer->matrix[matrix];
    struct ggml_tensor *product = kept->product[matrix];
    if (linear.scale) product = ggml_mul(context, product, linear.scale);
    return linear.bias ? ggml_add(context, product, linear.bias) : product;
}

/* Back through a linear map. */
static struct ggml_tensor *linear_back(struct ggml_context *context, const model_layer *layer, model_matrix matrix,
                                       struct ggml_tensor *flow) {
    const model_linear linear = layer->matrix[matrix];
    if (linear.scale) flow = ggml_mul(context, flow, linear.scale);
    return product_add_back(context, linear.weight, flow);
}

/* Back through rms_norm(x) * weight. */
static struct ggml_tensor *norm_back(struct ggml_context *context, const model_layer *layer, struct ggml_tensor *weight,
                                     struct ggml_tensor *x, struct ggml_tensor *flow) {
    return ggml_rms_norm_back(context, ggml_mul(context, flow, weight), x, layer->norm_epsilon);
}

/* From the rows that leave the block to those that leave the attention's projection, before they are added to x. */
static struct ggml_tensor *feed_forward_back(struct ggml_context *context, const model_layer *layer,
                                             const block_kept *kept, struct ggml_tensor *flow) {
    struct ggml_tensor *gate = complete(context, kept, layer, MODEL_GATE);
    struct ggml_tensor *up = complete(context, kept, layer, MODEL_UP);
    struct ggml_tensor *both = glu_back_add(context, linear_back(context, layer, MODEL_DOWN, flow), gate, up);
    struct ggml_tensor *by_gate = ggml_view_2d(context, both, both->ne[0], both->ne[1], both->nb[1], 0);
    struct ggml_tensor *by_up = ggml_view_2d(context, both, both->ne[0], both->ne[1], both->nb[1], both->nb[2]);
    struct ggml_tensor *normed = ggml_add(context, linear_back(context, layer, MODEL_GATE, by_gate),
                                          linear_back(context, layer, MODEL_UP, by_up));
    struct ggml_tensor *x = ggml_add(context, complete(context, kept, layer, MODEL_OUTPUT), kept->x);
    return ggml_add(context, flow, norm_back(context, layer, layer->vector[MODEL_FFN_NORM], x, normed));
}

/* From rotated queries or keys [n_soft, n_head, head_dim] to the normed rows that they were made of. */
static struct ggml_tensor *heads_back(struct ggml_context *context, const model_layer *layer, model_matrix matrix,
                                      struct ggml_tensor *norm, const block_kept *kept, struct ggml_tensor *position,
                                      struct ggml_tensor *flow) {
    const model_rope *rope = layer->rope;
    struct ggml_tensor *y = flow;
    if (rope) {
        y = ggml_rope_ext_back(context, flow, position, rope->factors, layer->head_dim, rope->mode,
                               rope->n_ctx_original, rope->base, rope->scale, rope->ext_factor, rope->attention_factor,
                               rope->beta_fast, rope->beta_slow);
    }
    if (norm) {
        struct ggml_tensor *x = complete(context, kept, layer, matrix);
        y = norm_back(context, layer, norm, ggml_reshape_3d(context, x, y->ne[0], y->ne[1], y->ne[2]), y);
    }
    return linear_back(context, layer, matrix, ggml_reshape_2d(context, y, y->ne[0] * y->ne[1], y->ne[2]));
}

struct ggml_tensor *block_back_add(struct ggml_context *context, const model_layer *layer, const cache_layer *cache,
                                   const block_kept *kept, struct ggml_tensor *position, struct ggml_tensor *slope,
                                   struct ggml_tensor *flow) {
    const cache_run run = cache_layer_run(cache, 0);
    const int64_t n_prompt = slope->ne[0], n_key = kept->attention->ne[0], n_soft = kept->x->ne[1];
    struct ggml_tensor *attended = NULL;
    if (flow) {
        flow = feed_forward_back(context, layer, kept, flow);
        attended = linear_back(context, layer, MODEL_OUTPUT, flow);
        attended = ggml_reshape_3d(context, attended, layer->head_dim, layer->n_head, n_soft);
    }
    struct ggml_tensor *scores = attention_back_scores(
        context, kept->attention, slope, cache_run_values(context, cache, run, 0, n_key), attended, layer->scale);
    struct ggml_tensor *query = product_add_back(context, cache_run_keys(context, cache, run, 0, n_key), scores);
    query = ggml_cont(context, ggml_permute(context, query, 0, 2, 1, 3));
    struct ggml_tensor *key = attention_back_own(context, scores, kept->query, layer->n_head_kv, n_prompt);
    struct ggml_tensor *normed = ggml_add(
        context, heads_back(context, layer, MODEL_QUERY, layer->vector[MODEL_QUERY_NORM], kept, position, query),
        heads_back(context, layer, MODEL_KEY, layer->vector[MODEL_KEY_NORM], kept, position, key));
    if (flow) {
        struct ggml_tensor *value = attention_back_own(context, kept->attention, attended, layer->n_head_kv, n_prompt);
        value = ggml_reshape_2d(context, value, value->ne[0] * value->ne[1], n_soft);
        normed = ggml_add(context, normed, linear_back(context, layer, MODEL_VALUE, value));
    }
    struct ggml_tensor *gradient = norm_back(context, layer, layer->vector[MODEL_ATTENTION_NORM], kept->x, normed);
    return flow ? ggml_add(context, flow, gradient) : gradient;
}
