#include "graph.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
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
    engine->current.dots = engine->dots;
    engine->current.x = engine->current.rounded = NULL;
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

void graph_set(struct ggml_tensor *input, const void *data, size_t at, size_t bytes) {
    if (input->buffer) ggml_backend_tensor_set(input, data, at, bytes);
}

/* ---- devices ----------------------------------------------------------------------------------------------------- */

struct ggml_tensor *graph_newest(graph *g) {
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

/* Left to itself, the scheduler guesses from neighbours, and guesses differently for the rows that several nodes write
 * parts of. A view stays with the tensor that it is a view of. */
void graph_place_after(graph *g, struct ggml_tensor *last, ggml_backend_t device) {
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
