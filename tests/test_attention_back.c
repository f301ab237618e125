/* The backward pass of the soft rows' attention and of the gated feed-forward layer, against their definitions in F64:
 * sizes that fit no block, with one thread and with several. */
#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "train/attention_back.h"
#include "train/glu_back.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

/* More than a block of head_dim, of rows (48 in 3 x 19) and of keys, and a rest of each. */
enum { HEADS = 6, HEADS_KV = 2, GROUP = HEADS / HEADS_KV, SOFT = 19, PROMPT = 70, KEYS = 96, DIM = 140 };
enum { FF = 37, THREADS_MOST = 3 };

typedef struct values {
    float attention[HEADS][SOFT][KEYS], slope[HEADS][PROMPT], flow[SOFT][HEADS][DIM], query[SOFT][HEADS][DIM];
    float value[HEADS_KV][DIM][KEYS];
    float score[HEADS][SOFT][KEYS], own[SOFT][HEADS_KV][DIM];
} values;

static void fill(float *x, size_t n, uint32_t state) {
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(state >> 8) * 0x1p-23f - 1;
    }
}

/* Rows of a causal softmax: nothing after a soft row's own key. */
static void fill_attention(values *v) {
    fill(&v->attention[0][0][0], sizeof v->attention / sizeof(float), 1);
    for (int h = 0; h < HEADS; h++) {
        for (int s = 0; s < SOFT; s++) {
            float sum = 0;
            for (int k = 0; k < KEYS; k++) {
                v->attention[h][s][k] = k <= PROMPT + s ? expf(3 * v->attention[h][s][k]) : 0;
                sum += v->attention[h][s][k];
            }
            for (int k = 0; k < KEYS; k++) v->attention[h][s][k] /= sum;
        }
    }
}

static values *values_new(enum ggml_type type) {
    values *v = malloc(sizeof *v);
    assert_non_null(v);
    fill_attention(v);
    fill(&v->slope[0][0], sizeof v->slope / sizeof(float), 2);
    fill(&v->flow[0][0][0], sizeof v->flow / sizeof(float), 3);
    fill(&v->query[0][0][0], sizeof v->query / sizeof(float), 4);
    float *value = &v->value[0][0][0];
    const size_t n = sizeof v->value / sizeof(float);
    fill(value, n, 5);
    for (size_t i = 0; type == GGML_TYPE_F16 && i < n; i++) value[i] = ggml_fp16_to_fp32(ggml_fp32_to_fp16(value[i]));
    return v;
}

/* The definition of attention_back_scores. */
static void expect_scores(const values *v, bool with_flow, double *score) {
    for (int h = 0; h < HEADS; h++) {
        for (int s = 0; s < SOFT; s++, score += KEYS) {
            double sum = 0, by_p[KEYS];
            for (int k = 0; k < KEYS; k++) {
                by_p[k] = k < PROMPT ? (double)v->slope[h][k] / SOFT : 0;
                for (int d = 0; with_flow && d < DIM; d++) {
                    by_p[k] += (double)v->flow[s][h][d] * (double)v->value[h / GROUP][d][k];
                }
                sum += (double)v->attention[h][s][k] * by_p[k];
            }
            for (int k = 0; k < KEYS; k++) score[k] = (double)v->attention[h][s][k] * (by_p[k] - sum) * 0.2f;
        }
    }
}

/* That of attention_back_own. */
static void expect_own(const values *v, double *own) {
    memset(own, 0, (size_t)SOFT * HEADS_KV * DIM * sizeof *own);
    for (int h = 0; h < HEADS; h++) {
        for (int s = 0; s < SOFT; s++) {
            for (int k = 0; k < SOFT; k++) {
                double *to = own + ((ptrdiff_t)k * HEADS_KV + h / GROUP) * DIM;
                for (int d = 0; d < DIM; d++) {
                    to[d] += (double)v->attention[h][s][PROMPT + k] * (double)v->query[s][h][d];
                }
            }
        }
    }
}

static void check(const char *what, const float *found, const double *expected, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (!(fabs((double)found[i] - expected[i]) <= 2e-6)) {
            fail_msg("%s %zu: %g, expected %g", what, i, (double)found[i], expected[i]);
        }
    }
}

typedef struct bench {
    ggml_backend_t backend;
    ggml_gallocr_t allocator;
    struct ggml_context *context;
    struct ggml_cgraph *nodes;
} bench;

static bench bench_open(void) {
    bench b = {.backend = ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_CPU, NULL)};
    assert_non_null(b.backend);
    b.allocator = ggml_gallocr_new(ggml_backend_get_default_buffer_type(b.backend));
    b.context = ggml_init((struct ggml_init_params){.mem_size = 1 << 20, .no_alloc = true});
    b.nodes = ggml_new_graph(b.context);
    return b;
}

static void bench_close(bench *b) {
    ggml_gallocr_free(b->allocator);
    ggml_free(b->context);
    ggml_backend_free(b->backend);
}

static struct ggml_tensor *input(bench *b, enum ggml_type type, int64_t ne0, int64_t ne1, int64_t ne2) {
    struct ggml_tensor *tensor = ggml_new_tensor_3d(b->context, type, ne0, ne1, ne2);
    ggml_set_input(tensor);
    ggml_set_output(tensor); /* it is there for the next run, too */
    return tensor;
}

static void add_output(bench *b, struct ggml_tensor *tensor) {
    ggml_set_output(tensor);
    ggml_build_forward_expand(b->nodes, tensor);
}

