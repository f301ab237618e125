#include "dots_check.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "cpu/dots.h"

/* Of the matrix: columns in whole blocks of any type, and rows that are no multiple of what a kernel takes at once. */
enum { ROWS = 34, COLUMNS = 768, X_ROWS = 5 };

/* By type; false where it has not been asked. */
static atomic_bool asked[GGML_TYPE_COUNT], same[GGML_TYPE_COUNT];

/* Numbers between -1 and 1 without a pattern that blocks could share, times sizes from 1/16 to 16. */
static void fill(float *out, int64_t n) {
    uint32_t state = 1;
    for (int64_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        out[i] = ldexpf((float)(state >> 8) / (1 << 23) - 1, (int)(i / 32 % 9) - 4);
    }
}

typedef struct both {
    struct ggml_tensor *matrix, *x, *own, *ggml[X_ROWS];
} both;

static both build(graph *g, enum ggml_type type) {
    both b = {.matrix = graph_input(g, type, COLUMNS, ROWS), .x = graph_input(g, GGML_TYPE_F32, COLUMNS, X_ROWS)};
    b.own = dots_multiply(g->context, b.matrix, ggml_cast(g->context, b.x, dots_x_type(type)));
    ggml_set_output(b.own);
    ggml_build_forward_expand(g->nodes, b.own);
    for (int i = 0; i < X_ROWS; i++) {
        struct ggml_tensor *row = ggml_view_2d(g->context, b.x, COLUMNS, 1, b.x->nb[1], (size_t)i * b.x->nb[1]);
        b.ggml[i] = ggml_mul_mat(g->context, b.matrix, row);
        ggml_set_output(b.ggml[i]);
        ggml_build_forward_expand(g->nodes, b.ggml[i]);
    }
    return b;
}

static bool is_same(const both *b) {
    uint32_t own[X_ROWS][ROWS], ggml[X_ROWS][ROWS]; /* bits of floats */
    ggml_backend_tensor_get(b->own, own, 0, sizeof own);
    for (int i = 0; i < X_ROWS; i++) ggml_backend_tensor_get(b->ggml[i], ggml[i], 0, sizeof ggml[i]);
    return memcmp(own, ggml, sizeof own) == 0;
}

static judgeq_status ask(graph_engine *engine, enum ggml_type type, judgeq_error *error) {
    if (atomic_load(&asked[type]) || !dots_can(type, ROWS, COLUMNS)) return JUDGEQ_OK;
    const both b = build(graph_begin(engine), type);
    judgeq_status status = graph_allocate(engine, NULL, error);
    if (status != JUDGEQ_OK) return status;
    float *number = malloc((size_t)COLUMNS * ROWS * sizeof *number);
    void *bytes = malloc(ggml_nbytes(b.matrix));
    if (number && bytes) {
        fill(number, (int64_t)COLUMNS * ROWS);
        ggml_quantize_chunk(type, number, bytes, 0, ROWS, COLUMNS, NULL);
        ggml_backend_tensor_set(b.matrix, bytes, 0, ggml_nbytes(b.matrix));
        ggml_backend_tensor_set(b.x, number + COLUMNS / 2, 0, ggml_nbytes(b.x));
        status = graph_compute(engine, GRAPH_TOKEN, 0, error);
    } else {
        status = error_memory(error, "a matrix for comparison");
    }
    free(number);
    free(bytes);
    if (status != JUDGEQ_OK) return status;
    atomic_store(&same[type], is_same(&b));
    atomic_store(&asked[type], true);
    return JUDGEQ_OK;
}

judgeq_status dots_check(graph_engine *engine, judgeq_error *error) {
    const judgeq_model *model = engine->model;
    if (engine->n_device > 0) return JUDGEQ_OK; /* whose own products these would not be */
    judgeq_status status = ask(engine, model->output.weight->type, error);
    for (int32_t l = 0; l < model->info.n_layer; l++) {
        for (int m = 0; status == JUDGEQ_OK && m < MODEL_MATRICES; m++) {
            status = ask(engine, model->layer[l].matrix[m].weight->type, error);
        }
    }
    for (int i = 0; i < GGML_TYPE_COUNT; i++) engine->dots[i] = atomic_load(&same[i]);
    return status;
}
