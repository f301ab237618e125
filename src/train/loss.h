/* loss: how far the soft tokens' mean attention is from what the response attends to, and the slope of that. Plain
 * arrays, computed in F64. */
#ifndef JUDGEQ_SRC_TRAIN_LOSS_H
#define JUDGEQ_SRC_TRAIN_LOSS_H

#include <stdint.h>

typedef enum loss_kind {
    LOSS_KL, /* KL(target || map) after both are renormalised over the prompt, in nats */
    LOSS_MSE /* squared error summed over positions (Judge Q, equation 5, up to a constant factor) */
} loss_kind;

/* Mean over n_map maps (layers times heads) of [n_map, n_row] attention against its target; all values >= 0.
 * slope [n_map, n_row], or NULL: the derivative of the loss by every value of `map`. */
double loss_of_maps(loss_kind kind, const float *map, const float *target, int64_t n_map, int64_t n_row, float *slope);

#endif
