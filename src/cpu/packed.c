#include "packed.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "dots.h"
#include "onednn.h"
#include "parts.h"
#include "product_pairs.h"
#include "rows.h"

/* A product takes so many rows at once, the largest number that fits. The rows are filled up to a multiple of the
 * smallest. On AMX a block of 16 rows is one tile. */
static const int64_t SIZE[] = {64, 32, 16};
enum { SIZES = sizeof SIZE / sizeof SIZE[0], SIZE_LEAST = 16 };

/* Rows of the matrix that a thread packs at once: a multiple of the layout's blocks, or slabs cannot be packed. */
enum { SLAB = 64 };

enum { ALIGNMENT = 64, SCRATCH = 4096 };

typedef struct product {
    dnnl_primitive_t run;
    onednn_layout rows, out;
    onednn_layout scratch;
} product;

/* Slabs of the same size: they differ in where they begin. */
typedef struct packing {
    dnnl_primitive_t run;
    onednn_layout plain, part;
} packing;

struct packed {
    int64_t n_row, n_column;
    enum ggml_type type;
    dnnl_engine_t engine;
    onednn_layout layout;
    product product[SIZES];
    packing slab, last;     /* `last` has the rest; all, where slabs cannot be packed by themselves */
    int64_t n_slab, stride; /* whole slabs; numbers from one to the next */
    size_t bytes;
    void *data;
    char kernel[48];
    atomic_bool failed;
};

/* The caller's: free(). */
static void *allocate(size_t bytes) {
    return aligned_alloc(ALIGNMENT, (size_t)parts((int64_t)bytes, ALIGNMENT) * ALIGNMENT);
}

/* ---- one thread -------------------------------------------------------------------------------------------------- */

/* Of the OpenMP that oneDNN was built with; not there if it was built with another kind of threads. */
extern void omp_set_num_threads(int n) __attribute__((weak));
extern int omp_get_max_threads(void) __attribute__((weak));

/* How many threads oneDNN may use in the calling one, a number that a program may have set for itself. */
static int limit_threads(int n) {
    if (!omp_set_num_threads || !omp_get_max_threads) return 1;
    const int before = omp_get_max_threads();
    if (before != n) omp_set_num_threads(n);
    return before;
}

/* ---- what oneDNN has --------------------------------------------------------------------------------------------- */

static void name_kernel(const_dnnl_primitive_desc_t description, char *name, size_t size) {
    const char *found = NULL;
    dnnl_primitive_desc_query(description, dnnl_query_impl_info_str, 0, (void *)&found);
    snprintf(name, size, "%s", found ? found : "");
}

/* oneDNN's batch-reduce kernels add up a row's products in the same order, however many rows there are. "gemm:jit",
 * what oneDNN 2 has for AVX2, does not, and "ref" is a loop in plain C++. */
static bool is_exact(const char *kernel) {
    return strncmp(kernel, "brg", 3) == 0;
}

/* ---- products ---------------------------------------------------------------------------------------------------- */

static dnnl_data_type_t onednn_type(const packed *p) {
    return p->type == GGML_TYPE_BF16 ? dnnl_bf16 : dnnl_f32;
}

/* Without a layout yet, oneDNN chooses it. Leaves run NULL where there is no kernel of that kind, or not the one of the
 * other sizes, which need not add up in the same order. */
