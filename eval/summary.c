#include "summary.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "app/finite.h"
#include "statistics.h"

/* The lines in order: a stratum is a run of lines of one task and length. */
typedef struct lines {
    json_t **line;   /* [n] */
    size_t *stratum; /* [n] */
    size_t n, n_stratum;
} lines;

static const char *const MEASURES[] = {
    "score",         "hit_rate",      "mass_kept",          "kl", "perplexity", "nll",
    "kv_bytes_held", "kv_bytes_peak", "decode_tokens_per_s"};
enum { N_MEASURES = sizeof MEASURES / sizeof MEASURES[0] };

/* ---- order ------------------------------------------------------------------------------------------------------- */

static int compare_integer(const json_t *a, const json_t *b, const char *key) {
    const json_int_t x = json_integer_value(json_object_get(a, key)), y = json_integer_value(json_object_get(b, key));
    return (x > y) - (x < y);
}

static const char *text_of(const json_t *line, const char *key) {
    const char *value = json_string_value(json_object_get(line, key));
    return value ? value : "";
}

/* By family, task and lengths. */
static int compare_group(const json_t *a, const json_t *b) {
    int order = strcmp(text_of(a, "family"), text_of(b, "family"));
    if (order == 0) order = strcmp(text_of(a, "task"), text_of(b, "task"));
    if (order == 0) order = compare_integer(a, b, "length");
    return order != 0 ? order : strcmp(text_of(a, "length_group"), text_of(b, "length_group"));
}

static int compare_lines(const void *a, const void *b) {
    json_t *const *x = a, *const *y = b;
    int order = compare_group(*x, *y);
    if (order == 0) order = compare_integer(*x, *y, "seed");
    if (order == 0) order = compare_integer(*x, *y, "index");
    return order != 0 ? order : strcmp(text_of(*x, "key"), text_of(*y, "key"));
}

static bool lines_init(const records *r, lines *out) {
    const char *key;
    json_t *line;
    const size_t n = json_object_size(r->lines);
    *out = (lines){.line = calloc(n + 1, sizeof(json_t *)), .stratum = calloc(n + 1, sizeof *out->stratum)};
    if (!out->line || !out->stratum) return false;
    json_object_foreach(r->lines, key, line) out->line[out->n++] = line;
    qsort((void *)out->line, out->n, sizeof(json_t *), compare_lines);
    for (size_t i = 0; i < out->n; i++) {
        if (i > 0 && compare_group(out->line[i - 1], out->line[i]) != 0) out->n_stratum++;
        out->stratum[i] = out->n_stratum;
    }
    out->n_stratum += out->n > 0;
    return true;
}

static void lines_free(lines *l) {
    free((void *)l->line);
    free(l->stratum);
}

/* ---- numbers ----------------------------------------------------------------------------------------------------- */

static const json_t *result_of(const lines *l, size_t line, size_t arm) {
    return json_array_get(json_object_get(l->line[line], "results"), arm);
}

/* A measure of an arm over lines [first, end), less that of another arm unless `minus` is the same. */
static bool series_init(const lines *l, size_t first, size_t end, size_t arm, size_t minus, const char *measure,
                        statistics_series *out) {
    *out = (statistics_series){.value = calloc(end - first + 1, sizeof *out->value),
                               .stratum = calloc(end - first + 1, sizeof *out->stratum)};
    if (!out->value || !out->stratum) return false;
    size_t last = SIZE_MAX;
    for (size_t i = first; i < end; i++) {
        const json_t *value = json_object_get(result_of(l, i, arm), measure);
        const json_t *other = json_object_get(result_of(l, i, minus), measure);
        if (!json_is_number(value) || !json_is_number(other)) continue;
        out->n_stratum += l->stratum[i] != last;
        last = l->stratum[i];
        out->stratum[out->n] = out->n_stratum - 1;
        out->value[out->n++] = json_number_value(value) - (arm == minus ? 0 : json_number_value(other));
    }
    return true;
}

static void series_free(statistics_series *s) {
    free(s->value);
    free(s->stratum);
}

/* All three numbers, or null. */
static json_t *estimate_object(const statistics_series *s) {
    if (s->n == 0) return json_null();
    const statistics_estimate e = statistics_mean(s);
    if (!isfinite(e.mean) || !isfinite(e.low) || !isfinite(e.high)) return json_null();
    return json_pack("{s:f, s:f, s:f}", "mean", e.mean, "low", e.low, "high", e.high);
}

/* Answers that have all references. */
static json_t *right_of(const lines *l, size_t first, size_t end, size_t arm) {
    json_int_t n = 0;
    for (size_t i = first; i < end; i++) n += json_number_value(json_object_get(result_of(l, i, arm), "score")) == 1;
    return json_integer(n);
}

