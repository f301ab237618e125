/* array_npy: the header of NumPy's .npy files. */
#ifndef JUDGEQ_SRC_ARRAY_NPY_H
#define JUDGEQ_SRC_ARRAY_NPY_H

#include "array_file.h"
#include "ggml.h"

/* The array in a file: type F32, F16 or BF16. */
typedef struct array_source {
    enum ggml_type type;
    int n_dim;
    int64_t shape[ARRAY_FILE_MAX_DIM];
} array_source;

bool npy_has_magic(const unsigned char *data, size_t size);

/* Reads the header of a file with that magic; the array's bytes begin at *start <= size. */
judgeq_status npy_read_header(const char *path, const unsigned char *data, size_t size, array_source *out,
                              size_t *start, judgeq_error *error);

/* The header of an F32 array, byte for byte as NumPy writes it (version 1.0). NULL: no memory. The caller frees it. */
char *npy_make_header(const int64_t *shape, int n_dim, size_t *size);

#endif
