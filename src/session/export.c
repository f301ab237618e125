#include "export.h"

#include "state.h"

void session_on_scores(judgeq_session *session, session_score_hook hook, void *data) {
    session->score_hook = hook;
    session->score_hook_data = data;
}

void session_count_rows(judgeq_session *session, int32_t first, const unsigned char *row) {
    session->counted = row;
    session->counted_from = first;
}

bool session_is_of(const judgeq_session *session, const judgeq_model *model, judgeq_kv_type kv_type) {
    return session->model == model && session->params.kv_type == kv_type;
}

judgeq_status session_take_rows(judgeq_session *session, int32_t n_position, int64_t spare, cache_meter *meter,
                                cache_layer *out, judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    session->failed = true; /* for every later call */
    for (int32_t l = 0; status == JUDGEQ_OK && l < session->model->info.n_layer; l++) {
        cache_layer *layer = &session->layer[l];
        cache_layer_truncate(layer, n_position);
        status = cache_layer_gather(layer, NULL, layer->type, spare, meter, &out[l], error);
        cache_layer_free(layer);
    }
    return status;
}
