/* Packed matrices: their products against sums in F64, for sizes that fit oneDNN's blocks and sizes that do not, and
 * row by row the same whatever rows come with it. CMakeLists.txt runs this once with all kernels of this processor, and
 * without its best ones. */
#include "cpu/onednn.h"
#include "cpu/packed.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "ggml-cpu.h"

typedef struct shape {
    int64_t n_row, n_column;
} shape;

/* More than a slab, with a rest that is no block; less than one; an odd number of columns; more columns than oneDNN
 * adds up at once. */
static const shape SHAPES[] = {{576, 192}, {300, 70}, {40, 256}, {513, 33}, {1, 64}, {48, 1120}};
enum { N = 131, N_WHOLE = 48 }; /* blocks of every size, and rows that are filled up; none that are */

static float value_at(int64_t i) {
    return ggml_bf16_to_fp32(ggml_fp32_to_bf16(sinf((float)(i % 99991)) + 0.25f * cosf((float)i)));
}

/* x [n, n_column], of rows from `first` on, times the packed matrix: out [n, n_row]. */
static void compute(packed *matrix, shape s, int64_t first, int64_t n, int n_thread, float *out) {
    struct ggml_context *context = ggml_init((struct ggml_init_params){.mem_size = 32 << 20});
    /* rows further apart than they are long, as those of a view; a number that oneDNN takes as it is, side by side */
    struct ggml_tensor *wide = ggml_new_tensor_2d(context, GGML_TYPE_F32, s.n_column + (n == N_WHOLE ? 0 : 3), n);
    struct ggml_tensor *x = ggml_view_2d(context, wide, s.n_column, n, wide->nb[1], 0);
    for (int64_t i = 0; i < n; i++) {
        for (int64_t k = 0; k < s.n_column; k++) {
            ((float *)wide->data)[i * wide->ne[0] + k] = value_at((first + i) * s.n_column + k);
        }
    }
    struct ggml_cgraph *graph = ggml_new_graph(context);
    struct ggml_tensor *result = packed_multiply(context, matrix, x);
    assert_int_equal(result->ne[0], s.n_row);
    assert_int_equal(result->ne[1], n);
    ggml_build_forward_expand(graph, result);
    assert_int_equal(ggml_graph_compute_with_ctx(context, graph, n_thread), GGML_STATUS_SUCCESS);
    memcpy(out, result->data, (size_t)(n * s.n_row) * sizeof *out);
    ggml_free(context);
}

/* A matrix of numbers that its type holds, and what they are, rounded to the packed matrix's type: weight [n_row,
 * n_column]. */
static struct ggml_tensor *make_plain(struct ggml_context *context, shape s, enum ggml_type type,
                                      enum ggml_type rounded, float *weight) {
    struct ggml_tensor *plain = ggml_new_tensor_2d(context, type, s.n_column, s.n_row);
    const int64_t n = s.n_row * s.n_column;
    for (int64_t i = 0; i < n; i++) weight[i] = value_at(17 + i);
    if (type == GGML_TYPE_F32) {
        memcpy(plain->data, weight, (size_t)n * sizeof *weight);
        return plain;
    }
    ggml_quantize_chunk(type, weight, plain->data, 0, s.n_row, s.n_column, NULL);
    ggml_get_type_traits(type)->to_float(plain->data, weight, n);
    for (int64_t i = 0; i < n && rounded == GGML_TYPE_BF16; i++) {
        weight[i] = ggml_bf16_to_fp32(ggml_fp32_to_bf16(weight[i]));
    }
    return plain;
}

