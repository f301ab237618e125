/* golden: reads tests/golden, the values of the PyTorch reference. The reader of .npy here is the tests' own, so that
 * the library's reader is not what vouches for itself. Every function returns NULL (NaN) where the file is missing or
 * not what was asked for. */
#ifndef JUDGEQ_TESTS_GOLDEN_H
#define JUDGEQ_TESTS_GOLDEN_H

#include <stddef.h>
#include <stdint.h>

enum { GOLDEN_LAYERS = 30, GOLDEN_HEADS = 9, GOLDEN_HEADS_KV = 3, GOLDEN_PROMPT = 277, GOLDEN_SOFT = 32 };
enum { GOLDEN_EMBD = 576, GOLDEN_VOCAB = 49152, GOLDEN_ANSWER = 9, GOLDEN_BUDGET = 64 };

/* Full path of a file in tests/golden. */
void golden_path(const char *file, char *path, size_t size);
/* tests/golden/NAME.npy, F32, with n values in all. The caller frees it. */
float *golden_floats(const char *name, size_t n);
/* tests/golden/NAME.txt, n token ids. The caller frees it. */
int32_t *golden_tokens(const char *name, size_t n);
/* A number of tests/golden/values.txt. */
double golden_value(const char *name);

#endif
