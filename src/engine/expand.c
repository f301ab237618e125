#include "expand.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "ggml-cpu.h"

#include "base/error.h"
#include "cpu/packed.h"
#include "model/guard.h"
#include "model/tensors.h"

/* Of layers [first, end): the matrices that some layer has quantised, as one layer has them; NULL for the others. Those
 * of BF16 too, where they may be packed. */
static bool find_copied(const judgeq_model *model, int32_t first, int32_t end, expand_use use,
                        const struct ggml_tensor *found[MODEL_MATRICES]) {
    bool any = false;
    for (int i = 0; i < MODEL_MATRICES; i++) found[i] = NULL;
    for (int32_t l = first; l < end; l++) {
        const model_linear *matrix = model->layer[l].matrix;
        for (int i = 0; i < MODEL_MATRICES; i++) {
            const enum ggml_type type = matrix[i].weight->type;
            if (!ggml_is_quantized(type) && !(use == EXPAND_MULTIPLY && type == GGML_TYPE_BF16)) continue;
            if (!found[i] || ggml_is_quantized(type)) found[i] = matrix[i].weight;
            any = true;
        }
    }
    return any;
}

static enum ggml_type fast_type(void) {
    return ggml_cpu_has_avx512_bf16() ? GGML_TYPE_BF16 : GGML_TYPE_F16;
}

static const char EXPANDED[] = "one layer's weights as floats";

typedef struct packed_call {
    int64_t n_row, n_column;
    packed **out;
    judgeq_error *error;
    judgeq_status status;
} packed_call;

static void call_packed_new(void *data) {
    packed_call *c = data;
    c->status = packed_new(c->n_row, c->n_column, c->out, c->error);
}

/* oneDNN is C++, and throws where memory is out. */
static judgeq_status new_packed(int64_t n_row, int64_t n_column, packed **out, judgeq_error *error) {
    packed_call c = {.n_row = n_row, .n_column = n_column, .out = out, .error = error};
    const judgeq_status status = guard_call(call_packed_new, &c, EXPANDED, error);
    return status == JUDGEQ_OK ? c.status : status;
}

enum { UNKNOWN, IN_F32, NOT_IN_F32 };

/* Asked once in a process. */
static judgeq_status packs_in_f32(bool *out, judgeq_error *error) {
    enum { PROBE = 256 };
    static atomic_int known = UNKNOWN;
    if (atomic_load(&known) == UNKNOWN) {
        packed *probe = NULL;
        const judgeq_status status = new_packed(PROBE, PROBE, &probe, error);
        if (status != JUDGEQ_OK) return status;
        atomic_store(&known, probe && packed_type(probe) == GGML_TYPE_F32 ? IN_F32 : NOT_IN_F32);
        packed_free(probe);
    }
    *out = atomic_load(&known) == IN_F32;
    return JUDGEQ_OK;
}

judgeq_status expand_kept(const judgeq_model *model, const model_expanded **out, judgeq_error *error) {
    bool f32 = false;
    const judgeq_status status = model->expanded ? packs_in_f32(&f32, error) : JUDGEQ_OK;
    *out = f32 ? NULL : model->expanded;
    return status;
}

/* Packed where oneDNN multiplies them faster, else as 16-bit floats. */
static judgeq_status add_room(expand *e, int index, const struct ggml_tensor *matrix, expand_use use,
                              judgeq_error *error) {
    e->n_count = matrix->ne[1] > e->n_count ? matrix->ne[1] : e->n_count;
    if (use == EXPAND_MULTIPLY) {
        const judgeq_status status = new_packed(matrix->ne[1], matrix->ne[0], &e->packed[index], error);
        if (status != JUDGEQ_OK || e->packed[index] || !ggml_is_quantized(matrix->type)) return status;
    }
    e->half[index] = ggml_new_tensor_2d(e->context, fast_type(), matrix->ne[0], matrix->ne[1]);
    return JUDGEQ_OK;
}

static judgeq_status allocate(expand *e, const graph_engine *engine, judgeq_error *error) {
    e->count = malloc((size_t)e->n_count * sizeof *e->count);
    if (!e->count) return error_memory(error, EXPANDED);
    for (int64_t i = 0; i < e->n_count; i++) e->count[i] = (int32_t)i;
    if (!ggml_get_first_tensor(e->context)) return JUDGEQ_OK; /* all are packed */
    return tensors_allocate(e->context, ggml_backend_get_default_buffer_type(engine->backend), EXPANDED, &e->buffer,
                            error);
}

/* Room for any one of the layers [first, end). */
static judgeq_status init_for(expand *e, const judgeq_model *model, int32_t first, int32_t end, expand_use use,
                              const graph_engine *engine, judgeq_error *error) {
    const struct ggml_tensor *found[MODEL_MATRICES];
    *e = (expand){0};
    if (!find_copied(model, first, end, use, found)) return JUDGEQ_OK;
    judgeq_status status = tensors_new(MODEL_MATRICES, EXPANDED, &e->context, error);
    for (int i = 0; status == JUDGEQ_OK && i < MODEL_MATRICES; i++) {
        if (found[i]) status = add_room(e, i, found[i], use, error);
    }
    if (status == JUDGEQ_OK) status = allocate(e, engine, error);
    if (status != JUDGEQ_OK) expand_free(e);
    return status;
}

