/* Products of a few rows: bit for bit those that ggml computes for each row alone, for all types that there is a kernel
 * for, for sizes that are no multiples of what a kernel takes at once, and for any number of threads. On a processor
 * without kernels this holds only that there are none. */
#include "cpu/dots.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "engine/dots_check.h"
#include "ggml-cpu.h"
#include "judgeq.h"

typedef struct shape {
    int64_t n_row, n_column;
} shape;

static const enum ggml_type TYPES[] = {GGML_TYPE_Q4_0, GGML_TYPE_Q4_1, GGML_TYPE_Q5_0, GGML_TYPE_Q5_1,
                                       GGML_TYPE_Q8_0, GGML_TYPE_Q4_K, GGML_TYPE_Q5_K, GGML_TYPE_Q6_K};
static const shape SHAPES[] = {{64, 256}, {4, 512}, {61, 768}, {7, 32}, {9, 288}, {6, 2560}};
static const int64_t N[] = {1, 2, 3, 4, 5, 31};
enum { N_MOST = 31 };

static float value_at(int64_t i) {
    return ldexpf(sinf((float)(i % 99991)) + 0.25f * cosf(1.7f * (float)i), (int)(i / 64 % 7) - 3);
}

/* The products of rows `from` on with the matrix, both ways: [n, n_row]. */
static void compute(struct ggml_tensor *matrix, int64_t from, int64_t n, int n_thread, float *own, float *ggml) {
    struct ggml_context *context = ggml_init((struct ggml_init_params){.mem_size = 16 << 20});
    struct ggml_tensor *x = ggml_new_tensor_2d(context, GGML_TYPE_F32, matrix->ne[0], n);
    for (int64_t i = 0; i < ggml_nelements(x); i++) ((float *)x->data)[i] = value_at(from * matrix->ne[0] + i);
    struct ggml_tensor *result = dots_multiply(context, matrix, ggml_cast(context, x, dots_x_type(matrix->type)));
    struct ggml_cgraph *nodes = ggml_new_graph(context);
    ggml_build_forward_expand(nodes, result);
    struct ggml_tensor *alone[N_MOST];
    for (int64_t i = 0; i < n; i++) {
        alone[i] = ggml_mul_mat(context, matrix, ggml_view_2d(context, x, x->ne[0], 1, x->nb[1], (size_t)i * x->nb[1]));
        ggml_build_forward_expand(nodes, alone[i]);
    }
    assert_int_equal(ggml_graph_compute_with_ctx(context, nodes, n_thread), GGML_STATUS_SUCCESS);
    memcpy(own, result->data, ggml_nbytes(result));
    for (int64_t i = 0; i < n; i++) memcpy(ggml + i * matrix->ne[1], alone[i]->data, ggml_nbytes(alone[i]));
    ggml_free(context);
}

static void check_shape(enum ggml_type type, shape s) {
    struct ggml_context *context = ggml_init((struct ggml_init_params){.mem_size = 1 << 20});
    struct ggml_tensor *matrix = ggml_new_tensor_2d(context, type, s.n_column, s.n_row);
    const size_t n = (size_t)(s.n_row * s.n_column);
    float *weight = malloc(n * sizeof *weight), *own = malloc((size_t)(N_MOST * s.n_row) * sizeof *own),
          *ggml = malloc((size_t)(N_MOST * s.n_row) * sizeof *ggml);
    for (size_t i = 0; i < n; i++) weight[i] = value_at((int64_t)i + 17);
    ggml_quantize_chunk(type, weight, matrix->data, 0, s.n_row, s.n_column, NULL);
    for (size_t i = 0; i < sizeof N / sizeof N[0]; i++) {
        /* more threads than there are cores wait for each other for long */
        const bool shared = s.n_column == 768 && N[i] == N_MOST;
        for (int n_thread = 1; n_thread <= (shared ? 3 : 1); n_thread++) {
            compute(matrix, (int64_t)i, N[i], n_thread, own, ggml);
            if (memcmp(own, ggml, (size_t)(N[i] * s.n_row) * sizeof *own) == 0) continue;
            fail_msg("%s [%d, %d], %d rows, %d threads: differs", ggml_type_name(type), (int)s.n_row, (int)s.n_column,
                     (int)N[i], n_thread);
        }
    }
    free(weight);
    free(own);
    free(ggml);
    ggml_free(context);
}

static void test_like_ggml(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof TYPES / sizeof TYPES[0]; i++) {
        for (size_t k = 0; k < sizeof SHAPES / sizeof SHAPES[0]; k++) {
            if (dots_can(TYPES[i], SHAPES[k].n_row, SHAPES[k].n_column)) check_shape(TYPES[i], SHAPES[k]);
        }
    }
}

/* What ggml dequantises, which may add a product to a minimum without rounding it. */
static void check_rows(const struct ggml_tensor *matrix) {
    float plain[768], found[768];
    for (int64_t r = 0; r < matrix->ne[1]; r++) {
        if (!dots_read(matrix, r, found)) return;
        ggml_get_type_traits(matrix->type)
            ->to_float((const char *)matrix->data + (size_t)r * matrix->nb[1], plain, matrix->ne[0]);
        for (int64_t i = 0; i < matrix->ne[0]; i++) {
            const float off = fabsf(found[i] - plain[i]);
            if (off <= 4e-6f && off <= ldexpf(fabsf(plain[i]), -8)) continue; /* of numbers up to 10 */
            fail_msg("%s, row %d, column %d: %g instead of %g", ggml_type_name(matrix->type), (int)r, (int)i,
                     (double)found[i], (double)plain[i]);
        }
    }
}

static void test_rows_as_floats(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof TYPES / sizeof TYPES[0]; i++) {
        struct ggml_context *context = ggml_init((struct ggml_init_params){.mem_size = 1 << 20});
        struct ggml_tensor *matrix = ggml_new_tensor_2d(context, TYPES[i], 768, 9);
        float weight[9 * 768];
        for (int64_t k = 0; k < 9 * 768; k++) weight[k] = value_at(k);
        ggml_quantize_chunk(TYPES[i], weight, matrix->data, 0, 9, 768, NULL);
        check_rows(matrix);
        ggml_free(context);
    }
}

static void test_which(void **state) {
    (void)state;
    assert_false(dots_can(GGML_TYPE_F32, 64, 256));
    assert_false(dots_can(GGML_TYPE_Q4_1, 3, 256));  /* fewer rows than a kernel takes */
    assert_false(dots_can(GGML_TYPE_Q4_K, 64, 288)); /* no whole block */
    assert_false(dots_can(GGML_TYPE_Q8_0, 64, 1 << 20));
}

TESTS_MAIN(NULL, NULL, cmocka_unit_test(test_like_ggml), cmocka_unit_test(test_rows_as_floats),
           cmocka_unit_test(test_which))
