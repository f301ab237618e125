#include "bench_cells.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/session_choices.h"
#include "base/clock.h"
#include "base/error.h"
#include "resident.h"

const char *bench_measure_name(bench_measure measure) {
    static const char *const name[BENCH_MEASURES] = {"first_token_s",
                                                     "embed_s",
                                                     "blocks_s",
                                                     "score_s",
                                                     "compact_s",
                                                     "lookahead_s",
                                                     "other_s",
                                                     "prefill_tokens_per_s",
                                                     "decode_tokens_per_s",
                                                     "resident_bytes_peak",
                                                     "bandwidth_share"};
    return name[measure];
}

/* ---- cells ------------------------------------------------------------------------------------------------------- */

static bool cell_init(bench_cell *cell, int32_t n_repeat) {
    bool whole = true;
    for (int m = 0; m < BENCH_MEASURES; m++) {
        cell->value[m] = calloc((size_t)n_repeat, sizeof *cell->value[m]);
        whole = whole && cell->value[m];
    }
    return whole;
}

static int32_t memory_threads(int32_t n_threads) {
    return n_threads > 0 ? n_threads : judgeq_cores();
}

static bench_memory *memory_of(const bench_cells *cells, int32_t n_threads) {
    for (size_t i = 0; i < cells->n_memory; i++) {
        if (cells->memory[i].n_threads == memory_threads(n_threads)) return &cells->memory[i];
    }
    return NULL;
}

static bool make_memory(const bench_options *o, bench_cells *cells) {
    bool whole = true;
    cells->memory = calloc(o->n_threads.n, sizeof *cells->memory);
    for (size_t i = 0; cells->memory && i < o->n_threads.n; i++) {
        if (memory_of(cells, o->n_threads.value[i])) continue;
        bench_memory *memory = &cells->memory[cells->n_memory++];
        memory->n_threads = memory_threads(o->n_threads.value[i]);
        memory->read = calloc((size_t)o->n_repeat, sizeof *memory->read);
        memory->triad = calloc((size_t)o->n_repeat, sizeof *memory->triad);
        whole = whole && memory->read && memory->triad;
    }
    return whole && cells->memory;
}

/* The i-th combination: the last choice changes fastest. */
static void choose(const bench_options *o, const arms *all, size_t i, bench_cell *cell) {
    cell->n_batch = o->n_batch.value[i % o->n_batch.n];
    i /= o->n_batch.n;
    cell->n_threads = o->n_threads.value[i % o->n_threads.n];
    i /= o->n_threads.n;
    cell->kv_type = (judgeq_kv_type)o->kv_type.value[i % o->kv_type.n];
    i /= o->kv_type.n;
    cell->arm = &all->arm[i % all->n_arm];
    cell->length = o->length.value[i / all->n_arm];
}

judgeq_status bench_cells_make(const bench_options *o, const arms *all, bench_cells *out, judgeq_error *error) {
    const size_t n = o->length.n * all->n_arm * o->kv_type.n * o->n_threads.n * o->n_batch.n;
    *out = (bench_cells){.n_repeat = o->n_repeat};
    out->cell = calloc(n, sizeof *out->cell);
    bool whole = out->cell && make_memory(o, out);
    for (size_t i = 0; whole && i < n; i++) {
        choose(o, all, i, &out->cell[i]);
        whole = cell_init(&out->cell[i], o->n_repeat);
        out->n_cell++;
    }
    return whole ? JUDGEQ_OK : error_memory(error, "the measurements");
}

void bench_cells_free(bench_cells *cells) {
    for (size_t i = 0; i < cells->n_cell; i++) {
        for (int m = 0; m < BENCH_MEASURES; m++) free(cells->cell[i].value[m]);
    }
    for (size_t i = 0; i < cells->n_memory; i++) {
        free(cells->memory[i].read);
        free(cells->memory[i].triad);
    }
    free(cells->cell);
    free(cells->memory);
    *cells = (bench_cells){0};
}

/* ---- one repetition ---------------------------------------------------------------------------------------------- */

judgeq_status bench_memory_run(bench_cells *cells, int32_t repeat, judgeq_error *error) {
    for (size_t i = 0; i < cells->n_memory; i++) {
        bench_memory *memory = &cells->memory[i];
        if (!bandwidth_measure(memory->n_threads, &memory->now)) {
            return error_set(error, JUDGEQ_ERROR_MEMORY, "no memory to measure its speed (288 MiB)");
        }
        if (repeat < 0) continue;
        memory->read[repeat] = memory->now.read;
        memory->triad[repeat] = memory->now.triad;
    }
    return JUDGEQ_OK;
}

/* The sequences of a batch. */
typedef struct batch {
    judgeq_session **session; /* [n] */
    int32_t *token;           /* [n], the latest of each */
    size_t n;
    double first_token_s, decode_s;
} batch;

static judgeq_status batch_init(const bench_setup *setup, const bench_cell *cell, batch *b, judgeq_error *error) {
    const bench_options *o = setup->options;
    *b = (batch){.n = (size_t)cell->n_batch};
    b->session = calloc(b->n, sizeof(judgeq_session *));
    b->token = calloc(b->n, sizeof *b->token);
    if (!b->session || !b->token) return error_memory(error, "a batch");
    const session_choices choices = {.rows = cell->arm->rows,
                                     .share = cell->arm->share,
                                     .n_ctx = cell->length + o->n_tokens,
                                     .n_threads = cell->n_threads,
                                     .chunk = o->n_chunk,
                                     .kv_type = cell->kv_type,
                                     .plain_weights = o->plain_weights,
                                     .seed = o->seed,
                                     .slack = JUDGEQ_SLACK_NONE};
    const judgeq_session_params params =
        session_choices_params(&choices, cell->arm->parsed, setup->judge, setup->progress, setup->progress_data);
    judgeq_status status = JUDGEQ_OK;
    for (size_t i = 0; status == JUDGEQ_OK && i < b->n; i++) {
        status = judgeq_session_new(setup->model, &params, &b->session[i], error);
    }
    return status;
}

