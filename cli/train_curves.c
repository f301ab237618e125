#include "train_curves.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/visible.h"
#include "plot/chart.h"

enum { WIDTH = 900, HEIGHT = 330, N_BUDGETS = JUDGEQ_MEASURE_BUDGETS };

/* The log's numbers, NaN where it has null. Percent. */
typedef struct curves {
    size_t n_step, n_measure, step_room, measure_room;
    double *step, *loss, *mean;                                        /* [n_step] */
    double *at, *heldout, *hit_rate[N_BUDGETS], *mass_kept[N_BUDGETS]; /* [n_measure] */
    char budget[N_BUDGETS][24];                                        /* their names */
} curves;

static double number(const json_t *value) {
    return json_is_number(value) ? json_number_value(value) : NAN;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* Room for one number more in each of the arrays. */
static bool grow(double **const array[], size_t n_array, size_t n, size_t *room) {
    if (n < *room) return true;
    const size_t more = *room > 0 ? 2 * *room : 256;
    for (size_t i = 0; i < n_array; i++) {
        double *larger = realloc(*array[i], more * sizeof **array[i]);
        if (!larger) return false;
        *array[i] = larger;
    }
    *room = more;
    return true;
}

static bool add_step(curves *c, const json_t *line) {
    if (!grow((double **const[]){&c->step, &c->loss, &c->mean}, 3, c->n_step, &c->step_room)) return false;
    c->step[c->n_step] = number(json_object_get(line, "step"));
    c->loss[c->n_step++] = number(json_object_get(line, "loss"));
    return true;
}

static bool add_measures(curves *c, const json_t *line) {
    enum { N_ARRAYS = 2 + 2 * N_BUDGETS };
    double **array[N_ARRAYS] = {&c->at, &c->heldout};
    for (int b = 0; b < N_BUDGETS; b++) {
        array[2 + 2 * b] = &c->hit_rate[b];
        array[3 + 2 * b] = &c->mass_kept[b];
    }
    if (!grow(array, N_ARRAYS, c->n_measure, &c->measure_room)) return false;
    const size_t i = c->n_measure++;
    json_t *measures = json_object_get(line, "heldout"), *hits = json_object_get(measures, "hit_rate");
    c->at[i] = number(json_object_get(line, "step"));
    c->heldout[i] = number(json_object_get(measures, "loss"));
    for (int b = 0; b < N_BUDGETS; b++) c->hit_rate[b][i] = c->mass_kept[b][i] = NAN;
    int b = 0;
    const char *budget;
    json_t *value;
    json_object_foreach(hits, budget, value) {
        if (b == N_BUDGETS) break;
        snprintf(c->budget[b], sizeof c->budget[b], "budget %.12s", budget);
        c->hit_rate[b][i] = 100 * number(value);
        c->mass_kept[b][i] = 100 * number(json_object_get(json_object_get(measures, "mass_kept"), budget));
        b++;
    }
    return true;
}

static judgeq_status read_log(curves *c, const char *path, judgeq_error *error) {
    FILE *file = fopen(path, "r");
    if (!file) return error_file(error, JUDGEQ_ERROR_IO, path, strerror(errno));
    char *text = NULL;
    size_t room = 0;
    bool whole = true;
    while (whole && getline(&text, &room, file) > 0) {
        json_t *line = json_loads(text, 0, NULL); /* NULL where a kill cut it: the getters below take that */
        if (json_object_get(line, "heldout"))
            whole = add_measures(c, line);
        else if (json_object_get(line, "loss"))
            whole = add_step(c, line);
        json_decref(line);
    }
    const bool failure = ferror(file) != 0;
    free(text);
    fclose(file);
    if (!whole) return error_file(error, JUDGEQ_ERROR_MEMORY, path, "no memory for the curves");
    return failure ? error_file(error, JUDGEQ_ERROR_IO, path, "cannot read it to its end") : JUDGEQ_OK;
}

/* ---- drawing ----------------------------------------------------------------------------------------------------- */

/* Steps on either side of one that its running mean counts: single examples differ so much that no trend shows. */
static size_t mean_reach(const curves *c) {
    return c->n_step / 40;
}

static void running_mean(curves *c) {
    const size_t reach = mean_reach(c);
    for (size_t i = 0; i < c->n_step; i++) {
        double sum = 0;
        size_t n = 0;
        const size_t from = i > reach ? i - reach : 0;
        for (size_t k = from; k < c->n_step && k <= i + reach; k++) {
            if (!isfinite(c->loss[k])) continue;
            sum += c->loss[k];
            n++;
        }
        c->mean[i] = n > 0 ? sum / (double)n : NAN;
    }
}

static chart percent_chart(const char *title, const char *subtitle, const chart_series *series, size_t n) {
    return (chart){.title = title,
                   .subtitle = subtitle,
                   .x_label = "optimiser step",
                   .y_label = "%",
                   .y_low = NAN,
                   .y_high = NAN,
                   .series = series,
                   .n_series = n};
}

static bool any_finite(const double *value, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (isfinite(value[i])) return true;
    }
    return false;
}

