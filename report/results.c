#include "results.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/visible.h"
#include "check.h"
#include "eval/summary.h"

enum { FULL_LOOK = 7, N_LOOKS = 8 }; /* the full cache has the text's colour; no policy shares it */

static const json_t *result_of(const json_t *line, size_t arm) {
    return json_array_get(json_object_get(line, "results"), arm);
}

static const char *policy_of(const results *r, size_t arm) {
    const char *name = json_string_value(json_object_get(result_of(r->line[0], arm), "policy"));
    return name ? name : "?";
}

/* Neighbouring results of one policy are its budgets. */
static void find_policies(results *r) {
    for (size_t arm = 0; arm < r->n_arm; arm++) {
        results_policy *last = r->n_policy > 0 ? &r->policy[r->n_policy - 1] : NULL;
        if (last && last->first > 0 && strcmp(last->name, policy_of(r, arm)) == 0) {
            last->n++;
            continue;
        }
        const size_t i = r->n_policy++;
        const size_t look = i == 0 ? FULL_LOOK : i - 1 + (i - 1) / (N_LOOKS - 1);
        r->policy[i] = (results_policy){.name = policy_of(r, arm), .first = arm, .n = 1, .look = look};
    }
}

static judgeq_status order(results *r, const char *folder, const char *versus, judgeq_error *error) {
    const char *key;
    json_t *line;
    const size_t n = json_object_size(r->records.lines);
    if (n == 0) return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: no sample is finished yet", folder);
    r->line = calloc(n, sizeof(json_t *));
    if (!r->line) return error_memory(error, "samples");
    json_object_foreach(r->records.lines, key, line) r->line[r->n_line++] = line;
    r->n_arm = json_array_size(json_object_get(r->line[0], "results"));
    if (r->n_arm == 0) return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: a sample has no results", folder);
    r->policy = calloc(r->n_arm, sizeof *r->policy);
    if (!r->policy) return error_memory(error, "policies");
    find_policies(r);
    r->summary = summary_make(&r->records, versus);
    return r->summary ? JUDGEQ_OK : error_memory(error, "the summary");
}

/* Takes out the lines that are not what they should be, and says so in r->damaged. */
static judgeq_status check(results *r, const char *folder, judgeq_error *error) {
    char reason[256];
    const char *key;
    json_t *line;
    void *next;
    if (!check_run(r->records.run, reason, sizeof reason)) {
        return error_set(error, JUDGEQ_ERROR_FORMAT, "%s/run.json: %s", folder, reason);
    }
    r->damaged = json_incref(r->records.damaged);
    json_object_foreach_safe(r->records.lines, next, key, line) {
        if (check_line(r->records.run, line, reason, sizeof reason)) continue;
        json_t *one = json_pack("{s:s, s:s}", "key", key, "reason", reason);
        if (json_array_append_new(r->damaged, one) != 0) return error_memory(error, "samples");
        json_object_del(r->records.lines, key);
    }
    if (json_array_size(r->damaged) == 0 || json_object_size(r->records.lines) > 0) return JUDGEQ_OK;
    const json_t *first = json_array_get(r->damaged, 0);
    return error_set(error, JUDGEQ_ERROR_FORMAT, "%s/samples.jsonl: all %zu records are damaged: %.*s: %.200s", folder,
                     json_array_size(r->damaged), VISIBLE_FIT(json_string_value(json_object_get(first, "key")), 100),
                     json_string_value(json_object_get(first, "reason")));
}

static judgeq_status check_versus(const results *r, const char *versus, judgeq_error *error) {
    for (size_t i = 0; versus && i < r->n_policy; i++) {
        if (strcmp(r->policy[i].name, versus) == 0) return JUDGEQ_OK;
    }
    return versus ? error_set(error, JUDGEQ_ERROR_ARGUMENT, "--versus %.*s: is none of the run's policies",
                              VISIBLE_FIT(versus, 100))
                  : JUDGEQ_OK;
}

judgeq_status results_load(const char *folder, const char *versus, results *out, judgeq_error *error) {
    *out = (results){0};
    judgeq_status status = records_read(folder, &out->records, error);
    if (status == JUDGEQ_OK) status = check(out, folder, error);
    if (status == JUDGEQ_OK) status = order(out, folder, versus, error);
    if (status == JUDGEQ_OK) status = check_versus(out, versus, error);
    if (status != JUDGEQ_OK) results_free(out);
    return status;
}

void results_free(results *r) {
    json_decref(r->summary);
    json_decref(r->damaged);
    free(r->policy);
    free((void *)r->line);
    records_close(&r->records);
    *r = (results){0};
}

const char *results_budget(const results *r, size_t arm) {
    return json_string_value(json_object_get(result_of(r->line[0], arm), "budget"));
}

const results_policy *results_first_budgets(const results *r) {
    for (size_t i = 1; i < r->n_policy; i++) {
        if (results_budget(r, r->policy[i].first)) return &r->policy[i];
    }
    return NULL;
}

/* What is not there is null. */
static bool same(const json_t *a, const json_t *b, const char *key) {
    const json_t *x = json_object_get(a, key), *y = json_object_get(b, key);
    const bool none = !x || json_is_null(x);
    return none ? !y || json_is_null(y) : json_equal(x, y);
}

bool results_in_group(const json_t *line, const json_t *group) {
    if (!group || !json_is_string(json_object_get(group, "task"))) return true; /* all tasks together */
    return same(line, group, "family") && same(line, group, "task") && same(line, group, "length") &&
           same(line, group, "length_group");
}

double results_number(const json_t *line, size_t arm, const char *key) {
    const json_t *value = json_object_get(result_of(line, arm), key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

double results_mean(const results *r, const json_t *group, size_t arm, const char *key) {
    double sum = 0;
    size_t n = 0;
    for (size_t i = 0; i < r->n_line; i++) {
        const double value = results_number(r->line[i], arm, key);
        if (!isfinite(value) || !results_in_group(r->line[i], group)) continue;
        sum += value;
        n++;
    }
    return n > 0 ? sum / (double)n : NAN;
}