static dnnl_status_t make_product(packed *p, int64_t n, product *out) {
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_primitive_desc_t description = NULL;
    onednn_layout any = {0};
    dnnl_status_t status = onednn_layout_init(&out->rows, n, p->n_column, onednn_type(p), dnnl_ab);
    if (status == dnnl_success) status = onednn_layout_init(&out->out, n, p->n_row, dnnl_f32, dnnl_ab);
    if (status == dnnl_success) {
        status = onednn_layout_init(&any, p->n_column, p->n_row, onednn_type(p), dnnl_format_tag_any);
    }
    if (status == dnnl_success) status = dnnl_primitive_attr_create(&attributes);
    if (status == dnnl_success) status = dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user);
    if (status == dnnl_success) {
        status = onednn_product(&description, p->engine, &out->rows, p->bytes > 0 ? &p->layout : &any, &out->out,
                                attributes);
    }
    char kernel[sizeof p->kernel] = "";
    if (status == dnnl_success) name_kernel(description, kernel, sizeof kernel);
    if (status == dnnl_success && is_exact(kernel) && (p->bytes == 0 || strcmp(kernel, p->kernel) == 0)) {
        status =
            onednn_layout_copy(&out->scratch, dnnl_primitive_desc_query_md(description, dnnl_query_scratchpad_md, 0));
        if (status == dnnl_success && p->bytes == 0) {
            const onednn_layout_at chosen = dnnl_primitive_desc_query_md(description, dnnl_query_weights_md, 0);
            status = onednn_layout_copy(&p->layout, chosen);
            p->bytes = dnnl_memory_desc_get_size(chosen);
            memcpy(p->kernel, kernel, sizeof kernel);
        }
        if (status == dnnl_success) status = dnnl_primitive_create(&out->run, description);
    }
    onednn_layout_free(&any);
    if (description) dnnl_primitive_desc_destroy(description);
    if (attributes) dnnl_primitive_attr_destroy(attributes);
    return status == dnnl_unimplemented ? dnnl_success : status;
}

static void free_product(product *k) {
    if (k->run) dnnl_primitive_destroy(k->run);
    onednn_layout_free(&k->rows);
    onednn_layout_free(&k->out);
    onednn_layout_free(&k->scratch);
    *k = (product){0};
}

/* ---- packing ----------------------------------------------------------------------------------------------------- */

/* For rows [first, first + n) of the matrix, which are columns of what oneDNN multiplies with. */
static dnnl_status_t make_packing(const packed *p, int64_t first, int64_t n, packing *out) {
    dnnl_primitive_desc_t description = NULL;
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_status_t status = dnnl_primitive_attr_create(&attributes);
    /* oneDNN's own scratch memory is of the thread that makes the primitive */
    if (status == dnnl_success) status = dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user);
    if (status == dnnl_success) status = onednn_layout_init(&out->plain, p->n_column, n, onednn_type(p), dnnl_ba);
    if (status == dnnl_success) status = onednn_layout_columns(&out->part, &p->layout, p->n_column, first, n);
    if (status == dnnl_success) {
        status = dnnl_reorder_primitive_desc_create(&description, onednn_at(&out->plain), p->engine,
                                                    onednn_at(&out->part), p->engine, attributes);
    }
    if (status == dnnl_success) {
        const onednn_layout_at scratch = dnnl_primitive_desc_query_md(description, dnnl_query_scratchpad_md, 0);
        const bool needs_none = !scratch || dnnl_memory_desc_get_size(scratch) == 0;
        status = needs_none ? dnnl_primitive_create(&out->run, description) : dnnl_unimplemented;
    }
    if (description) dnnl_primitive_desc_destroy(description);
    if (attributes) dnnl_primitive_attr_destroy(attributes);
    return status;
}

static void free_packing(packing *k) {
    if (k->run) dnnl_primitive_destroy(k->run);
    onednn_layout_free(&k->plain);
    onednn_layout_free(&k->part);
    *k = (packing){0};
}

