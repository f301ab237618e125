/* tensors: ggml's contexts for a few tensors, and their memory on a backend; where there is none, an error. */
#ifndef JUDGEQ_SRC_TENSORS_H
#define JUDGEQ_SRC_TENSORS_H

#include "ggml-backend.h"
#include "ggml.h"

#include "judgeq.h"

/* A context that n tensors fit into, without their data. NULL on failure; the caller's: ggml_free. */
judgeq_status tensors_new(size_t n, const char *what, struct ggml_context **out, judgeq_error *error);

/* Memory for all of a context's tensors. NULL on failure; the caller's: ggml_backend_buffer_free. */
judgeq_status tensors_allocate(struct ggml_context *context, ggml_backend_buffer_type_t type, const char *what,
                               ggml_backend_buffer_t *out, judgeq_error *error);

#endif
