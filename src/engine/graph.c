#include "graph.h"

#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "cpu/flash.h"
#include "cpu/rotate.h"
#include "cpu/softmax.h"
#include "model/guard.h"

/* ---- engine ------------------------------------------------------------------------------------------------------ */

/* Upper bounds on the nodes of one block: its projections, norms and copies, and what each run of heads, or each part
 * of the queries, adds. */
enum { BLOCK_NODES = 64, RUN_NODES = 24, OTHER_NODES = 64 + GRAPH_PARTS * RUN_NODES };

/* The calls of ggml that allocate, for guard_call. */

static void open_cpu(void *data) {
    graph_engine *engine = data;
    engine->backend = ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_CPU, NULL);
    if (!engine->backend) return;
    engine->allocator = ggml_gallocr_new(ggml_backend_get_default_buffer_type(engine->backend));
    engine->current.context = ggml_init(
        (struct ggml_init_params){.mem_size = engine->memory_size, .mem_buffer = engine->memory, .no_alloc = true});
}

/* Ends at the first that ggml cannot use. */
static void open_devices(void *data) {
    graph_engine *engine = data;
    for (int32_t d = 0; d < engine->model->n_device; d++) {
        engine->device[d] = ggml_backend_dev_init(engine->model->device[d], NULL);
        if (!engine->device[d]) return;
        engine->n_device++;
    }
    engine->device[engine->n_device] = engine->backend; /* ggml wants the CPU last */
    engine->scheduler =
        ggml_backend_sched_new(engine->device, NULL, engine->n_device + 1, 2 * engine->n_node, false, false);
}

typedef struct graph_call {
    graph_engine *engine;
    bool allocated;
    enum ggml_status status;
} graph_call;

static void allocate(void *data) {
    graph_call *call = data;
    graph_engine *engine = call->engine;
    /* The allocator would keep its plan for a graph that looks like the last one, even where another tensor is an
     * output and must not share its memory. So it plans every graph anew. */
    call->allocated = engine->scheduler ? ggml_backend_sched_alloc_graph(engine->scheduler, engine->current.nodes)
                                        : ggml_gallocr_reserve(engine->allocator, engine->current.nodes) &&
                                              ggml_gallocr_alloc_graph(engine->allocator, engine->current.nodes);
}

static void compute(void *data) {
    graph_call *call = data;
    graph_engine *engine = call->engine;
    call->status = engine->scheduler ? ggml_backend_sched_graph_compute(engine->scheduler, engine->current.nodes)
                                     : ggml_backend_graph_compute(engine->backend, engine->current.nodes);
}

/* After a failure within ggml, what its objects point to need not be there any more. */
static judgeq_status call_ggml(graph_engine *engine, void (*call)(void *data), void *data, judgeq_error *error) {
    static const char what[] = "computing a graph";
    if (engine->broken) return error_memory(error, what);
    const judgeq_status status = guard_call(call, data, what, error);
    engine->broken = status != JUDGEQ_OK;
    return status;
}

static judgeq_status add_devices(graph_engine *engine, judgeq_error *error) {
    const judgeq_model *model = engine->model;
    engine->device = calloc((size_t)model->n_device + 1, sizeof(ggml_backend_t));
    if (!engine->device) return error_memory(error, "devices");
    const judgeq_status status = call_ggml(engine, open_devices, engine, error);
    if (status != JUDGEQ_OK || engine->scheduler) return status;
    if (engine->n_device == model->n_device) return error_memory(error, "graphs on several devices");
    return error_set(error, JUDGEQ_ERROR_BACKEND, "ggml cannot use device %s",
                     ggml_backend_dev_name(model->device[engine->n_device]));
}

