#include "float_model.h"

#include "model/gguf_file.h"

#include <stdio.h>
#include <string.h>

static int add_copies(const gguf_file *from, struct gguf_context *gguf, struct ggml_context *context) {
    for (struct ggml_tensor *t = ggml_get_first_tensor(from->tensors); t; t = ggml_get_next_tensor(from->tensors, t)) {
        struct ggml_tensor *copy = ggml_new_tensor(context, GGML_TYPE_F32, GGML_MAX_DIMS, t->ne);
        if (!copy) return -1;
        ggml_set_name(copy, t->name);
        const void *data = gguf_file_data(from, t);
        if (t->type == GGML_TYPE_F32) {
            memcpy(copy->data, data, ggml_nbytes(t));
        } else {
            ggml_get_type_traits(t->type)->to_float(data, copy->data, ggml_nelements(t));
        }
        gguf_add_tensor(gguf, copy);
    }
    return 0;
}

int float_model_write(const char *path, const char *out) {
    gguf_file from;
    judgeq_error error = {0};
    if (gguf_open_checked(path, &from, &error) != JUDGEQ_OK) {
        fprintf(stderr, "%s\n", error.message);
        return -1;
    }
    size_t bytes = 1 << 20;
    for (struct ggml_tensor *t = ggml_get_first_tensor(from.tensors); t; t = ggml_get_next_tensor(from.tensors, t)) {
        bytes += (size_t)ggml_nelements(t) * sizeof(float) + 2 * ggml_tensor_overhead();
    }
    struct ggml_context *context = ggml_init((struct ggml_init_params){.mem_size = bytes});
    struct gguf_context *gguf = gguf_init_empty();
    gguf_set_kv(gguf, from.gguf);
    int result = context ? add_copies(&from, gguf, context) : -1;
    if (result == 0 && !gguf_write_to_file(gguf, out, false)) result = -1;
    gguf_free(gguf);
    ggml_free(context);
    gguf_file_close(&from);
    return result;
}
