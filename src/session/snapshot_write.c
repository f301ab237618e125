#include "snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "bound.h"
#include "model/fingerprint.h"
#include "model/gguf_bytes.h"
#include "model/model_kind.h"
#include "second.h"

void snapshot_part_name(int32_t layer, snapshot_part part, char out[SNAPSHOT_NAME_SIZE]) {
    static const char *const names[SNAPSHOT_LAYER_TENSORS] = {"rows",  "position", "rope", "key",
                                                              "value", "sum",      "stays"};
    snprintf(out, SNAPSHOT_NAME_SIZE, "blk.%d.%s", layer, names[part]);
}

/* ---- keys -------------------------------------------------------------------------------------------------------- */

static void set_model(struct gguf_context *gguf, const judgeq_model_info *model) {
    gguf_set_val_str(gguf, SNAPSHOT_KEY_FINGERPRINT, model->fingerprint);
    gguf_set_val_str(gguf, SNAPSHOT_KEY_FILE_FINGERPRINT, model->file_fingerprint);
    if (model->name[0]) gguf_set_val_str(gguf, SNAPSHOT_KEY_MODEL_NAME, model->name);
    gguf_set_val_u32(gguf, SNAPSHOT_KEY_N_LAYER, (uint32_t)model->n_layer);
    gguf_set_val_u32(gguf, SNAPSHOT_KEY_N_HEAD, (uint32_t)model->n_head);
    gguf_set_val_u32(gguf, SNAPSHOT_KEY_N_HEAD_KV, (uint32_t)model->n_head_kv);
    gguf_set_val_u32(gguf, SNAPSHOT_KEY_HEAD_DIM, (uint32_t)model->head_dim);
    gguf_set_val_u32(gguf, SNAPSHOT_KEY_N_VOCAB, (uint32_t)model->n_vocab);
}

/* What the session was made with; a budget and a slack only where the policy evicts. */
static void set_params(struct gguf_context *gguf, const judgeq_session *session) {
    const judgeq_session_params *params = &session->params;
    if (session->judge && session_soft_rows(session) > 0) {
        char judge[FINGERPRINT_SIZE];
        fingerprint_judge(judgeq_judge_get_info(session->judge), judgeq_judge_soft_tokens(session->judge), judge);
        gguf_set_val_str(gguf, SNAPSHOT_KEY_JUDGE, judge);
    }
    gguf_set_val_str(gguf, SNAPSHOT_KEY_POLICY, session->policy.text);
    if (!session->policy.keep_all) {
        if (params->budget > 0) gguf_set_val_u32(gguf, SNAPSHOT_KEY_BUDGET, (uint32_t)params->budget);
        if (params->budget == 0) gguf_set_val_f32(gguf, SNAPSHOT_KEY_BUDGET_FRACTION, params->budget_fraction);
        if (params->slack >= 0) gguf_set_val_u32(gguf, SNAPSHOT_KEY_SLACK, (uint32_t)params->slack);
    }
    gguf_set_val_bool(gguf, SNAPSHOT_KEY_UNBOUNDED, params->unbounded);
    gguf_set_val_u32(gguf, SNAPSHOT_KEY_N_CTX, (uint32_t)params->n_ctx);
    gguf_set_val_u32(gguf, SNAPSHOT_KEY_CHUNK, (uint32_t)params->chunk);
    gguf_set_val_str(gguf, SNAPSHOT_KEY_KV_TYPE, judgeq_kv_type_name(params->kv_type));
    gguf_set_val_bool(gguf, SNAPSHOT_KEY_PLAIN_WEIGHTS, params->plain_weights);
    gguf_set_val_u64(gguf, SNAPSHOT_KEY_SEED, params->seed);
    gguf_set_val_bool(gguf, SNAPSHOT_KEY_DEFER, params->defer);
}

