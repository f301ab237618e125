/* snapshot: a session as a file, which docs/snapshot.md describes: written by snapshot_bytes, opened and checked by
 * snapshot_file, made a session again by snapshot. */
#ifndef JUDGEQ_SRC_SNAPSHOT_H
#define JUDGEQ_SRC_SNAPSHOT_H

#include "model/gguf_file.h"
#include "policy/policy.h"
#include "state.h"

enum { SNAPSHOT_FORMAT_VERSION = 1, SNAPSHOT_LAYER_TENSORS = 7, SNAPSHOT_NAME_SIZE = 32 };

#define SNAPSHOT_KEY_FORMAT_VERSION "judgeq.format_version"
#define SNAPSHOT_KEY_VERSION "judgeq.version"
#define SNAPSHOT_KEY_FINGERPRINT "judgeq.model.fingerprint"
#define SNAPSHOT_KEY_FILE_FINGERPRINT "judgeq.model.file_fingerprint"
#define SNAPSHOT_KEY_MODEL_NAME "judgeq.model.name"
#define SNAPSHOT_KEY_N_LAYER "judgeq.model.n_layer"
#define SNAPSHOT_KEY_N_HEAD "judgeq.model.n_head"
#define SNAPSHOT_KEY_N_HEAD_KV "judgeq.model.n_head_kv"
#define SNAPSHOT_KEY_HEAD_DIM "judgeq.model.head_dim"
#define SNAPSHOT_KEY_N_VOCAB "judgeq.model.n_vocab"
#define SNAPSHOT_KEY_LABEL "judgeq.session.label"
#define SNAPSHOT_KEY_JUDGE "judgeq.session.judge"
#define SNAPSHOT_KEY_POLICY "judgeq.session.policy"
#define SNAPSHOT_KEY_BUDGET "judgeq.session.budget"
#define SNAPSHOT_KEY_BUDGET_FRACTION "judgeq.session.budget_fraction"
#define SNAPSHOT_KEY_SLACK "judgeq.session.slack"
#define SNAPSHOT_KEY_UNBOUNDED "judgeq.session.unbounded"
#define SNAPSHOT_KEY_N_CTX "judgeq.session.n_ctx"
#define SNAPSHOT_KEY_CHUNK "judgeq.session.chunk"
#define SNAPSHOT_KEY_KV_TYPE "judgeq.session.kv_type"
#define SNAPSHOT_KEY_PLAIN_WEIGHTS "judgeq.session.plain_weights"
#define SNAPSHOT_KEY_SEED "judgeq.session.seed"
#define SNAPSHOT_KEY_DEFER "judgeq.session.defer"
#define SNAPSHOT_KEY_N_PROMPT "judgeq.session.n_prompt"
#define SNAPSHOT_KEY_N_SHIFT "judgeq.session.n_shift"
#define SNAPSHOT_KEY_TURN_FROM "judgeq.session.turn_from"
#define SNAPSHOT_KEY_TURN_TO "judgeq.session.turn_to"
#define SNAPSHOT_KEY_N_READ "judgeq.session.n_read"
#define SNAPSHOT_KEY_N_DECODED "judgeq.session.n_decoded"
#define SNAPSHOT_KEY_N_REJUDGED "judgeq.session.n_rejudged"
#define SNAPSHOT_KEY_RING_FROM "judgeq.session.ring_from"
#define SNAPSHOT_KEY_N_PROBE "judgeq.session.n_probe"
#define SNAPSHOT_KEY_N_SCORED "judgeq.session.n_scored"

#define SNAPSHOT_TOKENS "tokens"
#define SNAPSHOT_DEFERRED "deferred"
#define SNAPSHOT_LOGITS "logits"
#define SNAPSHOT_QUERIES "queries"
#define SNAPSHOT_CHECKSUM "checksum"

/* The tensors of a layer, in the file's order; each is left out where it would be empty. */
typedef enum snapshot_part {
    SNAPSHOT_ROWS,
    SNAPSHOT_POSITION,
    SNAPSHOT_ROPE,
    SNAPSHOT_KEY,
    SNAPSHOT_VALUE,
    SNAPSHOT_SUM,
    SNAPSHOT_STAYS
} snapshot_part;

/* "blk.0.rows" */
void snapshot_part_name(int32_t layer, snapshot_part part, char out[SNAPSHOT_NAME_SIZE]);

/* The file of a session that may be saved: [*size], malloced. */
judgeq_status snapshot_bytes(const judgeq_session *session, unsigned char **bytes, size_t *size, judgeq_error *error);

/* What a file has of a layer, in the mapping. */
typedef struct snapshot_layer {
    cache_rows rows;
    const float *sum;    /* NULL where attention is not summed */
    const int8_t *stays; /* NULL where the next choice scores */
} snapshot_layer;

/* A file, opened and checked, as far as no model is needed for that. What is said of a session in state.h holds of
 * it. */
typedef struct snapshot {
    gguf_file file;
    judgeq_snapshot_info info;
    judgeq_policy policy;
    bool needs_judge;
    int32_t n_layer, n_head, n_head_kv, head_dim, n_vocab;
    int32_t chunk, n_prompt, n_position, n_shift, ring_from, n_query;
    int64_t turn_from, turn_to, n_probe, n_scored;
    const int32_t *tokens; /* [n_position], as is what follows, in the mapping */
    const int32_t *deferred;
    size_t n_deferred;
    const float *logits;   /* [n_vocab]; NULL once trimmed */
    const float *query;    /* [n_layer, n_query, n_head, head_dim] */
    snapshot_layer *layer; /* [n_layer] */
} snapshot;

/* On failure *out is zeroed. */
judgeq_status snapshot_open(const char *path, snapshot *out, judgeq_error *error);
/* Accepts a zeroed struct. */
void snapshot_close(snapshot *file);

#endif