static judgeq_status add_cpu(graph_engine *engine, judgeq_error *error) {
    engine->memory_size = engine->n_node * ggml_tensor_overhead() + ggml_graph_overhead_custom(engine->n_node, false);
    engine->memory = malloc(engine->memory_size);
    if (!engine->memory) return error_memory(error, "graphs");
    const judgeq_status status = call_ggml(engine, open_cpu, engine, error);
    if (status != JUDGEQ_OK) return status;
    if (!engine->backend) return error_set(error, JUDGEQ_ERROR_BACKEND, "ggml has no CPU backend");
    ggml_backend_reg_t registry = ggml_backend_dev_backend_reg(ggml_backend_get_device(engine->backend));
    engine->set_threads =
        (ggml_backend_set_n_threads_t)ggml_backend_reg_get_proc_address(registry, "ggml_backend_set_n_threads");
    if (engine->set_threads) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_BACKEND, "ggml's CPU backend cannot set its number of threads");
}

judgeq_status graph_engine_init(graph_engine *engine, const judgeq_model *model, int32_t n_threads,
                                judgeq_error *error) {
    const judgeq_model_info *info = &model->info;
    *engine = (graph_engine){.model = model, .threads = threads_init(n_threads)};
    engine->n_node = (size_t)info->n_layer * (size_t)(BLOCK_NODES + RUN_NODES * info->n_head_kv) + OTHER_NODES;
    judgeq_status status = add_cpu(engine, error);
    if (status == JUDGEQ_OK && model->n_device > 0) status = add_devices(engine, error);
    if (status != JUDGEQ_OK) graph_engine_free(engine);
    return status;
}

static void free_objects(graph_engine *engine) {
    ggml_free(engine->current.context);
    if (engine->allocator) ggml_gallocr_free(engine->allocator);
    if (engine->scheduler) ggml_backend_sched_free(engine->scheduler);
    for (int32_t d = 0; d < engine->n_device; d++) ggml_backend_free(engine->device[d]);
    if (engine->backend) ggml_backend_free(engine->backend);
}

void graph_engine_free(graph_engine *engine) {
    if (!engine->broken) {
        free_objects(engine);
        free((void *)engine->device);
        free(engine->memory);
    }
    *engine = (graph_engine){0};
}

ggml_backend_t graph_engine_of_layer(const graph_engine *engine, const judgeq_model *model, int32_t index) {
    return model->place && model->place[index] != MODEL_ON_CPU ? engine->device[model->place[index]] : engine->backend;
}

graph *graph_begin(graph_engine *engine) {
    ggml_reset(engine->current.context);
    engine->n_graph++;
    if (engine->scheduler) ggml_backend_sched_reset(engine->scheduler);
    engine->current.scheduler = engine->scheduler;
    engine->current.cpu = engine->backend;
    engine->current.newest = NULL;
    engine->current.nodes = ggml_new_graph_custom(engine->current.context, engine->n_node, false);
    return &engine->current;
}

judgeq_status graph_allocate(graph_engine *engine, struct ggml_tensor *result, judgeq_error *error) {
    if (result) {
        ggml_set_output(result);
        ggml_build_forward_expand(engine->current.nodes, result);
    }
    graph_call call = {.engine = engine};
    const judgeq_status status = call_ggml(engine, allocate, &call, error);
    if (status != JUDGEQ_OK || call.allocated) return status;
    return error_memory(error, engine->scheduler ? "a graph's intermediate results on a device"
                                                 : "a graph's intermediate results");
}

judgeq_status graph_compute(graph_engine *engine, graph_kind kind, double work, judgeq_error *error) {
    judgeq_status status = model_check_file(engine->model, JUDGEQ_OK, error);
    if (status != JUDGEQ_OK) return status;
    threads_seen *seen = &engine->seen[kind];
    graph_call call = {.engine = engine};
    const int32_t n_threads =
        threads_choose(&engine->threads, seen, kind == GRAPH_ROWS ? NULL : &engine->seen[GRAPH_ROWS]);
    engine->set_threads(engine->backend, n_threads);
    const double start = clock_seconds();
    status = call_ggml(engine, compute, &call, error);
    threads_note(&engine->threads, seen, n_threads, work, clock_seconds() - start);
    if (status == JUDGEQ_OK && call.status != GGML_STATUS_SUCCESS) {
        status = error_set(error, JUDGEQ_ERROR_BACKEND, "ggml could not compute a graph: %s",
                           ggml_status_to_string(call.status));
    }
    return model_check_file(engine->model, status, error);
}

