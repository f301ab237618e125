/* onednn: the part of oneDNN's C API that judgeq calls, the same for version 2 (Debian 12) and version 3 (Debian 13).
 * In version 2 a memory descriptor is a value, in version 3 an object that has to be freed. */
#ifndef JUDGEQ_SRC_ONEDNN_H
#define JUDGEQ_SRC_ONEDNN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <oneapi/dnnl/dnnl.h>

/* How a matrix is stored. */
typedef dnnl_memory_desc_t onednn_layout;

#if DNNL_VERSION_MAJOR >= 3

typedef const_dnnl_memory_desc_t onednn_layout_at;

static inline onednn_layout_at onednn_at(const onednn_layout *layout) {
    return *layout;
}

static inline void onednn_layout_free(onednn_layout *layout) {
    if (*layout) dnnl_memory_desc_destroy(*layout);
    *layout = NULL;
}

static inline dnnl_status_t onednn_layout_init(onednn_layout *layout, int64_t n_row, int64_t n_column,
                                               dnnl_data_type_t type, dnnl_format_tag_t tag) {
    const dnnl_dims_t size = {n_row, n_column};
    return dnnl_memory_desc_create_with_tag(layout, 2, size, type, tag);
}

static inline dnnl_status_t onednn_layout_copy(onednn_layout *layout, onednn_layout_at from) {
    return dnnl_memory_desc_clone(layout, from);
}

/* Columns [first, first + n) of a matrix. */
static inline dnnl_status_t onednn_layout_columns(onednn_layout *layout, const onednn_layout *from, int64_t n_row,
                                                  int64_t first, int64_t n) {
    const dnnl_dims_t size = {n_row, n}, offset = {0, first};
    return dnnl_memory_desc_create_submemory(layout, *from, size, offset);
}

/* Numbers before a part's first. */
static inline int64_t onednn_layout_offset(const onednn_layout *layout) {
    int64_t offset = 0;
    dnnl_memory_desc_query(*layout, dnnl_query_submemory_offset_s64, &offset);
    return offset;
}

/* out = rows matrix */
static inline dnnl_status_t onednn_product(dnnl_primitive_desc_t *product, dnnl_engine_t engine,
                                           const onednn_layout *rows, const onednn_layout *matrix,
                                           const onednn_layout *out, const_dnnl_primitive_attr_t attributes) {
    return dnnl_matmul_primitive_desc_create(product, engine, *rows, *matrix, NULL, *out, attributes);
}

#else

typedef const dnnl_memory_desc_t *onednn_layout_at;

static inline onednn_layout_at onednn_at(const onednn_layout *layout) {
    return layout;
}

static inline void onednn_layout_free(onednn_layout *layout) {
    *layout = (onednn_layout){0};
}

static inline dnnl_status_t onednn_layout_init(onednn_layout *layout, int64_t n_row, int64_t n_column,
                                               dnnl_data_type_t type, dnnl_format_tag_t tag) {
    const dnnl_dims_t size = {n_row, n_column};
    return dnnl_memory_desc_init_by_tag(layout, 2, size, type, tag);
}

static inline dnnl_status_t onednn_layout_copy(onednn_layout *layout, onednn_layout_at from) {
    *layout = *from;
    return dnnl_success;
}

/* Columns [first, first + n) of a matrix. */
static inline dnnl_status_t onednn_layout_columns(onednn_layout *layout, const onednn_layout *from, int64_t n_row,
                                                  int64_t first, int64_t n) {
    const dnnl_dims_t size = {n_row, n}, offset = {0, first};
    return dnnl_memory_desc_init_submemory(layout, from, size, offset);
}

/* Numbers before a part's first. */
static inline int64_t onednn_layout_offset(const onednn_layout *layout) {
    return layout->offset0;
}

/* out = rows matrix */
static inline dnnl_status_t onednn_product(dnnl_primitive_desc_t *product, dnnl_engine_t engine,
                                           const onednn_layout *rows, const onednn_layout *matrix,
                                           const onednn_layout *out, const_dnnl_primitive_attr_t attributes) {
    dnnl_matmul_desc_t what;
    const dnnl_status_t status = dnnl_matmul_desc_init(&what, rows, matrix, NULL, out);
    return status == dnnl_success ? dnnl_primitive_desc_create(product, &what, attributes, engine, NULL) : status;
}

#endif

#endif