static void batch_free(batch *b) {
    for (size_t i = 0; b->session && i < b->n; i++) judgeq_session_free(b->session[i]);
    free((void *)b->session);
    free(b->token);
}

static void choose_tokens(const bench_setup *setup, batch *b) {
    const int32_t n_vocab = judgeq_model_get_info(setup->model)->n_vocab;
    for (size_t i = 0; i < b->n; i++) {
        const float *logits = judgeq_session_logits(b->session[i]);
        b->token[i] = 0;
        for (int32_t t = 1; t < n_vocab; t++) {
            if (logits[t] > logits[b->token[i]]) b->token[i] = t;
        }
    }
}

static judgeq_status respond(const bench_setup *setup, batch *b, judgeq_error *error) {
    const double start = clock_seconds();
    for (int32_t i = 0; i < setup->options->n_tokens; i++) {
        if (!setup->progress(setup->progress_data, 0, 0)) return error_set(error, JUDGEQ_ERROR_CANCELLED, "cancelled");
        const judgeq_status status = judgeq_session_decode_all(b->session, b->token, b->n, error);
        if (status != JUDGEQ_OK) return status;
        choose_tokens(setup, b);
    }
    b->decode_s = clock_seconds() - start;
    return JUDGEQ_OK;
}

static judgeq_status run(const bench_setup *setup, const bench_cell *cell, batch *b, judgeq_error *error) {
    const double start = clock_seconds();
    judgeq_status status = judgeq_session_prefill_all(b->session, b->n, setup->tokens, (size_t)cell->length, error);
    if (status != JUDGEQ_OK) return status;
    choose_tokens(setup, b);
    b->first_token_s = clock_seconds() - start;
    return respond(setup, b, error);
}

/* KV bytes of the batch; the step's as they were when half of the response was there. */
static void count_bytes(const bench_setup *setup, bench_cell *cell, const batch *b) {
    const judgeq_model_info *info = judgeq_model_get_info(setup->model);
    size_t held = 0, peak = 0;
    judgeq_stats stats;
    judgeq_session_get_stats(b->session[0], &stats);
    const size_t row = stats.kv_bytes_full / (size_t)stats.n_position; /* of one position */
    for (size_t i = 0; i < b->n; i++) {
        judgeq_session_get_stats(b->session[i], &stats);
        held += stats.kv_bytes_held;
        peak += stats.kv_bytes_peak;
    }
    cell->kv_bytes_held = held;
    cell->kv_bytes_peak = peak;
    cell->step_bytes = info->decode_bytes + held - b->n * row * (size_t)(setup->options->n_tokens / 2);
}

static void take(const bench_setup *setup, const bench_cells *cells, bench_cell *cell, const batch *b, int32_t repeat) {
    judgeq_stats stats;
    judgeq_session_get_stats(b->session[0], &stats);
    count_bytes(setup, cell, b);
    const int32_t n_step = setup->options->n_tokens;
    const double steps = n_step > 0 ? n_step / b->decode_s : NAN;
    double value[BENCH_MEASURES] = {[BENCH_FIRST_TOKEN] = b->first_token_s,
                                    [BENCH_EMBED] = stats.embed_s,
                                    [BENCH_BLOCKS] = stats.blocks_s,
                                    [BENCH_RESIDENT] = resident_peak(),
                                    [BENCH_PREFILL] = cell->length / b->first_token_s,
                                    [BENCH_DECODE] = steps * cell->n_batch};
    value[BENCH_SCORE] = stats.score_s; /* with the soft rows, which run once for all sequences */
    for (size_t i = 0; i < b->n; i++) {
        judgeq_session_get_stats(b->session[i], &stats);
        value[BENCH_COMPACT] += stats.compact_s;
        value[BENCH_LOOKAHEAD] += stats.lookahead_s;
    }
    value[BENCH_OTHER] = b->first_token_s;
    for (int m = BENCH_EMBED; m < BENCH_OTHER; m++) value[BENCH_OTHER] -= value[m];
    value[BENCH_BANDWIDTH] = (double)cell->step_bytes * steps / memory_of(cells, cell->n_threads)->now.read;
    for (int m = 0; m < BENCH_MEASURES; m++) cell->value[m][repeat] = value[m];
}

judgeq_status bench_cell_run(const bench_setup *setup, const bench_cells *cells, bench_cell *cell, int32_t repeat,
                             judgeq_error *error) {
    batch b;
    resident_restart();
    judgeq_status status = batch_init(setup, cell, &b, error);
    if (status == JUDGEQ_OK) status = run(setup, cell, &b, error);
    if (status == JUDGEQ_OK && repeat >= 0) take(setup, cells, cell, &b, repeat);
    batch_free(&b);
    return status;
}

void bench_cells_finish(bench_cells *cells) {
    const size_t n = (size_t)cells->n_repeat;
    for (size_t i = 0; i < cells->n_cell; i++) {
        bench_cell *cell = &cells->cell[i];
        for (int m = 0; m < BENCH_MEASURES; m++) cell->spread[m] = spread_of(cell->value[m], n);
    }
    for (size_t i = 0; i < cells->n_memory; i++) {
        bench_memory *memory = &cells->memory[i];
        memory->read_spread = spread_of(memory->read, n);
        memory->triad_spread = spread_of(memory->triad, n);
    }
}
