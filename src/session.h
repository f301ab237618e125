/* session: one timeline over a model. Its parts: prefill.c reads the prompt layer by layer, evict.c turns scores into
 * kept rows, lookahead.c scores with tokens that are decoded first, session.c is the public face and the decode step.
 */
#ifndef JUDGEQ_SRC_SESSION_H
#define JUDGEQ_SRC_SESSION_H

#include "cache.h"
#include "graph.h"
#include "judge.h"
#include "model.h"
#include "policy.h"
#include "score.h"

/* For tests and measurements: the attention that scored a layer, before smoothing. The map dies with the call. */
typedef void (*session_score_hook)(void *data, int32_t layer, const score_map *map);

struct judgeq_session {
    const judgeq_model *model;
    const judgeq_judge *judge;
    judgeq_policy policy;
    judgeq_policy draft; /* of a lookahead; only if policy.probe.draft */
    judgeq_session_params params;
    graph_engine engine;
    enum ggml_type kv_type;
    bool prefilled, failed;

    cache_meter meter;
    cache_layer *layer;    /* [n_layer], what decoding attends to */
    score_map *prior;      /* [n_layer], attention of the policy's own prompt-time probes to the rows of `layer`;
                              only between prefill and lookahead */
    select_kept *drafted;  /* [n_layer], rows of `layer` that the draft would keep; likewise */
    int32_t *layer_budget; /* [n_layer] rows per KV head */
    int32_t n_prompt;
    int32_t n_position; /* position of the next token: the sequence's length, not the rows held */
    float *logits;      /* [n_vocab] */
    int32_t *deferred;  /* [n_deferred] */
    size_t n_deferred;
    judgeq_stats stats;
    session_score_hook score_hook;
    void *score_hook_data;
};

/* Seconds on a clock that only goes forward. */
double session_clock(void);

/* True where tokens are decoded before the policy can choose. */
bool session_looks_ahead(const judgeq_session *session);

/* Soft rows that prefill appends to the prompt. */
int32_t session_soft_rows(const judgeq_session *session);

/* Runs one token through all layers, appending a row to each. blocks [n_layer], or NULL: what `want` asked of each
 * layer, valid until the next graph. */
judgeq_status session_step(judgeq_session *session, int32_t token, graph_want want, graph_block *blocks,
                           judgeq_error *error);

/* Fails with NUMERIC, naming a weight if one is at fault, unless all logits are finite. */
judgeq_status session_check_logits(const judgeq_session *session, judgeq_error *error);

/* ---- prefill.c --------------------------------------------------------------------------------------------------- */

/* Reads the prompt tokens[n_prompt] into all sessions: they share a model, a judge and a KV type; the blocks are
 * computed once, by the first session's engine. */
judgeq_status prefill_run(judgeq_session *const *session, size_t n_session, const int32_t *tokens, judgeq_error *error);

/* ---- lookahead.c ------------------------------------------------------------------------------------------------- */
judgeq_status lookahead_run(judgeq_session *session, judgeq_error *error);

/* ---- evict.c ----------------------------------------------------------------------------------------------------- */

/* The rows among the prompt's rows of `cache` that a policy keeps under `budget`. map: attention to them, or NULL. */
judgeq_status evict_select(judgeq_session *session, const judgeq_policy *policy, const score_map *map,
                           const cache_layer *cache, int32_t index, int32_t budget, select_kept *kept,
                           judgeq_error *error);

/* out = the rows of `from` that are kept (NULL: all), with room to decode. */
judgeq_status evict_gather(judgeq_session *session, const cache_layer *from, const select_kept *kept, cache_layer *out,
                           judgeq_error *error);

/* Rows of one KV head that belong to the prompt. */
int64_t evict_prompt_rows(const judgeq_session *session, const cache_layer *cache, int32_t head);

#endif
