#include "adamw.h"

#include <math.h>
#include <stdlib.h>

#include "base/error.h"

static const double mean_decay = 0.9, square_decay = 0.999, floor_of_root = 1e-8;
static const double pi = 3.14159265358979323846;

judgeq_status adamw_init(adamw *optimiser, size_t n, judgeq_error *error) {
    *optimiser = (adamw){.n = n, .m = calloc(n, sizeof(float)), .v = calloc(n, sizeof(float))};
    if (optimiser->m && optimiser->v) return JUDGEQ_OK;
    adamw_free(optimiser);
    return error_memory(error, "the optimiser's moments");
}

void adamw_free(adamw *optimiser) {
    free(optimiser->m);
    free(optimiser->v);
    *optimiser = (adamw){0};
}

void adamw_update(adamw *optimiser, float *value, const float *gradient, double rate) {
    optimiser->step++;
    const double mean_part = 1 - pow(mean_decay, (double)optimiser->step);
    const double square_part = 1 - pow(square_decay, (double)optimiser->step);
    for (size_t i = 0; i < optimiser->n; i++) {
        const double g = (double)gradient[i];
        const double m = mean_decay * (double)optimiser->m[i] + (1 - mean_decay) * g;
        const double v = square_decay * (double)optimiser->v[i] + (1 - square_decay) * g * g;
        optimiser->m[i] = (float)m;
        optimiser->v[i] = (float)v;
        value[i] -= (float)(rate * (m / mean_part) / (sqrt(v / square_part) + floor_of_root));
    }
}

double adamw_rate(double rate, int64_t step, int64_t n_warm_up, int64_t total) {
    const double rise = step + 1 < n_warm_up ? (double)(step + 1) / (double)n_warm_up : 1;
    return rate * rise * 0.5 * (1 + cos(pi * (double)step / (double)total));
}

double adamw_clip(float *gradient, size_t n, double most) {
    double square = 0;
    for (size_t i = 0; i < n; i++) square += (double)gradient[i] * (double)gradient[i];
    const double length = sqrt(square);
    if (most > 0 && length > most) {
        for (size_t i = 0; i < n; i++) gradient[i] = (float)((double)gradient[i] * (most / length));
    }
    return length;
}