/* One series per budget that was measured. */
static size_t budget_series(const curves *c, double *const value[N_BUDGETS], chart_series *out) {
    size_t n = 0;
    for (int b = 0; b < N_BUDGETS; b++) {
        if (!any_finite(value[b], c->n_measure)) continue;
        out[n++] = (chart_series){
            .name = c->budget[b], .kind = CHART_LINE, .look = (size_t)b, .n = c->n_measure, .x = c->at, .y = value[b]};
    }
    return n;
}

static size_t loss_series(const curves *c, const char *mean_name, chart_series *out) {
    size_t n = 0;
    if (any_finite(c->loss, c->n_step)) {
        out[n++] = (chart_series){.name = "each step", .kind = CHART_CLOUD, .n = c->n_step, .x = c->step, .y = c->loss};
        out[n++] = (chart_series){.name = mean_name, .kind = CHART_CURVE, .n = c->n_step, .x = c->step, .y = c->mean};
    }
    if (any_finite(c->heldout, c->n_measure)) {
        out[n++] = (chart_series){
            .name = "held out", .kind = CHART_LINE, .look = 1, .n = c->n_measure, .x = c->at, .y = c->heldout};
    }
    return n;
}

static judgeq_status draw(curves *c, const char *path, judgeq_error *error) {
    chart_series loss[3], hit_rate[N_BUDGETS], mass_kept[N_BUDGETS];
    char mean_name[48];
    snprintf(mean_name, sizeof mean_name, "mean of %zu steps", 2 * mean_reach(c) + 1);
    running_mean(c);
    const size_t n_loss = loss_series(c, mean_name, loss), n_hit = budget_series(c, c->hit_rate, hit_rate),
                 n_mass = budget_series(c, c->mass_kept, mass_kept);
    chart charts[3];
    size_t n = 0;
    charts[n] =
        percent_chart("Loss", "of the soft tokens' attention against the response's; less is better", loss, n_loss);
    charts[n++].y_label = "loss";
    if (n_hit > 0) {
        charts[n++] =
            percent_chart("Critical KV hit rate, held out",
                          "of the rows the response attends to most, the share ranked as high", hit_rate, n_hit);
    }
    if (n_mass > 0) {
        charts[n++] = percent_chart("Attention mass kept, held out",
                                    "share of the response's attention that falls on kept rows", mass_kept, n_mass);
    }
    const chart_sheet sheet = {.chart = charts, .n_chart = n, .width = WIDTH, .height = HEIGHT};
    return chart_write(&sheet, path, error);
}

static void curves_free(curves *c) {
    free(c->step);
    free(c->loss);
    free(c->mean);
    free(c->at);
    free(c->heldout);
    for (int b = 0; b < N_BUDGETS; b++) {
        free(c->hit_rate[b]);
        free(c->mass_kept[b]);
    }
}

judgeq_status train_curves_draw(const char *log, const char *path, judgeq_error *error) {
    curves c = {0};
    judgeq_status status = read_log(&c, log, error);
    if (status == JUDGEQ_OK) status = draw(&c, path, error);
    curves_free(&c);
    return status;
}
