/* Our own matrix products, forward and backward: every weight type and odd sizes, against the definition in
 * F64. */
#include "cpu/product.h"
#include "cpu/product_kernel.h"
#include "cpu/product_pairs.h"
#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "train/product_back.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

/* Neither rows nor N fit the kernel's tiles, and 37 is more than it takes at a time. */
enum { ROWS = 7, COLUMNS = 768, N = 37, SLICES = 2 };

/* Uniform in [-1, 1), rounded to the type; `values` becomes what the type holds. */
static void fill(struct ggml_tensor *matrix, float *values) {
    const int64_t n = ggml_nelements(matrix);
    uint32_t state = 1;
    for (int64_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        values[i] = (float)(state >> 8) * 0x1p-23f - 1;
    }
    if (matrix->type == GGML_TYPE_F32) {
        memcpy(matrix->data, values, ggml_nbytes(matrix));
        return;
    }
    ggml_quantize_chunk(matrix->type, values, matrix->data, 0, n / COLUMNS, COLUMNS, NULL);
    ggml_get_type_traits(matrix->type)->to_float(matrix->data, values, n);
}

/* Types that need no importance matrix and no table that takes seconds to make. */
static bool is_quick(enum ggml_type type) {
    const enum ggml_type types[] = {GGML_TYPE_F32,  GGML_TYPE_F16,   GGML_TYPE_BF16,   GGML_TYPE_Q4_0,
                                    GGML_TYPE_Q4_1, GGML_TYPE_Q5_0,  GGML_TYPE_Q5_1,   GGML_TYPE_Q8_0,
                                    GGML_TYPE_Q2_K, GGML_TYPE_Q3_K,  GGML_TYPE_Q4_K,   GGML_TYPE_Q5_K,
                                    GGML_TYPE_Q6_K, GGML_TYPE_TQ2_0, GGML_TYPE_IQ4_NL, GGML_TYPE_IQ4_XS};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (types[i] == type) return true;
    }
    return false;
}

static void check_forward(enum ggml_type type, const float *values, const float *x, const float *found) {
    for (int i = 0; i < SLICES * N * ROWS; i++) {
        const int r = i % ROWS, row = i / ROWS, slice = row / N;
        double expected = 0;
        for (int c = 0; c < COLUMNS; c++) {
            expected += (double)values[(slice * ROWS + r) * COLUMNS + c] * (double)x[row * COLUMNS + c];
        }
        if (!(fabs((double)found[i] - expected) <= 1e-4)) {
            fail_msg("%s, forward %d: %g, expected %g", ggml_type_name(type), i, (double)found[i], expected);
        }
    }
}

static void check_backward(enum ggml_type type, const float *values, const float *slope, const float *found) {
    for (int i = 0; i < SLICES * N * COLUMNS; i++) {
        const int column = i % COLUMNS, row = i / COLUMNS, slice = row / N;
        double expected = 0;
        for (int r = 0; r < ROWS; r++) {
            expected += (double)values[(slice * ROWS + r) * COLUMNS + column] * (double)slope[row * ROWS + r];
        }
        if (!(fabs((double)found[i] - expected) <= 1e-5)) {
            fail_msg("%s, backward %d: %g, expected %g", ggml_type_name(type), i, (double)found[i], expected);
        }
    }
}

static void round_to_bf16(float *values, int n) {
    for (int i = 0; i < n; i++) values[i] = ggml_bf16_to_fp32(ggml_fp32_to_bf16(values[i]));
}

/* matrix x, and c matrix. */
static void check_type(ggml_backend_t backend, enum ggml_type type) {
    struct ggml_init_params params = {.mem_size = 1 << 20, .no_alloc = true};
    struct ggml_context *weights = ggml_init(params), *context = ggml_init(params);
    struct ggml_tensor *matrix = ggml_new_tensor_3d(weights, type, COLUMNS, ROWS, SLICES);
    ggml_backend_buffer_t buffer = ggml_backend_alloc_ctx_tensors(weights, backend);
    float *values = malloc((size_t)ggml_nelements(matrix) * sizeof *values);
    fill(matrix, values);

    struct ggml_tensor *x = ggml_new_tensor_3d(context, GGML_TYPE_F32, COLUMNS, N, SLICES);
    struct ggml_tensor *c = ggml_new_tensor_3d(context, GGML_TYPE_F32, ROWS, N, SLICES);
    ggml_set_input(x);
    ggml_set_input(c);
    struct ggml_tensor *product = ggml_mul_mat(context, matrix, x), *back = product_add_back(context, matrix, c);
    ggml_set_output(product);
    ggml_set_output(back);
    struct ggml_cgraph *nodes = ggml_new_graph(context);
    ggml_build_forward_expand(nodes, product);
    ggml_build_forward_expand(nodes, back);
    product_replace(context, nodes, false);
    assert_int_not_equal(product->op, GGML_OP_MUL_MAT);
    ggml_gallocr_t allocator = ggml_gallocr_new(ggml_backend_get_default_buffer_type(backend));
    assert_true(ggml_gallocr_alloc_graph(allocator, nodes));
    static float slope[SLICES * N * ROWS], forward[SLICES * N * ROWS];
    static float input[SLICES * N * COLUMNS], found[SLICES * N * COLUMNS];
    for (int i = 0; i < SLICES * N * ROWS; i++) slope[i] = sinf((float)i);
    for (int i = 0; i < SLICES * N * COLUMNS; i++) input[i] = cosf((float)i);
    if (type == GGML_TYPE_BF16) { /* whose other factor may be rounded to it */
        round_to_bf16(slope, SLICES * N * ROWS);
        round_to_bf16(input, SLICES * N * COLUMNS);
    }
    ggml_backend_tensor_set(x, input, 0, sizeof input);
    ggml_backend_tensor_set(c, slope, 0, sizeof slope);
    assert_int_equal(ggml_backend_graph_compute(backend, nodes), GGML_STATUS_SUCCESS);
    ggml_backend_tensor_get(product, forward, 0, sizeof forward);
    ggml_backend_tensor_get(back, found, 0, sizeof found);
    check_forward(type, values, input, forward);
    check_backward(type, values, slope, found);
    free(values);
    ggml_gallocr_free(allocator);
    ggml_backend_buffer_free(buffer);
    ggml_free(weights);
    ggml_free(context);
}

