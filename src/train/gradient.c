#include "gradient.h"

#include <string.h>

#include "base/error.h"
#include "block_back.h"
#include "cpu/product.h"
#include "engine/attention.h"

/* ---- weights ----------------------------------------------------------------------------------------------------- */

/* The model's copies, or one that is made again for every pass. */
static judgeq_status take_weights(gradient *g, int32_t index, model_layer *out, judgeq_error *error) {
    if (g->model->expanded) {
        *out = g->model->expanded[index].layer;
        return JUDGEQ_OK;
    }
    judgeq_status status = JUDGEQ_OK;
    if (g->held != index) {
        g->held = -1;
        status = expand_layer(&g->expand, g->model, index, &g->engine, &g->weights, error);
        if (status == JUDGEQ_OK) g->held = index;
    }
    *out = g->weights;
    return status;
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

/* Floats of a soft row in a layer: the gradient of x, and what block_kept has but for the attention. */
static size_t row_width(const judgeq_model *model) {
    const model_linear *matrix = model->layer[0].matrix; /* all layers have the same shapes */
    size_t width = 2 * (size_t)model->info.n_embd + (size_t)model->info.n_head * (size_t)model->info.head_dim;
    for (int m = 0; m < MODEL_MATRICES; m++) width += block_back_reads(m) ? (size_t)matrix[m].weight->ne[1] : 0;
    return width;
}

static size_t rows_size(const gradient *g) {
    return (size_t)g->n_soft * (size_t)g->model->info.n_embd;
}

/* [n_soft, n_embd]: the gradient of the rows that enter a layer. Its kept results follow it in memory. */
static float *layer_gradient(const gradient *g, int32_t index) {
    return (float *)ggml_backend_buffer_get_base(g->rows) + (size_t)index * (size_t)g->n_soft * row_width(g->model);
}

/* [n_soft, n_embd]: the rows that enter a layer. */
static float *layer_rows(const gradient *g, int32_t index) {
    return layer_gradient(g, index) + rows_size(g);
}

/* [n_depth, n_soft, n_embd], after the last layer's; the first layer's are its rows (layer_rows), and not here. */
static float *added_rows(const gradient *g, int32_t index) {
    return layer_gradient(g, g->model->info.n_layer) + (size_t)index * rows_size(g);
}

static int32_t *positions(const gradient *g) {
    return (int32_t *)(void *)added_rows(g, g->n_depth);
}

static size_t rows_bytes(const gradient *g) {
    const size_t width =
        (size_t)g->model->info.n_layer * row_width(g->model) + (size_t)g->n_depth * (size_t)g->model->info.n_embd;
    return (size_t)g->n_soft * (width * sizeof(float) + sizeof(int32_t));
}

/* [n_head, n_prompt] of each layer, in front of the attention: what the forward pass computes, and the slopes that the
 * backward pass reads. */
static float *layer_map(const gradient *g, int32_t index, int64_t n_prompt) {
    return (float *)ggml_backend_buffer_get_base(g->attention) + (int64_t)index * g->model->info.n_head * n_prompt;
}

static judgeq_status reserve_attention(gradient *g, int64_t n_prompt, int64_t n_key, judgeq_error *error) {
    const size_t n_head = (size_t)g->model->info.n_layer * (size_t)g->model->info.n_head;
    const size_t size = n_head * ((size_t)n_prompt + (size_t)g->n_soft * (size_t)n_key) * sizeof(float);
    if (g->attention && size <= ggml_backend_buffer_get_size(g->attention)) return JUDGEQ_OK;
    ggml_backend_buffer_free(g->attention);
    g->attention = ggml_backend_alloc_buffer(g->engine.backend, size);
    return g->attention ? JUDGEQ_OK : error_memory(error, "the soft tokens' attention");
}

static struct ggml_tensor *place(ggml_backend_buffer_t buffer, struct ggml_tensor *tensor, void *at) {
    ggml_backend_tensor_alloc(buffer, tensor, at);
    return tensor;
}

static struct ggml_tensor *soft_rows(const gradient *g, struct ggml_context *context, float *at) {
    return place(g->rows, ggml_new_tensor_2d(context, GGML_TYPE_F32, g->model->info.n_embd, g->n_soft), at);
}

/* A layer's, as tensors of a graph. */
static block_kept kept_of(const gradient *g, struct ggml_context *context, int32_t index, int64_t n_prompt,
                          int64_t n_key) {
    const judgeq_model_info *info = &g->model->info;
    const int64_t n = g->n_soft;
    block_kept kept = {0};
    float *at = layer_rows(g, index);
    kept.x = soft_rows(g, context, at);
    at += ggml_nelements(kept.x);
    kept.query = place(g->rows, ggml_new_tensor_3d(context, GGML_TYPE_F32, info->head_dim, info->n_head, n), at);
    at += ggml_nelements(kept.query);
    for (int m = 0; m < MODEL_MATRICES; m++) {
        const struct ggml_tensor *weight = g->model->layer[index].matrix[m].weight;
        if (!block_back_reads(m)) continue;
        kept.product[m] = place(g->rows, ggml_new_tensor_2d(context, GGML_TYPE_F32, weight->ne[1], n), at);
        at += ggml_nelements(kept.product[m]);
    }
    kept.attention = ggml_new_tensor_3d(context, GGML_TYPE_F32, n_key, n, info->n_head);
    at = layer_map(g, info->n_layer, n_prompt) + index * ggml_nelements(kept.attention);
    place(g->attention, kept.attention, at);
    return kept;
}

static struct ggml_tensor *map_of(const gradient *g, struct ggml_context *context, int32_t index, int64_t n_prompt) {
    return place(g->attention, ggml_new_tensor_2d(context, GGML_TYPE_F32, n_prompt, g->model->info.n_head),
                 layer_map(g, index, n_prompt));
}

static struct ggml_tensor *add_positions(const gradient *g, struct ggml_context *context) {
    return place(g->rows, ggml_new_tensor_1d(context, GGML_TYPE_I32, g->n_soft), positions(g));
}

/* Layers that one graph can compute: all, where all have their weights. ggml starts its threads anew for every graph.
 */
static int32_t layers_at_once(const gradient *g) {
    return g->model->expanded || !g->expand.count ? g->model->info.n_layer : 1;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

judgeq_status gradient_init(gradient *g, const judgeq_model *model, int32_t n_depth, int32_t n_soft, int32_t n_threads,
                            judgeq_error *error) {
    *g = (gradient){.model = model, .n_depth = n_depth, .n_soft = n_soft, .held = -1};
    judgeq_status status = graph_engine_init(&g->engine, model, n_threads, error);
    if (status == JUDGEQ_OK) status = graph_engine_init(&g->back, model, n_threads, error);
    if (status == JUDGEQ_OK && !model->expanded) {
        status = expand_init(&g->expand, model, EXPAND_KEEP, &g->engine, error);
    }
    if (status == JUDGEQ_OK) {
        g->rows = ggml_backend_alloc_buffer(g->engine.backend, rows_bytes(g));
        if (!g->rows) status = error_memory(error, "the rows of the soft tokens");
    }
    if (status != JUDGEQ_OK) gradient_free(g);
    return status;
}

void gradient_free(gradient *g) {
    expand_free(&g->expand);
    ggml_backend_buffer_free(g->rows);
    ggml_backend_buffer_free(g->attention);
    if (g->engine.backend) graph_engine_free(&g->engine);
    if (g->back.backend) graph_engine_free(&g->back);
    *g = (gradient){0};
}

/* ---- forward ----------------------------------------------------------------------------------------------------- */

/* out [n_head, n_prompt]: the mean over a head's rows of attention [n_head, n_soft, n_key], a thread's columns of it */
static void mean_attention(struct ggml_tensor *out, int thread, int n_thread, void *data) {
    (void)data;
    const struct ggml_tensor *attention = out->src[0];
    const int64_t n_key = attention->ne[0], n_soft = attention->ne[1];
    const int64_t first = thread * out->ne[0] / n_thread, end = (thread + 1) * out->ne[0] / n_thread;
    for (int64_t h = 0; h < out->ne[1]; h++) {
        const float *from = (const float *)attention->data + h * n_soft * n_key;
        float *to = (float *)out->data + h * out->ne[0];
        memset(to + first, 0, (size_t)(end - first) * sizeof *to);
        for (int64_t s = 0; s < n_soft; s++) {
            for (int64_t i = first; i < end; i++) to[i] += from[s * n_key + i];
        }
        for (int64_t i = first; i < end; i++) to[i] /= (float)n_soft;
    }
}

static void add_map(const gradient *g, graph *nodes, struct ggml_tensor *attention, int32_t index, int64_t n_prompt) {
    struct ggml_tensor *map = ggml_custom_4d(nodes->context, GGML_TYPE_F32, n_prompt, attention->ne[2], 1, 1,
                                             &attention, 1, mean_attention, GGML_N_TASKS_MAX, NULL);
    ggml_build_forward_expand(nodes->nodes, place(g->attention, map, layer_map(g, index, n_prompt)));
}

/* Lets a block, whose nodes are the graph's from `first` on, write its results to where they are kept. */
static void keep_results(const gradient *g, const graph *nodes, int first, const model_layer *layer,
                         const block_result *block, const block_kept *kept) {
    for (int i = first; i < ggml_graph_n_nodes(nodes->nodes); i++) {
        struct ggml_tensor *node = ggml_graph_node(nodes->nodes, i);
        for (int m = 0; m < MODEL_MATRICES; m++) {
            const bool is = node->op == GGML_OP_MUL_MAT && node->src[0] == layer->matrix[m].weight;
            if (is && kept->product[m]) place(g->rows, node, kept->product[m]->data);
        }
    }
    place(g->rows, block->query, kept->query->data);
    place(g->attention, block->attention->view_src, kept->attention->data);
}

/* The rows that leave a block, and what is added to them, become those that enter the next layer. */
static void add_entering(const gradient *g, graph *nodes, struct ggml_tensor *output, int32_t index) {
    if (index < g->n_depth) {
        output = ggml_add(nodes->context, output, soft_rows(g, nodes->context, added_rows(g, index)));
    }
    ggml_build_forward_expand(nodes->nodes, place(g->rows, output, layer_rows(g, index)));
}

/* Layers [first, end) over the rows that enter the first; leaves those that enter layer `end`. */
static judgeq_status forward_layers(gradient *g, int32_t first, int32_t end, const cache_layer *layer, int32_t n_prompt,
                                    judgeq_error *error) {
    const int64_t n_key = cache_padded(layer, n_prompt + g->n_soft);
    model_layer weights;
    judgeq_status status = take_weights(g, first, &weights, error); /* which may need the engine */
    if (status != JUDGEQ_OK) return status;
    graph *nodes = graph_begin(&g->engine);
    struct ggml_tensor *position = add_positions(g, nodes->context);
    for (int32_t l = first; l < end; l++) {
        const bool last = l == g->model->info.n_layer - 1;
        const block_want want = {.output = !last, .attention = true, .query = true, .own_softmax = true};
        const block_kept kept = kept_of(g, nodes->context, l, n_prompt, n_key);
        const int n_node = ggml_graph_n_nodes(nodes->nodes);
        status = take_weights(g, l, &weights, error);
        if (status != JUDGEQ_OK) return status;
        const block_result block = block_add(nodes, &weights, attention_over_cache(&layer[l]), kept.x, position, want);
        keep_results(g, nodes, n_node, &weights, &block, &kept);
        add_map(g, nodes, block.attention, l, n_prompt);
        if (!last) add_entering(g, nodes, block.output, l + 1);
    }
    product_replace(nodes->context, nodes->nodes, false);
    status = graph_allocate(&g->engine, NULL, error);
    return status == JUDGEQ_OK ? graph_compute(&g->engine, GRAPH_ROWS, end - first, error) : status;
}

judgeq_status gradient_forward(gradient *g, const cache_layer *layer, int32_t n_prompt, const float *soft, float *map,
                               judgeq_error *error) {
    const judgeq_model_info *info = &g->model->info;
    const int32_t n_layer = info->n_layer, at_once = layers_at_once(g);
    judgeq_status status = reserve_attention(g, n_prompt, cache_padded(layer, n_prompt + g->n_soft), error);
    for (int32_t i = 0; i < g->n_soft; i++) positions(g)[i] = n_prompt + i;
    memcpy(layer_rows(g, 0), soft, rows_size(g) * sizeof *soft);
    memcpy(added_rows(g, 1), soft + rows_size(g), (size_t)(g->n_depth - 1) * rows_size(g) * sizeof *soft);
    for (int32_t l = 0; status == JUDGEQ_OK && l < n_layer; l += at_once) {
        status = forward_layers(g, l, l + at_once, layer, n_prompt, error);
    }
    if (status == JUDGEQ_OK) {
        memcpy(map, layer_map(g, 0, n_prompt), (size_t)n_layer * (size_t)info->n_head * (size_t)n_prompt * sizeof *map);
    }
    return status;
}

/* ---- backward ---------------------------------------------------------------------------------------------------- */

/* Layers [first, end), from the gradient of the rows that enter layer `end` to that of those that enter the first. */
static judgeq_status backward_layers(gradient *g, int32_t first, int32_t end, const cache_layer *layer,
                                     int32_t n_prompt, judgeq_error *error) {
    const int64_t n_key = cache_padded(layer, n_prompt + g->n_soft);
    model_layer weights;
    judgeq_status status = JUDGEQ_OK;
    graph *nodes = graph_begin(&g->back);
    struct ggml_tensor *position = add_positions(g, nodes->context), *flow = NULL;
    if (end < g->model->info.n_layer) flow = soft_rows(g, nodes->context, layer_gradient(g, end));
    for (int32_t l = end - 1; l >= first; l--) {
        const block_kept kept = kept_of(g, nodes->context, l, n_prompt, n_key);
        status = take_weights(g, l, &weights, error);
        if (status != JUDGEQ_OK) return status;
        flow = block_back_add(nodes->context, &weights, &layer[l], &kept, position,
                              map_of(g, nodes->context, l, n_prompt), flow);
        ggml_build_forward_expand(nodes->nodes, place(g->rows, flow, layer_gradient(g, l)));
    }
    status = graph_allocate(&g->back, NULL, error);
    return status == JUDGEQ_OK ? graph_compute(&g->back, GRAPH_ROWS, end - first, error) : status;
}

judgeq_status gradient_backward(gradient *g, const cache_layer *layer, int32_t n_prompt, const float *slope, float *out,
                                judgeq_error *error) {
    const judgeq_model_info *info = &g->model->info;
    const int32_t n_layer = info->n_layer, at_once = layers_at_once(g);
    const size_t n_map = (size_t)n_layer * (size_t)info->n_head * (size_t)n_prompt;
    judgeq_status status = JUDGEQ_OK;
    memcpy(layer_map(g, 0, n_prompt), slope, n_map * sizeof *slope);
    for (int32_t end = n_layer; status == JUDGEQ_OK && end > 0; end -= at_once) {
        status = backward_layers(g, end - at_once, end, layer, n_prompt, error);
    }
    for (int32_t l = 0; status == JUDGEQ_OK && l < g->n_depth; l++) {
        memcpy(out + (size_t)l * rows_size(g), layer_gradient(g, l), rows_size(g) * sizeof *out);
    }
    return status;
}
