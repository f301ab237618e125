/* state: what a session holds between calls. The files that work on it: read takes tokens through the layers, and
 * reader says which of their rows score and what stays; rescore turns queries into scores and scores into kept rows;
 * decode appends tokens; lookahead scores by tokens that are decoded first; watch adds up the attention of decoded
 * tokens; session has the public functions. */
#ifndef JUDGEQ_SRC_STATE_H
#define JUDGEQ_SRC_STATE_H

#include "engine.h"
#include "engine/cache.h"
#include "export.h"
#include "model/judge.h"
#include "model/model.h"
#include "policy/policy.h"
#include "policy/score.h"

typedef struct reading reading; /* read.h */

typedef struct session_tokens {
    int32_t *token; /* [n] */
    size_t n;
} session_tokens;

struct judgeq_session {
    const judgeq_model *model;
    const judgeq_judge *judge;
    judgeq_policy policy;
    judgeq_policy first_policy; /* keeps the rows that a lookahead decodes from; only if policy.probe.first */
    judgeq_session_params params;
    judgeq_engine *engine;
    bool own_engine;        /* made for this session, and freed with it */
    enum ggml_type kv_type; /* of the rows held once they are chosen */
    int32_t kv_padding;     /* cache.h */
    bool prefilled, failed;

    cache_meter meter;
    cache_layer *layer; /* [n_layer], what decoding attends to */
    cache_layer *held;  /* [n_layer], what it was before the read that is under way; NULL: none is */
    reading *reading;
    score_map *prior;           /* [n_layer], attention of the policy's own prompt-time probes to the rows of `layer`;
                                   only between reading and lookahead */
    select_kept *first_kept;    /* [n_layer], rows of `layer` that the first policy would keep; likewise */
    int32_t *layer_budget;      /* [n_layer] rows per KV head */
    int32_t n_prompt;           /* positions that the policy has chosen among: what was read, and answers before it */
    int32_t n_position;         /* position of the next token: the sequence's length, not the rows held */
    int32_t n_shift;            /* the next token is rotated (RoPE) by n_position less this */
    int32_t turn_from, turn_to; /* positions of what was read last, in one piece or several */
    int64_t n_read;             /* tokens read so far */
    int32_t *unread;            /* [n_unread], what follows the read under way, in pieces; the rest of an allocation */
    size_t n_unread, unread_at;
    int32_t *tokens; /* [n_position] of token_room, the sequence: read, deferred or decoded */
    size_t token_room;
    float *logits;     /* [n_vocab]; NULL once trimmed, until the next graph */
    int32_t *deferred; /* [n_deferred] */
    size_t n_deferred;
    /* bound.h */
    int32_t slack; /* rows that decoding adds before the policy chooses again; 0: any number */
    bool choosing; /* it does so now: the read under way has no tokens */
    float *ring; /* [n_layer, n_ring, n_head, head_dim], queries of the last tokens decoded, by position modulo n_ring;
                    NULL where no policy probes from a window */
    int32_t n_ring, ring_from; /* the position of the first query in it */
    /* [n_layer], of the rows of `layer`: attention so far, of a policy that probes by every row or reads again; scores
       at the last choice, as shares of the best, of one that remembers; or NULL */
    score_map *sum;
    select_kept *second; /* second.h: [n_layer], of the rows of `layer` those that stay at the next choice; NULL: it
                            scores */
    /* again.h */
    int32_t n_scored; /* the first so many tokens have been read again; the rows of the others are all still held */
    session_tokens ask_whole, ask_part, ask_turn;
    /* watch.h */
    /* [n_layer, n_head, n_prompt], attention of the tokens decoded since judgeq_session_watch; or NULL */
    float *watched;
    int64_t n_watched;
    char label[32]; /* the caller's, for the file */
    judgeq_stats stats;
    session_score_hook score_hook;
    void *score_hook_data;
    const unsigned char *counted; /* of the rows from counted_from on, 1: it is a probe; NULL: all are */
    int32_t counted_from;
};

/* Sets a zeroed session's model, judge, parameters and policies, and checks them. Allocates nothing. */
judgeq_status session_configure(judgeq_session *session, const judgeq_model *model, const judgeq_session_params *params,
                                judgeq_error *error);

/* Takes what a policy leaves to the judge, if there is one, as policy_take_judge. FORMAT where its file says what it
 * may not. */
judgeq_status session_ask_judge(const judgeq_judge *judge, judgeq_policy *policy, judgeq_error *error);

/* True where tokens are decoded before the policy can choose. */
bool session_looks_ahead(const judgeq_session *session);

/* A type of those that have a name. */
enum ggml_type session_kv_type(judgeq_kv_type type);

/* The type of a layer's rows while it is read and chosen from. */
enum ggml_type session_read_type(const judgeq_session *session);

/* True where graphs must be of ggml's operations only: for libllama's sums, and on devices beside the CPU. */
bool session_ggml_only(const judgeq_session *session);

/* Soft rows that a read appends. */
int32_t session_soft_rows(const judgeq_session *session);

/* Rows that decoding may add beside a budget, where it is bounded. */
int32_t session_slack(const judgeq_session *session, int32_t budget);

/* The budget in rows after n_prompt tokens, which may be more than these. */
int32_t session_budget(const judgeq_session *session, int32_t n_prompt);

/* [n_layer] of the judge, for select_layer_budgets; NULL: unknown. */
const float *session_layer_share(const judgeq_session *session);

/* The budget in rows, of each layer: no more than n_prompt; and the slack. */
void session_set_budgets(judgeq_session *session);

/* The most rows that a KV head of a layer holds. */
int32_t session_most_rows(const judgeq_session *session);

/* Releases what a read leaves for a lookahead. */
void session_forget_scores(judgeq_session *session);

/* Room for a sequence of n tokens. */
judgeq_status session_token_room(judgeq_session *session, size_t n, judgeq_error *error);

/* Makes session->logits, where there are none. */
judgeq_status session_logits_room(judgeq_session *session, judgeq_error *error);

/* Fails with NUMERIC, naming a weight if one is at fault, unless all logits are finite. */
judgeq_status session_check_logits(const judgeq_session *session, judgeq_error *error);

#endif