static json_t *row_object(const lines *l, size_t first, size_t end, size_t arm) {
    const json_t *result = result_of(l, first, arm);
    json_t *row = json_pack("{s:O, s:O}", "policy", json_object_get(result, "policy"), "budget",
                            json_object_get(result, "budget"));
    if (row) json_object_set_new(row, "right", right_of(l, first, end, arm));
    for (int m = 0; row && m < N_MEASURES; m++) {
        statistics_series s;
        if (series_init(l, first, end, arm, arm, MEASURES[m], &s)) {
            json_object_set_new(row, MEASURES[m], estimate_object(&s));
        }
        series_free(&s);
    }
    return row;
}

static double mean_of(const lines *l, size_t first, size_t end, const char *key) {
    double sum = 0;
    for (size_t i = first; i < end; i++) sum += json_number_value(json_object_get(l->line[i], key));
    return sum / (double)(end - first);
}

/* What all lines of a group share; null where it is of several strata, or the lines have none. */
static json_t *of_group(const json_t *line, const char *key, bool together) {
    json_t *value = together ? NULL : json_object_get(line, key);
    return value ? json_incref(value) : json_null();
}

/* together: lines of several strata. */
static json_t *group_object(const lines *l, size_t first, size_t end, bool together) {
    const json_t *line = l->line[first];
    json_t *rows = json_array();
    for (size_t a = 0; a < json_array_size(json_object_get(line, "results")); a++) {
        json_array_append_new(rows, row_object(l, first, end, a));
    }
    return json_pack("{s:o, s:o, s:o, s:o, s:I, s:f, s:o}", "task", of_group(line, "task", together), "family",
                     of_group(line, "family", together), "length", of_group(line, "length", together), "length_group",
                     of_group(line, "length_group", together), "samples", (json_int_t)(end - first), "prompt_tokens",
                     mean_of(l, first, end, "prompt_tokens"), "rows", rows);
}

static json_t *groups_array(const lines *l) {
    json_t *groups = json_array();
    if (l->n_stratum > 1) json_array_append_new(groups, group_object(l, 0, l->n, true));
    for (size_t first = 0, end; first < l->n; first = end) {
        end = first;
        while (end < l->n && l->stratum[end] == l->stratum[first]) end++;
        json_array_append_new(groups, group_object(l, first, end, false));
    }
    return groups;
}

/* Every policy and budget against the full cache, over texts that go on. */
static json_t *likelihood_array(const lines *l) {
    json_t *array = json_array();
    const size_t n_arm = l->n > 0 ? json_array_size(json_object_get(l->line[0], "results")) : 0;
    for (size_t a = 1; a < n_arm; a++) {
        const json_t *own = result_of(l, 0, a);
        statistics_series s;
        if (series_init(l, 0, l->n, a, 0, "nll", &s) && s.n > 0) {
            json_array_append_new(array, json_pack("{s:O, s:O, s:o, s:o}", "policy", json_object_get(own, "policy"),
                                                   "budget", json_object_get(own, "budget"), "difference",
                                                   estimate_object(&s), "p", json_finite(statistics_sign_flip(&s))));
        }
        series_free(&s);
    }
    return array;
}

/* The policy `versus` against every other one with the same budget, and against the full cache. */
static json_t *paired_array(const lines *l, const char *versus) {
    json_t *paired = json_array();
    const size_t n_arm = l->n > 0 ? json_array_size(json_object_get(l->line[0], "results")) : 0;
    for (size_t a = 0; a < n_arm; a++) {
        const json_t *own = result_of(l, 0, a);
        if (strcmp(text_of(own, "policy"), versus) != 0) continue;
        for (size_t b = 0; b < n_arm; b++) {
            const json_t *other = result_of(l, 0, b);
            const bool same_budget = strcmp(text_of(own, "budget"), text_of(other, "budget")) == 0;
            statistics_series s;
            if (a == b || (b > 0 && !same_budget)) continue;
            if (series_init(l, 0, l->n, a, b, "score", &s) && s.n > 0) {
                json_array_append_new(
                    paired, json_pack("{s:O, s:O, s:O, s:o, s:o}", "policy", json_object_get(own, "policy"), "other",
                                      json_object_get(other, "policy"), "budget", json_object_get(own, "budget"),
                                      "difference", estimate_object(&s), "p", json_finite(statistics_sign_flip(&s))));
            }
            series_free(&s);
        }
    }
    return paired;
}

json_t *summary_make(const records *r, const char *versus) {
    lines l;
    json_t *summary = NULL;
    const json_t *policies = json_object_get(r->run, "policies");
    if (!versus) versus = text_of(json_array_get(policies, json_array_size(policies) - 1), "policy");
    if (lines_init(r, &l)) {
        const size_t n_left_out = json_array_size(json_object_get(r->run, "left_out"));
        summary = json_pack("{s:o, s:o, s:o, s:I}", "groups", groups_array(&l), "paired", paired_array(&l, versus),
                            "likelihood", likelihood_array(&l), "left_out", (json_int_t)n_left_out);
    }
    lines_free(&l);
    return summary;
}
