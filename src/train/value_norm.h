/* value_norm: targets weighted by the size of the values that they attend to. What a row adds to the output of
 * attention is its weight times its value, so rows with small values matter less than their attention says (Feng et
 * al., CriticalKV, arXiv 2502.03805, who weigh by the L1 norm of the value after the output projection; here the
 * value's own). */
#ifndef JUDGEQ_SRC_TRAIN_VALUE_NORM_H
#define JUDGEQ_SRC_TRAIN_VALUE_NORM_H

#include "example.h"

/* out [n_layer, n_head, n_prompt] = the example's target, each times the L1 norm of the row's value in its KV head, and
 * every map scaled to the sum it had. norm [n_prompt]: scratch. */
void value_norm_weigh(const example *e, float *norm, float *out);

#endif
