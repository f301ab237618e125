/* Targets weighted by values: against the definition, on rows written by hand. */
#include "train/value_norm.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "check.h"

/* Two layers of two KV heads, each with two query heads; 3 rows, and room for more, of 2 numbers. */
enum { LAYERS = 2, HEADS_KV = 2, GROUP = 2, ROWS = 3, ROOM = 5, WIDTH = 2 };

static float value_of(int layer, int head, int row, int d) {
    return (float)(((layer * 7 + head * 5 + row * 3 + d * 11) % 13) - 6) / 4;
}

static example *make_example(ggml_backend_t backend, enum ggml_type type) {
    example *e = NULL;
    assert_int_equal(example_new(LAYERS, HEADS_KV * GROUP, ROWS, &e, NULL), JUDGEQ_OK);
    const cache_shape shape = {type, HEADS_KV, WIDTH, 1};
    const int64_t capacity[HEADS_KV] = {ROOM, ROOM};
    for (int l = 0; l < LAYERS; l++) {
        assert_int_equal(cache_layer_init(&e->layer[l], backend, shape, capacity, &e->meter, NULL), JUDGEQ_OK);
        cache_layer_append(&e->layer[l], ROWS, 0);
        for (int i = 0; i < HEADS_KV * WIDTH * ROOM; i++) {
            const int head = i / (WIDTH * ROOM), d = i / ROOM % WIDTH, row = i % ROOM;
            const float value = value_of(l, head, row, d); /* after the rows held too */
            if (type == GGML_TYPE_F32) {
                ((float *)e->layer[l].v->data)[i] = value;
            } else {
                ((ggml_fp16_t *)e->layer[l].v->data)[i] = ggml_fp32_to_fp16(value);
            }
        }
    }
    for (int i = 0; i < LAYERS * HEADS_KV * GROUP * ROWS; i++) e->target[i] = 0.1f + 0.01f * (float)(i * 17 % 23);
    return e;
}

static void check(const example *e, const float *found) {
    for (int map = 0; map < LAYERS * HEADS_KV * GROUP; map++) {
        const int l = map / (HEADS_KV * GROUP), head = map % (HEADS_KV * GROUP) / GROUP;
        double weighed[ROWS], before = 0, after = 0;
        for (int i = 0; i < ROWS; i++) {
            const double norm = fabs((double)value_of(l, head, i, 0)) + fabs((double)value_of(l, head, i, 1));
            weighed[i] = norm * (double)e->target[map * ROWS + i];
            before += (double)e->target[map * ROWS + i];
            after += weighed[i];
        }
        for (int i = 0; i < ROWS; i++) assert_float_equal(found[map * ROWS + i], weighed[i] * before / after, 1e-6);
    }
}

static void test_weighs(void **state) {
    (void)state;
    ggml_backend_t backend = ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_CPU, NULL);
    const enum ggml_type types[] = {GGML_TYPE_F16, GGML_TYPE_F32};
    for (int t = 0; t < 2; t++) {
        example *e = make_example(backend, types[t]);
        float norm[ROWS], found[LAYERS * HEADS_KV * GROUP * ROWS];
        value_norm_weigh(e, norm, found);
        check(e, found);
        example_free(e);
    }
    ggml_backend_free(backend);
}

/* Nothing to look at: no weight, and no division by zero. */
static void test_values_of_zero(void **state) {
    (void)state;
    ggml_backend_t backend = ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_CPU, NULL);
    example *e = make_example(backend, GGML_TYPE_F32);
    float norm[ROWS], found[LAYERS * HEADS_KV * GROUP * ROWS];
    ggml_backend_buffer_clear(e->layer[0].buffer, 0);
    value_norm_weigh(e, norm, found);
    for (int i = 0; i < HEADS_KV * GROUP * ROWS; i++) assert_float_equal(found[i], 0, 0);
    example_free(e);
    ggml_backend_free(backend);
}

TESTS_MAIN(NULL, NULL, cmocka_unit_test(test_weighs), cmocka_unit_test(test_values_of_zero))
