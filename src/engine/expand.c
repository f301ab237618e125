#include "expand.h"

#include <stdlib.h>

#include "ggml-cpu.h"

#include "base/error.h"
#include "model/tensors.h"

/* Of layers [first, end): the matrices that some layer has quantised, as one layer has them; NULL for the others. */
static bool find_quantised(const judgeq_model *model, int32_t first, int32_t end,
                           const struct ggml_tensor *found[MODEL_MATRICES]) {
    bool any = false;
    for (int i = 0; i < MODEL_MATRICES; i++) found[i] = NULL;
    for (int32_t l = first; l < end; l++) {
        const model_linear *matrix = model->layer[l].matrix;
        for (int i = 0; i < MODEL_MATRICES; i++) {
            if (!ggml_is_quantized(matrix[i].weight->type)) continue;
            found[i] = matrix[i].weight;
            any = true;
        }
    }
    return any;
}

enum ggml_type expand_fast_type(void) {
    return ggml_cpu_has_avx512_bf16() ? GGML_TYPE_BF16 : GGML_TYPE_F16;
}

static const char EXPANDED[] = "one layer's weights as 16-bit floats";

/* Room for any one of the layers [first, end). */
static judgeq_status init_for(expand *e, const judgeq_model *model, int32_t first, int32_t end, enum ggml_type type,
                              const graph_engine *engine, judgeq_error *error) {
    const struct ggml_tensor *found[MODEL_MATRICES];
    *e = (expand){0};
    if (!find_quantised(model, first, end, found)) return JUDGEQ_OK;
    judgeq_status status = tensors_new(MODEL_MATRICES, EXPANDED, &e->context, error);
    if (status != JUDGEQ_OK) return status;
    for (int i = 0; i < MODEL_MATRICES; i++) {
        if (!found[i]) continue;
        e->half[i] = ggml_new_tensor_2d(e->context, type, found[i]->ne[0], found[i]->ne[1]);
        e->n_count = found[i]->ne[1] > e->n_count ? found[i]->ne[1] : e->n_count;
    }
    e->count = malloc((size_t)e->n_count * sizeof *e->count);
    status = e->count ? tensors_allocate(e->context, ggml_backend_get_default_buffer_type(engine->backend), EXPANDED,
                                         &e->buffer, error)
                      : error_memory(error, EXPANDED);
    if (status != JUDGEQ_OK) {
        expand_free(e);
        return status;
    }
    for (int64_t i = 0; i < e->n_count; i++) e->count[i] = (int32_t)i;
    return JUDGEQ_OK;
}

judgeq_status expand_init(expand *e, const judgeq_model *model, enum ggml_type type, const graph_engine *engine,
                          judgeq_error *error) {
    return init_for(e, model, 0, model->info.n_layer, type, engine, error);
}

void expand_free(expand *e) {
    ggml_backend_buffer_free(e->buffer);
    ggml_free(e->context);
    free(e->count);
    *e = (expand){0};
}

judgeq_status expand_layer(expand *e, const judgeq_model *model, int32_t index, graph_engine *engine, model_layer *out,
                           judgeq_error *error) {
    const struct ggml_tensor *found[MODEL_MATRICES];
    *out = model->layer[index];
    if (!e->buffer || !find_quantised(model, index, index + 1, found)) return JUDGEQ_OK;
    graph *g = graph_begin(engine);
    struct ggml_tensor *count = graph_input(g, GGML_TYPE_I32, e->n_count, 1);
    for (int i = 0; i < MODEL_MATRICES; i++) {
        struct ggml_tensor *plain = out->matrix[i].weight;
        if (!found[i]) continue;
        struct ggml_tensor *all = ggml_view_1d(g->context, count, plain->ne[1], 0);
        struct ggml_tensor *rows = ggml_get_rows(g->context, plain, all); /* ggml's way of dequantising on any device */
        ggml_build_forward_expand(g->nodes, ggml_cpy(g->context, rows, e->half[i]));
        out->matrix[i].weight = e->half[i];
    }
    judgeq_status status = graph_allocate(engine, NULL, error);
    if (status != JUDGEQ_OK) return status;
    ggml_backend_tensor_set(count, e->count, 0, (size_t)e->n_count * sizeof *e->count);
    return graph_compute(engine, GRAPH_ROWS, 0, error);
}

/* ---- all layers, kept -------------------------------------------------------------------------------------------- */

/* One layer's copies become the model's. */
static judgeq_status keep_layer(judgeq_model *model, int32_t index, graph_engine *engine, judgeq_error *error) {
    expand e;
    model_expanded *kept = &model->expanded[index];
    judgeq_status status = init_for(&e, model, index, index + 1, expand_fast_type(), engine, error);
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
        find_quantised(model, l, l + 1, found);
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
