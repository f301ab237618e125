#include "dots.h"

#include <string.h>

#include "dots_kernel.h"
#include "parts.h"
#include "rows.h"

/* Blocks of x that a thread prepares at once, of as many rows as there is room for: 80 KiB on its stack. */
enum { BLOCKS_MOST = 2048 };

typedef struct prepared {
    float scale[BLOCKS_MOST], sum[BLOCKS_MOST];
    int32_t start[BLOCKS_MOST][8];
} prepared;

#ifdef DOTS_KERNELS
static const dots_kernel *find(const dots_kernel *known, int n, enum ggml_type matrix) {
    for (int i = 0; i < n; i++) {
        if (known[i].matrix == matrix) return &known[i];
    }
    return NULL;
}

static const dots_kernel *kernel_for(enum ggml_type matrix) {
    if (!__builtin_cpu_supports("x86-64-v4") || !__builtin_cpu_supports("avx512vnni")) return NULL;
    const dots_kernel *found = find(dots_32, DOTS_32_TYPES, matrix);
    return found ? found : find(dots_256, DOTS_256_TYPES, matrix);
}
#else
static const dots_kernel *kernel_for(enum ggml_type matrix) {
    (void)matrix;
    return NULL;
}
#endif

const char *dots_instructions(void) {
    return kernel_for(GGML_TYPE_Q8_0) ? "AVX-512 with VNNI" : NULL;
}

bool dots_can(enum ggml_type type, int64_t n_row, int64_t n_column) {
    const dots_kernel *kernel = kernel_for(type);
    return kernel && n_row >= DOTS_ROWS && n_column % kernel->block == 0 && n_column / kernel->block <= BLOCKS_MOST;
}

/* Rows [r, r + DOTS_ROWS) of the matrix, but at the end its last ones, whose first have been computed before. */
static void multiply_rows(const dots_kernel *kernel, struct ggml_tensor *result, const dots_x *x, int64_t t,
                          int64_t n_x, int64_t r) {
    const struct ggml_tensor *matrix = result->src[0];
    const int64_t begin = least(r, matrix->ne[1] - DOTS_ROWS), done = r - begin;
    float out[DOTS_X][DOTS_ROWS];
    kernel->multiply((const uint8_t *)row_of(matrix, 0, begin), matrix->nb[1], x, (int)n_x,
                     matrix->ne[0] / kernel->block, out);
    for (int64_t i = 0; i < n_x; i++) {
        float *to = (float *)(void *)row_of(result, 0, t + i) + begin;
        if (done == 0) {
            memcpy(to, out[i], sizeof out[i]);
        } else {
            memcpy(to + done, out[i] + done, (size_t)(DOTS_ROWS - done) * sizeof *to);
        }
    }
}

/* Row t of x, the i-th that is prepared. */
static dots_x row_at(prepared *p, const struct ggml_tensor *x, int64_t t, int64_t i, int64_t n_block) {
    return (dots_x){.blocks = (const uint8_t *)row_of(x, 0, t),
                    .scale = p->scale + i * n_block,
                    .sum = p->sum + i * n_block,
                    .start = p->start + i * n_block};
}

/* Four rows of the matrix are multiplied with all rows of x while they are in the first cache. */
static void forward(struct ggml_tensor *result, int thread, int n_thread, void *data) {
    (void)data;
    const struct ggml_tensor *matrix = result->src[0], *x = result->src[1];
    const dots_kernel *kernel = kernel_for(matrix->type);
    const int64_t n_block = matrix->ne[0] / kernel->block, n_group = parts(matrix->ne[1], DOTS_ROWS);
    const int64_t most = BLOCKS_MOST / n_block, end = (thread + 1) * n_group / n_thread;
    prepared p;
    for (int64_t t = 0; t < x->ne[1]; t += most) {
        const int64_t n = least(x->ne[1] - t, most);
        for (int64_t i = 0; i < n; i++) {
            const dots_x row = row_at(&p, x, t + i, i, n_block);
            kernel->prepare(&row, n_block);
        }
        for (int64_t g = thread * n_group / n_thread; g < end; g++) {
            for (int64_t i = 0; i < n; i += DOTS_X) {
                dots_x row[DOTS_X];
                const int64_t n_x = least(n - i, DOTS_X);
                for (int64_t k = 0; k < n_x; k++) row[k] = row_at(&p, x, t + i + k, i + k, n_block);
                multiply_rows(kernel, result, row, t + i, n_x, g * DOTS_ROWS);
            }
        }
    }
}

bool dots_read(const struct ggml_tensor *matrix, int64_t r, float *out) {
    const dots_kernel *kernel = kernel_for(matrix->type);
    if (!kernel) return false;
    kernel->read((const uint8_t *)row_of(matrix, 0, r), matrix->ne[0] / kernel->block, out);
    return true;
}

enum ggml_type dots_x_type(enum ggml_type matrix) {
    return kernel_for(matrix)->x;
}

struct ggml_tensor *dots_multiply(struct ggml_context *context, struct ggml_tensor *matrix, struct ggml_tensor *x) {
    struct ggml_tensor *sources[] = {matrix, x};
    return ggml_custom_4d(context, GGML_TYPE_F32, matrix->ne[1], x->ne[1], 1, 1, sources, 2, forward, GGML_N_TASKS_MAX,
                          NULL);
}
