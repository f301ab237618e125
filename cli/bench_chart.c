#include "bench_chart.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "bench_report.h"
#include "plot/chart.h"

enum { N_CHART = 3, NAME_SIZE = 128, WIDTH = 900, HEIGHT = 360 };

/* A line of each chart: the cells that differ only in the prompt's length. */
typedef struct line {
    char name[NAME_SIZE];
    const bench_cell *first;
    size_t n;
    double *x, *y[N_CHART], *low[N_CHART], *high[N_CHART]; /* [n] */
} line;

static bool same_line(const bench_cell *a, const bench_cell *b) {
    return a->arm == b->arm && a->kv_type == b->kv_type && a->n_threads == b->n_threads && a->n_batch == b->n_batch;
}

/* The choices that are not the same in all cells. */
static void name_line(const bench_cells *cells, line *l) {
    const bench_cell *c = l->first;
    bool types = false, threads = false, batches = false;
    for (size_t i = 0; i < cells->n_cell; i++) {
        types = types || cells->cell[i].kv_type != c->kv_type;
        threads = threads || cells->cell[i].n_threads != c->n_threads;
        batches = batches || cells->cell[i].n_batch != c->n_batch;
    }
    int n = snprintf(l->name, NAME_SIZE, "%.64s%s%.16s", c->arm->policy, c->arm->budget ? ", " : "",
                     c->arm->budget ? c->arm->budget : "");
    if (types) n += snprintf(l->name + n, NAME_SIZE - (size_t)n, ", %s", judgeq_kv_type_name(c->kv_type));
    if (threads) n += snprintf(l->name + n, NAME_SIZE - (size_t)n, ", -t %d", c->n_threads);
    if (batches) snprintf(l->name + n, NAME_SIZE - (size_t)n, ", batch %d", c->n_batch);
}

static bool line_init(line *l, size_t n_cell) {
    bool whole = (l->x = calloc(n_cell, sizeof *l->x)) != NULL;
    for (int c = 0; c < N_CHART; c++) {
        l->y[c] = calloc(n_cell, sizeof *l->y[c]);
        l->low[c] = calloc(n_cell, sizeof *l->low[c]);
        l->high[c] = calloc(n_cell, sizeof *l->high[c]);
        whole = whole && l->y[c] && l->low[c] && l->high[c];
    }
    return whole;
}

static void line_free(line *l) {
    free(l->x);
    for (int c = 0; c < N_CHART; c++) {
        free(l->y[c]);
        free(l->low[c]);
        free(l->high[c]);
    }
}

static void line_add(line *l, const bench_cell *cell) {
    const double peak = (double)cell->kv_bytes_peak / 1048576;
    const spread s[N_CHART] = {cell->spread[BENCH_FIRST_TOKEN], cell->spread[BENCH_DECODE], {peak, peak, peak}};
    l->x[l->n] = cell->length;
    for (int c = 0; c < N_CHART; c++) {
        l->y[c][l->n] = s[c].median;
        l->low[c][l->n] = s[c].low;
        l->high[c][l->n] = s[c].high;
    }
    l->n++;
}

/* Fills line[0..n_cell); how many there are, or 0 where memory ran out. */
static size_t make_lines(const bench_cells *cells, line *lines) {
    size_t n = 0;
    for (size_t i = 0; i < cells->n_cell; i++) {
        size_t k = 0;
        while (k < n && !same_line(lines[k].first, &cells->cell[i])) k++;
        if (k == n) {
            lines[n].first = &cells->cell[i];
            name_line(cells, &lines[n]);
            if (!line_init(&lines[n++], cells->n_cell)) return 0;
        }
        line_add(&lines[k], &cells->cell[i]);
    }
    return n;
}

static judgeq_status draw(const line *lines, size_t n, chart_series *series, const char *path, judgeq_error *error) {
    static const char *const title[N_CHART] = {"Time to the first token", "Decoding", "KV memory, at its peak"};
    static const char *const label[N_CHART] = {"seconds", "tokens per second", "MiB"};
    chart charts[N_CHART];
    size_t n_chart = 0;
    for (int c = 0; c < N_CHART; c++) {
        chart_series *own = series + (size_t)c * n;
        for (size_t i = 0; i < n; i++) {
            const line *l = &lines[i];
            own[i] = (chart_series){.name = l->name,
                                    .kind = CHART_LINE,
                                    .look = i,
                                    .n = l->n,
                                    .x = l->x,
                                    .y = l->y[c],
                                    .low = l->low[c],
                                    .high = l->high[c]};
        }
        charts[n_chart] = (chart){.title = title[c],
                                  .x_label = "prompt, tokens",
                                  .y_label = label[c],
                                  .x_log = true,
                                  .y_low = 0,
                                  .y_high = NAN,
                                  .series = own,
                                  .n_series = n};
        if (chart_has_points(&charts[n_chart])) n_chart++;
    }
    const chart_sheet sheet = {.chart = charts, .n_chart = n_chart, .width = WIDTH, .height = HEIGHT};
    return chart_write(&sheet, path, error);
}

judgeq_status bench_chart_write(const bench_cells *cells, const char *path, judgeq_error *error) {
    line *lines = calloc(cells->n_cell, sizeof *lines);
    const size_t n = lines ? make_lines(cells, lines) : 0;
    chart_series *series = n > 0 ? calloc(N_CHART * n, sizeof *series) : NULL;
    judgeq_status status = JUDGEQ_ERROR_MEMORY;
    if (series) {
        status = draw(lines, n, series, path, error);
    } else {
        status = error_memory(error, "the picture");
    }
    for (size_t i = 0; lines && i < cells->n_cell; i++) line_free(&lines[i]);
    free(lines);
    free(series);
    return status;
}
