#include "softmax.h"

#include <math.h>
#include <string.h>

#include "every_cpu.h"
#include "exp2.h"
#include "own_scale.h"
#include "rows.h"

enum { LANES = 16 };

/* The loops are part of whatever is compiled for every CPU. */
#define LOOP static inline __attribute__((always_inline))

/* Written out, because the compiler makes scalars of an array of LANES that a loop carries along. A CPU without such
 * wide registers takes several. */
#pragma GCC diagnostic ignored "-Wpsabi" /* how calls would pass them: there are no calls */
typedef float lanes __attribute__((vector_size(4 * LANES)));
typedef int32_t flags __attribute__((vector_size(4 * LANES)));

LOOP lanes load(const float *at) {
    lanes v;
    memcpy(&v, at, sizeof v);
    return v;
}

/* b where a is not a number. */
LOOP lanes larger(lanes a, lanes b) {
    const flags first = a > b;
    return (lanes)(((flags)a & first) | ((flags)b & ~first));
}

/* Lane k becomes what lane k ^ by was. */
LOOP lanes exchanged(lanes v, int by) {
#if defined(__clang__) /* whose shuffles want their indices as constants */
    lanes out;
    for (int k = 0; k < LANES; k++) out[k] = v[k ^ by];
    return out;
#else
    const flags from = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return __builtin_shuffle(v, from ^ by);
#endif
}

LOOP float largest(const float *x, int64_t n) {
    lanes lane = (lanes){0} - INFINITY;
    float most = -INFINITY;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) lane = larger(load(x + i), lane);
    for (; i < n; i++) most = x[i] > most ? x[i] : most;
    for (int half = LANES / 2; half > 0; half /= 2) lane = larger(lane, exchanged(lane, half));
    return lane[0] > most ? lane[0] : most;
}

LOOP float sum(const float *x, int64_t n) {
    lanes lane = {0};
    float total = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) lane += load(x + i);
    for (; i < n; i++) total += x[i];
    for (int half = LANES / 2; half > 0; half /= 2) lane += exchanged(lane, half);
    return total + lane[0];
}

/* x[i] = exp(scale * (x[i] - most)), for x[i] <= most. */
LOOP void exponentials(float *x, int64_t n, float scale, float most) {
    const float to_base_2 = scale * 1.44269504f;
    for (int64_t i = 0; i < n; i++) x[i] = exp2_of((x[i] - most) * to_base_2);
}

FOR_EVERY_CPU
static void whole_row(float *x, int64_t n, float scale) {
    exponentials(x, n, scale, largest(x, n));
    const float share = 1.0f / sum(x, n);
    for (int64_t i = 0; i < n; i++) x[i] *= share;
}

FOR_EVERY_CPU
static float part_of_row(float *x, int64_t n, float scale, float *most, float *total) {
    const float before = *most, here = largest(x, n);
    if (!(here <= before)) *most = here;
    exponentials(x, n, scale, *most);
    const float factor = *most == before ? 1.0f : expf(scale * (before - *most));
    *total = *total * factor + sum(x, n);
    return factor;
}

/* The compiler would export what it compiles for every CPU. */
void softmax_row(float *x, int64_t n, float scale) {
    whole_row(x, n, scale);
}

float softmax_part(float *x, int64_t n, float scale, float *most, float *total) {
    return part_of_row(x, n, scale, most, total);
}

/* ---- the operation ----------------------------------------------------------------------------------------------- */

static void compute(struct ggml_tensor *out, const struct ggml_tensor *score, int thread, int n_thread, void *data) {
    (void)score; /* out is the same */
    const int64_t seen = (int64_t)(intptr_t)data, n_key = out->ne[0], n = out->ne[1], n_row = n * out->ne[2];
    const float scale = own_scale(out);
    for (int64_t r = thread; r < n_row; r += n_thread) {
        float *row = (float *)(void *)row_of(out, r / n, r % n);
        const int64_t visible = seen + r % n < n_key ? seen + r % n : n_key;
        softmax_row(row, visible, scale);
        memset(row + visible, 0, (size_t)(n_key - visible) * sizeof *row);
    }
}

struct ggml_tensor *softmax_add_causal(struct ggml_context *context, struct ggml_tensor *score, float scale,
                                       int64_t seen) {
    struct ggml_tensor *out =
        ggml_map_custom1_inplace(context, score, compute, GGML_N_TASKS_MAX, (void *)(intptr_t)seen);
    own_scale_set(out, scale);
    return out;
}
