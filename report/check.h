/* check: are run.json and the lines of samples.jsonl what docs/evaluation.md says they are? The page's script and the
 * pictures rely on it: files may come from anywhere. */
#ifndef JUDGEQ_REPORT_CHECK_H
#define JUDGEQ_REPORT_CHECK_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* False where a field is of another kind or out of its range; `reason` [size] names it then. What is optional may be
 * missing or null. */
bool check_run(const json_t *run, char *reason, size_t size);
/* The same for a line; its results must also be those of the run's policies and budgets. */
bool check_line(const json_t *run, const json_t *line, char *reason, size_t size);

#endif
