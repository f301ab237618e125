#include "gradient.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "product.h"
#include "score.h"

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

/* ---- products ---------------------------------------------------------------------------------------------------- */

/* The matrices whose products the backward pass reads; the last one's is the layer's output, which nothing reads. */
enum { PRODUCTS = 6 };

static void product_matrices(const model_layer *layer, const struct ggml_tensor *matrix[PRODUCTS]) {
    const struct ggml_tensor *all[PRODUCTS] = {layer->query.weight,  layer->key.weight,  layer->value.weight,
                                               layer->output.weight, layer->gate.weight, layer->up.weight};
    memcpy(matrix, all, sizeof all);
}

static size_t width_of_products(const judgeq_model *model) {
    const struct ggml_tensor *matrix[PRODUCTS]; /* all layers have the same shapes */
    size_t width = 0;
    product_matrices(&model->layer[0], matrix);
    for (int i = 0; i < PRODUCTS; i++) width += (size_t)matrix[i]->ne[1];
    return width;
}

static size_t product_size(const gradient *g, int i) {
    const struct ggml_tensor *matrix[PRODUCTS];
    product_matrices(&g->model->layer[0], matrix);
    return (size_t)g->n_soft * (size_t)matrix[i]->ne[1];
}

static float *layer_products(const gradient *g, int32_t index) {
    return g->product + (size_t)index * (size_t)g->n_soft * g->product_width;
}

