/* Accuracy against budget: all tasks together, then each task with a chart per length. */
#include <math.h>
#include <string.h>

#include "gallery.h"

enum { WIDTH = 1000, LEAST_HEIGHT = 420, AROUND_LEGEND = 180, LEGEND_ROW = 25 };

/* Octaves between neighbouring series at one budget, so that their intervals do not hide each other. */
static const double SPREAD = 0.02;

static double bound(const json_t *estimate, const char *key) {
    const json_t *value = json_object_get(estimate, key);
    return json_is_number(value) ? 100 * json_number_value(value) : NAN;
}

static void set_point(const json_t *row, double *y, double *low, double *high) {
    const json_t *score = json_object_get(row, "score");
    *y = bound(score, "mean");
    *low = bound(score, "low");
    *high = bound(score, "high");
}

/* So that the legend's rows fit. */
static int height_for(const results *r) {
    const int height = AROUND_LEGEND + LEGEND_ROW * (int)r->n_policy;
    return height > LEAST_HEIGHT ? height : LEAST_HEIGHT;
}

/* A policy's scores over its budgets in a group of the summary. */
static bool set_series(gallery *g, const results *r, const json_t *group, size_t number, chart_series *out) {
    const results_policy *p = &r->policy[number];
    const json_t *rows = json_object_get(group, "rows");
    double *values = scratch_take(&g->memory, 4 * p->n, sizeof *values);
    if (!values) return false;
    double *x = values, *y = x + p->n, *low = y + p->n, *high = low + p->n;
    const double shift = exp2(SPREAD * ((double)number - 0.5 * (double)r->n_policy));
    for (size_t b = 0; b < p->n; b++) {
        x[b] = results_mean(r, group, p->first + b, "rows") * shift;
        set_point(json_array_get(rows, p->first + b), &y[b], &low[b], &high[b]);
    }
    *out = (chart_series){
        .name = p->name, .kind = CHART_LINE, .look = p->look, .n = p->n, .x = x, .y = y, .low = low, .high = high};
    return true;
}

/* The full cache has no budget: a line across all of them. */
static bool set_full(gallery *g, const json_t *group, const chart_series *others, size_t n, chart_series *out) {
    double *values = scratch_take(&g->memory, 4, sizeof *values), low, high;
    if (!values) return false;
    values[0] = INFINITY;
    values[1] = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < others[i].n; k++) {
            values[0] = fmin(values[0], others[i].x[k]);
            values[1] = fmax(values[1], others[i].x[k]);
        }
    }
    set_point(json_array_get(json_object_get(group, "rows"), 0), &values[2], &low, &high);
    values[3] = values[2];
    *out = (chart_series){.name = "full cache", .kind = CHART_CURVE, .look = 7, .n = 2, .x = values, .y = values + 2};
    return true;
}

static bool set_chart(gallery *g, const results *r, const json_t *group, const char *title, chart *out) {
    chart_series *series = scratch_take(&g->memory, r->n_policy, sizeof *series);
    if (!series) return false;
    for (size_t i = 1; i < r->n_policy; i++) {
        if (!set_series(g, r, group, i, &series[i])) return false;
    }
    if (!set_full(g, group, series + 1, r->n_policy - 1, &series[0])) return false;
    const char *subtitle =
        scratch_print(&g->memory, "mean of %lld samples of %.0f tokens on average; bars: 95 %% bootstrap intervals",
                      (long long)json_integer_value(json_object_get(group, "samples")),
                      json_number_value(json_object_get(group, "prompt_tokens")));
    *out = (chart){.title = title,
                   .subtitle = subtitle,
                   .x_label = "budget: rows per layer and KV head (each step doubles)",
                   .y_label = "score, %",
                   .x_log = true,
                   .y_low = 0,
                   .y_high = NAN,
                   .series = series,
                   .n_series = r->n_policy};
    return true;
}

static const char *task_of(const json_t *group) {
    const char *task = json_string_value(json_object_get(group, "task"));
    return task ? task : "";
}

static bool same_task(const json_t *a, const json_t *b) {
    return strcmp(task_of(a), task_of(b)) == 0 &&
           json_equal(json_object_get(a, "family"), json_object_get(b, "family"));
}

static const char *length_title(gallery *g, const json_t *group) {
    const json_t *length = json_object_get(group, "length");
    if (!json_is_integer(length)) return task_of(group);
    return scratch_print(&g->memory, "%s, %lld tokens", task_of(group), (long long)json_integer_value(length));
}

/* Groups [first, end) of one task. */
static void add_task(gallery *g, const results *r, const json_t *groups, size_t first, size_t end) {
    const json_t *group = json_array_get(groups, first);
    const char *family = json_string_value(json_object_get(group, "family"));
    const bool grid = family && strcmp(family, "grid") == 0;
    const picture p = {.name = scratch_print(&g->memory, "accuracy-%s%s", grid ? "grid-" : "", task_of(group)),
                       .section = "accuracy",
                       .title = scratch_print(&g->memory, "%s%s", task_of(group), grid ? " at all depths (grid)" : ""),
                       .about = "The score against the budget; the line across is the full cache.",
                       .sheet = {.width = WIDTH, .height = height_for(r)}};
    chart *charts;
    if (!gallery_add(g, p, end - first, &charts)) return;
    for (size_t i = first; i < end; i++) {
        const json_t *at = json_array_get(groups, i);
        if (!set_chart(g, r, at, length_title(g, at), &charts[i - first])) return;
    }
}

static void add_together(gallery *g, const results *r, const json_t *group) {
    const picture p = {.name = "accuracy",
                       .section = "accuracy",
                       .title = "All tasks together",
                       .about = "Every task and length has the same weight, however many samples it has.",
                       .sheet = {.width = WIDTH, .height = height_for(r)}};
    chart *charts;
    if (gallery_add(g, p, 1, &charts)) set_chart(g, r, group, "All tasks", &charts[0]);
}

void gallery_add_accuracy(gallery *g, const results *r) {
    const json_t *groups = json_object_get(r->summary, "groups");
    const size_t n = json_array_size(groups);
    if (r->n_policy < 2) return; /* nothing but the full cache */
    for (size_t first = 0, end; first < n; first = end) {
        const json_t *group = json_array_get(groups, first);
        end = first + 1;
        if (!json_is_string(json_object_get(group, "task"))) {
            add_together(g, r, group);
            continue;
        }
        while (end < n && same_task(group, json_array_get(groups, end))) end++;
        add_task(g, r, groups, first, end);
    }
}
