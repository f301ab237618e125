#include "attention.h"

#include "cpu/flash.h"
#include "cpu/hadamard.h"
#include "cpu/packed.h"
#include "cpu/product.h"
#include "cpu/softmax.h"

/* Stores x [n, n_head_kv, head_dim] after the rows that the cache holds: head by head, because ggml quantises into
 * contiguous rows only. */
static void add_store_quantised(graph *g, const cache_layer *cache, bool values, struct ggml_tensor *x) {
    for (int32_t h = 0; h < cache->n_head_kv; h++) {
        const cache_run head = {.first_head = h, .n_head = 1, .n_row = cache->head[h].n_row};
        struct ggml_tensor *rows = ggml_view_2d(g->context, x, x->ne[0], x->ne[2], x->nb[2], (size_t)h * x->nb[1]);
        struct ggml_tensor *to = values ? cache_run_values(g->context, cache, head, head.n_row, x->ne[2])
                                        : cache_run_keys(g->context, cache, head, head.n_row, x->ne[2]);
        ggml_build_forward_expand(g->nodes, ggml_cpy(g->context, rows, to));
    }
}

/* x turned by the Hadamard matrix, where the cache's rows are. */
static struct ggml_tensor *add_turn(graph *g, const cache_layer *cache, struct ggml_tensor *x) {
    return cache_turned(cache) ? hadamard_add(g->context, x) : x;
}

/* Stores keys and values [n, n_head_kv, head_dim] after the rows that the cache holds. */
static void add_store(graph *g, const cache_layer *cache, struct ggml_tensor *key, struct ggml_tensor *value) {
    struct ggml_context *context = g->context;
    const int64_t n = key->ne[2];
    if (cache_quantised(cache)) {
        add_store_quantised(g, cache, false, add_turn(g, cache, key));
        add_store_quantised(g, cache, true, add_turn(g, cache, value));
        return;
    }
    cache_run run;
    for (int32_t h = 0; h < cache->n_head_kv; h += run.n_head) {
        run = cache_layer_run(cache, h);
        struct ggml_tensor *k =
            ggml_view_3d(context, key, key->ne[0], run.n_head, n, key->nb[1], key->nb[2], (size_t)h * key->nb[1]);
        struct ggml_tensor *v = ggml_view_3d(context, value, value->ne[0], run.n_head, n, value->nb[1], value->nb[2],
                                             (size_t)h * value->nb[1]);
        ggml_build_forward_expand(g->nodes, ggml_cpy(context, ggml_permute(context, k, 0, 2, 1, 3),
                                                     cache_run_keys(context, cache, run, run.n_row, n)));
        ggml_build_forward_expand(g->nodes, ggml_cpy(context, ggml_permute(context, v, 1, 2, 0, 3),
                                                     cache_run_values(context, cache, run, run.n_row, n)));
    }
}

/* x [heads, n, n_key]: row i becomes -infinity at key seen + i * step and at all later keys; step: 0 or 1. */
static struct ggml_tensor *add_mask(graph *g, struct ggml_tensor *x, int64_t seen, int step) {
    struct ggml_context *context = g->context;
    if (seen >= x->ne[0]) return x;
    if (step == 1) return ggml_diag_mask_inf_inplace(context, x, (int)seen - 1);
    struct ggml_tensor *rows = ggml_reshape_3d(context, x, x->ne[0], 1, x->ne[1] * x->ne[2]);
    rows = ggml_diag_mask_inf_inplace(context, rows, (int)seen - 1);
    return ggml_reshape_3d(context, rows, x->ne[0], x->ne[1], x->ne[2]);
}

/* softmax over the first `seen` + step * i rows of a run, for query i of n; the columns have their padding. own: with
 * our softmax, which needs step 1. */
