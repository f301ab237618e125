#include "support.h"

#include <stdlib.h>

#include "base/error.h"

/* Rows of a prompt's graph, as a read computes them. */
enum { ROWS = 512 };

/* A block of a layer over n rows and a cache of `type`, as reading or decoding would make it. */
static judgeq_status check_block(judgeq_session *session, int32_t index, enum ggml_type type, int64_t n,
                                 judgeq_error *error) {
    const judgeq_model *model = session->model;
    const judgeq_model_info *info = &model->info;
    const cache_shape shape = {type, info->n_head_kv, info->head_dim, session->kv_padding};
    cache_layer cache;
    judgeq_status status = cache_layer_init_even(&cache, graph_engine_of_layer(&session->engine->graphs, model, index),
                                                 shape, n, &session->meter, error);
    if (status != JUDGEQ_OK) return status;
    graph *g = graph_begin(&session->engine->graphs);
    struct ggml_tensor *x = graph_input(g, GGML_TYPE_F32, info->n_embd, n);
    struct ggml_tensor *position = graph_input(g, GGML_TYPE_I32, n, 1);
    const block_want want = {.output = true, .attention = true};
    block_add(g, &model->layer[index], attention_over_cache(&cache), x, position, want);
    status = graph_check_devices(g, error);
    cache_layer_free(&cache);
    return status;
}

/* Whether two layers have tensors of the same types: then what a device can do of one it can do of the other. */
static bool same_types(const judgeq_model *model, int32_t a, int32_t b) {
    struct ggml_tensor **slot_a[MODEL_LAYER_SLOTS], **slot_b[MODEL_LAYER_SLOTS];
    model_layer_slots(&model->layer[a], slot_a);
    model_layer_slots(&model->layer[b], slot_b);
    for (int i = 0; i < MODEL_LAYER_SLOTS; i++) {
        if (!*slot_a[i] != !*slot_b[i] || (*slot_a[i] && (*slot_a[i])->type != (*slot_b[i])->type)) return false;
    }
    return true;
}

/* The same device has checked such a layer before. */
static bool checked_before(const judgeq_model *model, int32_t index) {
    for (int32_t l = 0; l < index; l++) {
        if (model->place[l] == model->place[index] && same_types(model, l, index)) return true;
    }
    return false;
}

judgeq_status support_check(judgeq_session *session, judgeq_error *error) {
    const judgeq_model *model = session->model;
    judgeq_status status = JUDGEQ_OK;
    for (int32_t l = 0; model->place && l < model->info.n_layer; l++) {
        if (model->place[l] == MODEL_ON_CPU || checked_before(model, l)) continue;
        if (status == JUDGEQ_OK) status = check_block(session, l, session_read_type(session), ROWS, error);
        if (status == JUDGEQ_OK) status = check_block(session, l, session->kv_type, 1, error);
    }
    session->meter = (cache_meter){0};
    return status;
}
