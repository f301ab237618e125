/* guard: the calls of libllama that may throw, behind a C face. Its implementation is the only C++ of the library, and
 * the place where every exception stops: nothing above it may see one. */
#ifndef JUDGEQ_SRC_GUARD_H
#define JUDGEQ_SRC_GUARD_H

#include "llama.h"

#include "judgeq.h"

#ifdef __cplusplus
extern "C" {
#endif

/* llama_model_load_from_file of the vocabulary alone. NULL in *out without an error: libllama refused the file. */
judgeq_status guard_load_vocabulary(const char *path, struct llama_model **out, judgeq_error *error);

/* llama_tokenize: *n is its result, which is negative where there is not room enough. */
judgeq_status guard_tokenize(const struct llama_vocab *vocab, const char *text, int32_t length, int32_t *ids,
                             int32_t room, bool add_special, bool parse_special, int32_t *n, judgeq_error *error);

#ifdef __cplusplus
}
#endif

#endif
