#include "loss.h"

#include <math.h>
#include <stddef.h>

/* Keep the KL divergence finite where a row has no attention at all; the reference's values. */
static const double sum_floor = 1e-9, log_floor = 1e-7;

static double mse(const float *map, const float *target, int64_t n, double weight, float *slope) {
    double loss = 0;
    for (int64_t i = 0; i < n; i++) {
        const double difference = (double)map[i] - (double)target[i];
        loss += difference * difference;
        if (slope) slope[i] = (float)(2 * weight * difference);
    }
    return loss;
}

/* With a = map / A and t = target / T: loss = sum t (log t - log a); da_i/dmap_k = (i == k) / A - a_i / A. */
static double kl(const float *map, const float *target, int64_t n, double weight, float *slope) {
    double map_sum = sum_floor, target_sum = sum_floor;
    for (int64_t i = 0; i < n; i++) {
        map_sum += (double)map[i];
        target_sum += (double)target[i];
    }
    double loss = 0, inner = 0; /* inner: sum of dloss/da_i * a_i */
    for (int64_t i = 0; i < n; i++) {
        const double a = (double)map[i] / map_sum, t = (double)target[i] / target_sum;
        loss += t * (log(t + log_floor) - log(a + log_floor));
        inner -= t * a / (a + log_floor);
    }
    for (int64_t i = 0; slope && i < n; i++) {
        const double a = (double)map[i] / map_sum, t = (double)target[i] / target_sum;
        slope[i] = (float)(weight * (-t / (a + log_floor) - inner) / map_sum);
    }
    return loss;
}

double loss_of_maps(loss_kind kind, const float *map, const float *target, int64_t n_map, int64_t n_row, float *slope) {
    double loss = 0;
    for (int64_t m = 0; m < n_map; m++) {
        const int64_t at = m * n_row;
        float *out = slope ? slope + at : NULL;
        loss += (kind == LOSS_KL ? kl : mse)(map + at, target + at, n_row, 1 / (double)n_map, out);
    }
    return loss / (double)n_map;
}
