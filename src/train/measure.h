/* measure: how well soft tokens choose: hit rate and attention mass kept, per KV head, as the evaluation reports them.
 */
#ifndef JUDGEQ_SRC_TRAIN_MEASURE_H
#define JUDGEQ_SRC_TRAIN_MEASURE_H

#include "judgeq.h"

/* Sums over examples, to be divided at the end. Numbers of one type, which ranks can add up as an array. */
typedef struct measure_sums {
    double n_examples, n_counted[JUDGEQ_MEASURE_BUDGETS];
    double loss, hit_rate[JUDGEQ_MEASURE_BUDGETS], mass_kept[JUDGEQ_MEASURE_BUDGETS];
    double n_failed; /* ranks that could not measure */
} measure_sums;

/* Adds one example at the budgets [JUDGEQ_MEASURE_BUDGETS], 0 after the last: map and target [n_layer, n_head, n_row],
 * each reduced by the mean over the query heads of a KV head. Without smoothing, and without rows that are always kept.
 */
judgeq_status measure_add(measure_sums *sums, const judgeq_model_info *model, const int32_t *budget, const float *map,
                          const float *target, int64_t n_row, double loss, judgeq_error *error);

judgeq_measures measure_means(const measure_sums *sums, const int32_t *budget);

#endif