static struct ggml_tensor *add_softmax(graph *g, const model_layer *layer, const cache_layer *cache, cache_run run,
                                       int64_t seen, int step, bool own, struct ggml_tensor *query) {
    struct ggml_context *context = g->context;
    const int64_t n_key = cache_padded(cache, seen + (query->ne[1] - 1) * step);
    struct ggml_tensor *products = ggml_mul_mat(context, cache_run_keys(context, cache, run, 0, n_key), query);
    ggml_prec_set_acc(products, GGML_PREC_F32);
    if (own) return softmax_add_causal(context, products, layer->scale, seen);
    return ggml_soft_max_ext(context, add_mask(g, products, seen, step), NULL, layer->scale, 0.0f);
}

/* Queries [first, end) of query [n, n_head, head_dim] that share the KV heads of a run: [n_head of the run, end -
 * first, head_dim]. */
static struct ggml_tensor *run_queries(graph *g, const model_layer *layer, cache_run run, struct ggml_tensor *query,
                                       int64_t first, int64_t end) {
    const int32_t group = layer->n_head / layer->n_head_kv;
    struct ggml_tensor *heads = ggml_view_3d(
        g->context, query, query->ne[0], (int64_t)run.n_head * group, end - first, query->nb[1], query->nb[2],
        (size_t)run.first_head * (size_t)group * query->nb[1] + (size_t)first * query->nb[2]);
    return ggml_permute(g->context, heads, 0, 2, 1, 3);
}

/* The first n values of a run, [n_head, head_dim, n]. */
static struct ggml_tensor *add_values(graph *g, const cache_layer *cache, cache_run run, int64_t n) {
    struct ggml_tensor *values = cache_run_values(g->context, cache, run, 0, n);
    if (!cache_quantised(cache)) return values;
    values = ggml_cast(g->context, values, GGML_TYPE_F32);
    return ggml_cont(g->context, ggml_transpose(g->context, values));
}

/* A run's attention from row `first` on. */
static void give_attention(block_result *block, block_want want, cache_run run, struct ggml_tensor *attention,
                           int64_t first) {
    ggml_set_output(attention);
    block->attention = attention;
    block->first_attention = first;
    if (want.by_run) want.by_run[run.first_head] = attention;
}

/* Writes the attention output of queries [first, end), over all heads, into `out` [n, n_head, head_dim]. `past`: rows
 * that the first of all queries may attend to, beside those held. give: these queries' attention is returned. */
static void attend_rows(graph *g, const model_layer *layer, const cache_layer *cache, int64_t past,
                        struct ggml_tensor *query, int64_t first, int64_t end, block_want want, bool give,
                        struct ggml_tensor *out, block_result *block) {
    struct ggml_context *context = g->context;
    cache_run run;
    for (int32_t h = 0; h < cache->n_head_kv; h += run.n_head) {
        run = cache_layer_run(cache, h);
        struct ggml_tensor *attention = add_softmax(g, layer, cache, run, run.n_row + past + first, 1, want.own_softmax,
                                                    run_queries(g, layer, run, query, first, end));
        struct ggml_tensor *values = add_values(g, cache, run, attention->ne[0]);
        struct ggml_tensor *mixed = ggml_permute(context, ggml_mul_mat(context, values, attention), 0, 2, 1, 3);
        struct ggml_tensor *to = run_queries(g, layer, run, out, first, end);
        ggml_build_forward_expand(g->nodes, ggml_cpy(context, mixed, ggml_permute(context, to, 0, 2, 1, 3)));
        if (give) give_attention(block, want, run, attention, want.first_query + first);
    }
}

/* The attention output of all queries, part by part. Rows whose attention is returned attend in one part. */
static void attend_in_parts(graph *g, const model_layer *layer, const cache_layer *cache, int64_t past,
                            struct ggml_tensor *query, block_want want, struct ggml_tensor *out, block_result *block) {
    const int64_t n = query->ne[2], probe = want.attention ? want.first_attention - want.first_query : n;
    for (int64_t first = 0, end; first < n; first = end) {
        end = want.rows_at_once > 0 && n - first > want.rows_at_once ? first + want.rows_at_once : n;
        if (end > probe) end = n;
        attend_rows(g, layer, cache, past, query, first, end, want, want.attention && end == n, out, block);
    }
}

