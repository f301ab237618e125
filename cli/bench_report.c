#include "bench_report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "app/finite.h"
#include "bench_compare.h"
#include "progress.h"
#include "report/csv.h"

static const double GB = 1e9, MIB = 1048576;

/* ---- table ------------------------------------------------------------------------------------------------------- */

enum { CELL_SIZE = 48, N_COLUMN = 17 };

static const char *const HEADING[N_COLUMN] = {"tokens",           "policy",   "budget",  "KV",      "threads", "batch",
                                              "first token, s",   "embed",    "blocks",  "score",   "compact", "ahead",
                                              "decode, tokens/s", "of limit", "KV, MiB", "KV peak", "resident"};

typedef char table_row[N_COLUMN][CELL_SIZE];

static void write_spread(char *text, spread s, int digits) {
    if (isnan(s.median)) {
        snprintf(text, CELL_SIZE, "-");
    } else {
        snprintf(text, CELL_SIZE, "%.*f (%.*f-%.*f)", digits, s.median, digits, s.low, digits, s.high);
    }
}

static void write_share(char *text, double share) {
    if (isnan(share)) {
        snprintf(text, CELL_SIZE, "-");
    } else {
        snprintf(text, CELL_SIZE, share < 0.0995 ? "%.1f %%" : "%.0f %%", 100 * share);
    }
}

static void write_bytes(char *text, double bytes) {
    if (isnan(bytes)) {
        snprintf(text, CELL_SIZE, "-");
    } else {
        snprintf(text, CELL_SIZE, "%.1f", bytes / MIB);
    }
}

static void write_row(const bench_cell *cell, table_row row) {
    const spread *s = cell->spread;
    const double first = s[BENCH_FIRST_TOKEN].median;
    int i = 0;
    progress_count(row[i++], CELL_SIZE, cell->length);
    snprintf(row[i++], CELL_SIZE, "%s", cell->arm->policy);
    snprintf(row[i++], CELL_SIZE, "%s", cell->arm->budget ? cell->arm->budget : "-");
    snprintf(row[i++], CELL_SIZE, "%s", judgeq_kv_type_name(cell->kv_type));
    snprintf(row[i], CELL_SIZE, "%d", cell->n_threads);
    if (cell->n_threads == 0) snprintf(row[i], CELL_SIZE, "chosen");
    snprintf(row[++i], CELL_SIZE, "%d", cell->n_batch);
    write_spread(row[++i], s[BENCH_FIRST_TOKEN], first < 0.1 ? 4 : first < 10 ? 3 : 1);
    for (int m = BENCH_EMBED; m < BENCH_OTHER; m++) write_share(row[++i], s[m].median / first);
    write_spread(row[++i], s[BENCH_DECODE], 1);
    write_share(row[++i], s[BENCH_BANDWIDTH].median);
    write_bytes(row[++i], (double)cell->kv_bytes_held);
    write_bytes(row[++i], (double)cell->kv_bytes_peak);
    write_bytes(row[++i], s[BENCH_RESIDENT].median);
}

static void print_row(const table_row row, const size_t width[N_COLUMN], FILE *file) {
    for (int i = 0; i < N_COLUMN; i++) {
        const int w = (int)width[i];
        const bool left = i == 1 || i == 3;
        fprintf(file, left ? "%-*s" : "%*s", w, row[i]);
        fputs(i + 1 < N_COLUMN ? "  " : "\n", file);
    }
}

static void print_memory(const bench_cells *cells, FILE *file) {
    for (size_t i = 0; i < cells->n_memory; i++) {
        const bench_memory *m = &cells->memory[i];
        const spread r = m->read_spread, t = m->triad_spread;
        fprintf(file, "Memory, %d thread%s: read %.1f GB/s (%.1f-%.1f), triad %.1f GB/s (%.1f-%.1f)\n", m->n_threads,
                m->n_threads > 1 ? "s" : "", r.median / GB, r.low / GB, r.high / GB, t.median / GB, t.low / GB,
                t.high / GB);
    }
}

bool bench_print(const bench_setup *setup, const bench_cells *cells, FILE *file) {
    table_row *row = calloc(cells->n_cell + 1, sizeof *row);
    size_t width[N_COLUMN] = {0};
    if (!row) return false;
    for (int i = 0; i < N_COLUMN; i++) snprintf(row[0][i], CELL_SIZE, "%s", HEADING[i]);
    for (size_t c = 0; c < cells->n_cell; c++) write_row(&cells->cell[c], row[c + 1]);
    for (size_t c = 0; c <= cells->n_cell; c++) {
        for (int i = 0; i < N_COLUMN; i++) {
            const size_t length = strlen(row[c][i]);
            width[i] = length > width[i] ? length : width[i];
        }
    }
    fprintf(file, "Medians of %d repetitions in turn, with their range.\n", cells->n_repeat);
    fprintf(file, "%s: %s\n", setup->processor, setup->kernels);
    print_memory(cells, file);
    fputc('\n', file);
    for (size_t c = 0; c <= cells->n_cell; c++) print_row(row[c], width, file);
    free(row);
    if (setup->then) bench_compare_print(setup, cells, file);
    return !ferror(file);
}

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