static void set_keys(struct gguf_context *gguf, const void *owner) {
    const judgeq_session *session = owner;
    gguf_set_val_str(gguf, "general.architecture", SESSION_ARCHITECTURE);
    gguf_set_val_str(gguf, "general.type", "session");
    gguf_set_val_u32(gguf, SNAPSHOT_KEY_FORMAT_VERSION, SNAPSHOT_FORMAT_VERSION);
    gguf_set_val_str(gguf, SNAPSHOT_KEY_VERSION, judgeq_version());
    set_model(gguf, &session->model->info);
    if (session->label[0]) gguf_set_val_str(gguf, SNAPSHOT_KEY_LABEL, session->label);
    set_params(gguf, session);
    gguf_set_val_u32(gguf, SNAPSHOT_KEY_N_PROMPT, (uint32_t)session->n_prompt);
    gguf_set_val_u32(gguf, SNAPSHOT_KEY_N_SHIFT, (uint32_t)session->n_shift);
    gguf_set_val_u32(gguf, SNAPSHOT_KEY_TURN_FROM, (uint32_t)session->turn_from);
    gguf_set_val_u32(gguf, SNAPSHOT_KEY_TURN_TO, (uint32_t)session->turn_to);
    gguf_set_val_u64(gguf, SNAPSHOT_KEY_N_READ, (uint64_t)session->n_read);
    gguf_set_val_u64(gguf, SNAPSHOT_KEY_N_DECODED, (uint64_t)session->stats.n_decoded);
    gguf_set_val_u64(gguf, SNAPSHOT_KEY_N_REJUDGED, (uint64_t)session->stats.n_rejudged);
    gguf_set_val_u32(gguf, SNAPSHOT_KEY_RING_FROM, (uint32_t)session->ring_from);
    if (session->sum) gguf_set_val_u64(gguf, SNAPSHOT_KEY_N_PROBE, (uint64_t)session->sum[0].n_probe);
    if (session->policy.probe.again) gguf_set_val_u32(gguf, SNAPSHOT_KEY_N_SCORED, (uint32_t)session->n_scored);
}

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

enum { ABSENT = 0 }; /* the number of no layer's tensor: `tokens` comes first */

/* The tensors in the file's order; which of them are the queries and the parts of each layer. */
typedef struct listing {
    gguf_array *array;
    size_t n, queries;
    size_t *part; /* [n_layer, SNAPSHOT_LAYER_TENSORS] */
} listing;

/* Its number; nothing where it is empty. */
static size_t list(listing *l, const char *name, enum ggml_type type, int64_t ne0, int64_t ne1, int64_t ne2,
                   const void *data) {
    if (ne0 == 0 || ne1 == 0 || ne2 == 0) return ABSENT;
    gguf_array *array = &l->array[l->n++];
    *array = (gguf_array){.type = type, .ne = {ne0, ne1, ne2, 1}, .data = data};
    snprintf(array->name, sizeof array->name, "%s", name);
    return l->n - 1;
}

static void list_layer(listing *l, const judgeq_session *session, int32_t index) {
    const cache_layer *layer = &session->layer[index];
    const int64_t rows = cache_layer_rows(layer);
    const int64_t group = bound_sum_group(&session->policy, session->model->info.n_head / layer->n_head_kv);
    const struct {
        enum ggml_type type;
        int64_t ne0, ne1;
    } shapes[SNAPSHOT_LAYER_TENSORS] = {[SNAPSHOT_ROWS] = {GGML_TYPE_I32, layer->n_head_kv, 1},
                                        [SNAPSHOT_POSITION] = {GGML_TYPE_I32, rows, 1},
                                        [SNAPSHOT_ROPE] = {GGML_TYPE_I32, layer->head[0].rope ? rows : 0, 1},
                                        [SNAPSHOT_KEY] = {layer->type, layer->head_dim, rows},
                                        [SNAPSHOT_VALUE] = {layer->type, layer->head_dim, rows},
                                        [SNAPSHOT_SUM] = {GGML_TYPE_F32, session->sum ? group * rows : 0, 1},
                                        [SNAPSHOT_STAYS] = {GGML_TYPE_I8, session->second ? rows : 0, 1}};
    for (int part = 0; part < SNAPSHOT_LAYER_TENSORS; part++) {
        char name[SNAPSHOT_NAME_SIZE];
        snapshot_part_name(index, (snapshot_part)part, name);
        l->part[index * SNAPSHOT_LAYER_TENSORS + part] =
            list(l, name, shapes[part].type, shapes[part].ne0, shapes[part].ne1, 1, NULL);
    }
}

static void list_all(listing *l, const judgeq_session *session) {
    const judgeq_model_info *info = &session->model->info;
    list(l, SNAPSHOT_TOKENS, GGML_TYPE_I32, session->n_position, 1, 1, session->tokens);
    list(l, SNAPSHOT_DEFERRED, GGML_TYPE_I32, (int64_t)session->n_deferred, 1, 1, session->deferred);
    if (session->logits) list(l, SNAPSHOT_LOGITS, GGML_TYPE_F32, info->n_vocab, 1, 1, session->logits);
    l->queries = list(l, SNAPSHOT_QUERIES, GGML_TYPE_F32, (int64_t)info->n_head * info->head_dim,
                      bound_n_queries(session), info->n_layer, NULL);
    for (int32_t i = 0; i < info->n_layer; i++) list_layer(l, session, i);
    list(l, SNAPSHOT_CHECKSUM, GGML_TYPE_I8, FINGERPRINT_SIZE - 1, 1, 1, NULL);
}

