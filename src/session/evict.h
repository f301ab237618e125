/* evict: from the attention that a layer's rows received to the rows that stay. */
#ifndef JUDGEQ_SRC_EVICT_H
#define JUDGEQ_SRC_EVICT_H

#include "state.h"

/* The rows among the prompt's rows of `cache` that a policy keeps under `budget`. map: attention to them, or NULL. */
judgeq_status evict_select(judgeq_session *session, const judgeq_policy *policy, const score_map *map,
                           const cache_layer *cache, int32_t index, int32_t budget, select_kept *kept,
                           judgeq_error *error);

/* out = the rows of `from` that are kept (NULL: all), as `type`, with room to decode. */
judgeq_status evict_gather(judgeq_session *session, const cache_layer *from, const select_kept *kept,
                           enum ggml_type type, cache_layer *out, judgeq_error *error);

/* Rows of one KV head that belong to the prompt. */
int64_t evict_prompt_rows(const judgeq_session *session, const cache_layer *cache, int32_t head);

#endif
