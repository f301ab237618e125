#include "tensors.h"

#include "ggml-alloc.h"

#include "base/error.h"
#include "guard.h"

typedef struct opening {
    size_t n;
    struct ggml_context *context;
} opening;

static void open_context(void *data) {
    opening *o = data;
    o->context = ggml_init((struct ggml_init_params){.mem_size = o->n * ggml_tensor_overhead(), .no_alloc = true});
}

judgeq_status tensors_new(size_t n, const char *what, struct ggml_context **out, judgeq_error *error) {
    opening o = {.n = n};
    const judgeq_status status = guard_call(open_context, &o, what, error);
    *out = status == JUDGEQ_OK ? o.context : NULL;
    return status;
}

typedef struct allocation {
    struct ggml_context *context;
    ggml_backend_buffer_type_t type;
    ggml_backend_buffer_t buffer;
} allocation;

static size_t bytes_of(const allocation *a) {
    const size_t alignment = ggml_backend_buft_get_alignment(a->type);
    size_t bytes = 0;
    for (struct ggml_tensor *t = ggml_get_first_tensor(a->context); t; t = ggml_get_next_tensor(a->context, t)) {
        bytes += GGML_PAD(ggml_backend_buft_get_alloc_size(a->type, t), alignment);
    }
    return bytes;
}

/* One buffer, by our own hand: ggml_backend_alloc_ctx_tensors does not check whether its list of buffers could grow.
 * It is left for devices whose buffers have a largest size. */
static void allocate(void *data) {
    allocation *a = data;
    const size_t bytes = bytes_of(a);
    if (bytes > ggml_backend_buft_get_max_size(a->type)) {
        a->buffer = ggml_backend_alloc_ctx_tensors_from_buft(a->context, a->type);
        return;
    }
    a->buffer = ggml_backend_buft_alloc_buffer(a->type, bytes);
    if (!a->buffer) return;
    struct ggml_tallocr place = ggml_tallocr_new(a->buffer);
    for (struct ggml_tensor *t = ggml_get_first_tensor(a->context); t; t = ggml_get_next_tensor(a->context, t)) {
        ggml_tallocr_alloc(&place, t);
    }
}

judgeq_status tensors_allocate(struct ggml_context *context, ggml_backend_buffer_type_t type, const char *what,
                               ggml_backend_buffer_t *out, judgeq_error *error) {
    allocation a = {.context = context, .type = type};
    judgeq_status status = guard_call(allocate, &a, what, error);
    if (status == JUDGEQ_OK && !a.buffer) status = error_memory(error, what);
    *out = status == JUDGEQ_OK ? a.buffer : NULL;
    return status;
}