struct ggml_tensor *graph_input(graph *g, enum ggml_type type, int64_t ne0, int64_t ne1) {
    struct ggml_tensor *tensor = ggml_new_tensor_2d(g->context, type, ne0, ne1);
    ggml_set_input(tensor);
    return tensor;
}

/* ---- devices ----------------------------------------------------------------------------------------------------- */

static struct ggml_tensor *newest_tensor(graph *g) {
    if (!g->scheduler) return NULL;
    struct ggml_tensor *next = g->newest ? g->newest : ggml_get_first_tensor(g->context);
    for (; next; next = ggml_get_next_tensor(g->context, next)) g->newest = next;
    return g->newest;
}

static bool is_view(const struct ggml_tensor *tensor) {
    return tensor->op == GGML_OP_VIEW || tensor->op == GGML_OP_RESHAPE || tensor->op == GGML_OP_PERMUTE ||
           tensor->op == GGML_OP_TRANSPOSE;
}

static bool is_own(const struct ggml_tensor *tensor) {
    return tensor->op == GGML_OP_MAP_CUSTOM1 || tensor->op == GGML_OP_MAP_CUSTOM2 || tensor->op == GGML_OP_CUSTOM;
}

/* Puts the tensors that came after `last` on a device, and operations of ours on the CPU; a view stays with the tensor
 * that it is a view of. Left to itself, the scheduler guesses from neighbours, and guesses differently for the rows
 * that several nodes write parts of. */
static void place_after(graph *g, struct ggml_tensor *last, ggml_backend_t device) {
    if (!g->scheduler) return;
    struct ggml_tensor *next = last ? ggml_get_next_tensor(g->context, last) : ggml_get_first_tensor(g->context);
    for (; next; next = ggml_get_next_tensor(g->context, next)) {
        if (is_view(next)) continue;
        ggml_backend_sched_set_tensor_backend(g->scheduler, next, is_own(next) ? g->cpu : device);
    }
}

judgeq_status graph_check_devices(const graph *g, judgeq_error *error) {
    for (int i = 0; i < ggml_graph_n_nodes(g->nodes); i++) {
        struct ggml_tensor *node = ggml_graph_node(g->nodes, i);
        ggml_backend_t backend =
            g->scheduler && !is_view(node) ? ggml_backend_sched_get_tensor_backend(g->scheduler, node) : NULL;
        ggml_backend_dev_t device = backend ? ggml_backend_get_device(backend) : NULL;
        if (!device || ggml_backend_dev_supports_op(device, node)) continue;
        return error_set(error, JUDGEQ_ERROR_UNSUPPORTED,
                         "device %s cannot compute %s of %s and %s to %s: leave the layers on the CPU (offload 0), or "
                         "try another KV type or other weights",
                         ggml_backend_dev_name(device), ggml_op_desc(node), ggml_type_name(node->src[0]->type),
                         ggml_type_name(node->src[1] ? node->src[1]->type : node->src[0]->type),
                         ggml_type_name(node->type));
    }
    return JUDGEQ_OK;
}

/* ---- blocks ------------------------------------------------------------------------------------------------------ */

static struct ggml_tensor *add_norm(graph *g, const judgeq_model *model, struct ggml_tensor *x,
                                    struct ggml_tensor *weight) {
    return ggml_mul(g->context, ggml_rms_norm(g->context, x, model->norm_epsilon), weight);
}

static struct ggml_tensor *add_linear(graph *g, model_linear linear, struct ggml_tensor *x) {
    struct ggml_tensor *y = ggml_mul_mat(g->context, linear.weight, x);
    if (linear.scale) y = ggml_mul(g->context, y, linear.scale);
    return linear.bias ? ggml_add(g->context, y, linear.bias) : y;
}

