#include "reading.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "cpu/product.h"
#include "cpu/product_kernel.h"

/* Which outputs a chunk must return: all of them in inner layers; in the last layer only the attention of probe rows,
 * and the last row. Soft rows never use flash.h: all of their attention is needed as a matrix, and would
 * otherwise be computed twice. In plain mode, all rows of the last chunk attend in the last layer unless probes need
 * fewer: libllama does so, and ggml sums one row in another order than many. */
static block_want chunk_want(const reading *r, bool last_layer, int32_t start, int32_t stop) {
    const bool own = !session_ggml_only(r->reader[0].session), soft = start >= r->n_new;
    block_want want = {.output = !soft || !last_layer,
                       .rows_at_once = r->rows_at_once,
                       .own_softmax = own,
                       .flash = own && !soft,
                       .by_run = r->by_run};
    int32_t probe = stop;
    for (size_t i = 0; i < 2 * r->n_reader; i++) {
        int32_t first, end;
        if (!scorer_overlap(&r->reader[i / 2].scorer[i % 2], start, stop, &first, &end)) continue;
        want.attention = true;
        if (first < probe) probe = first;
    }
    int32_t needed = last_layer ? probe : start;
    if (stop == r->n_new && needed > stop - 1) {
        needed = r->reader[0].session->params.plain_weights ? start : stop - 1;
    }
    want.first_query = needed - start;
    want.first_attention = probe - start;
    want.first_output = last_layer && want.output ? stop - start - 1 : want.first_query;
    return want;
}

/* Multiplications of a block over n rows that attend to `past` rows before them. */
static double chunk_work(const model_layer *layer, int32_t n, int32_t past) {
    double weights = 0;
    for (int m = 0; m < MODEL_MATRICES; m++) weights += (double)ggml_nelements(layer->matrix[m].weight);
    return n * (weights + 2.0 * layer->n_head * layer->head_dim * (past + n));
}

static void set_positions(struct ggml_tensor *position, int32_t first) {
    for (int32_t i = 0; i < (int32_t)position->ne[0]; i++) {
        const int32_t at = first + i;
        ggml_backend_tensor_set(position, &at, (size_t)i * sizeof at, sizeof at);
    }
}

/* Rows [start, stop) through the layer: their keys and values into `staging`, their outputs back into `hidden`.
 * *out: the graph's block, until the next graph starts. */
static judgeq_status run_chunk(reading *r, int32_t start, int32_t stop, block_result *out, judgeq_error *error) {
    const int32_t n = stop - start;
    const block_want want = chunk_want(r, r->index + 1 == r->model->info.n_layer, start, stop);
    const size_t row = r->hidden->nb[1];
    graph *g = graph_begin(r->engine);
    struct ggml_tensor *x = ggml_view_2d(g->context, r->hidden, r->hidden->ne[0], n, row, (size_t)start * row);
    struct ggml_tensor *position = graph_input(g, GGML_TYPE_I32, n, 1);
    *out = block_add(g, &r->layer, attention_over_cache(&r->staging), x, position, want);
    struct ggml_tensor *result = NULL;
    if (out->output) {
        result = ggml_cpy(g->context, out->output,
                          ggml_view_2d(g->context, r->hidden, r->hidden->ne[0], out->output->ne[1], row,
                                       (size_t)(start + want.first_output) * row));
    }
    /* soft rows as in training, if they are enough for products that take KERNEL_COLUMNS rows at a time; but while
     * tokens are decoded, time counts more, and quantised weights are multiplied as decoding does */
    const bool as_trained = r->n_new > 0 && start >= r->n_new && 2 * n >= KERNEL_COLUMNS;
    if (want.own_softmax) product_replace(g->context, g->nodes, !as_trained);
    judgeq_status status = graph_allocate(r->engine, result, error);
    if (status != JUDGEQ_OK) return status;
    set_positions(position, r->n_position - r->n_shift + start);
    const double work = out->output ? chunk_work(&r->layer, n, r->n_held + start) : 0;
    status = graph_compute(r->engine, GRAPH_ROWS, work, error);
    if (status == JUDGEQ_OK) cache_layer_append(&r->staging, n, r->n_position + start);
    return status;
}

