/* packed: a constant matrix in the layout that oneDNN multiplies fastest on this processor, and its products with many
 * rows, summed in F32. Its numbers are BF16 where the processor multiplies these (AMX, AVX-512 with BF16), and F32
 * where it has AVX-512 without BF16. Each call computes in one thread, since the threads are ggml's. A row's product
 * does not depend on which rows it is computed with: of oneDNN's kernels, only those are taken that keep this. */
#ifndef JUDGEQ_SRC_PACKED_H
#define JUDGEQ_SRC_PACKED_H

#include <stddef.h>

#include "ggml.h"

#include "judgeq.h"

typedef struct packed packed;

/* Room for a matrix [n_row, n_column]. NULL with OK: oneDNN has no such kernel for it on this processor, or may not
 * make one (it writes machine code). The caller's: packed_free. Fails with MEMORY. */
judgeq_status packed_new(int64_t n_row, int64_t n_column, packed **out, judgeq_error *error);
/* Accepts NULL. */
void packed_free(packed *p);
/* BF16 or F32. */
enum ggml_type packed_type(const packed *p);
/* oneDNN's name of the kernel that multiplies it. */
const char *packed_kernel(const packed *p);
/* Bytes of its numbers. */
size_t packed_bytes(const packed *p);

/* A node that packs a matrix [n_row, n_column] of any type that ggml can read, rounded to its type. The rows of a
 * matrix that is of this type already must follow each other. */
struct ggml_tensor *packed_fill(struct ggml_context *context, packed *matrix, struct ggml_tensor *from);

/* x matrix^T [n, n_row], for x [n, n_column] of F32, whose rows may be further apart. x is rounded to the matrix's
 * type. */
struct ggml_tensor *packed_multiply(struct ggml_context *context, packed *matrix, struct ggml_tensor *x);

/* Fails with BACKEND after a graph in which oneDNN could not compute one of the nodes above. */
judgeq_status packed_check(const packed *p, judgeq_error *error);

#endif
