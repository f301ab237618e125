#include "hadamard.h"

#include <math.h>
#include <string.h>

#include "every_cpu.h"
#include "rows.h"

enum { LEAST_BLOCK = 64 };

bool hadamard_applies(enum ggml_type type, int32_t head_dim) {
    return ggml_is_quantized(type) && head_dim % LEAST_BLOCK == 0;
}

/* n: a power of 2, and a multiple of LEAST_BLOCK. */
FOR_EVERY_CPU
static void hadamard_block(float *x, int32_t n) {
    for (int32_t half = 1; half < n; half *= 2) {
        for (int32_t first = 0; first < n; first += 2 * half) {
            for (int32_t i = first; i < first + half; i++) {
                const float a = x[i], b = x[i + half];
                x[i] = a + b;
                x[i + half] = a - b;
            }
        }
    }
    const float scale = 1.0f / sqrtf((float)n);
    for (int32_t i = 0; i < n; i++) x[i] *= scale;
}

void hadamard_row(float *x, int32_t head_dim) {
    const int32_t block = head_dim & -head_dim;
    for (int32_t first = 0; first < head_dim; first += block) hadamard_block(x + first, block);
}

static void compute(struct ggml_tensor *out, const struct ggml_tensor *x, int thread, int n_thread, void *data) {
    (void)data;
    for (int64_t r = thread; r < x->ne[1] * x->ne[2]; r += n_thread) {
        const int64_t slice = r / x->ne[1], row = r % x->ne[1];
        float *to = (float *)(void *)row_of(out, slice, row);
        memcpy(to, row_of(x, slice, row), (size_t)x->ne[0] * sizeof *to);
        hadamard_row(to, (int32_t)x->ne[0]);
    }
}

struct ggml_tensor *hadamard_add(struct ggml_context *context, struct ggml_tensor *x) {
    return ggml_map_custom1(context, x, compute, GGML_N_TASKS_MAX, NULL);
}