/* Adds a run's attention, which the chunk [start, stop) returned, to the maps of all scorers whose probes it has. */
static judgeq_status take_run(reading *r, cache_run run, const block_result *block, int32_t start, int32_t stop,
                              judgeq_error *error) {
    const struct ggml_tensor *attention = r->by_run[run.first_head];
    const int64_t n_row = run.n_row - (start < r->n_new ? 0 : stop - start); /* soft rows are not scored */
    const float *data = attention->data;
    float *copy = NULL;
    if (!ggml_backend_buffer_is_host(attention->buffer)) {
        data = copy = malloc(ggml_nbytes(attention));
        if (!copy) return error_memory(error, "attention rows");
        ggml_backend_tensor_get(attention, copy, 0, ggml_nbytes(attention));
    }
    for (size_t i = 0; i < r->n_reader; i++) {
        reader_add(&r->reader[i], run, attention, data, start + (int32_t)block->first_attention, start, stop, n_row);
    }
    free(copy);
    return JUDGEQ_OK;
}

static judgeq_status take_scores(reading *r, const block_result *block, int32_t start, int32_t stop,
                                 judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    if (!block->attention) return JUDGEQ_OK;
    cache_run run;
    for (int32_t h = 0; status == JUDGEQ_OK && h < r->staging.n_head_kv; h += run.n_head) {
        run = cache_layer_run(&r->staging, h);
        status = take_run(r, run, block, start, stop, error);
    }
    for (size_t i = 0; i < r->n_reader; i++) reader_count(&r->reader[i], start, stop);
    return status;
}

/* What a deep judge adds to the soft rows that enter a layer. */
static judgeq_status deepen_soft_rows(reading *r, judgeq_error *error) {
    const int32_t index = r->index;
    const judgeq_judge_info *info = judgeq_judge_get_info(r->judge);
    if (index == 0 || index >= info->n_depth) return JUDGEQ_OK;
    const size_t n = (size_t)r->n_soft * (size_t)info->n_embd, at = (size_t)r->n_new * r->hidden->nb[1];
    const float *added =
        judgeq_judge_soft_tokens(r->judge) + (size_t)index * (size_t)info->n_soft * (size_t)info->n_embd;
    float *rows = malloc(n * sizeof *rows);
    if (!rows) return error_memory(error, "the soft rows");
    ggml_backend_tensor_get(r->hidden, rows, at, n * sizeof *rows);
    for (size_t i = 0; i < n; i++) rows[i] += added[i];
    ggml_backend_tensor_set(r->hidden, rows, at, n * sizeof *rows);
    free(rows);
    return JUDGEQ_OK;
}

judgeq_status read_chunk(reading *r, int32_t start, int32_t stop, double *seconds, judgeq_error *error) {
    block_result block = {0};
    const double clock = clock_seconds();
    const judgeq_status status = run_chunk(r, start, stop, &block, error);
    *seconds += clock_seconds() - clock;
    return status == JUDGEQ_OK ? take_scores(r, &block, start, stop, error) : status;
}

judgeq_status read_soft_rows(reading *r, judgeq_error *error) {
    double seconds = 0;
    judgeq_status status = deepen_soft_rows(r, error);
    if (status == JUDGEQ_OK) status = read_chunk(r, r->n_new, r->n_new + r->n_soft, &seconds, error);
    for (size_t i = 0; i < r->n_reader; i++) {
        if (session_soft_rows(r->reader[i].session) > 0) r->reader[i].session->stats.score_s += seconds;
    }
    cache_layer_truncate(&r->staging, r->n_position + r->n_new);
    return status;
}
