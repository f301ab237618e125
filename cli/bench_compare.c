#include "bench_compare.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "app/finite.h"
#include "base/error.h"
#include "base/visible.h"
#include "progress.h"

judgeq_status bench_compare_read(const char *path, json_t **out, judgeq_error *error) {
    json_error_t reason;
    *out = json_load_file(path, 0, &reason);
    if (!*out && json_error_code(&reason) == json_error_cannot_open_file) {
        return error_set(error, JUDGEQ_ERROR_IO, "--compare %s: %s", path, strerror(errno));
    }
    if (*out && json_is_array(json_object_get(*out, "cells"))) return JUDGEQ_OK;
    json_decref(*out);
    *out = NULL;
    return error_set(error, JUDGEQ_ERROR_FORMAT, "--compare %s: not what judgeq bench --json prints", path);
}

/* ---- cells ------------------------------------------------------------------------------------------------------- */

static bool has_text(const json_t *cell, const char *key, const char *text) {
    const char *found = json_string_value(json_object_get(cell, key));
    return found && text ? strcmp(found, text) == 0 : !found && !text;
}

static bool has_number(const json_t *cell, const char *key, int32_t number) {
    const json_t *found = json_object_get(cell, key);
    return json_is_integer(found) && json_integer_value(found) == number;
}

/* The same cell of then; NULL: there is none. */
static const json_t *find(const bench_cell *cell, const json_t *then) {
    size_t i;
    const json_t *other;
    json_array_foreach(json_object_get(then, "cells"), i, other) {
        if (has_number(other, "tokens", cell->length) && has_text(other, "policy", cell->arm->policy) &&
            has_text(other, "budget", cell->arm->budget) &&
            has_text(other, "kv_type", judgeq_kv_type_name(cell->kv_type)) &&
            has_number(other, "threads", cell->n_threads) && has_number(other, "batch", cell->n_batch)) {
            return other;
        }
    }
    return NULL;
}

typedef struct ratios {
    double first_token, decode, kv_peak; /* NaN: one of the two is missing */
} ratios;

static double median_of(const json_t *cell, bench_measure measure) {
    const json_t *median = json_object_get(json_object_get(cell, bench_measure_name(measure)), "median");
    return json_is_number(median) ? json_number_value(median) : (double)NAN;
}

/* NaN also for what nobody could have measured. */
static double ratio(double a, double b) {
    return a > 0 && b > 0 && a / b < 1e6 ? a / b : (double)NAN;
}

static ratios compare(const bench_cell *cell, const json_t *other) {
    const spread *now = cell->spread;
    const json_t *peak = json_object_get(other, "kv_bytes_peak");
    return (ratios){
        .first_token = ratio(median_of(other, BENCH_FIRST_TOKEN), now[BENCH_FIRST_TOKEN].median),
        .decode = ratio(now[BENCH_DECODE].median, median_of(other, BENCH_DECODE)),
        .kv_peak = ratio((double)cell->kv_bytes_peak, json_is_number(peak) ? json_number_value(peak) : (double)NAN)};
}

/* ---- for people -------------------------------------------------------------------------------------------------- */

static void print_ratio(FILE *file, int width, double value) {
    if (isfinite(value)) {
        fprintf(file, "  %*.2f", width, value);
    } else {
        fprintf(file, "  %*s", width, "-");
    }
}

enum { SHOWN = 200 };

static void show(const char *text, char shown[SHOWN]) {
    visible_copy(text ? text : "?", shown, SHOWN);
}

/* What makes ratios say nothing about judgeq or the machine. */
static const char *differs(const bench_setup *setup, const json_t *then) {
    const json_t *decoded = json_object_get(then, "decoded");
    const char *model = json_string_value(json_object_get(json_object_get(then, "model"), "fingerprint"));
    if (!model || strcmp(model, judgeq_model_get_info(setup->model)->file_fingerprint) != 0) {
        return "It was measured with another model.";
    }
    if (json_integer_value(decoded) != setup->options->n_tokens) return "It decoded another number of tokens.";
    return NULL;
}

bool bench_compare_print(const bench_setup *setup, const bench_cells *cells, FILE *file) {
    const json_t *then = setup->then;
    char path[SHOWN], version[SHOWN], processor[SHOWN];
    int policy_width = (int)strlen("policy");
    size_t n_found = 0;
    for (size_t i = 0; i < cells->n_cell; i++) {
        const int width = (int)strlen(cells->cell[i].arm->policy);
        policy_width = width > policy_width ? width : policy_width;
        n_found += find(&cells->cell[i], then) != NULL;
    }
    show(setup->options->compare, path);
    show(json_string_value(json_object_get(then, "version")), version);
    show(json_string_value(json_object_get(then, "processor")), processor);
    fprintf(file, "\nBeside %s (judgeq %s on %s): how many times as fast now, and the share of the memory\n", path,
            version, processor);
    if (differs(setup, then)) fprintf(file, "%s\n", differs(setup, then));
    if (n_found == 0) {
        fprintf(file, "It has none of these cells: use the lengths, policies, budgets, KV types, threads and batches "
                      "that it was measured with.\n");
        return !ferror(file);
    }
    fprintf(file, "%8s  %-*s  %6s  %-4s  %7s  %5s  %11s  %6s  %7s\n", "tokens", policy_width, "policy", "budget", "KV",
            "threads", "batch", "first token", "decode", "KV peak");
    for (size_t i = 0; i < cells->n_cell; i++) {
        const bench_cell *cell = &cells->cell[i];
        const json_t *other = find(cell, then);
        char tokens[32], threads[16];
        if (!other) continue;
        const ratios r = compare(cell, other);
        progress_count(tokens, sizeof tokens, cell->length);
        snprintf(threads, sizeof threads, "%d", (int)cell->n_threads);
        fprintf(file, "%8s  %-*s  %6s  %-4s  %7s  %5d", tokens, policy_width, cell->arm->policy,
                cell->arm->budget ? cell->arm->budget : "-", judgeq_kv_type_name(cell->kv_type),
                cell->n_threads == 0 ? "chosen" : threads, (int)cell->n_batch);
        print_ratio(file, 11, r.first_token);
        print_ratio(file, 6, r.decode);
        print_ratio(file, 7, r.kv_peak);
        fputc('\n', file);
    }
    return !ferror(file);
}

/* ---- for scripts ------------------------------------------------------------------------------------------------- */

json_t *bench_compare_json(const bench_cell *cell, const json_t *then) {
    const json_t *other = find(cell, then);
    if (!other) return json_null();
    const ratios r = compare(cell, other);
    return json_pack("{s:o, s:o, s:o}", "first_token", json_finite(r.first_token), "decode", json_finite(r.decode),
                     "kv_bytes_peak", json_finite(r.kv_peak));
}
