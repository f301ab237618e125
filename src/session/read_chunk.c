#include "reading.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "cpu/product.h"
#include "cpu/product_kernel.h"

/* The piece of the second reading that has a row; NULL: it is a new or a soft row. */
static const again_piece *piece_of(const reading *r, int32_t row) {
    const int32_t first = r->n_new + r->n_soft;
    return row < first ? NULL : again_piece_at(&r->again, row - first);
}

/* Where a row of a piece stands in it. */
static int32_t row_in_piece(const reading *r, const again_piece *piece, int32_t row) {
    return row - r->n_new - r->n_soft - piece->row;
}

/* The position of a row that is read. Pieces and soft rows are all read as if they came next after the new ones. */
static int32_t position_of(const reading *r, int32_t row) {
    const again_piece *piece = piece_of(r, row);
    return r->n_position + (piece ? r->n_new + row_in_piece(r, piece, row) : row);
}

/* Which outputs a chunk must return: all of them in inner layers; in the last layer only the attention of probe rows,
 * and the last row. Rows that come after the new ones never use flash.h: all of their attention is needed as a matrix,
 * and would otherwise be computed twice. In plain mode, all rows of the last chunk attend in the last layer unless
 * probes need fewer: libllama does so, and ggml sums one row in another order than many. */
static block_want chunk_want(const reading *r, bool last_layer, int32_t start, int32_t stop) {
    const bool own = !session_ggml_only(r->reader[0].session), after = start >= r->n_new;
    block_want want = {.output = !after || !last_layer,
                       .rows_at_once = r->rows_at_once,
                       .own_softmax = own,
                       .flash = own && !after,
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
        graph_set(position, &at, (size_t)i * sizeof at, sizeof at);
    }
}

/* Rows [start, stop) through the layer: their keys and values into `staging`, their outputs back into `hidden`.
 * *out: the graph's block, until the next graph starts. */
static judgeq_status run_chunk(reading *r, int32_t start, int32_t stop, block_result *out, judgeq_error *error) {
    const int32_t n = stop - start;
    const block_want want = chunk_want(r, r->index + 1 == r->model->info.n_layer, start, stop);
    const size_t row = r->hidden->nb[1];
    /* soft rows as in training, if they are enough for products that take KERNEL_COLUMNS rows at a time; but while
     * tokens are decoded, time counts more, and quantised weights are multiplied as decoding does */
    const bool soft = start >= r->n_new && start < r->n_new + r->n_soft;
    const bool as_trained = r->n_new > 0 && soft && 2 * n >= KERNEL_COLUMNS;
    graph *g = graph_begin(r->engine);
    if (as_trained || session_ggml_only(r->reader[0].session)) g->dots = NULL; /* ggml has other sums for many rows */
    struct ggml_tensor *x = ggml_view_2d(g->context, r->hidden, r->hidden->ne[0], n, row, (size_t)start * row);
    struct ggml_tensor *position = graph_input(g, GGML_TYPE_I32, n, 1);
    *out = block_add(g, &r->layer, attention_over_cache(&r->staging), x, position, want);
    struct ggml_tensor *result = NULL;
    if (out->output) {
        result = ggml_cpy(g->context, out->output,
                          ggml_view_2d(g->context, r->hidden, r->hidden->ne[0], out->output->ne[1], row,
                                       (size_t)(start + want.first_output) * row));
    }
    if (want.own_softmax) product_replace(g->context, g->nodes, !as_trained);
    judgeq_status status = graph_allocate(r->engine, result, error);
    if (status != JUDGEQ_OK) return status;
    const int32_t at = position_of(r, start);
    set_positions(position, at - r->n_shift);
    const double work = out->output ? chunk_work(&r->layer, n, r->n_held + start) : 0;
    status = graph_compute(r->engine, GRAPH_ROWS, work, error);
    if (status == JUDGEQ_OK) cache_layer_append(&r->staging, n, at);
    return status;
}

/* Adds a run's attention, which the chunk [start, stop) returned, to the maps of all scorers whose probes it has. */
static judgeq_status take_run(reading *r, cache_run run, const block_result *block, int32_t start, int32_t stop,
                              judgeq_error *error) {
    const struct ggml_tensor *attention = r->by_run[run.first_head];
    const again_piece *piece = piece_of(r, start);
    /* soft rows and those of the second reading are not scored */
    const int32_t unscored = piece ? row_in_piece(r, piece, stop) : start < r->n_new ? 0 : stop - start;
    reader_part part = {.staging = &r->staging,
                        .run = run,
                        .attention = attention->data,
                        .n_query = attention->ne[1],
                        .n_key = attention->ne[0],
                        .row0 = start + (int32_t)block->first_attention,
                        .start = start,
                        .stop = stop,
                        .n_row = run.n_row - unscored,
                        .piece = piece};
    float *copy = NULL;
    if (!ggml_backend_buffer_is_host(attention->buffer)) {
        part.attention = copy = malloc(ggml_nbytes(attention));
        if (!copy) return error_memory(error, "attention rows");
        ggml_backend_tensor_get(attention, copy, 0, ggml_nbytes(attention));
    }
    for (size_t i = 0; i < r->n_reader; i++) reader_add(&r->reader[i], part);
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

judgeq_status read_rows_again(reading *r, judgeq_error *error) {
    const again_piece *piece = again_piece_at(&r->again, r->again_at);
    const int32_t first = r->n_new + r->n_soft, begin = r->again_at, end = piece->row + piece->n_row;
    const int32_t stop = end - begin < r->again_chunk ? end : begin + r->again_chunk;
    double seconds = 0;
    const judgeq_status status = read_chunk(r, first + begin, first + stop, &seconds, error);
    for (size_t i = 0; i < r->n_reader; i++) {
        if (r->reader[i].session->policy.probe.again) r->reader[i].session->stats.score_s += seconds;
    }
    if (stop == end) cache_layer_truncate(&r->staging, r->n_position + r->n_new);
    r->again_at = stop;
    return status;
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
