#include "block.h"

#include "cpu/dots.h"
#include "cpu/packed.h"

static struct ggml_tensor *add_norm(graph *g, float epsilon, struct ggml_tensor *x, struct ggml_tensor *weight) {
    return ggml_mul(g->context, ggml_rms_norm(g->context, x, epsilon), weight);
}

/* x as it is multiplied with such a matrix; queries, keys and values are of the same x, and so are gate and up. */
static struct ggml_tensor *rounded(graph *g, enum ggml_type matrix, struct ggml_tensor *x) {
    const enum ggml_type type = dots_x_type(matrix);
    if (g->x != x || g->rounded->type != type) g->rounded = ggml_cast(g->context, x, type);
    g->x = x;
    return g->rounded;
}

static struct ggml_tensor *multiply(graph *g, model_linear linear, struct ggml_tensor *x) {
    struct ggml_tensor *weight = linear.weight;
    if (linear.packed) return packed_multiply(g->context, linear.packed, x);
    if (!g->dots || !g->dots[weight->type] || !dots_can(weight->type, weight->ne[1], weight->ne[0])) {
        return ggml_mul_mat(g->context, weight, x);
    }
    return dots_multiply(g->context, weight, rounded(g, weight->type, x));
}

static struct ggml_tensor *add_linear(graph *g, model_linear linear, struct ggml_tensor *x) {
    struct ggml_tensor *y = multiply(g, linear, x);
    if (linear.scale) y = ggml_mul(g->context, y, linear.scale);
    return linear.bias ? ggml_add(g->context, y, linear.bias) : y;
}

/* x [n, n_embd] -> [n, n_head, head_dim], normalised per head where the layer does so. */
static struct ggml_tensor *add_heads(graph *g, const model_layer *layer, model_matrix matrix, struct ggml_tensor *norm,
                                     int32_t n_head, struct ggml_tensor *x) {
    struct ggml_tensor *y = add_linear(g, layer->matrix[matrix], x);
    y = ggml_reshape_3d(g->context, y, layer->head_dim, n_head, x->ne[1]);
    return norm ? add_norm(g, layer->norm_epsilon, y, norm) : y;
}

static struct ggml_tensor *add_rope(graph *g, const model_layer *layer, struct ggml_tensor *x,
                                    struct ggml_tensor *position) {
    const model_rope *rope = layer->rope;
    if (!rope) return x;
    return ggml_rope_ext(g->context, x, position, rope->factors, layer->head_dim, rope->mode, rope->n_ctx_original,
                         rope->base, rope->scale, rope->ext_factor, rope->attention_factor, rope->beta_fast,
                         rope->beta_slow);
}

static struct ggml_tensor *rows_from(graph *g, struct ggml_tensor *x, int64_t first) {
    if (first == 0) return x;
    return ggml_view_2d(g->context, x, x->ne[0], x->ne[1] - first, x->nb[1], (size_t)first * x->nb[1]);
}

static struct ggml_tensor *add_feed_forward(graph *g, const model_layer *layer, struct ggml_tensor *x) {
    struct ggml_tensor *normed = add_norm(g, layer->norm_epsilon, x, layer->vector[MODEL_FFN_NORM]);
    struct ggml_tensor *gate = add_linear(g, layer->matrix[MODEL_GATE], normed);
    struct ggml_tensor *up = add_linear(g, layer->matrix[MODEL_UP], normed);
    struct ggml_tensor *both = ggml_swiglu_split(g->context, gate, up);
    return ggml_add(g->context, add_linear(g, layer->matrix[MODEL_DOWN], both), x);
}

/* Keys and values of all rows, queries of those that attend. */
static block_rows add_rows(graph *g, const model_layer *layer, struct ggml_tensor *normed, struct ggml_tensor *position,
                           block_want want) {
    block_rows rows = {0};
    struct ggml_tensor *key = add_heads(g, layer, MODEL_KEY, layer->vector[MODEL_KEY_NORM], layer->n_head_kv, normed);
    rows.key = add_rope(g, layer, key, position);
    rows.value = add_heads(g, layer, MODEL_VALUE, NULL, layer->n_head_kv, normed);
    const int64_t n = normed->ne[1] - want.first_query;
    if (n <= 0 || !(want.output || want.attention || want.query)) return rows;
    struct ggml_tensor *positions =
        ggml_view_1d(g->context, position, n, (size_t)want.first_query * ggml_element_size(position));
    struct ggml_tensor *query = add_heads(g, layer, MODEL_QUERY, layer->vector[MODEL_QUERY_NORM], layer->n_head,
                                          rows_from(g, normed, want.first_query));
    rows.query = add_rope(g, layer, query, positions);
    return rows;
}

static block_result add_block(graph *g, const model_layer *layer, const block_attention *attention,
                              struct ggml_tensor *x, struct ggml_tensor *position, block_want want) {
    block_result out = {0};
    struct ggml_tensor *normed = add_norm(g, layer->norm_epsilon, x, layer->vector[MODEL_ATTENTION_NORM]);
    const block_rows rows = add_rows(g, layer, normed, position, want);
    if (want.query && rows.query) {
        /* without rope they are a view, whose memory would be used again */
        out.query = rows.query->view_src ? ggml_cont(g->context, rows.query) : rows.query;
        ggml_set_output(out.query);
        ggml_build_forward_expand(g->nodes, out.query);
    }
    struct ggml_tensor *attended = attention->add(attention, g, layer, rows, want, &out);
    if (!attended || !want.output) return out;
    struct ggml_tensor *projected = add_linear(g, layer->matrix[MODEL_OUTPUT], attended);
    projected = rows_from(g, projected, want.first_output - want.first_query);
    x = ggml_add(g->context, projected, rows_from(g, x, want.first_output));
    out.output = add_feed_forward(g, layer, x);
    ggml_build_forward_expand(g->nodes, out.output);
    return out;
}

block_result block_add(graph *g, const model_layer *layer, block_attention attention, struct ggml_tensor *x,
                       struct ggml_tensor *position, block_want want) {
    struct ggml_tensor *last = graph_newest(g);
    const block_result out = add_block(g, layer, &attention, x, position, want);
    if (attention.backend) graph_place_after(g, last, attention.backend);
    return out;
}

struct ggml_tensor *block_add_embedding(graph *g, const judgeq_model *model, struct ggml_tensor *tokens) {
    return ggml_get_rows(g->context, model->token_embedding, tokens);
}

struct ggml_tensor *block_add_logits(graph *g, const judgeq_model *model, struct ggml_tensor *x) {
    return add_linear(g, model->output, add_norm(g, model->norm_epsilon, x, model->output_norm));
}
