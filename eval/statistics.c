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

static double plain_mean(const statistics_series *x) {
    double sum = 0;
    for (size_t first = 0, end; first < x->n; first = end) {
        double part = 0;
        end = stratum_end(x, first);
        for (size_t i = first; i < end; i++) part += x->value[i];
        sum += part / (double)(end - first);
    }
    return sum / (double)x->n_stratum;
}

static double resampled_mean(const statistics_series *x, chance *d) {
    double sum = 0;
    for (size_t first = 0, end; first < x->n; first = end) {
        double part = 0;
        end = stratum_end(x, first);
        for (size_t i = first; i < end; i++) part += x->value[first + chance_below(d, end - first)];
        sum += part / (double)(end - first);
    }
    return sum / (double)x->n_stratum;
}

static double flipped_mean(const statistics_series *x, chance *d) {
    double sum = 0;
    for (size_t first = 0, end; first < x->n; first = end) {
        double part = 0;
        end = stratum_end(x, first);
        for (size_t i = first; i < end; i++) part += chance_below(d, 2) ? x->value[i] : -x->value[i];
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
    out.mean = plain_mean(x);
    double *resample = malloc(RESAMPLES * sizeof *resample);
    if (!resample) return out;
    chance d = chance_from("bootstrap", x->n, x->n_stratum);
    for (int i = 0; i < RESAMPLES; i++) resample[i] = resampled_mean(x, &d);
    qsort(resample, RESAMPLES, sizeof *resample, ascending);
    out.low = resample[RESAMPLES / 40];
    out.high = resample[RESAMPLES - 1 - RESAMPLES / 40];
    free(resample);
    return out;
}

double statistics_sign_flip(const statistics_series *x) {
    if (x->n == 0) return NAN;
    chance d = chance_from("sign flip", x->n, x->n_stratum);
    const double seen = fabs(plain_mean(x)) * (1 - 1e-12); /* equal sums in another order are equal */
    int as_far = 1;                                        /* the draw that was seen */
    for (int i = 0; i < FLIPS; i++) as_far += fabs(flipped_mean(x, &d)) >= seen;
    return (double)as_far / (FLIPS + 1);
}
