/* prefill: a prompt through all layers, one layer after the other. */
#ifndef JUDGEQ_SRC_PREFILL_H
#define JUDGEQ_SRC_PREFILL_H

#include "state.h"

/* Reads the prompt tokens[n_prompt] into all sessions: they share a model, a judge and a KV type; the blocks are
 * computed once, by the first session's engine. */
judgeq_status prefill_run(judgeq_session *const *session, size_t n_session, const int32_t *tokens, judgeq_error *error);

#endif