judgeq_status expand_init(expand *e, const judgeq_model *model, expand_use use, const graph_engine *engine,
                          judgeq_error *error) {
    return init_for(e, model, 0, model->info.n_layer, use, engine, error);
}

void expand_free(expand *e) {
    for (int i = 0; i < MODEL_MATRICES; i++) packed_free(e->packed[i]);
    ggml_backend_buffer_free(e->buffer);
    ggml_free(e->context);
    free(e->count);
    *e = (expand){0};
}

/* Puts a node into the graph that fills the room of a matrix, if it has some. */
static bool add_matrix(expand *e, graph *g, int index, struct ggml_tensor *count, model_linear *linear) {
    struct ggml_tensor *weight = linear->weight;
    const bool quantised = ggml_is_quantized(weight->type);
    if (e->packed[index] && (quantised || weight->type == GGML_TYPE_BF16)) {
        linear->packed = e->packed[index];
        ggml_build_forward_expand(g->nodes, packed_fill(g->context, linear->packed, weight));
    } else if (e->half[index] && quantised) { /* ggml's way of dequantising on any device */
        struct ggml_tensor *all = ggml_view_1d(g->context, count, weight->ne[1], 0);
        linear->weight = e->half[index];
        ggml_build_forward_expand(g->nodes,
                                  ggml_cpy(g->context, ggml_get_rows(g->context, weight, all), linear->weight));
    } else {
        return false;
    }
    return true;
}

judgeq_status expand_check(const expand *e, judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    for (int i = 0; status == JUDGEQ_OK && i < MODEL_MATRICES; i++) {
        if (e->packed[i]) status = packed_check(e->packed[i], error);
    }
    return status;
}

judgeq_status expand_layer(expand *e, const judgeq_model *model, int32_t index, graph_engine *engine, model_layer *out,
                           judgeq_error *error) {
    bool any = false;
    *out = model->layer[index];
    if (!e->count) return JUDGEQ_OK;
    graph *g = graph_begin(engine);
    struct ggml_tensor *count = graph_input(g, GGML_TYPE_I32, e->n_count, 1);
    for (int i = 0; i < MODEL_MATRICES; i++) any = add_matrix(e, g, i, count, &out->matrix[i]) || any;
    if (!any) return JUDGEQ_OK;
    judgeq_status status = graph_allocate(engine, NULL, error);
    if (status != JUDGEQ_OK) return status;
    graph_set(count, e->count, 0, (size_t)e->n_count * sizeof *e->count);
    status = graph_compute(engine, GRAPH_ROWS, 0, error);
    return status == JUDGEQ_OK ? expand_check(e, error) : status;
}

/* ---- all layers, kept -------------------------------------------------------------------------------------------- */

/* One layer's copies become the model's. */
static judgeq_status keep_layer(judgeq_model *model, int32_t index, graph_engine *engine, judgeq_error *error) {
    expand e;
    model_expanded *kept = &model->expanded[index];
    judgeq_status status = init_for(&e, model, index, index + 1, EXPAND_KEEP, engine, error);
    if (status != JUDGEQ_OK) return status;
    status = expand_layer(&e, model, index, engine, &kept->layer, error);
    kept->context = e.context;
    kept->buffer = e.buffer;
    free(e.count);
    return status;
}

static size_t bytes_of_all(const judgeq_model *model) {
    size_t n = 0;
    for (int32_t l = 0; l < model->info.n_layer; l++) {
        const struct ggml_tensor *found[MODEL_MATRICES];
        find_copied(model, l, l + 1, EXPAND_KEEP, found);
        for (int i = 0; i < MODEL_MATRICES; i++) n += found[i] ? (size_t)ggml_nelements(found[i]) : 0;
    }
    return n * sizeof(uint16_t);
}

judgeq_status judgeq_model_expand(judgeq_model *model, size_t most_bytes, int32_t n_threads, size_t *n_bytes,
                                  judgeq_error *error) {
    const int32_t n_layer = model->info.n_layer;
    graph_engine engine = {0};
    *n_bytes = bytes_of_all(model) <= most_bytes && model->n_device == 0 ? bytes_of_all(model) : 0;
    if (*n_bytes == 0 || model->expanded) return JUDGEQ_OK;
    judgeq_status status = graph_engine_init(&engine, model, n_threads, error);
    model->expanded = calloc((size_t)n_layer, sizeof *model->expanded);
    if (status == JUDGEQ_OK && !model->expanded) status = error_memory(error, "expanded weights");
    for (int32_t l = 0; status == JUDGEQ_OK && l < n_layer; l++) status = keep_layer(model, l, &engine, error);
    if (status != JUDGEQ_OK) {
        model_forget_expanded(model);
        *n_bytes = 0;
    }
    graph_engine_free(&engine);
    return status;
}