/* Slabs are as far apart as the second is from the first; a layout whose blocks do not end where slabs do has none. */
static dnnl_status_t make_packings(packed *p) {
    packing second = {0};
    const bool several = p->n_row > SLAB;
    if (several && make_packing(p, 0, SLAB, &p->slab) == dnnl_success &&
        make_packing(p, SLAB, least(p->n_row - SLAB, SLAB), &second) == dnnl_success) {
        p->n_slab = p->n_row / SLAB;
        p->stride = onednn_layout_offset(&second.part) - onednn_layout_offset(&p->slab.part);
    }
    free_packing(&second);
    const int64_t done = p->n_slab * SLAB;
    if (done == p->n_row) return dnnl_success;
    return make_packing(p, done, p->n_row - done, &p->last);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

/* The type and the largest product, which chooses the layout. Numbers of BF16 are the faster ones, where there are
 * kernels for them. */
static dnnl_status_t choose(packed *p) {
    static const enum ggml_type types[] = {GGML_TYPE_BF16, GGML_TYPE_F32};
    dnnl_status_t status = dnnl_success;
    for (size_t i = 0; status == dnnl_success && !p->product[0].run && i < sizeof types / sizeof *types; i++) {
        p->type = types[i];
        free_product(&p->product[0]);
        status = make_product(p, SIZE[0], &p->product[0]);
    }
    return status;
}

static dnnl_status_t make_all(packed *p) {
    dnnl_status_t status = dnnl_engine_create(&p->engine, dnnl_cpu, 0);
    if (status == dnnl_success) status = choose(p);
    if (!p->product[0].run) return status;
    for (int i = 1; status == dnnl_success && i < SIZES; i++) status = make_product(p, SIZE[i], &p->product[i]);
    return status == dnnl_success ? make_packings(p) : status;
}

/* Sizes that have no kernel for the layout are made up of smaller ones, so the smallest is needed. */
static bool is_complete(const packed *p) {
    return p->product[SIZES - 1].run && (p->n_slab > 0 || p->last.run);
}

/* Once oneDNN could not make a kernel, because the system lets no program write its own code, for example, it is not
 * asked again: each time it would lose some kilobytes. */
static atomic_bool unable;

judgeq_status packed_new(int64_t n_row, int64_t n_column, packed **out, judgeq_error *error) {
    *out = NULL;
    if (atomic_load(&unable)) return JUDGEQ_OK;
    packed *p = calloc(1, sizeof *p);
    if (!p) return error_memory(error, "a packed matrix");
    p->n_row = n_row;
    p->n_column = n_column;
    const int before = limit_threads(1);
    const dnnl_status_t status = make_all(p);
    limit_threads(before);
    const bool complete = status == dnnl_success && is_complete(p);
    if (complete) p->data = allocate(p->bytes);
    if (complete && p->data) {
        *out = p;
        return JUDGEQ_OK;
    }
    packed_free(p);
    if (status == dnnl_out_of_memory || complete) return error_memory(error, "a packed matrix");
    if (status != dnnl_success && status != dnnl_unimplemented) atomic_store(&unable, true);
    return JUDGEQ_OK;
}

void packed_free(packed *p) {
    if (!p) return;
    for (int i = 0; i < SIZES; i++) free_product(&p->product[i]);
    free_packing(&p->slab);
    free_packing(&p->last);
    onednn_layout_free(&p->layout);
    if (p->engine) dnnl_engine_destroy(p->engine);
    free(p->data);
    free(p);
}

enum ggml_type packed_type(const packed *p) {
    return p->type;
}

const char *packed_kernel(const packed *p) {
    return p->kernel;
}

size_t packed_bytes(const packed *p) {
    return p->bytes;
}

judgeq_status packed_check(const packed *p, judgeq_error *error) {
    if (!atomic_load(&p->failed)) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_BACKEND, "oneDNN could not compute a product with a matrix of %lld x %lld",
                     (long long)p->n_row, (long long)p->n_column);
}

/* ---- one call of oneDNN ------------------------------------------------------------------------------------------ */

/* What a thread of an operation calls oneDNN with. */
typedef struct caller {
    packed *matrix;
    dnnl_stream_t stream;
    dnnl_status_t status; /* of the first call that failed */
    int before;
} caller;

static caller begin_calls(packed *p) {
    caller c = {.matrix = p, .before = limit_threads(1)};
    c.status = dnnl_stream_create(&c.stream, p->engine, dnnl_stream_default_flags);
    return c;
}

