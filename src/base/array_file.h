/* array_file: arrays of numbers in and out, as NumPy's .npy and as .safetensors. Little-endian, C order.
 * Formats: numpy.lib.format's documentation; the README of huggingface/safetensors. */
#ifndef JUDGEQ_SRC_ARRAY_FILE_H
#define JUDGEQ_SRC_ARRAY_FILE_H

#include "judgeq.h"

#define ARRAY_FILE_MAX_DIM 8

typedef struct array_file {
    int n_dim;
    int64_t shape[ARRAY_FILE_MAX_DIM]; /* [slowest, ..., fastest], each >= 1 */
    float *data;                       /* owned: array_file_free */
} array_file;

/* Reads one array as F32, whatever the file's name: .npy (F32, F16) or .safetensors (F32, F16, BF16).
 * `tensor`: its name in a .safetensors file; NULL where the file holds only one. NaN and infinity pass. */
judgeq_status array_file_read(const char *path, const char *tensor, array_file *out, judgeq_error *error);
/* Accepts a zeroed array, and zeroes it. */
void array_file_free(array_file *array);

/* Writes data [shape] as F32: .npy or .safetensors (there the tensor is called `tensor`) by the ending of `path`;
 * any other ending is an error. Atomic, as file_write_atomic. */
judgeq_status array_file_write(const char *path, const char *tensor, const int64_t *shape, int n_dim, const float *data,
                               judgeq_error *error);

#endif