static judgeq_status listing_new(listing *l, const judgeq_session *session, judgeq_error *error) {
    enum { OTHERS = 5 };
    const size_t n_layer = (size_t)session->model->info.n_layer;
    *l = (listing){.array = calloc(SNAPSHOT_LAYER_TENSORS * n_layer + OTHERS, sizeof *l->array),
                   .part = calloc(SNAPSHOT_LAYER_TENSORS * n_layer, sizeof *l->part)};
    if (!l->array || !l->part) return error_memory(error, "a session's file");
    list_all(l, session);
    return JUDGEQ_OK;
}

static void listing_free(listing *l) {
    free(l->array);
    free(l->part);
}

/* ---- data -------------------------------------------------------------------------------------------------------- */

static judgeq_status fill_layer(const judgeq_session *session, const listing *l, int32_t index, const gguf_bytes *file,
                                judgeq_error *error) {
    const cache_layer *layer = &session->layer[index];
    unsigned char *at[SNAPSHOT_LAYER_TENSORS] = {0};
    for (int part = 0; part < SNAPSHOT_LAYER_TENSORS; part++) {
        const size_t number = l->part[index * SNAPSHOT_LAYER_TENSORS + part];
        if (number != ABSENT) at[part] = gguf_bytes_at(file, number);
    }
    const cache_rows rows = {.n_row = (int32_t *)(void *)at[SNAPSHOT_ROWS],
                             .position = (int32_t *)(void *)at[SNAPSHOT_POSITION],
                             .rope = (int32_t *)(void *)at[SNAPSHOT_ROPE],
                             .key = at[SNAPSHOT_KEY],
                             .value = at[SNAPSHOT_VALUE]};
    if (at[SNAPSHOT_SUM]) bound_get_sum(session, index, (float *)(void *)at[SNAPSHOT_SUM]);
    if (at[SNAPSHOT_STAYS]) second_get_stays(session, index, (int8_t *)at[SNAPSHOT_STAYS]);
    return rows.key ? cache_layer_export(layer, rows, error) : JUDGEQ_OK; /* no row: all counts are 0, as they are */
}

static judgeq_status fill(const judgeq_session *session, const listing *l, const gguf_bytes *file,
                          judgeq_error *error) {
    const judgeq_model_info *info = &session->model->info;
    const size_t size = (size_t)bound_n_queries(session) * (size_t)info->n_head * (size_t)info->head_dim;
    judgeq_status status = JUDGEQ_OK;
    for (int32_t i = 0; status == JUDGEQ_OK && i < info->n_layer; i++) {
        if (size > 0) {
            bound_get_queries(session, i, (float *)(void *)gguf_bytes_at(file, l->queries) + (size_t)i * size);
        }
        status = fill_layer(session, l, i, file, error);
    }
    return status;
}

/* The last bytes, of all before them. */
static void sign(const listing *l, const gguf_bytes *file) {
    unsigned char *at = gguf_bytes_at(file, l->n - 1);
    char hash[FINGERPRINT_SIZE];
    fingerprint_bytes(file->bytes, (size_t)(at - file->bytes), hash);
    memcpy(at, hash, FINGERPRINT_SIZE - 1);
}

judgeq_status snapshot_bytes(const judgeq_session *session, unsigned char **bytes, size_t *size, judgeq_error *error) {
    listing l;
    gguf_bytes file = {0};
    judgeq_status status = listing_new(&l, session, error);
    const gguf_content content = {
        .what = "a session's file", .set_keys = set_keys, .owner = session, .array = l.array, .n_array = l.n};
    if (status == JUDGEQ_OK) status = gguf_bytes_new(&content, &file, error);
    if (status == JUDGEQ_OK) status = fill(session, &l, &file, error);
    if (status == JUDGEQ_OK) {
        sign(&l, &file);
        *bytes = file.bytes;
        *size = file.size;
        file.bytes = NULL;
    }
    gguf_bytes_free(&file);
    listing_free(&l);
    return status;
}
