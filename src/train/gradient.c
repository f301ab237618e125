#include "gradient.h"

#include <string.h>

#include "block_back.h"
#include "error.h"
#include "product.h"

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

/* ---- what the forward pass keeps --------------------------------------------------------------------------------- */

/* Floats of a soft row in a layer: those of block_kept but for the attention. */
static size_t row_width(const judgeq_model *model) {
    struct ggml_tensor *matrix[BLOCK_PRODUCTS]; /* all layers have the same shapes */
    size_t width = (size_t)model->info.n_embd + (size_t)model->info.n_head * (size_t)model->info.head_dim;
    block_matrices(&model->layer[0], matrix);
    for (int i = 0; i < BLOCK_PRODUCTS; i++) width += (size_t)matrix[i]->ne[1];
    return width;
}

static size_t rows_size(const gradient *g) {
    return (size_t)g->n_soft * (size_t)g->model->info.n_embd;
}

/* The soft tokens' rows as they enter a layer [n_soft, n_embd]; with what else is kept of it behind them. */
static float *layer_rows(const gradient *g, int32_t index) {
    return (float *)ggml_backend_buffer_get_base(g->rows) + (size_t)index * (size_t)g->n_soft * row_width(g->model);
}

static int32_t *positions(const gradient *g) {
    return (int32_t *)(void *)layer_rows(g, g->model->info.n_layer); /* behind the last layer */
}

static struct ggml_tensor *place(ggml_backend_buffer_t buffer, struct ggml_tensor *tensor, void *at) {
    ggml_backend_tensor_alloc(buffer, tensor, at);
    return tensor;
}

/* A layer's, as tensors of a graph. */
static block_kept kept_of(const gradient *g, struct ggml_context *context, int32_t index, int64_t n_key) {
    const judgeq_model_info *info = &g->model->info;
    const int64_t n = g->n_soft;
    block_kept kept;
    float *at = layer_rows(g, index);
    kept.x = place(g->rows, ggml_new_tensor_2d(context, GGML_TYPE_F32, info->n_embd, n), at);
    at += ggml_nelements(kept.x);
    kept.query = place(g->rows, ggml_new_tensor_3d(context, GGML_TYPE_F32, info->head_dim, info->n_head, n), at);
    at += ggml_nelements(kept.query);
    struct ggml_tensor *matrix[BLOCK_PRODUCTS];
    block_matrices(&g->model->layer[index], matrix);
    for (int i = 0; i < BLOCK_PRODUCTS; i++) {
        kept.product[i] = place(g->rows, ggml_new_tensor_2d(context, GGML_TYPE_F32, matrix[i]->ne[1], n), at);
        at += ggml_nelements(kept.product[i]);
    }
    kept.attention = ggml_new_tensor_3d(context, GGML_TYPE_F32, n_key, n, info->n_head);
    at = (float *)ggml_backend_buffer_get_base(g->attention) + index * ggml_nelements(kept.attention);
    place(g->attention, kept.attention, at);
    return kept;
}

static struct ggml_tensor *add_positions(const gradient *g, struct ggml_context *context) {
    return place(g->rows, ggml_new_tensor_1d(context, GGML_TYPE_I32, g->n_soft), positions(g));
}