/* A graph's products with the matrices of its layer; NULL where it needs none. */
static void find_products(struct ggml_cgraph *nodes, const model_layer *layer, struct ggml_tensor *found[PRODUCTS]) {
    const struct ggml_tensor *matrix[PRODUCTS];
    product_matrices(layer, matrix);
    for (int m = 0; m < PRODUCTS; m++) found[m] = NULL;
    for (int i = 0; i < ggml_graph_n_nodes(nodes); i++) {
        struct ggml_tensor *node = ggml_graph_node(nodes, i);
        for (int m = 0; m < PRODUCTS; m++) {
            if (node->op == GGML_OP_MUL_MAT && node->src[0] == matrix[m]) found[m] = node;
        }
    }
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

judgeq_status gradient_init(gradient *g, const judgeq_model *model, int32_t n_depth, int32_t n_soft, int32_t n_threads,
                            judgeq_error *error) {
    const judgeq_model_info *info = &model->info;
    *g = (gradient){.model = model, .n_depth = n_depth, .n_soft = n_soft, .held = -1};
    judgeq_status status = graph_engine_init(&g->engine, model, n_threads, error);
    if (status == JUDGEQ_OK) status = graph_engine_init(&g->back, model, n_threads, error);
    if (status == JUDGEQ_OK && !model->expanded) {
        status = expand_init(&g->expand, model, expand_fast_type(), &g->engine, error);
    }
    if (status == JUDGEQ_OK) status = graph_engine_differentiate(&g->back, error);
    if (status == JUDGEQ_OK) {
        const size_t n_row = (size_t)info->n_layer * (size_t)n_soft;
        g->product_width = width_of_products(model);
        g->x = calloc(n_row, (size_t)info->n_embd * sizeof *g->x);
        g->product = calloc(n_row, g->product_width * sizeof *g->product);
        g->position = calloc((size_t)n_soft, sizeof *g->position);
        if (!g->x || !g->product || !g->position) status = error_memory(error, "the rows of the soft tokens");
    }
    if (status != JUDGEQ_OK) gradient_free(g);
    return status;
}

void gradient_free(gradient *g) {
    expand_free(&g->expand);
    if (g->engine.backend) graph_engine_free(&g->engine);
    if (g->back.backend) graph_engine_free(&g->back);
    free(g->x);
    free(g->product);
    free(g->attention);
    free(g->position);
    *g = (gradient){0};
}

static size_t rows_size(const gradient *g) {
    return (size_t)g->n_soft * (size_t)g->model->info.n_embd;
}

static void set_positions(gradient *g, struct ggml_tensor *position, int32_t first) {
    for (int32_t i = 0; i < g->n_soft; i++) g->position[i] = first + i;
    ggml_backend_tensor_set(position, g->position, 0, ggml_nbytes(position));
}

/* ---- forward ----------------------------------------------------------------------------------------------------- */

static float *layer_attention(const gradient *g, int32_t index, int32_t n_prompt) {
    const size_t n_row = (size_t)g->model->info.n_head * (size_t)g->n_soft;
    return g->attention + (size_t)index * n_row * (size_t)(n_prompt + g->n_soft);
}

static judgeq_status reserve_attention(gradient *g, int32_t n_prompt, judgeq_error *error) {
    const size_t n = (size_t)(layer_attention(g, g->model->info.n_layer, n_prompt) - g->attention);
    if (n <= g->attention_room) return JUDGEQ_OK;
    free(g->attention);
    g->attention = malloc(n * sizeof *g->attention);
    g->attention_room = g->attention ? n : 0;
    return g->attention ? JUDGEQ_OK : error_memory(error, "the soft tokens' attention");
}

/* Keeps attention [n_head, n_soft, n_prompt + n_soft and padding] for the backward pass, without the padding.
 * map [n_head, n_prompt] = its mean over the soft tokens. */
static judgeq_status take_attention(const gradient *g, int32_t index, const struct ggml_tensor *attention,
                                    int32_t n_prompt, float *map, judgeq_error *error) {
    const judgeq_model_info *info = &g->model->info;
    const int64_t n_key = n_prompt + g->n_soft, n_map = (int64_t)info->n_head * n_prompt;
    float *rows = layer_attention(g, index, n_prompt);
    for (int64_t i = 0; i < (int64_t)info->n_head * g->n_soft; i++) {
        ggml_backend_tensor_get(attention, rows + i * n_key, (size_t)i * attention->nb[1],
                                (size_t)n_key * sizeof *rows);
    }
    score_map sums;
    judgeq_status status = score_map_init(&sums, info->n_head, info->n_head_kv, n_prompt, POLICY_MEAN, error);
    if (status != JUDGEQ_OK) return status;
    score_map_add(&sums, rows, g->n_soft, n_key, n_key * g->n_soft, 0, n_prompt);
    for (int64_t i = 0; i < n_map; i++) map[i] = sums.value[i] / (float)g->n_soft;
    score_map_free(&sums);
    return JUDGEQ_OK;
}

/* Layer `index` over its rows x; leaves the next layer's behind them. */
static judgeq_status forward_layer(gradient *g, int32_t index, const cache_layer *layer, int32_t n_prompt, float *map,
                                   judgeq_error *error) {
    const bool last = index == g->model->info.n_layer - 1;
    model_layer weights;
    judgeq_status status = take_weights(g, index, &weights, error);
    if (status != JUDGEQ_OK) return status;
    graph *nodes = graph_begin(&g->engine);
    struct ggml_tensor *x = graph_input(nodes, GGML_TYPE_F32, g->model->info.n_embd, g->n_soft);
    struct ggml_tensor *position = graph_input(nodes, GGML_TYPE_I32, g->n_soft, 1);
    const graph_want want = {.output = !last, .attention = true};
    const graph_block block = graph_add_block(nodes, g->model, &weights, layer, x, position, want);
    struct ggml_tensor *product[PRODUCTS];
    find_products(nodes->nodes, &weights, product);
    for (int i = 0; i < PRODUCTS; i++) {
        if (product[i]) ggml_set_output(product[i]);
    }
    if (block.output) ggml_set_output(block.output);
    product_replace(nodes->context, nodes->nodes);
    status = graph_allocate(&g->engine, NULL, error);
    if (status != JUDGEQ_OK) return status;
    float *rows = g->x + (size_t)index * rows_size(g);
    ggml_backend_tensor_set(x, rows, 0, ggml_nbytes(x));
    set_positions(g, position, n_prompt);
    status = graph_compute(&g->engine, GRAPH_ROWS, 1, error);
    if (status != JUDGEQ_OK) return status;
    float *kept = layer_products(g, index);
    for (int i = 0; i < PRODUCTS; i++) {
        if (product[i]) ggml_backend_tensor_get(product[i], kept, 0, ggml_nbytes(product[i]));
        kept += product_size(g, i);
    }
    if (!last) ggml_backend_tensor_get(block.output, rows + rows_size(g), 0, ggml_nbytes(block.output));
    return take_attention(g, index, block.attention, n_prompt, map, error);
}

judgeq_status gradient_forward(gradient *g, const cache_layer *layer, int32_t n_prompt, const float *soft, float *map,
                               judgeq_error *error) {
    const judgeq_model_info *info = &g->model->info;
    judgeq_status status = reserve_attention(g, n_prompt, error);
    memcpy(g->x, soft, rows_size(g) * sizeof *soft);
    for (int32_t l = 0; status == JUDGEQ_OK && l < info->n_layer; l++) {
        const size_t at = (size_t)l * rows_size(g);
        for (size_t i = 0; l > 0 && l < g->n_depth && i < rows_size(g); i++) g->x[at + i] += soft[at + i];
        status =
            forward_layer(g, l, &layer[l], n_prompt, map + (size_t)l * (size_t)info->n_head * (size_t)n_prompt, error);
    }
    return status;
}

/* ---- backward ---------------------------------------------------------------------------------------------------- */

/* One layer's graph: its inputs, and the gradient that it computes. */
typedef struct layer_graph {
    struct ggml_tensor *x, *position;
    struct ggml_tensor *slope; /* [n_head, 1, n_prompt]: of every soft token's attention */
    struct ggml_tensor *flow;  /* [n_soft, n_embd]: of the rows that leave the layer; NULL in the last layer */
    struct ggml_tensor *seed;  /* the derivative of the differentiated number by itself */
    /* as the forward pass left them; NULL where there is none */
    struct ggml_tensor *attention, *product[PRODUCTS];
    struct ggml_tensor *gradient;
} layer_graph;

/* sum(slope * attention to the prompt) + sum(flow * output) */
static struct ggml_tensor *add_number(graph *nodes, const layer_graph *in, graph_block block) {
    struct ggml_context *context = nodes->context;
    struct ggml_tensor *a = block.attention;
    struct ggml_tensor *prompt = ggml_view_3d(context, a, in->slope->ne[0], a->ne[1], a->ne[2], a->nb[1], a->nb[2], 0);
    struct ggml_tensor *number = ggml_sum(context, ggml_mul(context, prompt, in->slope));
    if (!in->flow) return number;
    return ggml_add(context, number, ggml_sum(context, ggml_mul(context, block.output, in->flow)));
}

static void make_input(struct ggml_tensor *tensor) {
    tensor->op = GGML_OP_NONE;
    memset((void *)tensor->src, 0, sizeof tensor->src);
    ggml_set_input(tensor);
}

/* What the forward pass has computed becomes an input. */
static void reuse_forward(graph *nodes, const model_layer *weights, graph_block block, layer_graph *in) {
    in->attention = block.attention->view_src;
    make_input(in->attention);
    find_products(nodes->nodes, weights, in->product);
    for (int i = 0; i < PRODUCTS; i++) {
        if (in->product[i]) make_input(in->product[i]);
    }
}

static layer_graph build_layer(gradient *g, int32_t index, const model_layer *weights, const cache_layer *layer,
                               int32_t n_prompt) {
    const judgeq_model_info *info = &g->model->info;
    const bool last = index == info->n_layer - 1;
    graph *nodes = graph_begin(&g->back);
    layer_graph in = {0};
    in.x = graph_input(nodes, GGML_TYPE_F32, info->n_embd, g->n_soft);
    ggml_set_param(in.x);
    in.position = graph_input(nodes, GGML_TYPE_I32, g->n_soft, 1);
    in.slope = ggml_new_tensor_3d(nodes->context, GGML_TYPE_F32, n_prompt, 1, info->n_head);
    ggml_set_input(in.slope);
    if (!last) in.flow = graph_input(nodes, GGML_TYPE_F32, info->n_embd, g->n_soft);
    const graph_block block =
        graph_add_differentiable_block(nodes, g->model, weights, layer, n_prompt, in.x, in.position, !last);
    struct ggml_tensor *number = add_number(nodes, &in, block);
    ggml_set_loss(number);
    ggml_build_forward_expand(nodes->nodes, number);
    ggml_build_backward_expand(nodes->context, nodes->nodes, NULL);
    in.seed = ggml_graph_get_grad_acc(nodes->nodes, number);
    ggml_set_input(in.seed);
    in.gradient = ggml_graph_get_grad(nodes->nodes, in.x);
    ggml_set_output(in.gradient);
    reuse_forward(nodes, weights, block, &in);
    nodes->nodes = ggml_new_graph_custom(nodes->context, g->back.n_node, false); /* of what the gradient needs */
    ggml_build_forward_expand(nodes->nodes, in.gradient);
    product_replace(nodes->context, nodes->nodes);
    return in;
}

/* flow: the gradient of the rows that leave the layer; becomes that of the rows that enter it. */
static judgeq_status backward_layer(gradient *g, int32_t index, const cache_layer *layer, int32_t n_prompt,
                                    const float *slope, float *flow, judgeq_error *error) {
    const float one = 1.0f;
    model_layer weights;
    judgeq_status status = take_weights(g, index, &weights, error);
    if (status != JUDGEQ_OK) return status;
    const layer_graph in = build_layer(g, index, &weights, layer, n_prompt);
    status = graph_allocate(&g->back, NULL, error);
    if (status != JUDGEQ_OK) return status;
    set_positions(g, in.position, n_prompt);
    ggml_backend_tensor_set(in.x, g->x + (size_t)index * rows_size(g), 0, ggml_nbytes(in.x));
    ggml_backend_tensor_set(in.slope, slope, 0, ggml_nbytes(in.slope));
    if (in.flow) ggml_backend_tensor_set(in.flow, flow, 0, ggml_nbytes(in.flow));
    ggml_backend_tensor_set(in.seed, &one, 0, sizeof one);
    ggml_backend_tensor_set(in.attention, layer_attention(g, index, n_prompt), 0, ggml_nbytes(in.attention));
    const float *kept = layer_products(g, index);
    for (int i = 0; i < PRODUCTS; i++) {
        if (in.product[i]) ggml_backend_tensor_set(in.product[i], kept, 0, ggml_nbytes(in.product[i]));
        kept += product_size(g, i);
    }
    status = graph_compute(&g->back, GRAPH_ROWS, 1, error);
    if (status == JUDGEQ_OK) ggml_backend_tensor_get(in.gradient, flow, 0, ggml_nbytes(in.gradient));
    return status;
}

judgeq_status gradient_backward(gradient *g, const cache_layer *layer, int32_t n_prompt, const float *slope, float *out,
                                judgeq_error *error) {
    const size_t n_map = (size_t)g->model->info.n_head * (size_t)n_prompt;
    const float share = 1.0f / (float)g->n_soft; /* of one soft token's attention in the mean */
    float *part = malloc(n_map * sizeof *part);
    if (!part) return error_memory(error, "the slope of a layer's attention");
    judgeq_status status = JUDGEQ_OK;
    for (int32_t l = g->model->info.n_layer - 1; status == JUDGEQ_OK && l >= 0; l--) {
        for (size_t i = 0; i < n_map; i++) part[i] = share * slope[(size_t)l * n_map + i];
        status = backward_layer(g, l, &layer[l], n_prompt, part, out, error);
        if (status == JUDGEQ_OK && l > 0 && l < g->n_depth) {
            memcpy(out + (size_t)l * rows_size(g), out, rows_size(g) * sizeof *out);
        }
    }
    free(part);
    return status;
}
