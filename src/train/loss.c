#include "loss.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "cpu/every_cpu.h"

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

enum { LANES = 8 };

static double sum_of_lanes(const double lane[LANES]) {
    double sum = 0;
    for (int k = 0; k < LANES; k++) sum += lane[k];
    return sum;
}

FOR_EVERY_CPU
static double sum_of(const float *x, int64_t n) {
    double lane[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int k = 0; k < LANES; k++) lane[k] += (double)x[i + k];
    }
    for (; i < n; i++) lane[0] += (double)x[i];
    return sum_of_lanes(lane);
}

/* The natural logarithm of a normal number above 0, to about 1e-14, or of NaN, in a form that the compiler makes vector
 * code of. x = 2^k m with m from sqrt(1/2) to sqrt(2); log m = 2 artanh s with s = (m - 1) / (m + 1). Adding `magic`
 * makes a double of k, which then stands in its lowest bits. */
static inline double log_of(double x) {
    const uint64_t half = 0x3fe6a09e667f3bcd, one = UINT64_C(1023) << 52; /* sqrt(1/2), and the exponent of 1 */
    const double magic = 0x1.8p52;
    uint64_t bits, whole;
    memcpy(&bits, &x, sizeof bits);
    const uint64_t k = (bits - half + one) >> 52; /* and 1023 */
    bits = bits - (k << 52) + one;
    double m, power;
    memcpy(&m, &bits, sizeof m);
    memcpy(&whole, &magic, sizeof whole);
    whole += k;
    memcpy(&power, &whole, sizeof power);
    const double s = (m - 1) / (m + 1), t = s * s;
    const double series =
        1 + t * (1.0 / 3 + t * (1.0 / 5 + t * (1.0 / 7 + t * (1.0 / 9 + t * (1.0 / 11 + t * (1.0 / 13 + t / 15))))));
    return (power - magic - 1023) * 0.693147180559945309 + 2 * s * series + (x - x);
}

/* Sums over a map, of a = map / A and t = target / T. */
typedef struct kl_sums {
    double loss;  /* t (log t - log a) */
    double inner; /* dloss/da a */
} kl_sums;

static inline void add_element(double map, double target, double *loss, double *inner) {
    const double share = 1 / (map + log_floor);
    *loss += target * log_of((target + log_floor) * share);
    *inner -= target * map * share;
}

FOR_EVERY_CPU
static kl_sums sum_kl(const float *map, const float *target, int64_t n, double map_share, double target_share) {
    double loss[LANES] = {0}, inner[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int k = 0; k < LANES; k++) {
            add_element((double)map[i + k] * map_share, (double)target[i + k] * target_share, &loss[k], &inner[k]);
        }
    }
    for (; i < n; i++) add_element((double)map[i] * map_share, (double)target[i] * target_share, loss, inner);
    return (kl_sums){sum_of_lanes(loss), sum_of_lanes(inner)};
}

FOR_EVERY_CPU
static void slope_of_kl(const float *map, const float *target, int64_t n, double map_share, double target_share,
                        double inner, double scale, float *restrict slope) {
    for (int64_t i = 0; i < n; i++) {
        const double a = (double)map[i] * map_share, t = (double)target[i] * target_share;
        slope[i] = (float)(scale * (-t / (a + log_floor) - inner));
    }
}

/* With a = map / A and t = target / T: loss = sum t (log t - log a); da_i/dmap_k = (i == k) / A - a_i / A. */
static double kl(const float *map, const float *target, int64_t n, double weight, float *slope) {
    const double map_share = 1 / (sum_floor + sum_of(map, n)), target_share = 1 / (sum_floor + sum_of(target, n));
    const kl_sums sums = sum_kl(map, target, n, map_share, target_share);
    if (slope) slope_of_kl(map, target, n, map_share, target_share, sums.inner, weight * map_share, slope);
    return sums.loss;
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