/* Whether the layer's own products are of BF16: its attention is rounded as they are, and otherwise exact. */
static bool is_rounded(const model_layer *layer) {
    const model_linear *query = &layer->matrix[MODEL_QUERY];
    return query->packed ? packed_type(query->packed) == GGML_TYPE_BF16 : product_is_paired(query->weight);
}

/* The same by flash.h. Attention that is returned is computed separately, so that the output does not depend on whether
 * it is asked for. */
static void attend_flash(graph *g, const model_layer *layer, const cache_layer *cache, int64_t past,
                         struct ggml_tensor *query, block_want want, struct ggml_tensor *out, block_result *block) {
    const int64_t n = query->ne[2], probe = want.first_attention - want.first_query;
    cache_run run;
    for (int32_t h = 0; h < cache->n_head_kv; h += run.n_head) {
        run = cache_layer_run(cache, h);
        const int64_t n_key = run.n_row + past + n - 1;
        if (want.output) {
            ggml_build_forward_expand(g->nodes, flash_add(g->context, run_queries(g, layer, run, out, 0, n),
                                                          run_queries(g, layer, run, query, 0, n),
                                                          cache_run_keys(g->context, cache, run, 0, n_key),
                                                          cache_run_values(g->context, cache, run, 0, n_key),
                                                          layer->scale, is_rounded(layer)));
        }
        if (!want.attention) continue;
        struct ggml_tensor *attention = add_softmax(g, layer, cache, run, run.n_row + past + probe, 1, true,
                                                    run_queries(g, layer, run, query, probe, n));
        ggml_build_forward_expand(g->nodes, attention);
        give_attention(block, want, run, attention, want.first_attention);
    }
}

/* Attention of query [n, n_head, head_dim] to the rows held and the n_new rows after them, of which the last n are the
 * queries' own. Returns [n, n_head * head_dim]. */
static struct ggml_tensor *add_attend(graph *g, const model_layer *layer, const cache_layer *cache, int64_t n_new,
                                      struct ggml_tensor *query, block_want want, block_result *block) {
    const int64_t n = query->ne[2], past = n_new - n + 1;
    struct ggml_tensor *out = ggml_new_tensor_3d(g->context, GGML_TYPE_F32, query->ne[0], query->ne[1], n);
    const bool flash = want.flash && flash_available(cache->type, layer->head_dim);
    (flash ? attend_flash : attend_in_parts)(g, layer, cache, past, add_turn(g, cache, query), want, out, block);
    out = add_turn(g, cache, out);
    return ggml_reshape_2d(g->context, out, out->ne[0] * out->ne[1], n);
}

/* ---- the ways to attend ------------------------------------------------------------------------------------------ */

static struct ggml_tensor *over_cache(const block_attention *a, graph *g, const model_layer *layer, block_rows rows,
                                      block_want want, block_result *out) {
    const cache_layer *cache = a->over;
    add_store(g, cache, rows.key, rows.value);
    return rows.query ? add_attend(g, layer, cache, rows.key->ne[2], rows.query, want, out) : NULL;
}

block_attention attention_over_cache(const cache_layer *cache) {
    return (block_attention){.add = over_cache, .over = cache, .backend = cache->backend};
}

static struct ggml_tensor *over_batch(const block_attention *a, graph *g, const model_layer *layer, block_rows rows,
                                      block_want want, block_result *out) {
    (void)layer;
    (void)want;
    (void)out;
    return attend_add(g->context, a->over, rows.query, rows.key, rows.value);
}

block_attention attention_over_batch(const attend_layer *layer) {
    return (block_attention){.add = over_batch, .over = layer};
}

struct ggml_tensor *attention_add_scores(graph *g, const model_layer *layer, const cache_layer *cache, cache_run run,
                                         bool causal, struct ggml_tensor *query) {
    struct ggml_tensor *last = graph_newest(g);
    const int64_t seen = causal ? run.n_row - query->ne[1] + 1 : run.n_row;
    struct ggml_tensor *attention =
        add_softmax(g, layer, cache, run, seen, causal ? 1 : 0, false, add_turn(g, cache, query));
    graph_place_after(g, last, cache->backend);
    return attention;
}
