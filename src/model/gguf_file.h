/* gguf_file: a GGUF file, mapped, checked and opened, and its metadata read with type checks (ggml's own getters abort
 * on a wrong type). */
#ifndef JUDGEQ_SRC_GGUF_FILE_H
#define JUDGEQ_SRC_GGUF_FILE_H

#include "base/file.h"
#include "ggml.h"
#include "gguf.h"
#include "judgeq.h"

typedef struct gguf_file {
    char *path; /* for messages */
    file_mapping map;
    struct gguf_context *gguf;    /* keys and values */
    struct ggml_context *tensors; /* shapes and types; their data is NULL: see gguf_file_data */
    struct gguf_file *more;       /* [n_more], the further parts of a model in several files (gguf_split.h); or NULL */
    int32_t n_more;
} gguf_file;

/* Maps the file, checks it (gguf_check) and opens it. On failure *file is zeroed. */
judgeq_status gguf_open_checked(const char *path, gguf_file *file, judgeq_error *error);
/* Unmaps: pointers into the mapping and strings read from the file die. Accepts a zeroed file, and zeroes it. */
void gguf_file_close(gguf_file *file);

/* NULL if there is no tensor of that name in any part. */
struct ggml_tensor *gguf_file_tensor(const gguf_file *file, const char *name);
/* The bytes of a tensor of this file, inside a part's mapping; ggml_nbytes(tensor) of them are there. */
const void *gguf_file_data(const gguf_file *file, const struct ggml_tensor *tensor);

/* Part 0 is the file itself, parts 1 .. n_more are those after it. */
const gguf_file *gguf_file_part(const gguf_file *file, int32_t part);
/* Which part has a tensor of this file. */
int32_t gguf_file_part_of(const gguf_file *file, const struct ggml_tensor *tensor);
/* Of all parts. */
int64_t gguf_file_n_tensors(const gguf_file *file);

/* Walks over the tensors of all parts, in their order:
 * for (gguf_walk w = gguf_walk_tensors(file); w.tensor; gguf_walk_on(&w)) */
typedef struct gguf_walk {
    const gguf_file *file;
    int32_t part;
    struct ggml_tensor *tensor; /* NULL past the last */
} gguf_walk;

gguf_walk gguf_walk_tensors(const gguf_file *file);
void gguf_walk_on(gguf_walk *walk);

/* Each reads one value. Where the key is absent, GGUF_OPTIONAL leaves *out as it is (the default) and succeeds. A value
 * of a wrong type is an error in both cases. */
typedef enum gguf_need { GGUF_OPTIONAL, GGUF_REQUIRED } gguf_need;

/* Any integer type, 0 .. 2^32 - 1. */
judgeq_status gguf_read_u32(const gguf_file *file, const char *key, gguf_need need, uint32_t *out, judgeq_error *error);
/* Any integer type, 0 .. 2^63 - 1. */
judgeq_status gguf_read_i64(const gguf_file *file, const char *key, gguf_need need, int64_t *out, judgeq_error *error);
/* Any integer type, 0 .. 2^64 - 1. */
judgeq_status gguf_read_u64(const gguf_file *file, const char *key, gguf_need need, uint64_t *out, judgeq_error *error);
/* F32, or F64 in the range of F32; NaN and infinity are refused. */
judgeq_status gguf_read_f32(const gguf_file *file, const char *key, gguf_need need, float *out, judgeq_error *error);
judgeq_status gguf_read_bool(const gguf_file *file, const char *key, gguf_need need, bool *out, judgeq_error *error);
/* *out is the file's. */
judgeq_status gguf_read_string(const gguf_file *file, const char *key, gguf_need need, const char **out,
                               judgeq_error *error);
/* A number for each of n layers: one for all, or an array of n that are all alike; arrays that differ are refused. */
judgeq_status gguf_read_u32_of_layers(const gguf_file *file, const char *key, gguf_need need, size_t n, uint32_t *out,
                                      judgeq_error *error);
/* An array of strings: *n elements, to be read with gguf_get_arr_str(file->gguf, *id, i). */
judgeq_status gguf_read_strings(const gguf_file *file, const char *key, gguf_need need, int64_t *id, size_t *n,
                                judgeq_error *error);

#endif
