/* Hit rate and attention mass kept per layer: a heat map of policies by layers for every budget. */
#include <math.h>

#include "gallery.h"

enum { WIDTH = 1000, AROUND_Y = 130, ROW_Y = 22, STEP = 5 };

static size_t layer_count(const results *r, const char *measure) {
    for (size_t i = 0; i < r->n_line; i++) {
        const json_t *result = json_array_get(json_object_get(r->line[i], "results"), 0);
        const size_t n = json_array_size(json_object_get(json_object_get(result, "layers"), measure));
        if (n > 0) return n;
    }
    return 0;
}

/* Means over all lines, in per cent: out [n_layer]. */
static void layer_means(const results *r, size_t arm, const char *measure, size_t n_layer, double *out) {
    for (size_t l = 0; l < n_layer; l++) {
        double sum = 0;
        size_t n = 0;
        for (size_t i = 0; i < r->n_line; i++) {
            const json_t *result = json_array_get(json_object_get(r->line[i], "results"), arm);
            const json_t *value = json_array_get(json_object_get(json_object_get(result, "layers"), measure), l);
            if (!json_is_number(value)) continue;
            sum += json_number_value(value);
            n++;
        }
        out[l] = n > 0 ? 100 * sum / (double)n : NAN;
    }
}

/* The same scale for all budgets: multiples of STEP around the values. */
static void set_scale(chart *charts, chart_grid *maps, size_t n) {
    double low = 100, high = 0;
    for (size_t b = 0; b < n; b++) {
        for (size_t i = 0; i < maps[b].n_row * maps[b].n_column; i++) {
            if (!isfinite(maps[b].value[i])) continue;
            low = fmin(low, STEP * floor(maps[b].value[i] / STEP));
            high = fmax(high, STEP * ceil(maps[b].value[i] / STEP));
        }
    }
    for (size_t b = 0; b < n; b++) {
        maps[b].low = low;
        maps[b].high = high > low ? high : low + STEP;
        charts[b].grid = &maps[b];
    }
}

static bool set_map(gallery *g, const results *r, const char *measure, size_t b, size_t n_layer, chart *out,
                    chart_grid *map) {
    const size_t n = r->n_policy - 1; /* the full cache keeps everything */
    double *value = scratch_take(&g->memory, n * n_layer, sizeof *value);
    const char **row = scratch_take(&g->memory, n, sizeof(char *)),
               **column = scratch_take(&g->memory, n_layer, sizeof(char *));
    if (!value || !row || !column) return false;
    for (size_t i = 0; i < n; i++) {
        const results_policy *p = &r->policy[i + 1];
        row[i] = p->name;
        if (b < p->n) layer_means(r, p->first + b, measure, n_layer, value + i * n_layer);
        for (size_t l = 0; b >= p->n && l < n_layer; l++) value[i * n_layer + l] = NAN;
    }
    for (size_t l = 0; l < n_layer; l++) column[l] = scratch_print(&g->memory, "%zu", l);
    *map = (chart_grid){.n_row = n, .n_column = n_layer, .value = value, .row = row, .column = column, .label = "%"};
    const char *budget = results_budget(r, results_first_budgets(r)->first + b);
    *out = (chart){
        .title = scratch_print(&g->memory, "Budget %s", budget ? budget : "?"), .x_label = "layer", .y_label = ""};
    return true;
}

static void add_measure(gallery *g, const results *r, const char *measure, picture p) {
    const results_policy *budgets = results_first_budgets(r);
    const size_t n_layer = layer_count(r, measure), n = budgets ? budgets->n : 0;
    chart *charts;
    if (n_layer == 0 || n == 0) return;
    p.section = "layers";
    p.sheet = (chart_sheet){.width = WIDTH, .height = AROUND_Y + ROW_Y * (int)(r->n_policy - 1)};
    chart_grid *maps = scratch_take(&g->memory, n, sizeof *maps);
    if (!maps || !gallery_add(g, p, n, &charts)) return;
    for (size_t b = 0; b < n; b++) {
        if (!set_map(g, r, measure, b, n_layer, &charts[b], &maps[b])) return;
    }
    set_scale(charts, maps, n);
}

void gallery_add_layers(gallery *g, const results *r) {
    if (r->n_policy < 2) return;
    add_measure(g, r, "hit_rate",
                (picture){.name = "layers-hit-rate",
                          .title = "Critical KV hit rate per layer",
                          .about = "Of the rows that the full cache's response attends to most, as many as the budget, "
                                   "the share that the policy kept; mean over KV heads and samples."});
    add_measure(g, r, "mass_kept",
                (picture){.name = "layers-mass-kept",
                          .title = "Attention mass kept per layer",
                          .about = "Share of the full cache's response's attention that falls on kept rows; mean over "
                                   "KV heads and samples."});
}
