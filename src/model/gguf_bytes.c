#include "gguf_bytes.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "guard.h"
#include "tensors.h"

typedef struct packing {
    const gguf_content *content;
    struct ggml_context *context;
    gguf_bytes *out;
} packing;

static size_t array_size(const gguf_array *array) {
    const int64_t *ne = array->ne;
    return ggml_row_size(array->type, ne[0]) * (size_t)(ne[1] * ne[2] * ne[3]);
}

/* gguf_add_tensor copies the description. */
static void add_arrays(const packing *p) {
    for (size_t i = 0; i < p->content->n_array; i++) {
        const gguf_array *array = &p->content->array[i];
        struct ggml_tensor *tensor = ggml_new_tensor(p->context, array->type, GGML_MAX_DIMS, array->ne);
        ggml_set_name(tensor, array->name);
        gguf_add_tensor(p->out->gguf, tensor);
    }
}

/* Every tensor's data is padded to the alignment, as ggml's reader wants it. */
static void pack(void *data) {
    const packing *p = data;
    const gguf_content *content = p->content;
    gguf_bytes *out = p->out;
    out->gguf = gguf_init_empty();
    content->set_keys(out->gguf, content->owner);
    add_arrays(p);
    out->header = out->size = gguf_get_meta_size(out->gguf);
    for (size_t i = 0; i < content->n_array; i++) {
        out->size += GGML_PAD(array_size(&content->array[i]), GGUF_DEFAULT_ALIGNMENT);
    }
    out->bytes = calloc(1, out->size);
    if (!out->bytes) return;
    gguf_get_meta_data(out->gguf, out->bytes);
    for (size_t i = 0; i < content->n_array; i++) {
        const gguf_array *array = &content->array[i];
        if (array->data) memcpy(gguf_bytes_at(out, i), array->data, array_size(array));
    }
}

judgeq_status gguf_bytes_new(const gguf_content *content, gguf_bytes *out, judgeq_error *error) {
    packing p = {.content = content, .out = out};
    *out = (gguf_bytes){0};
    judgeq_status status = tensors_new(content->n_array, content->what, &p.context, error);
    if (status == JUDGEQ_OK) status = guard_call(pack, &p, content->what, error);
    if (status == JUDGEQ_OK && !out->bytes) status = error_memory(error, content->what);
    ggml_free(p.context);
    if (status != JUDGEQ_OK) gguf_bytes_free(out);
    return status;
}

void gguf_bytes_free(gguf_bytes *bytes) {
    if (bytes->gguf) gguf_free(bytes->gguf);
    free(bytes->bytes);
    *bytes = (gguf_bytes){0};
}

unsigned char *gguf_bytes_at(const gguf_bytes *bytes, size_t index) {
    return bytes->bytes + bytes->header + gguf_get_tensor_offset(bytes->gguf, (int64_t)index);
}

judgeq_status gguf_bytes_write(const gguf_content *content, const char *path, judgeq_error *error) {
    gguf_bytes file;
    judgeq_status status = gguf_bytes_new(content, &file, error);
    if (status != JUDGEQ_OK) return status;
    status = file_write_atomic(path, file.bytes, file.size, error);
    gguf_bytes_free(&file);
    return status;
}