static void end_calls(caller *c) {
    if (c->stream) dnnl_stream_destroy(c->stream);
    limit_threads(c->before);
    if (c->status != dnnl_success) atomic_store(&c->matrix->failed, true);
}

typedef struct operand {
    int argument;
    const onednn_layout *layout;
    void *data;
} operand;

enum { OPERANDS_MOST = 4 };

static void call(caller *c, dnnl_primitive_t run, const operand *with, int n) {
    dnnl_exec_arg_t argument[OPERANDS_MOST] = {0};
    for (int i = 0; i < n && c->status == dnnl_success; i++) {
        argument[i].arg = with[i].argument;
        c->status = dnnl_memory_create(&argument[i].memory, onednn_at(with[i].layout), c->matrix->engine, with[i].data);
    }
    if (c->status == dnnl_success) c->status = dnnl_primitive_execute(run, c->stream, n, argument);
    if (c->status == dnnl_success) c->status = dnnl_stream_wait(c->stream);
    for (int i = 0; i < n; i++) {
        if (argument[i].memory) dnnl_memory_destroy(argument[i].memory);
    }
}

/* ---- operations -------------------------------------------------------------------------------------------------- */

static void round_row(const float *row, enum ggml_type type, void *out, int64_t n) {
    if (type == GGML_TYPE_F32) {
        memcpy(out, row, (size_t)n * sizeof *row);
    } else if (product_pairs_available() && n % 2 == 0) {
        product_pairs_round(row, out, n);
    } else {
        ggml_fp32_to_bf16_row(row, out, n);
    }
}

/* Rows [first, first + n) of a matrix of any type as `type`, in `room` [n, n_column] if they are not that already. */
static void *read_rows(const struct ggml_tensor *from, enum ggml_type type, int64_t first, int64_t n, void *room,
                       float *row) {
    const int64_t n_column = from->ne[0];
    if (from->type == type) return row_of(from, 0, first);
    for (int64_t i = 0; i < n; i++) {
        char *to = (char *)room + (size_t)(i * n_column) * ggml_type_size(type);
        float *read = type == GGML_TYPE_F32 ? (float *)(void *)to : row;
        if (!dots_read(from, first + i, read)) rows_read(from, 0, first + i, 1, 0, n_column, read, n_column);
        if (read == row) round_row(row, type, to, n_column);
    }
    return room;
}

/* Slab by slab, so that a slab's numbers are still in the second cache when oneDNN arranges them. */
static void fill(struct ggml_tensor *result, int thread, int n_thread, void *data) {
    const struct ggml_tensor *from = result->src[0];
    packed *p = data;
    const int64_t n = p->n_slab + (p->last.run ? 1 : 0), most = p->n_slab > 0 ? SLAB : p->n_row;
    const size_t size = ggml_type_size(p->type), row_bytes = (size_t)p->n_column * sizeof(float),
                 bytes = (size_t)(most * p->n_column) * size;
    caller c = begin_calls(p);
    float *row = malloc(row_bytes);
    void *room = allocate(bytes);
    if (!row || !room) c.status = dnnl_out_of_memory;
    for (int64_t i = thread; i < n && c.status == dnnl_success; i += n_thread) {
        const bool whole = i < p->n_slab;
        const packing *k = whole ? &p->slab : &p->last;
        /* the last one's part says itself where it begins */
        char *to = (char *)p->data + (whole ? (size_t)(i * p->stride) * size : 0);
        void *rows = read_rows(from, p->type, i * SLAB, whole ? SLAB : p->n_row - i * SLAB, room, row);
        const operand with[] = {{DNNL_ARG_FROM, &k->plain, rows}, {DNNL_ARG_TO, &k->part, to}};
        call(&c, k->run, with, 2);
    }
    free(row);
    free(room);
    end_calls(&c);
}

