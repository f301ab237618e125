/* spread: what several repetitions of a measurement say: their median, and the range that they fell into. */
#ifndef JUDGEQ_CLI_SPREAD_H
#define JUDGEQ_CLI_SPREAD_H

#include <stddef.h>

typedef struct spread {
    double median, low, high; /* NaN where there are no values, or one of them is NaN */
} spread;

/* Of value[0..n), which it sorts. The median of an even number of values is the mean of the middle two. */
spread spread_of(double *value, size_t n);

#endif
