/* Memory against quality: what a policy's answers cost in KV cache. */
#include <math.h>

#include "gallery.h"

enum { WIDTH = 1000, LEAST_HEIGHT = 420, AROUND_LEGEND = 180, LEGEND_ROW = 25 };

static const double MEBIBYTE = 1 << 20;

/* So that the legend's rows fit. */
static int height_for(const results *r) {
    const int height = AROUND_LEGEND + LEGEND_ROW * (int)r->n_policy;
    return height > LEAST_HEIGHT ? height : LEAST_HEIGHT;
}

static bool set_series(gallery *g, const results *r, const json_t *group, const results_policy *p, const char *bytes,
                       chart_series *out) {
    const json_t *rows = json_object_get(group, "rows");
    double *x = scratch_take(&g->memory, p->n, sizeof *x), *y = scratch_take(&g->memory, p->n, sizeof *y);
    if (!x || !y) return false;
    for (size_t b = 0; b < p->n; b++) {
        const json_t *score = json_object_get(json_array_get(rows, p->first + b), "score");
        const json_t *mean = json_object_get(score, "mean");
        x[b] = results_mean(r, group, p->first + b, bytes) / MEBIBYTE;
        y[b] = json_is_number(mean) ? 100 * json_number_value(mean) : NAN;
    }
    *out = (chart_series){.name = p->first == 0 ? "full cache" : p->name,
                          .kind = p->first == 0 ? CHART_POINTS : CHART_LINE,
                          .look = p->look,
                          .n = p->n,
                          .x = x,
                          .y = y};
    return true;
}

static bool set_chart(gallery *g, const results *r, const json_t *group, const char *bytes, chart *out) {
    chart_series *series = scratch_take(&g->memory, r->n_policy, sizeof *series);
    if (!series) return false;
    for (size_t i = 0; i < r->n_policy; i++) {
        if (!set_series(g, r, group, &r->policy[i], bytes, &series[i])) return false;
    }
    out->y_label = "score, %";
    out->x_log = true;
    out->y_low = 0;
    out->y_high = NAN;
    out->series = series;
    out->n_series = r->n_policy;
    return true;
}

void gallery_add_frontier(gallery *g, const results *r) {
    const json_t *group = json_array_get(json_object_get(r->summary, "groups"), 0);
    const picture p = {.name = "frontier",
                       .section = "frontier",
                       .title = "Memory and quality",
                       .about =
                           "The mean score over all tasks against KV memory: up and to the left is better. Policies "
                           "that read the whole prompt before they evict have a peak as high as the full cache's.",
                       .sheet = {.width = WIDTH, .height = height_for(r)}};
    chart *charts;
    if (r->n_policy < 2 || !gallery_add(g, p, 2, &charts)) return;
    charts[0] = (chart){.title = "KV cache held at the end of the answer",
                        .subtitle = "what decoding reads for every token",
                        .x_label = "MiB (each step doubles)"};
    charts[1] = (chart){.title = "Most KV cache held at any moment",
                        .subtitle = "what the machine must have, prefill included",
                        .x_label = "MiB (each step doubles)"};
    if (set_chart(g, r, group, "kv_bytes_held", &charts[0])) set_chart(g, r, group, "kv_bytes_peak", &charts[1]);
}
