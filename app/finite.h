/* finite: a number in JSON, which has no NaN and no infinity. */
#ifndef JUDGEQ_APP_FINITE_H
#define JUDGEQ_APP_FINITE_H

#include <jansson.h>
#include <math.h>

/* null for a number that is not finite. */
static inline json_t *json_finite(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

#endif
