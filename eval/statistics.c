#include "statistics.h"

#include <math.h>
#include <stdlib.h>

#include "chance.h"

enum { RESAMPLES = 2000, FLIPS = 10000 };

/* The end of the stratum that begins at sample `first`. */
static size_t stratum_end(const statistics_series *x, size_t first) {
    size_t end = first;
    while (end < x->n && x->stratum[end] == x->stratum[first]) end++;
    return end;
}

/* What stands for value[i], which is of the stratum [first, end). */
typedef double (*pick)(const statistics_series *x, size_t first, size_t end, size_t i, chance *d);

static double itself(const statistics_series *x, size_t first, size_t end, size_t i, chance *d) {
    (void)first;
    (void)end;
    (void)d;
    return x->value[i];
}

static double any_of_stratum(const statistics_series *x, size_t first, size_t end, size_t i, chance *d) {
    (void)i;
    return x->value[first + chance_below(d, end - first)];
}

static double either_sign(const statistics_series *x, size_t first, size_t end, size_t i, chance *d) {
    (void)first;
    (void)end;
    return chance_below(d, 2) ? x->value[i] : -x->value[i];
}

/* The mean of the strata's means. */
static double mean_of(const statistics_series *x, pick value, chance *d) {
    double sum = 0;
    for (size_t first = 0, end; first < x->n; first = end) {
        double part = 0;
        end = stratum_end(x, first);
        for (size_t i = first; i < end; i++) part += value(x, first, end, i, d);
        sum += part / (double)(end - first);
    }
    return sum / (double)x->n_stratum;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

statistics_estimate statistics_mean(const statistics_series *x) {
    statistics_estimate out = {NAN, NAN, NAN};
    if (x->n == 0) return out;
    out.mean = mean_of(x, itself, NULL);
    double *resample = malloc(RESAMPLES * sizeof *resample);
    if (!resample) return out;
    chance d = chance_from("bootstrap", x->n, x->n_stratum);
    for (int i = 0; i < RESAMPLES; i++) resample[i] = mean_of(x, any_of_stratum, &d);
    qsort(resample, RESAMPLES, sizeof *resample, ascending);
    out.low = resample[RESAMPLES / 40];
    out.high = resample[RESAMPLES - 1 - RESAMPLES / 40];
    free(resample);
    return out;
}

double statistics_sign_flip(const statistics_series *x) {
    if (x->n == 0) return NAN;
    chance d = chance_from("sign flip", x->n, x->n_stratum);
    /* Less what sums lose: they come in another order, and of scores that a file has with nine digits. */
    const double seen = fabs(mean_of(x, itself, NULL)) - 1e-8;
    int as_far = 1; /* the draw that was seen */
    for (int i = 0; i < FLIPS; i++) as_far += fabs(mean_of(x, either_sign, &d)) >= seen;
    return (double)as_far / (FLIPS + 1);
}
