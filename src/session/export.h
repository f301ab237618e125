/* export: what leaves a session for training and measurements: the attention that scored its layers, and its rows. */
#ifndef JUDGEQ_SRC_EXPORT_H
#define JUDGEQ_SRC_EXPORT_H

#include "engine/cache.h"
#include "policy/score.h"

/* Called with the attention that scored a layer, before smoothing. The map is freed after the call. */
typedef void (*session_score_hook)(void *data, int32_t layer, const score_map *map);

/* Before the session reads its prompt. */
void session_on_scores(judgeq_session *session, session_score_hook hook, void *data);

/* Before the session reads its prompt: of the rows of tokens from `first` on that the policy's probe has, those with 0
 * in row [n] do not score. row must outlive the read. */
void session_count_rows(judgeq_session *session, int32_t first, const unsigned char *row);

/* True for a session of this model with this KV type. */
bool session_is_of(const judgeq_session *session, const judgeq_model *model, judgeq_kv_type kv_type);

/* Moves the rows of positions 0 .. n_position - 1 out of the session into out [n_layer], with room for `spare` more in
 * each head. Afterwards the session can only be freed. */
judgeq_status session_take_rows(judgeq_session *session, int32_t n_position, int64_t spare, cache_meter *meter,
                                cache_layer *out, judgeq_error *error);

#endif
