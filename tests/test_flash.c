/* Attention tile by tile, against softmax and sums in double precision. Where it may be rounded, and the processor
 * multiplies BF16, the inputs are numbers that BF16 holds: only the probabilities are rounded. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "check.h"
#include "ggml-cpu.h"

#include "cpu/flash.h"
#include "cpu/product_pairs.h"

/* n: more than a tile and not a whole number of them; n_key: more keys than queries, or as many. */
typedef struct shape {
    enum ggml_type type;
    int n_head, n_head_kv, head_dim, n, n_key;
} shape;

static uint32_t state = 1;

static float next_value(float width) {
    state = state * 1664525u + 1013904223u;
    return ((float)(state >> 8) / (float)(1 << 24) - 0.5f) * width;
}

static void fill(struct ggml_tensor *tensor, float width, bool rounded) {
    for (int64_t i = 0; i < ggml_nelements(tensor); i++) {
        const float value = next_value(width);
        ggml_set_f32_1d(tensor, (int)i, rounded ? ggml_bf16_to_fp32(ggml_fp32_to_bf16(value)) : value);
    }
}

static double at(const struct ggml_tensor *tensor, int64_t head, int64_t row, int64_t column) {
    return (double)ggml_get_f32_nd(tensor, (int)column, (int)row, (int)head, 0);
}

/* What query i of head h gives, in dimension d. */
static double expected(const struct ggml_tensor *query, const struct ggml_tensor *keys,
                       const struct ggml_tensor *values, int64_t h, int64_t i, int64_t d) {
    const int64_t kv = h / (query->ne[2] / keys->ne[2]), visible = keys->ne[1] - query->ne[1] + 1 + i;
    double score[1024], most = -INFINITY, sum = 0, mixed = 0;
    for (int64_t k = 0; k < visible; k++) {
        score[k] = 0;
        for (int64_t e = 0; e < query->ne[0]; e++) score[k] += at(query, h, i, e) * at(keys, kv, k, e);
        score[k] *= 0.2f;
        most = fmax(most, score[k]);
    }
    for (int64_t k = 0; k < visible; k++) {
        const double power = exp(score[k] - most);
        sum += power;
        mixed += power * at(values, kv, d, k);
    }
    return mixed / sum;
}

static void check(shape s, bool rounds, int n_thread) {
    struct ggml_context *context = ggml_init((struct ggml_init_params){.mem_size = 16 << 20});
    struct ggml_tensor *query = ggml_new_tensor_3d(context, GGML_TYPE_F32, s.head_dim, s.n, s.n_head);
    struct ggml_tensor *keys = ggml_new_tensor_3d(context, s.type, s.head_dim, s.n_key, s.n_head_kv);
    struct ggml_tensor *values = ggml_new_tensor_3d(context, s.type, s.n_key, s.head_dim, s.n_head_kv);
    /* as the graph has it: the heads of a row one after the other */
    struct ggml_tensor *rows = ggml_new_tensor_3d(context, GGML_TYPE_F32, s.head_dim, s.n_head, s.n);
    struct ggml_tensor *out = ggml_permute(context, rows, 0, 2, 1, 3);
    struct ggml_cgraph *graph = ggml_new_graph(context);
    const bool rounded = rounds && s.type == GGML_TYPE_F16 && product_pairs_available();
    /* values are at most 1, and half a unit of BF16's last place is 1/512 of a probability */
    const double most = rounded ? 1.0 / 512 : 2e-5;
    fill(query, 6, rounded);
    fill(keys, 6, rounded);
    fill(values, 2, rounded);
    for (int64_t i = 0; i < ggml_nelements(rows); i++) ((float *)rows->data)[i] = NAN;
    ggml_build_forward_expand(graph, flash_add(context, out, query, keys, values, 0.2f, rounds));
    assert_int_equal(ggml_graph_compute_with_ctx(context, graph, n_thread), GGML_STATUS_SUCCESS);
    for (int64_t h = 0; h < s.n_head; h++) {
        for (int64_t i = 0; i < s.n; i += 5) {
            const int64_t d = (h + 3 * i) % s.head_dim;
            const double found = at(out, h, i, d), right = expected(query, keys, values, h, i, d);
            if (!(fabs(found - right) < most)) {
                fail_msg("head %d, row %d, dimension %d: %g instead of %g", (int)h, (int)i, (int)d, found, right);
            }
        }
    }
    ggml_free(context);
}

static void test_shapes(void **unused) {
    (void)unused;
    const shape shapes[] = {
        {GGML_TYPE_F16, 9, 3, 64, 77, 300},  {GGML_TYPE_F32, 4, 4, 32, 77, 77},   {GGML_TYPE_F16, 6, 1, 128, 40, 129},
        {GGML_TYPE_F16, 2, 1, 256, 9, 128},  {GGML_TYPE_F32, 2, 2, 96, 300, 320}, {GGML_TYPE_F16, 2, 2, 64, 1, 1},
        {GGML_TYPE_F16, 1, 1, 160, 17, 140},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        assert_true(flash_available(shapes[i].type, shapes[i].head_dim));
        for (int n_thread = 1; n_thread <= 5; n_thread += 2) {
            check(shapes[i], false, n_thread);
            check(shapes[i], true, n_thread);
        }
    }
}

static void test_what_it_cannot_take(void **unused) {
    (void)unused;
    assert_false(flash_available(GGML_TYPE_F16, 80));
    assert_false(flash_available(GGML_TYPE_F16, 512));
    assert_false(flash_available(GGML_TYPE_Q8_0, 64));
}

TESTS_MAIN(NULL, NULL, cmocka_unit_test(test_shapes), cmocka_unit_test(test_what_it_cannot_take))
