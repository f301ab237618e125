#include "glu_back.h"

#include "cpu/every_cpu.h"
#include "cpu/exp2.h"

FOR_EVERY_CPU
static void slopes(const float *flow, const float *gate, const float *up, int64_t n, float *restrict by_gate,
                   float *restrict by_up) {
    for (int64_t i = 0; i < n; i++) {
        const float y = gate[i] * -1.44269504f, share = 1.0f / (1.0f + exp2_of(y > 126.0f ? 126.0f : y));
        const float silu = gate[i] * share;
        by_gate[i] = flow[i] * up[i] * (share + silu * (1.0f - share));
        by_up[i] = flow[i] * silu;
    }
}

static void compute(struct ggml_tensor *out, int thread, int n_thread, void *data) {
    (void)data;
    const int64_t n = out->ne[0] * out->ne[1], first = thread * n / n_thread, end = (thread + 1) * n / n_thread;
    const float *flow = out->src[0]->data, *gate = out->src[1]->data, *up = out->src[2]->data;
    float *to = out->data;
    slopes(flow + first, gate + first, up + first, end - first, to + first, to + n + first);
}

struct ggml_tensor *glu_back_add(struct ggml_context *context, struct ggml_tensor *flow, struct ggml_tensor *gate,
                                 struct ggml_tensor *up) {
    struct ggml_tensor *sources[] = {flow, gate, up};
    return ggml_custom_4d(context, GGML_TYPE_F32, flow->ne[0], flow->ne[1], 2, 1, sources, 3, compute, GGML_N_TASKS_MAX,
                          NULL);
}