static void test_types(void **state) {
    (void)state;
    ggml_backend_t backend = ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_CPU, NULL);
    assert_non_null(backend);
    for (int type = 0; type < GGML_TYPE_COUNT; type++) {
        if (is_quick((enum ggml_type)type)) check_type(backend, (enum ggml_type)type);
    }
    ggml_backend_free(backend);
}

/* ---- kernels ----------------------------------------------------------------------------------------------------- */

/* More than one tile and a rest, in every direction. */
enum { M = 21, K = 19, WIDE = KERNEL_COLUMNS };

static void check_kernel(const product_kernel *kernel) {
    float a[M * K], b[K * WIDE], out[M * WIDE], turned[K * M];
    for (int i = 0; i < M * K; i++) a[i] = sinf((float)i);
    for (int i = 0; i < K * WIDE; i++) b[i] = cosf((float)i);
    for (int i = 0; i < M * WIDE; i++) out[i] = 1;
    kernel->multiply(out, WIDE, a, K, b, WIDE, M, K);
    for (int i = 0; i < M * WIDE; i++) {
        double expected = 1;
        for (int r = 0; r < K; r++) expected += (double)a[i / WIDE * K + r] * (double)b[r * WIDE + i % WIDE];
        assert_float_equal(out[i], expected, 1e-5);
    }
    kernel->transpose(turned, M, a, K, M, K);
    for (int i = 0; i < M * K; i++) assert_float_equal(turned[i % K * M + i / K], a[i], 0);
}

/* Every number that F16 can hold. */
static void check_halves(const product_kernel *kernel) {
    static uint16_t half[1 << 16];
    static float found[1 << 16];
    for (int i = 0; i < 1 << 16; i++) half[i] = (uint16_t)i;
    kernel->read_half(half, found, 1 << 16);
    for (int i = 0; i < 1 << 16; i++) {
        const float expected = ggml_fp16_to_fp32(half[i]);
        if (isfinite(expected)) assert_memory_equal(&found[i], &expected, sizeof expected);
    }
}

/* What is rounded, and how: ties to even, an odd number of elements, a missing second row. */
static void test_pairs(void **state) {
    (void)state;
    if (!product_pairs_available()) skip();
    float in[K * WIDE + 1];
    bf16_pair out[K * WIDE + 1];
    for (int i = 0; i <= K * WIDE; i++) in[i] = sinf((float)i) * expf((float)(i % 60 - 30));
    in[3] = 1 + 0x1p-8f;
    in[4] = 1 + 0x3p-8f;
    product_pairs_round(in, out, K * WIDE + 1);
    for (int i = 0; i <= K * WIDE; i++) {
        assert_int_equal((out[i / 2] >> i % 2 * 16) & 0xffff, ggml_fp32_to_bf16(in[i]).bits);
    }
    assert_int_equal(out[K * WIDE / 2] >> 16, 0);
    const uint16_t *rows = (const uint16_t *)out;
    bf16_pair joined[2 * WIDE - 1];
    product_pairs_join(rows, rows + 2 * WIDE, joined, 2 * WIDE - 1);
    for (int i = 0; i < 2 * WIDE - 1; i++) assert_int_equal(joined[i], rows[i] | (uint32_t)rows[2 * WIDE + i] << 16);
    product_pairs_join(rows, NULL, joined, 2 * WIDE - 1);
    for (int i = 0; i < 2 * WIDE - 1; i++) assert_int_equal(joined[i], rows[i]);
}

static void test_kernels(void **state) {
    (void)state;
    int n = 0;
    for (const product_kernel *kernel; (kernel = product_kernel_at(n)) != NULL; n++) {
        check_kernel(kernel);
        check_halves(kernel);
        if (!product_kernel_at(n + 1)) assert_ptr_equal(kernel, product_kernel_best());
    }
    assert_true(n > 0);
}

TESTS_MAIN(NULL, NULL, cmocka_unit_test(test_kernels), cmocka_unit_test(test_pairs), cmocka_unit_test(test_types))
