/* statistics: means with intervals, and whether a difference is more than chance. Samples belong to strata (a task at a
 * length); a mean over several strata weighs them equally, however many samples each has. */
#ifndef JUDGEQ_EVAL_STATISTICS_H
#define JUDGEQ_EVAL_STATISTICS_H

#include <stddef.h>

typedef struct statistics_series {
    double *value;   /* [n] */
    size_t *stratum; /* [n], ascending, 0 to n_stratum - 1, none of them empty */
    size_t n, n_stratum;
} statistics_series;

typedef struct statistics_estimate {
    double mean, low, high; /* NaN without samples */
} statistics_estimate;

/* The mean, and its 95 % interval: percentiles of 2,000 bootstrap resamples, drawn within each stratum (Efron 1979).
 * The same series gives the same interval. NaN bounds without memory. */
statistics_estimate statistics_mean(const statistics_series *x);

/* Of paired differences: how often chance alone, flipping their signs, gives a mean at least as far from 0: a two-sided
 * permutation test (Fisher 1935) with 10,000 draws. */
double statistics_sign_flip(const statistics_series *x);

#endif
