/* results: what a run of judgeq eval left in its folder (docs/evaluation.md), ordered for pictures. The files may come
 * from anywhere: whatever they lack is NaN or "?", and lines that are not what they should be are left out. */
#ifndef JUDGEQ_REPORT_RESULTS_H
#define JUDGEQ_REPORT_RESULTS_H

#include "eval/records.h"

/* A policy and its budgets: results [first, first + n) of every line. The first policy is the full cache. */
typedef struct results_policy {
    const char *name; /* as given */
    size_t first, n;
    size_t look; /* of its series in charts (chart.h) */
} results_policy;

typedef struct results {
    records records;
    json_t *summary; /* summary_make's */
    json_t *damaged; /* array of {"key", "reason"}: lines that are left out */
    json_t **line;   /* [n_line]; the records' */
    size_t n_line;
    results_policy *policy; /* [n_policy] */
    size_t n_policy, n_arm; /* n_arm: results in a line */
} results;

/* versus: the policy that is tested against the others; NULL: the last. Fails with IO or FORMAT. */
judgeq_status results_load(const char *folder, const char *versus, results *out, judgeq_error *error);
void results_free(results *results);

/* The first policy with budgets; NULL where all keep everything. */
const results_policy *results_first_budgets(const results *results);

/* As given, "64" or "5%"; NULL for a full cache. */
const char *results_budget(const results *results, size_t arm);

/* True where the line belongs to a group of the summary. */
bool results_in_group(const json_t *line, const json_t *group);

/* The mean of a number of the arm's results over the lines of a group (NULL: all lines); NaN where there is none. */
double results_mean(const results *results, const json_t *group, size_t arm, const char *key);

/* A number of the line's result, or NaN. */
double results_number(const json_t *line, size_t arm, const char *key);

#endif
