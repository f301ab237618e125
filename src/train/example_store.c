#include "example_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/visible.h"

/* What stands before an example's bytes: all that its shape follows from. */
typedef struct record {
    cache_shape shape;
    int32_t n_layer, n_head, n_prompt;
    int64_t capacity; /* rows of every KV head */
    size_t bytes;     /* of the whole record */
} record;

/* ---- life -------------------------------------------------------------------------------------------------------- */

judgeq_status example_store_init(example_store *store, const char *folder, size_t most_bytes, judgeq_error *error) {
    *store = (example_store){.file = -1, .most = most_bytes};
    if (!folder || most_bytes == 0) return JUDGEQ_OK;
    char path[4096];
    const int n = snprintf(path, sizeof path, "%s/judgeq-examples-XXXXXX", folder);
    store->file = n < (int)sizeof path ? mkostemp(path, O_CLOEXEC) : -1;
    if (store->file < 0) {
        return error_set(error, JUDGEQ_ERROR_IO, "%.*s: no temporary file can be made here: %s",
                         VISIBLE_FIT(folder, 300), n < (int)sizeof path ? strerror(errno) : "the path is too long");
    }
    unlink(path);
    return JUDGEQ_OK;
}

void example_store_free(example_store *store) {
    if (store->file > 0) close(store->file);
    free(store->offset);
    *store = (example_store){.file = -1};
}

judgeq_status example_store_grow(example_store *store, size_t n, judgeq_error *error) {
    if (n <= store->n) return JUDGEQ_OK;
    int64_t *offset = realloc(store->offset, n * sizeof *offset);
    if (!offset) return error_memory(error, "the places of examples");
    for (size_t i = store->n; i < n; i++) offset[i] = -1;
    store->offset = offset;
    store->n = n;
    return JUDGEQ_OK;
}

/* ---- bytes ------------------------------------------------------------------------------------------------------- */

/* Writes or reads all of it. */
static bool move_bytes(int file, bool put, void *data, size_t size, int64_t *at) {
    for (char *next = data; size > 0;) {
        const ssize_t n = put ? pwrite(file, next, size, (off_t)*at) : pread(file, next, size, (off_t)*at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        next += n;
        size -= (size_t)n;
        *at += n;
    }
    return true;
}

static size_t target_bytes(const example *e) {
    return (size_t)e->n_layer * (size_t)e->n_head * (size_t)e->n_prompt * sizeof *e->target;
}

/* The parts of an example, one after the other. */
static bool move_example(int file, bool put, const example *e, int64_t at) {
    bool moved = true;
    for (int32_t l = 0; moved && l < e->n_layer; l++) {
        const cache_layer *layer = &e->layer[l];
        moved = move_bytes(file, put, layer->k->data, ggml_nbytes(layer->k), &at) &&
                move_bytes(file, put, layer->v->data, ggml_nbytes(layer->v), &at);
    }
    return moved && move_bytes(file, put, e->target, target_bytes(e), &at);
}

static record record_of(const example *e) {
    const cache_layer *layer = &e->layer[0]; /* all layers and heads have its shape */
    record r = {.shape = {layer->type, layer->n_head_kv, layer->head_dim, layer->padding},
                .n_layer = e->n_layer,
                .n_head = e->n_head,
                .n_prompt = e->n_prompt,
                .capacity = layer->head[0].capacity,
                .bytes = sizeof r + e->meter.bytes + target_bytes(e)};
    return r;
}

/* ---- examples ---------------------------------------------------------------------------------------------------- */

void example_store_put(example_store *store, size_t index, const example *e) {
    record r = record_of(e);
    int64_t at = store->end;
    if (store->file < 0 || store->bytes + r.bytes > store->most) return;
    if (!move_bytes(store->file, true, &r, sizeof r, &at) || !move_example(store->file, true, e, at)) {
        store->most = store->bytes; /* the disk is full */
        (void)!ftruncate(store->file, (off_t)store->end);
        return;
    }
    store->offset[index] = store->end;
    store->end += (int64_t)r.bytes;
    store->bytes += r.bytes;
}

void example_store_drop(example_store *store, size_t index) {
    int64_t at = index < store->n ? store->offset[index] : -1;
    record r;
    if (at < 0 || !move_bytes(store->file, false, &r, sizeof r, &at)) return;
    /* where the file system cannot do that, the place counts until the end */
    if (fallocate(store->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)store->offset[index],
                  (off_t)r.bytes) == 0) {
        store->bytes -= r.bytes;
    }
    store->offset[index] = -1;
}

judgeq_status example_store_take(const example_store *store, size_t index, ggml_backend_t backend, example **out,
                                 judgeq_error *error) {
    *out = NULL;
    int64_t at = store->offset[index];
    record r;
    if (at < 0) return JUDGEQ_OK;
    if (!move_bytes(store->file, false, &r, sizeof r, &at)) {
        return error_set(error, JUDGEQ_ERROR_IO, "the temporary file of examples cannot be read: %s", strerror(errno));
    }
    example *e = NULL;
    judgeq_status status = example_new(r.n_layer, r.n_head, r.n_prompt, &e, error);
    for (int32_t l = 0; status == JUDGEQ_OK && l < r.n_layer; l++) {
        status = cache_layer_init_even(&e->layer[l], backend, r.shape, r.capacity, &e->meter, error);
        if (status == JUDGEQ_OK) cache_layer_append(&e->layer[l], r.n_prompt, 0);
    }
    if (status == JUDGEQ_OK && !move_example(store->file, false, e, at)) {
        status =
            error_set(error, JUDGEQ_ERROR_IO, "the temporary file of examples cannot be read: %s", strerror(errno));
    }
    if (status != JUDGEQ_OK) {
        example_free(e);
        return status;
    }
    *out = e;
    return JUDGEQ_OK;
}
