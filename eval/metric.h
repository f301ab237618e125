/* metric: an answer and its references -> a score from 0 to 1. */
#ifndef JUDGEQ_EVAL_METRIC_H
#define JUDGEQ_EVAL_METRIC_H

#include <jansson.h>

typedef struct metric metric;

/* By name, NULL where there is none: docs/evaluation.md lists them. */
const metric *metric_find(const char *name);
const char *metric_name(const metric *metric);

/* references: array of texts, not empty. classes: array of texts, for classification; or NULL. NaN without memory. */
double metric_score(const metric *metric, const char *answer, const json_t *references, const json_t *classes);

#endif
