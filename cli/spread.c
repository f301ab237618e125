#include "spread.h"

#include <math.h>
#include <stdlib.h>

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

spread spread_of(double *value, size_t n) {
    const spread none = {NAN, NAN, NAN};
    for (size_t i = 0; i < n; i++) {
        if (isnan(value[i])) return none;
    }
    if (n == 0) return none;
    qsort(value, n, sizeof *value, ascending);
    return (spread){(value[(n - 1) / 2] + value[n / 2]) / 2, value[0], value[n - 1]};
}
