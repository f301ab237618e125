#include "state.h"

#include <math.h>

#include "error.h"

bool session_looks_ahead(const judgeq_session *session) {
    return session->policy.probe.lookahead > 0 || session->policy.probe.response > 0;
}

int32_t session_soft_rows(const judgeq_session *session) {
    if (!session->judge) return 0;
    const policy_probe *probes[] = {&session->policy.probe, &session->draft.probe};
    int32_t most = 0;
    for (int i = 0; i < 2; i++) {
        if (!probes[i]->soft) continue;
        const int32_t n = probes[i]->n_soft > 0 ? probes[i]->n_soft : judgeq_judge_get_info(session->judge)->n_soft;
        most = n > most ? n : most;
    }
    return most;
}

judgeq_status session_check_logits(const judgeq_session *session, judgeq_error *error) {
    bool finite = true;
    for (int32_t i = 0; i < session->model->info.n_vocab; i++) finite = finite && isfinite(session->logits[i]);
    if (finite) return JUDGEQ_OK;
    const char *weight = model_find_non_finite(session->model);
    if (!weight) {
        return error_set(error, JUDGEQ_ERROR_NUMERIC,
                         "%s: the logits hold NaN or infinity, though all weights are finite",
                         session->model->file.path);
    }
    return error_set(error, JUDGEQ_ERROR_NUMERIC, "%s: tensor %s holds NaN or infinity: the file is damaged",
                     session->model->file.path, weight);
}

judgeq_status session_step(judgeq_session *session, int32_t token, graph_want want, graph_block *blocks,
                           judgeq_error *error) {
    const judgeq_model *model = session->model;
    judgeq_status status = JUDGEQ_OK;
    for (int32_t l = 0; status == JUDGEQ_OK && l < model->info.n_layer; l++) {
        status = cache_layer_reserve(&session->layer[l], 1, error);
    }
    if (status != JUDGEQ_OK) return status;
    graph *g = graph_begin(&session->engine);
    struct ggml_tensor *id = graph_input(g, GGML_TYPE_I32, 1, 1), *position = graph_input(g, GGML_TYPE_I32, 1, 1);
    struct ggml_tensor *x = graph_add_embedding(g, model, id);
    for (int32_t l = 0; l < model->info.n_layer; l++) {
        const graph_block block = graph_add_block(g, model, &model->layer[l], &session->layer[l], x, position, want);
        if (blocks) blocks[l] = block;
        x = block.output;
    }
    struct ggml_tensor *logits = graph_add_logits(g, model, x);
    status = graph_allocate(&session->engine, logits, error);
    if (status != JUDGEQ_OK) return status;
    ggml_backend_tensor_set(id, &token, 0, sizeof token);
    ggml_backend_tensor_set(position, &session->n_position, 0, sizeof session->n_position);
    status = graph_compute(&session->engine, 1, 1, error);
    if (status != JUDGEQ_OK) return status;
    ggml_backend_tensor_get(logits, session->logits, 0, ggml_nbytes(logits));
    for (int32_t l = 0; l < model->info.n_layer; l++) cache_layer_append(&session->layer[l], 1, session->n_position);
    session->n_position++;
    return session_check_logits(session, error);
}
