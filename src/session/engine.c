#include "engine.h"

#include <stdlib.h>

#include "base/error.h"
#include "decode.h"
#include "engine/dots_check.h"

judgeq_status engine_check_threads(int32_t n_threads, judgeq_error *error) {
    if (n_threads >= 0 && n_threads <= ENGINE_THREADS_MOST) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_ARGUMENT, "%d threads: expected 0 (chosen) to %d", n_threads,
                     ENGINE_THREADS_MOST);
}

judgeq_status judgeq_engine_new(const judgeq_model *model, int32_t n_threads, judgeq_engine **out,
                                judgeq_error *error) {
    *out = NULL;
    judgeq_status status = engine_check_threads(n_threads, error);
    if (status != JUDGEQ_OK) return status;
    judgeq_engine *engine = calloc(1, sizeof *engine);
    if (!engine) return error_memory(error, "an engine");
    engine->model = model;
    status = graph_engine_init(&engine->graphs, model, n_threads, error);
    if (status == JUDGEQ_OK) status = dots_check(&engine->graphs, error);
    if (status != JUDGEQ_OK) {
        judgeq_engine_free(engine);
        return status;
    }
    *out = engine;
    return JUDGEQ_OK;
}

void judgeq_engine_free(judgeq_engine *engine) {
    if (!engine) return;
    decoder_free(&engine->decoder);
    graph_engine_free(&engine->graphs);
    free(engine);
}
