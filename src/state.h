/* state: what a session holds between calls, and the one step that all parts share: a token through all layers. The
 * parts: prefill reads the prompt layer by layer, evict turns scores into kept rows, lookahead scores with tokens that
 * are decoded first, session is the public face. */
#ifndef JUDGEQ_SRC_STATE_H
#define JUDGEQ_SRC_STATE_H

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
    int32_t kv_padding; /* cache.h */
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
    float *watched; /* [n_layer, n_head, n_prompt], attention of the tokens decoded since judgeq_session_watch; or NULL */
    int64_t n_watched;
    judgeq_stats stats;
    session_score_hook score_hook;
    void *score_hook_data;
};

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

#endif
