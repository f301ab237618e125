/* adamw: Adam with bias correction (Kingma and Ba, 2015; decoupled weight decay is 0, so it is AdamW's update too), and
 * the schedule of its rate. */
#ifndef JUDGEQ_SRC_TRAIN_ADAMW_H
#define JUDGEQ_SRC_TRAIN_ADAMW_H

#include <stddef.h>
#include <stdint.h>

#include "judgeq.h"

typedef struct adamw {
    size_t n;
    int64_t step; /* updates made */
    float *m, *v; /* [n]: moving means of the gradient and of its square */
} adamw;

judgeq_status adamw_init(adamw *optimiser, size_t n, judgeq_error *error);
/* Accepts a zeroed optimiser. */
void adamw_free(adamw *optimiser);

/* One update of value [n] against gradient [n]. */
void adamw_update(adamw *optimiser, float *value, const float *gradient, double rate);

/* The rate of update `step` (from 0) of `total`: a linear rise over the first n_warm_up, times a cosine from 1 to 0. */
double adamw_rate(double rate, int64_t step, int64_t n_warm_up, int64_t total);

/* Scales gradient [n] down to this length if it is longer; most <= 0: never. Returns the length that it had. */
double adamw_clip(float *gradient, size_t n, double most);

#endif
