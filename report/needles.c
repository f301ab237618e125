/* Needle heat maps: length by depth, a picture per budget with every policy in it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gallery.h"

enum { PAGE_X = 1200, AROUND_X = 130, AROUND_Y = 120, CELL_X = 58, CELL_Y = 22, LETTER_X = 10 };

/* The lines of the needle grid, and the values of its two axes. */
typedef struct needle_grid {
    const json_t **line;    /* [n_line] */
    double *length, *depth; /* [n_length], [n_depth], ascending */
    size_t n_line, n_length, n_depth;
} needle_grid;

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts, and leaves one of each. */
static size_t distinct(double *value, size_t n) {
    size_t kept = 0;
    qsort(value, n, sizeof *value, ascending);
    for (size_t i = 0; i < n; i++) {
        if (kept == 0 || value[i] > value[kept - 1]) value[kept++] = value[i];
    }
    return kept;
}

static bool grid_find(gallery *g, const results *r, needle_grid *out) {
    *out = (needle_grid){.line = scratch_take(&g->memory, r->n_line, sizeof(json_t *)),
                         .length = scratch_take(&g->memory, r->n_line, sizeof(double)),
                         .depth = scratch_take(&g->memory, r->n_line, sizeof(double))};
    if (!out->line || !out->length || !out->depth) return false;
    for (size_t i = 0; i < r->n_line; i++) {
        const json_t *line = r->line[i], *length = json_object_get(line, "length"),
                     *depth = json_object_get(line, "depth");
        const char *family = json_string_value(json_object_get(line, "family"));
        if (!family || strcmp(family, "grid") != 0 || !json_is_number(length) || !json_is_number(depth)) continue;
        out->line[out->n_line] = line;
        out->length[out->n_line] = json_number_value(length);
        out->depth[out->n_line++] = json_number_value(depth);
    }
    out->n_length = distinct(out->length, out->n_line);
    out->n_depth = distinct(out->depth, out->n_line);
    return out->n_line > 0;
}

static double line_number(const json_t *line, const char *key) {
    return json_number_value(json_object_get(line, key));
}

static double cell(const needle_grid *grid, size_t arm, double depth, double length) {
    double sum = 0;
    size_t n = 0;
    for (size_t i = 0; i < grid->n_line; i++) {
        const double score = results_number(grid->line[i], arm, "score");
        if (!isfinite(score) || line_number(grid->line[i], "depth") != depth) continue;
        if (line_number(grid->line[i], "length") != length) continue;
        sum += score;
        n++;
    }
    return n > 0 ? 100 * sum / (double)n : NAN;
}

static bool set_map(gallery *g, const needle_grid *grid, size_t arm, const char *title, chart *out) {
    chart_grid *map = scratch_take(&g->memory, 1, sizeof *map);
    double *value = scratch_take(&g->memory, grid->n_depth * grid->n_length, sizeof *value);
    const char **row = scratch_take(&g->memory, grid->n_depth, sizeof(char *)),
               **column = scratch_take(&g->memory, grid->n_length, sizeof(char *));
    if (!map || !value || !row || !column) return false;
    for (size_t d = 0; d < grid->n_depth; d++) {
        row[d] = scratch_print(&g->memory, "%.0f %%", 100 * grid->depth[d]);
        for (size_t l = 0; l < grid->n_length; l++) {
            value[d * grid->n_length + l] = cell(grid, arm, grid->depth[d], grid->length[l]);
        }
    }
    for (size_t l = 0; l < grid->n_length; l++) column[l] = scratch_print(&g->memory, "%.0f", grid->length[l]);
    *map = (chart_grid){.n_row = grid->n_depth,
                        .n_column = grid->n_length,
                        .value = value,
                        .row = row,
                        .column = column,
                        .low = 0,
                        .high = 100,
                        .numbers = true};
    *out = (chart){.title = title, .x_label = "prompt, tokens", .y_label = "depth of the needle", .grid = map};
    return true;
}

static const char *name_of(const results *r, size_t policy) {
    return policy == 0 ? "full cache" : r->policy[policy].name;
}

/* Of one map: the cells, or the longest name above them. */
static int map_width(const results *r, const needle_grid *grid) {
    int width = CELL_X * (int)grid->n_length;
    for (size_t i = 0; i < r->n_policy; i++) {
        const int name = LETTER_X * (int)strlen(name_of(r, i));
        if (name > width) width = name;
    }
    return AROUND_X + width;
}

/* The full cache, and every policy at its b-th budget. */
static void add_budget(gallery *g, const results *r, const needle_grid *grid, size_t b, const char *budget) {
    const int width = map_width(r, grid);
    const picture p = {.name = scratch_print(&g->memory, "needle-%s", budget),
                       .section = "needle",
                       .title = scratch_print(&g->memory, "Needle in a haystack, budget %s", budget),
                       .about = "Score in %: prompts of different lengths, the needle from the beginning (0 %) to the "
                                "end (100 %).",
                       .sheet = {.n_column = width < PAGE_X ? (size_t)(PAGE_X / width) : 1,
                                 .width = width,
                                 .height = AROUND_Y + CELL_Y * (int)grid->n_depth}};
    chart *charts;
    size_t n = 0;
    for (size_t i = 0; i < r->n_policy; i++) n += i == 0 || b < r->policy[i].n;
    if (!gallery_add(g, p, n, &charts)) return;
    n = 0;
    for (size_t i = 0; i < r->n_policy; i++) {
        if (i > 0 && b >= r->policy[i].n) continue;
        if (!set_map(g, grid, r->policy[i].first + (i > 0 ? b : 0), name_of(r, i), &charts[n++])) return;
    }
}

void gallery_add_needles(gallery *g, const results *r) {
    needle_grid grid;
    const results_policy *budgets = results_first_budgets(r);
    if (!budgets || !grid_find(g, r, &grid)) return;
    for (size_t b = 0; b < budgets->n; b++) {
        const char *budget = results_budget(r, budgets->first + b);
        add_budget(g, r, &grid, b, budget ? budget : "?");
    }
}