static judgeq_status reserve_attention(gradient *g, int64_t n_key, judgeq_error *error) {
    const judgeq_model_info *info = &g->model->info;
    const size_t size =
        (size_t)info->n_layer * (size_t)info->n_head * (size_t)g->n_soft * (size_t)n_key * sizeof(float);
    if (g->attention && size <= ggml_backend_buffer_get_size(g->attention)) return JUDGEQ_OK;
    ggml_backend_buffer_free(g->attention);
    g->attention = ggml_backend_alloc_buffer(g->engine.backend, size);
    return g->attention ? JUDGEQ_OK : error_memory(error, "the soft tokens' attention");
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

judgeq_status gradient_init(gradient *g, const judgeq_model *model, int32_t n_depth, int32_t n_soft, int32_t n_threads,
                            judgeq_error *error) {
    *g = (gradient){.model = model, .n_depth = n_depth, .n_soft = n_soft, .held = -1};
    judgeq_status status = graph_engine_init(&g->engine, model, n_threads, error);
    if (status == JUDGEQ_OK) status = graph_engine_init(&g->back, model, n_threads, error);
    if (status == JUDGEQ_OK && !model->expanded) {
        status = expand_init(&g->expand, model, expand_fast_type(), &g->engine, error);
    }
    if (status == JUDGEQ_OK) {
        const size_t width = (size_t)model->info.n_layer * row_width(model) * sizeof(float) + sizeof(int32_t);
        g->rows = ggml_backend_alloc_buffer(g->engine.backend, (size_t)n_soft * width);
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

static struct ggml_tensor *add_map(graph *nodes, struct ggml_tensor *attention, int64_t n_prompt) {
    struct ggml_tensor *map = ggml_custom_4d(nodes->context, GGML_TYPE_F32, n_prompt, attention->ne[2], 1, 1,
                                             &attention, 1, mean_attention, GGML_N_TASKS_MAX, NULL);
    ggml_set_output(map);
    ggml_build_forward_expand(nodes->nodes, map);
    return map;
}

/* Lets a graph write its results to where they are kept. */
static void keep_results(const gradient *g, graph *nodes, const model_layer *layer, const graph_block *block,
                         const block_kept *kept, int32_t index) {
    struct ggml_tensor *matrix[BLOCK_PRODUCTS];
    block_matrices(layer, matrix);
    for (int i = 0; i < ggml_graph_n_nodes(nodes->nodes); i++) {
        struct ggml_tensor *node = ggml_graph_node(nodes->nodes, i);
        for (int m = 0; m < BLOCK_PRODUCTS; m++) {
            if (node->op == GGML_OP_MUL_MAT && node->src[0] == matrix[m]) place(g->rows, node, kept->product[m]->data);
        }
    }
    place(g->rows, block->query, kept->query->data);
    place(g->attention, block->attention->view_src, kept->attention->data);
    if (block->output) place(g->rows, block->output, layer_rows(g, index + 1));
}

/* Layer `index` over its rows; leaves the next layer's. map [n_head, n_prompt] */
static judgeq_status forward_layer(gradient *g, int32_t index, const cache_layer *layer, int32_t n_prompt, float *map,
                                   judgeq_error *error) {
    model_layer weights;
    judgeq_status status = take_weights(g, index, &weights, error);
    if (status != JUDGEQ_OK) return status;
    graph *nodes = graph_begin(&g->engine);
    const block_kept kept = kept_of(g, nodes->context, index, cache_padded(layer, n_prompt + g->n_soft));
    const graph_want want = {
        .output = index < g->model->info.n_layer - 1, .attention = true, .query = true, .own_operations = true};
    const graph_block block =
        graph_add_block(nodes, g->model, &weights, layer, kept.x, add_positions(g, nodes->context), want);
    const struct ggml_tensor *mean = add_map(nodes, block.attention, n_prompt);
    keep_results(g, nodes, &weights, &block, &kept, index);
    product_replace(nodes->context, nodes->nodes);
    status = graph_allocate(&g->engine, NULL, error);
    if (status == JUDGEQ_OK) status = graph_compute(&g->engine, GRAPH_ROWS, 1, error);
    if (status == JUDGEQ_OK) ggml_backend_tensor_get(mean, map, 0, ggml_nbytes(mean));
    return status;
}

judgeq_status gradient_forward(gradient *g, const cache_layer *layer, int32_t n_prompt, const float *soft, float *map,
                               judgeq_error *error) {
    const judgeq_model_info *info = &g->model->info;
    const size_t n_map = (size_t)info->n_head * (size_t)n_prompt;
    judgeq_status status = reserve_attention(g, cache_padded(layer, n_prompt + g->n_soft), error);
    for (int32_t i = 0; i < g->n_soft; i++) positions(g)[i] = n_prompt + i;
    memcpy(layer_rows(g, 0), soft, rows_size(g) * sizeof *soft);
    for (int32_t l = 0; status == JUDGEQ_OK && l < info->n_layer; l++) {
        float *x = layer_rows(g, l);
        for (size_t i = 0; l > 0 && l < g->n_depth && i < rows_size(g); i++) x[i] += soft[(size_t)l * rows_size(g) + i];
        status = forward_layer(g, l, &layer[l], n_prompt, map + (size_t)l * n_map, error);
    }
    return status;
}

/* ---- backward ---------------------------------------------------------------------------------------------------- */

/* flow: the gradient of the rows that leave the layer; becomes that of the rows that enter it. */
static judgeq_status backward_layer(gradient *g, int32_t index, const cache_layer *layer, int32_t n_prompt,
                                    const float *slope, float *flow, judgeq_error *error) {
    const judgeq_model_info *info = &g->model->info;
    model_layer weights;
    judgeq_status status = take_weights(g, index, &weights, error);
    if (status != JUDGEQ_OK) return status;
    graph *nodes = graph_begin(&g->back);
    const block_kept kept = kept_of(g, nodes->context, index, cache_padded(layer, n_prompt + g->n_soft));
    struct ggml_tensor *slopes = graph_input(nodes, GGML_TYPE_F32, n_prompt, info->n_head), *leaving = NULL;
    if (index < info->n_layer - 1) leaving = graph_input(nodes, GGML_TYPE_F32, info->n_embd, g->n_soft);
    struct ggml_tensor *entering = block_back_add(nodes->context, g->model, &weights, layer, &kept,
                                                  add_positions(g, nodes->context), slopes, leaving);
    status = graph_allocate(&g->back, entering, error);
    if (status != JUDGEQ_OK) return status;
    ggml_backend_tensor_set(slopes, slope, 0, ggml_nbytes(slopes));
    if (leaving) ggml_backend_tensor_set(leaving, flow, 0, ggml_nbytes(leaving));
    status = graph_compute(&g->back, GRAPH_ROWS, 1, error);
    if (status == JUDGEQ_OK) ggml_backend_tensor_get(entering, flow, 0, ggml_nbytes(entering));
    return status;
}

judgeq_status gradient_backward(gradient *g, const cache_layer *layer, int32_t n_prompt, const float *slope, float *out,
                                judgeq_error *error) {
    const size_t n_map = (size_t)g->model->info.n_head * (size_t)n_prompt;
    judgeq_status status = JUDGEQ_OK;
    for (int32_t l = g->model->info.n_layer - 1; status == JUDGEQ_OK && l >= 0; l--) {
        status = backward_layer(g, l, &layer[l], n_prompt, slope + (size_t)l * n_map, out, error);
        if (status == JUDGEQ_OK && l > 0 && l < g->n_depth) {
            memcpy(out + (size_t)l * rows_size(g), out, rows_size(g) * sizeof *out);
        }
    }
    return status;
}
