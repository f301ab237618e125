/* layers: which share of the best rows each layer has, by the scores that a policy with soft tokens ranks rows by. Some
 * layers attend to few rows of a text and others to many, much the same ones for any text. So a judge says how layers
 * share out a budget, before a text is read and without a look at all layers first. */
#ifndef JUDGEQ_SRC_TRAIN_LAYERS_H
#define JUDGEQ_SRC_TRAIN_LAYERS_H

#include "judgeq.h"

/* Adds to count[n_layer]: of the `budget` rows per KV head that score [n_layer, n_head_kv, n_row] ranks first among all
 * rows of all layers, those of each layer, as shares of what a layer has on average. Where n_row is no more than that,
 * or the budget is 0, nothing is added. */
judgeq_status layers_count(double *count, const judgeq_model_info *model, int32_t budget, const float *score,
                           int64_t n_row, judgeq_error *error);

/* Reads a prompt with the judge, and counts at the budgets [JUDGEQ_MEASURE_BUDGETS]. Of `params`, threads, KV type and
 * progress. */
judgeq_status layers_add(double *count, const judgeq_model *model, const judgeq_judge *judge,
                         const judgeq_session_params *params, const int32_t *budget, const int32_t *prompt,
                         size_t n_prompt, judgeq_error *error);

#endif
