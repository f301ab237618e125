/* The softmax of score rows, against exp() in double precision. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "check.h"
#include "ggml-cpu.h"

#include "cpu/softmax.h"

enum { N_KEY = 96, N_QUERY = 5, N_HEAD = 3, SEEN = 61 };

/* Scores as wide as a trained model's: differences of 1e-30 to 1 in the result. */
static void fill(float *x, size_t n) {
    uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = ((float)(state >> 8) / (float)(1 << 24) - 0.5f) * 400;
    }
}

static void expect_row(const float *score, const float *found, int64_t n, double scale) {
    double most = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++) most = fmax(most, scale * (double)score[i]);
    for (int64_t i = 0; i < n; i++) sum += exp(scale * (double)score[i] - most);
    for (int64_t i = 0; i < n; i++) {
        const double expected = exp(scale * (double)score[i] - most) / sum;
        assert_true(fabs((double)found[i] - expected) <= 1e-5 * expected + 1e-36); /* a float exponent of up to 70 */
    }
}

static void test_rows(void **state) {
    (void)state;
    float score[N_KEY], found[N_KEY];
    for (int64_t n = 1; n <= N_KEY; n++) {
        fill(score, N_KEY);
        for (int64_t i = 0; i < N_KEY; i++) found[i] = score[i];
        softmax_row(found, n, 0.125f);
        expect_row(score, found, n, 0.125);
        for (int64_t i = n; i < N_KEY; i++) assert_true(found[i] == score[i]);
    }
}

static void test_nan_stays(void **state) {
    (void)state;
    float row[20] = {0};
    row[7] = NAN;
    softmax_row(row, 20, 1);
    for (int i = 0; i < 20; i++) assert_true(isnan(row[i]));
}

/* Row i of every head sees SEEN + i keys, whatever follows them, and with any number of threads. */
static void test_causal(void **state) {
    (void)state;
    for (int n_thread = 1; n_thread <= 4; n_thread++) {
        struct ggml_context *context = ggml_init((struct ggml_init_params){.mem_size = 1 << 20});
        struct ggml_tensor *score = ggml_new_tensor_3d(context, GGML_TYPE_F32, N_KEY, N_QUERY, N_HEAD);
        struct ggml_cgraph *graph = ggml_new_graph(context);
        float before[N_KEY * N_QUERY * N_HEAD];
        fill(before, N_KEY * N_QUERY * N_HEAD);
        for (int i = 0; i < N_KEY * N_QUERY * N_HEAD; i++) {
            ((float *)score->data)[i] = i % N_KEY < SEEN + i / N_KEY % N_QUERY ? before[i] : NAN;
        }
        ggml_build_forward_expand(graph, softmax_add_causal(context, score, 0.2f, SEEN));
        assert_int_equal(ggml_graph_compute_with_ctx(context, graph, n_thread), GGML_STATUS_SUCCESS);
        for (int r = 0; r < N_QUERY * N_HEAD; r++) {
            const float *row = (const float *)score->data + (ptrdiff_t)r * N_KEY;
            const int seen = SEEN + r % N_QUERY;
            expect_row(before + (ptrdiff_t)r * N_KEY, row, seen, 0.2f);
            for (int i = seen; i < N_KEY; i++) assert_true(row[i] == 0);
        }
        ggml_free(context);
    }
}

TESTS_MAIN(NULL, NULL, cmocka_unit_test(test_rows), cmocka_unit_test(test_nan_stays), cmocka_unit_test(test_causal))