/* x [n, n_embd] -> [n, n_head, head_dim], normalised per head where the model does so. */
static struct ggml_tensor *add_heads(graph *g, const judgeq_model *model, model_linear linear, struct ggml_tensor *norm,
                                     int32_t n_head, struct ggml_tensor *x) {
    struct ggml_tensor *y = add_linear(g, linear, x);
    y = ggml_reshape_3d(g->context, y, model->info.head_dim, n_head, x->ne[1]);
    return norm ? add_norm(g, model, y, norm) : y;
}

static struct ggml_tensor *add_rope(graph *g, const judgeq_model *model, struct ggml_tensor *x,
                                    struct ggml_tensor *position) {
    const model_rope *rope = &model->rope;
    return ggml_rope_ext(g->context, x, position, rope->factors, model->info.head_dim, rope->mode, rope->n_ctx_original,
                         rope->base, rope->scale, rope->ext_factor, rope->attention_factor, rope->beta_fast,
                         rope->beta_slow);
}

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
    return cache_rotated(cache) ? rotate_add(g->context, x) : x;
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
static struct ggml_tensor *add_softmax(graph *g, const judgeq_model *model, const cache_layer *cache, cache_run run,
                                       int64_t seen, int step, bool own, struct ggml_tensor *query) {
    struct ggml_context *context = g->context;
    const float scale = 1.0f / sqrtf((float)model->info.head_dim);
    const int64_t n_key = cache_padded(cache, seen + (query->ne[1] - 1) * step);
    struct ggml_tensor *products = ggml_mul_mat(context, cache_run_keys(context, cache, run, 0, n_key), query);
    ggml_prec_set_acc(products, GGML_PREC_F32);
    if (own) return softmax_add_causal(context, products, query, seen);
    return ggml_soft_max_ext(context, add_mask(g, products, seen, step), NULL, scale, 0.0f);
}

/* Queries [first, end) of query [n, n_head, head_dim] that share the KV heads of a run: [n_head of the run, end -
 * first, head_dim]. */