/* Rows of the result's type, and zeros after them. */
static void round_rows(struct ggml_tensor *result, int thread, int n_thread, void *data) {
    (void)data;
    const struct ggml_tensor *x = result->src[0];
    const int64_t n = result->ne[1];
    for (int64_t i = thread * n / n_thread; i < (thread + 1) * n / n_thread; i++) {
        char *to = row_of(result, 0, i);
        if (i < x->ne[1]) {
            round_row((const float *)(const void *)row_of(x, 0, i), result->type, to, x->ne[0]);
        } else {
            memset(to, 0, result->nb[1]);
        }
    }
}

/* Rows [first, first + n) at once; the number is one of the sizes. */
static void multiply_rows(caller *c, const product *k, const struct ggml_tensor *rows, struct ggml_tensor *result,
                          int64_t first) {
    _Alignas(ALIGNMENT) char room[SCRATCH];
    const size_t bytes = dnnl_memory_desc_get_size(onednn_at(&k->scratch));
    void *scratch = room;
    if (bytes > sizeof room) scratch = allocate(bytes);
    if (!scratch) {
        c->status = dnnl_out_of_memory;
        return;
    }
    const operand with[] = {{DNNL_ARG_SRC, &k->rows, row_of(rows, 0, first)},
                            {DNNL_ARG_WEIGHTS, &c->matrix->layout, c->matrix->data},
                            {DNNL_ARG_DST, &k->out, row_of(result, 0, first)},
                            {DNNL_ARG_SCRATCHPAD, &k->scratch, scratch}};
    call(c, k->run, with, bytes > 0 ? 4 : 3);
    if (scratch != room) free(scratch);
}

static void multiply(struct ggml_tensor *result, int thread, int n_thread, void *data) {
    packed *p = data;
    const struct ggml_tensor *rows = result->src[0];
    const int64_t n = result->ne[1] / SIZE_LEAST, end = (thread + 1) * n / n_thread * SIZE_LEAST;
    caller c = begin_calls(p);
    int64_t first = thread * n / n_thread * SIZE_LEAST;
    for (int i = 0; i < SIZES; i++) {
        if (!p->product[i].run) continue;
        for (; first + SIZE[i] <= end; first += SIZE[i]) multiply_rows(&c, &p->product[i], rows, result, first);
    }
    end_calls(&c);
}

/* ---- nodes ------------------------------------------------------------------------------------------------------- */

struct ggml_tensor *packed_fill(struct ggml_context *context, packed *matrix, struct ggml_tensor *from) {
    return ggml_custom_4d(context, GGML_TYPE_I8, 1, 1, 1, 1, &from, 1, fill, GGML_N_TASKS_MAX, matrix);
}

/* x as oneDNN reads it: of the matrix's type, one row after the other, `n` of them. */
static struct ggml_tensor *add_rows(struct ggml_context *context, const packed *matrix, struct ggml_tensor *x,
                                    int64_t n) {
    if (x->type == matrix->type && x->ne[1] == n && ggml_is_contiguous(x)) return x;
    return ggml_custom_4d(context, matrix->type, x->ne[0], n, 1, 1, &x, 1, round_rows, GGML_N_TASKS_MAX, NULL);
}

struct ggml_tensor *packed_multiply(struct ggml_context *context, packed *matrix, struct ggml_tensor *x) {
    const int64_t n = x->ne[1], n_filled = parts(n, SIZE_LEAST) * SIZE_LEAST;
    struct ggml_tensor *rows = add_rows(context, matrix, x, n_filled);
    struct ggml_tensor *all = ggml_custom_4d(context, GGML_TYPE_F32, matrix->n_row, n_filled, 1, 1, &rows, 1, multiply,
                                             GGML_N_TASKS_MAX, matrix);
    return n == n_filled ? all : ggml_view_2d(context, all, all->ne[0], n, all->nb[1], 0);
}