static json_t *spread_object(spread s) {
    return json_pack("{s:o, s:o, s:o}", "median", json_finite(s.median), "low", json_finite(s.low), "high",
                     json_finite(s.high));
}

static json_t *cell_object(const bench_cell *cell) {
    json_t *object = json_pack("{s:i, s:s, s:s?, s:s, s:i, s:i, s:I, s:I, s:I}", "tokens", (int)cell->length, "policy",
                               cell->arm->policy, "budget", cell->arm->budget, "kv_type",
                               judgeq_kv_type_name(cell->kv_type), "threads", (int)cell->n_threads, "batch",
                               (int)cell->n_batch, "kv_bytes_held", (json_int_t)cell->kv_bytes_held, "kv_bytes_peak",
                               (json_int_t)cell->kv_bytes_peak, "step_bytes", (json_int_t)cell->step_bytes);
    for (int m = 0; object && m < BENCH_MEASURES; m++) {
        json_object_set_new(object, bench_measure_name((bench_measure)m), spread_object(cell->spread[m]));
    }
    return object;
}

static json_t *memory_object(const bench_memory *m) {
    return json_pack("{s:i, s:o, s:o}", "threads", (int)m->n_threads, "read_bytes_per_s", spread_object(m->read_spread),
                     "triad_bytes_per_s", spread_object(m->triad_spread));
}

json_t *bench_json(const bench_setup *setup, const bench_cells *cells) {
    const judgeq_model_info *info = judgeq_model_get_info(setup->model);
    json_t *memory = json_array(), *array = json_array();
    for (size_t i = 0; i < cells->n_memory; i++) json_array_append_new(memory, memory_object(&cells->memory[i]));
    for (size_t i = 0; i < cells->n_cell; i++) {
        json_t *cell = cell_object(&cells->cell[i]);
        if (setup->then) json_object_set_new(cell, "compared", bench_compare_json(&cells->cell[i], setup->then));
        json_array_append_new(array, cell);
    }
    return json_pack("{s:s, s:s, s:s, s:{s:s, s:s, s:I, s:I}, s:i, s:i, s:o, s:o}", "version", judgeq_version(),
                     "processor", setup->processor, "kernels", setup->kernels, "model", "fingerprint",
                     info->file_fingerprint, "weight_type", info->weight_type, "weight_bytes",
                     (json_int_t)info->weight_bytes, "decode_bytes", (json_int_t)info->decode_bytes, "repetitions",
                     (int)cells->n_repeat, "decoded", (int)setup->options->n_tokens, "memory", memory, "cells", array);
}

/* ---- CSV --------------------------------------------------------------------------------------------------------- */

static void add_header(csv *c) {
    static const char *const name[] = {"tokens", "policy",        "budget",        "kv_type",   "threads",
                                       "batch",  "kv_bytes_held", "kv_bytes_peak", "step_bytes"};
    static const char *const of[] = {"", "_low", "_high"};
    for (size_t i = 0; i < sizeof name / sizeof name[0]; i++) csv_text(c, name[i]);
    for (int i = 0; i < 3 * BENCH_MEASURES; i++) {
        char column[64];
        snprintf(column, sizeof column, "%s%s", bench_measure_name((bench_measure)(i / 3)), of[i % 3]);
        csv_text(c, column);
    }
    csv_end_row(c);
}

static void add_cell(csv *c, const bench_cell *cell) {
    csv_number(c, cell->length);
    csv_text(c, cell->arm->policy);
    csv_text(c, cell->arm->budget);
    csv_text(c, judgeq_kv_type_name(cell->kv_type));
    csv_number(c, cell->n_threads);
    csv_number(c, cell->n_batch);
    csv_number(c, (double)cell->kv_bytes_held);
    csv_number(c, (double)cell->kv_bytes_peak);
    csv_number(c, (double)cell->step_bytes);
    for (int m = 0; m < BENCH_MEASURES; m++) {
        csv_number(c, cell->spread[m].median);
        csv_number(c, cell->spread[m].low);
        csv_number(c, cell->spread[m].high);
    }
    csv_end_row(c);
}

judgeq_status bench_write_csv(const bench_cells *cells, const char *path, judgeq_error *error) {
    csv c = {0};
    add_header(&c);
    for (size_t i = 0; i < cells->n_cell; i++) add_cell(&c, &cells->cell[i]);
    return csv_write(&c, path, error);
}
