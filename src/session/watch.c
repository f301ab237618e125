#include "watch.h"

#include <stdlib.h>

#include "base/error.h"

static size_t map_size(const judgeq_session *session) {
    return (size_t)session->model->info.n_head * (size_t)session->n_prompt;
}

/* True where every KV head holds all rows of the prompt: only then is row i at position i. */
static bool holds_prompt(const judgeq_session *session) {
    bool all = true;
    for (int32_t l = 0; l < session->model->info.n_layer; l++) {
        for (int32_t h = 0; h < session->model->info.n_head_kv; h++) {
            all = all && session->layer[l].head[h].n_row == session->n_position;
        }
    }
    return all;
}

judgeq_status judgeq_session_watch(judgeq_session *session, judgeq_error *error) {
    if (!session->prefilled || session->failed || session->reading || !holds_prompt(session)) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT,
                         "only a session that holds its whole prompt can be watched: policy full, after prefill");
    }
    float *sum = calloc((size_t)session->model->info.n_layer, map_size(session) * sizeof *sum);
    if (!sum) return error_memory(error, "the attention of a response");
    free(session->watched);
    session->watched = sum;
    session->n_watched = 0;
    return JUDGEQ_OK;
}

void watch_end(judgeq_session *session) {
    free(session->watched);
    session->watched = NULL;
    session->n_watched = 0;
}

const float *judgeq_session_watched(const judgeq_session *session, int32_t layer, int64_t *n_tokens) {
    *n_tokens = session->n_watched;
    if (!session->watched || layer < 0 || layer >= session->model->info.n_layer) return NULL;
    return session->watched + (size_t)layer * map_size(session);
}

judgeq_status watch_add(judgeq_session *session, const block_result *blocks, judgeq_error *error) {
    const int32_t n_head = session->model->info.n_head, n_prompt = session->n_prompt;
    const int64_t n_row = blocks[0].attention->ne[0];
    float *rows = malloc((size_t)n_head * (size_t)n_row * sizeof *rows);
    if (!rows) return error_memory(error, "attention rows");
    for (int32_t l = 0; l < session->model->info.n_layer; l++) {
        float *sum = session->watched + (size_t)l * map_size(session);
        ggml_backend_tensor_get(blocks[l].attention, rows, 0, ggml_nbytes(blocks[l].attention));
        for (int32_t h = 0; h < n_head; h++) {
            for (int32_t i = 0; i < n_prompt; i++) sum[(int64_t)h * n_prompt + i] += rows[h * n_row + i];
        }
    }
    free(rows);
    session->n_watched++;
    return JUDGEQ_OK;
}