/* NULL where oneDNN has no fast kernel. */
static packed *make(shape s, enum ggml_type type, int n_thread, float *weight) {
    judgeq_error error;
    packed *matrix;
    if (packed_new(s.n_row, s.n_column, &matrix, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    if (!matrix) return NULL;
    assert_true(packed_bytes(matrix) >= (size_t)(s.n_row * s.n_column) * ggml_type_size(packed_type(matrix)));
    struct ggml_context *context = ggml_init((struct ggml_init_params){.mem_size = 32 << 20});
    struct ggml_cgraph *graph = ggml_new_graph(context);
    struct ggml_tensor *plain = make_plain(context, s, type, packed_type(matrix), weight);
    ggml_build_forward_expand(graph, packed_fill(context, matrix, plain));
    assert_int_equal(ggml_graph_compute_with_ctx(context, graph, n_thread), GGML_STATUS_SUCCESS);
    assert_int_equal(packed_check(matrix, &error), JUDGEQ_OK);
    ggml_free(context);
    return matrix;
}

static void check_values(shape s, const float *weight, const float *found) {
    /* sums grow with their length, and with both of these what rounding adds up to */
    const double longer = s.n_column > 256 ? (double)s.n_column / 256 : 1, most = 1e-4 * longer * longer;
    for (int64_t i = 0; i < N; i += 3) {
        for (int64_t r = 0; r < s.n_row; r++) {
            double expected = 0;
            for (int64_t k = 0; k < s.n_column; k++) {
                expected += (double)value_at(i * s.n_column + k) * (double)weight[r * s.n_column + k];
            }
            if (!(fabs((double)found[i * s.n_row + r] - expected) <= most)) {
                fail_msg("%d x %d, row %d, %d: %g instead of %g", (int)s.n_row, (int)s.n_column, (int)i, (int)r,
                         (double)found[i * s.n_row + r], expected);
            }
        }
    }
}

static void check(shape s, enum ggml_type type, int n_thread) {
    float *weight = malloc((size_t)(s.n_row * s.n_column) * sizeof *weight);
    packed *matrix = make(s, type, n_thread, weight);
    if (!matrix) {
        free(weight);
        return;
    }
    float *all = malloc((size_t)(N * s.n_row) * sizeof *all), *some = malloc((size_t)(N * s.n_row) * sizeof *some);
    compute(matrix, s, 0, N, n_thread, all);
    check_values(s, weight, all);
    for (int64_t first = 0; first < N; first += 37) {
        const int64_t n = first + 50 < N ? 50 : N - first;
        compute(matrix, s, first, n, 3 - n_thread, some);
        assert_memory_equal(some, all + first * s.n_row, (size_t)(n * s.n_row) * sizeof *all);
    }
    compute(matrix, s, 0, N_WHOLE, n_thread, some);
    assert_memory_equal(some, all, (size_t)(N_WHOLE * s.n_row) * sizeof *all);
    free(weight);
    free(all);
    free(some);
    packed_free(matrix);
}

static void test_products(void **unused) {
    (void)unused;
    for (size_t i = 0; i < sizeof SHAPES / sizeof *SHAPES; i++) {
        for (int n_thread = 1; n_thread <= 2; n_thread++) {
            check(SHAPES[i], GGML_TYPE_BF16, n_thread);
            check(SHAPES[i], GGML_TYPE_F32, n_thread);
            if (SHAPES[i].n_column % 32 == 0) check(SHAPES[i], GGML_TYPE_Q8_0, n_thread);
        }
    }
}

/* BF16 where the processor multiplies it, else F32; where there are no such kernels, there is no matrix either. */
static void test_kernels(void **unused) {
    (void)unused;
    const char *most = getenv("DNNL_MAX_CPU_ISA");
    static float weight[576 * 192];
    packed *matrix = make(SHAPES[0], GGML_TYPE_BF16, 1, weight);
#ifdef __x86_64__
    const bool any = !most || strcmp(most, "ALL") == 0, wide = any || strncmp(most, "AVX512_CORE", 11) == 0;
    const bool bf16 = wide && (any || strcmp(most, "AVX512_CORE") != 0) && __builtin_cpu_supports("avx512bf16");
    const dnnl_version_t *version = dnnl_version(); /* from 3.10 on, AVX2 has such kernels too */
    if (!wide && version->major * 100 + version->minor < 310) assert_null(matrix);
    if (wide && __builtin_cpu_supports("avx512bw")) assert_non_null(matrix);
    if (matrix) assert_int_equal(packed_type(matrix), bf16 ? GGML_TYPE_BF16 : GGML_TYPE_F32);
#endif
    packed_free(matrix);
}

TESTS_MAIN(NULL, NULL, cmocka_unit_test(test_products), cmocka_unit_test(test_kernels))