static void set_value(struct ggml_tensor *tensor, const float *from) {
    if (tensor->type == GGML_TYPE_F32) {
        ggml_backend_tensor_set(tensor, from, 0, ggml_nbytes(tensor));
    } else {
        ggml_fp32_to_fp16_row(from, tensor->data, ggml_nelements(tensor));
    }
}

static void check_attention(enum ggml_type type, bool with_flow) {
    static double expected_score[HEADS * SOFT * KEYS], expected_own[SOFT * HEADS_KV * DIM];
    static values first;
    bench b = bench_open();
    values *v = values_new(type);
    expect_scores(v, with_flow, expected_score);
    expect_own(v, expected_own);
    struct ggml_tensor *attention = input(&b, GGML_TYPE_F32, KEYS, SOFT, HEADS);
    struct ggml_tensor *slope = input(&b, GGML_TYPE_F32, PROMPT, HEADS, 1),
                       *value = input(&b, type, KEYS, DIM, HEADS_KV);
    struct ggml_tensor *flow = input(&b, GGML_TYPE_F32, DIM, HEADS, SOFT);
    struct ggml_tensor *query = input(&b, GGML_TYPE_F32, DIM, HEADS, SOFT);
    struct ggml_tensor *score =
        attention_back_scores(b.context, attention, slope, value, with_flow ? flow : NULL, 0.2f);
    struct ggml_tensor *own = attention_back_own(b.context, attention, query, HEADS_KV, PROMPT);
    ggml_build_forward_expand(b.nodes, flow);
    add_output(&b, score);
    add_output(&b, own);
    assert_true(ggml_gallocr_alloc_graph(b.allocator, b.nodes));
    ggml_backend_tensor_set(attention, v->attention, 0, sizeof v->attention);
    ggml_backend_tensor_set(slope, v->slope, 0, sizeof v->slope);
    ggml_backend_tensor_set(flow, v->flow, 0, sizeof v->flow);
    ggml_backend_tensor_set(query, v->query, 0, sizeof v->query);
    set_value(value, &v->value[0][0][0]);
    for (int n_thread = 1; n_thread <= THREADS_MOST; n_thread++) {
        ggml_backend_cpu_set_n_threads(b.backend, n_thread);
        assert_int_equal(ggml_backend_graph_compute(b.backend, b.nodes), GGML_STATUS_SUCCESS);
        ggml_backend_tensor_get(score, v->score, 0, sizeof v->score);
        ggml_backend_tensor_get(own, v->own, 0, sizeof v->own);
        check("score", &v->score[0][0][0], expected_score, sizeof v->score / sizeof(float));
        check("own row", &v->own[0][0][0], expected_own, sizeof v->own / sizeof(float));
        if (n_thread == 1) first = *v;
        assert_memory_equal(v->score, first.score, sizeof first.score);
        assert_memory_equal(v->own, first.own, sizeof first.own);
    }
    free(v);
    bench_close(&b);
}

static void test_attention(void **state) {
    (void)state;
    check_attention(GGML_TYPE_F32, true);
    check_attention(GGML_TYPE_F16, true);
    check_attention(GGML_TYPE_F16, false);
}

/* From gates that silu leaves as they are to those that it makes zero. */
static void test_glu(void **state) {
    (void)state;
    static float flow[SOFT * FF], gate[SOFT * FF], up[SOFT * FF], found[2 * SOFT * FF];
    static double expected[2 * SOFT * FF];
    const int n = SOFT * FF;
    fill(flow, (size_t)n, 6);
    fill(up, (size_t)n, 7);
    for (int i = 0; i < n; i++) {
        gate[i] = ((float)i - 0.5f * (float)n) / 3;
        const double share = 1 / (1 + exp(-(double)gate[i])), slope = share * (1 + (double)gate[i] * (1 - share));
        expected[i] = (double)flow[i] * (double)up[i] * slope;
        expected[n + i] = (double)flow[i] * (double)gate[i] * share;
    }
    bench b = bench_open();
    struct ggml_tensor *flows = input(&b, GGML_TYPE_F32, FF, SOFT, 1), *gates = input(&b, GGML_TYPE_F32, FF, SOFT, 1);
    struct ggml_tensor *ups = input(&b, GGML_TYPE_F32, FF, SOFT, 1);
    struct ggml_tensor *both = glu_back_add(b.context, flows, gates, ups);
    add_output(&b, both);
    assert_true(ggml_gallocr_alloc_graph(b.allocator, b.nodes));
    ggml_backend_tensor_set(flows, flow, 0, sizeof flow);
    ggml_backend_tensor_set(gates, gate, 0, sizeof gate);
    ggml_backend_tensor_set(ups, up, 0, sizeof up);
    for (int n_thread = 1; n_thread <= THREADS_MOST; n_thread++) {
        ggml_backend_cpu_set_n_threads(b.backend, n_thread);
        assert_int_equal(ggml_backend_graph_compute(b.backend, b.nodes), GGML_STATUS_SUCCESS);
        ggml_backend_tensor_get(both, found, 0, sizeof found);
        for (int i = 0; i < 2 * n; i++) {
            if (!(fabs((double)found[i] - expected[i]) <= 1e-6 * (1 + fabs(expected[i])))) {
                fail_msg("%d: %g, expected %g", i, (double)found[i], expected[i]);
            }
        }
    }
    bench_close(&b);
}

TESTS_MAIN(NULL, NULL, cmocka_unit_test(test_attention), cmocka_unit_test(test_glu))