static struct ggml_tensor *run_queries(graph *g, const judgeq_model *model, cache_run run, struct ggml_tensor *query,
                                       int64_t first, int64_t end) {
    const int32_t group = model->info.n_head / model->info.n_head_kv;
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

/* Writes the attention output of queries [first, end), over all heads, into `out` [n, n_head, head_dim]. `past`: rows
 * that the first of all queries may attend to, beside those held. Returns the attention of the last run of heads. */
static struct ggml_tensor *attend_rows(graph *g, const judgeq_model *model, const cache_layer *cache, int64_t past,
                                       bool own_softmax, struct ggml_tensor *query, int64_t first, int64_t end,
                                       struct ggml_tensor *out) {
    struct ggml_context *context = g->context;
    struct ggml_tensor *attention = NULL;
    cache_run run;
    for (int32_t h = 0; h < cache->n_head_kv; h += run.n_head) {
        run = cache_layer_run(cache, h);
        attention = add_softmax(g, model, cache, run, run.n_row + past + first, 1, own_softmax,
                                run_queries(g, model, run, query, first, end));
        struct ggml_tensor *values = add_values(g, cache, run, attention->ne[0]);
        struct ggml_tensor *mixed = ggml_permute(context, ggml_mul_mat(context, values, attention), 0, 2, 1, 3);
        struct ggml_tensor *to = run_queries(g, model, run, out, first, end);
        ggml_build_forward_expand(g->nodes, ggml_cpy(context, mixed, ggml_permute(context, to, 0, 2, 1, 3)));
    }
    return attention;
}

static void give_attention(graph_block *block, struct ggml_tensor *attention, int64_t first) {
    ggml_set_output(attention);
    block->attention = attention;
    block->first_attention = first;
}

/* The attention output of all queries, part by part. Rows whose attention is returned attend in one part. */
static void attend_in_parts(graph *g, const judgeq_model *model, const cache_layer *cache, int64_t past,
                            struct ggml_tensor *query, graph_want want, struct ggml_tensor *out, graph_block *block) {
    const int64_t n = query->ne[2], probe = want.attention ? want.first_attention - want.first_query : n;
    for (int64_t first = 0, end; first < n; first = end) {
        end = want.rows_at_once > 0 && n - first > want.rows_at_once ? first + want.rows_at_once : n;
        if (end > probe) end = n;
        struct ggml_tensor *attention = attend_rows(g, model, cache, past, want.own_softmax, query, first, end, out);
        if (want.attention && end == n) give_attention(block, attention, want.first_query + first);
    }
}

/* The same by flash.h. Attention that is returned is computed separately, so that the output does not depend on whether
 * it is asked for. */
static void attend_flash(graph *g, const judgeq_model *model, const cache_layer *cache, int64_t past,
                         struct ggml_tensor *query, graph_want want, struct ggml_tensor *out, graph_block *block) {
    const int64_t n = query->ne[2], probe = want.first_attention - want.first_query;
    cache_run run;
    for (int32_t h = 0; want.output && h < cache->n_head_kv; h += run.n_head) {
        run = cache_layer_run(cache, h);
        const int64_t n_key = run.n_row + past + n - 1;
        struct ggml_tensor *flash = flash_add(
            g->context, run_queries(g, model, run, out, 0, n), run_queries(g, model, run, query, 0, n),
            cache_run_keys(g->context, cache, run, 0, n_key), cache_run_values(g->context, cache, run, 0, n_key));
        ggml_build_forward_expand(g->nodes, flash);
    }
    if (!want.attention) return;
    run = cache_layer_run(cache, 0);
    struct ggml_tensor *attention = add_softmax(g, model, cache, run, run.n_row + past + probe, 1, true,
                                                run_queries(g, model, run, query, probe, n));
    ggml_build_forward_expand(g->nodes, attention);
    give_attention(block, attention, want.first_attention);
}

/* Attention of query [n, n_head, head_dim] to the rows held and the n_new rows after them, of which the last n are the
 * queries' own. Returns [n, n_head * head_dim]. */
static struct ggml_tensor *add_attend(graph *g, const judgeq_model *model, const cache_layer *cache, int64_t n_new,
                                      struct ggml_tensor *query, graph_want want, graph_block *block) {
    const int64_t n = query->ne[2], past = n_new - n + 1;
    struct ggml_tensor *out = ggml_new_tensor_3d(g->context, GGML_TYPE_F32, query->ne[0], query->ne[1], n);
    const bool flash = want.flash && flash_available(cache->type, model->info.head_dim);
    (flash ? attend_flash : attend_in_parts)(g, model, cache, past, add_turn(g, cache, query), want, out, block);
    out = add_turn(g, cache, out);
    return ggml_reshape_2d(g->context, out, out->ne[0] * out->ne[1], n);
}

static struct ggml_tensor *rows_from(graph *g, struct ggml_tensor *x, int64_t first) {
    if (first == 0) return x;
    return ggml_view_2d(g->context, x, x->ne[0], x->ne[1] - first, x->nb[1], (size_t)first * x->nb[1]);
}

static struct ggml_tensor *add_feed_forward(graph *g, const judgeq_model *model, const model_layer *layer,
                                            struct ggml_tensor *x) {
    struct ggml_tensor *normed = add_norm(g, model, x, layer->ffn_norm);
    struct ggml_tensor *gate = add_linear(g, layer->gate, normed);
    struct ggml_tensor *up = add_linear(g, layer->up, normed);
    struct ggml_tensor *down = add_linear(g, layer->down, ggml_swiglu_split(g->context, gate, up));
    return ggml_add(g->context, down, x);
}

static graph_block add_block(graph *g, const judgeq_model *model, const model_layer *layer, const cache_layer *cache,
                             struct ggml_tensor *x, struct ggml_tensor *position, graph_want want) {
    const judgeq_model_info *info = &model->info;
    struct ggml_context *context = g->context;
    graph_block block = {0};

    struct ggml_tensor *normed = add_norm(g, model, x, layer->attention_norm);
    struct ggml_tensor *key = add_heads(g, model, layer->key, layer->key_norm, info->n_head_kv, normed);
    struct ggml_tensor *value = add_heads(g, model, layer->value, NULL, info->n_head_kv, normed);
    add_store(g, cache, add_rope(g, model, key, position), value);

    const int64_t n = x->ne[1] - want.first_query;
    if (n <= 0 || !(want.output || want.attention || want.query)) return block;
    struct ggml_tensor *positions =
        ggml_view_1d(context, position, n, (size_t)want.first_query * ggml_element_size(position));
    struct ggml_tensor *query =
        add_heads(g, model, layer->query, layer->query_norm, info->n_head, rows_from(g, normed, want.first_query));
    query = add_rope(g, model, query, positions);
    if (want.query) {
        ggml_set_output(query);
        block.query = query;
        ggml_build_forward_expand(g->nodes, query);
    }
    struct ggml_tensor *attended = add_attend(g, model, cache, x->ne[1], query, want, &block);
    if (want.output) {
        struct ggml_tensor *projected = add_linear(g, layer->output, attended);
        projected = rows_from(g, projected, want.first_output - want.first_query);
        x = ggml_add(context, projected, rows_from(g, x, want.first_output));
        block.output = add_feed_forward(g, model, layer, x);
        ggml_build_forward_expand(g->nodes, block.output);
    }
    return block;
}

graph_block graph_add_block(graph *g, const judgeq_model *model, const model_layer *layer, const cache_layer *cache,
                            struct ggml_tensor *x, struct ggml_tensor *position, graph_want want) {
    struct ggml_tensor *last = newest_tensor(g);
    const graph_block block = add_block(g, model, layer, cache, x, position, want);
    place_after(g, last, cache->backend);
    return block;
}

graph_block graph_add_decode_block(graph *g, const judgeq_model *model, const model_layer *layer,
                                   const attend_layer *attend, struct ggml_tensor *x, struct ggml_tensor *position) {
    const judgeq_model_info *info = &model->info;
    struct ggml_tensor *normed = add_norm(g, model, x, layer->attention_norm);
    struct ggml_tensor *key = add_heads(g, model, layer->key, layer->key_norm, info->n_head_kv, normed);
    struct ggml_tensor *query = add_heads(g, model, layer->query, layer->query_norm, info->n_head, normed);
    query = add_rope(g, model, query, position);
    ggml_set_output(query);
    struct ggml_tensor *attended =
        attend_add(g->context, attend, query, add_rope(g, model, key, position), add_linear(g, layer->value, normed));
    x = ggml_add(g->context, add_linear(g, layer->output, attended), x);
    return (graph_block){.output = add_feed_forward(g, model, layer, x), .query = query};
}

struct ggml_tensor *graph_add_embedding(graph *g, const judgeq_model *model, struct ggml_tensor *tokens) {
    return ggml_get_rows(g->context, model->token_embedding, tokens);
}

struct ggml_tensor *graph_add_logits(graph *g, const judgeq_model *model, struct ggml_tensor *x) {
    return add_linear(g, model->output, add_norm(g, model, x, model->output_norm));
}

struct ggml_tensor *graph_add_attention(graph *g, const judgeq_model *model, const cache_layer *cache, cache_run run,
                                        struct ggml_tensor *query) {
    struct ggml_tensor *last = newest_tensor(g);
    struct ggml_tensor *attention = add_softmax(g, model, cache, run, run.n_row, 0, false, add_turn(g, cache, query));
    place_after(g, last, cache->backend);
    return attention;
}
