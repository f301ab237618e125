/* summary: the lines of a run -> means with intervals, per task and over all tasks, and paired tests. */
#ifndef JUDGEQ_EVAL_SUMMARY_H
#define JUDGEQ_EVAL_SUMMARY_H

#include <stdio.h>

#include "records.h"

/* {"groups": [{"task", "family", "length", "length_group", "samples", "prompt_tokens", "rows": [{"policy", "budget",
 * "right", "score": {"mean", "low", "high"}, and in the same way "hit_rate", "mass_kept", "kl", "perplexity",
 * "kv_bytes_held", "kv_bytes_peak", "decode_tokens_per_s"}]}], "paired": [{"policy", "other", "budget", "difference":
 * {...}, "p"}], "left_out"}. right: the number of samples with a score of 1. left_out: of those that could not be
 * asked. The first group has task null: all tasks together, if there are several. paired: `versus` (a policy as given,
 * NULL: the last) against every other. NULL without memory. */
json_t *summary_make(const records *records, const char *versus);

/* As Markdown tables. False, with errno set, where the file takes no more. */
bool summary_print(const json_t *summary, FILE *file);

#endif
