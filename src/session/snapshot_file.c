#include "snapshot.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/visible.h"
#include "bound.h"
#include "model/fingerprint.h"
#include "model/judge.h"
#include "model/model_kind.h"

/* The file's bytes are not what a session's file has. */
#define REFUSE(format, ...) error_set(error, JUDGEQ_ERROR_FORMAT, "%s: " format, __VA_ARGS__)

enum { DIGITS = FINGERPRINT_SIZE - 1 };

/* ---- what kind of file it is, and whether it is whole ------------------------------------------------------------ */

static judgeq_status check_kind(const gguf_file *file, judgeq_error *error) {
    const char *found = "";
    uint32_t version = 0;
    judgeq_status status = gguf_read_string(file, "general.architecture", GGUF_REQUIRED, &found, error);
    if (status != JUDGEQ_OK) return status;
    if (strcmp(found, SESSION_ARCHITECTURE) != 0) {
        const bool judge = strcmp(found, JUDGE_ARCHITECTURE) == 0, other = strncmp(found, "judgeq-", 7) == 0;
        return error_set(error, JUDGEQ_ERROR_UNSUPPORTED,
                         "%s: not a session's file but %s (its general.architecture is \"%.*s\", not \"%s\"): name a "
                         "file that a session was saved to",
                         file->path,
                         judge   ? "a judge"
                         : other ? "another file of judgeq's"
                                 : "a model",
                         VISIBLE_FIT(found, 64), SESSION_ARCHITECTURE);
    }
    status = gguf_read_u32(file, SNAPSHOT_KEY_FORMAT_VERSION, GGUF_REQUIRED, &version, error);
    if (status == JUDGEQ_OK && version != SNAPSHOT_FORMAT_VERSION) {
        status = error_set(error, JUDGEQ_ERROR_FORMAT,
                           "%s: a session's file of format version %" PRIu32
                           "; this judgeq reads %d: read the tokens again, and save them",
                           file->path, version, SNAPSHOT_FORMAT_VERSION);
    }
    return status;
}

/* The file ends in the hash of all bytes before it. */
static judgeq_status check_hash(const gguf_file *file, judgeq_error *error) {
    const file_mapping *map = &file->map;
    const int64_t n = gguf_get_n_tensors(file->gguf);
    const char *last = n > 0 ? gguf_get_tensor_name(file->gguf, n - 1) : "";
    const struct ggml_tensor *tensor = n > 0 ? gguf_file_tensor(file, last) : NULL;
    if (strcmp(last, SNAPSHOT_CHECKSUM) != 0 || tensor->type != GGML_TYPE_I8 || ggml_nelements(tensor) != DIGITS) {
        return REFUSE("the last tensor is not \"%s\", %d bytes: the file is damaged", file->path, SNAPSHOT_CHECKSUM,
                      DIGITS);
    }
    const unsigned char *found = gguf_file_data(file, tensor);
    if (found + DIGITS != map->data + map->size) return REFUSE("goes on after its checksum", file->path);
    char hash[FINGERPRINT_SIZE];
    fingerprint_bytes(map->data, map->size - DIGITS, hash);
    if (memcmp(hash, found, DIGITS) == 0) return JUDGEQ_OK;
    return REFUSE("the checksum is wrong: the file is damaged; copy it again, or read the tokens again", file->path);
}

/* ---- keys -------------------------------------------------------------------------------------------------------- */

/* An integer of least .. most. */
static judgeq_status read_i32(const gguf_file *file, const char *key, int32_t least, int32_t *out,
                              judgeq_error *error) {
    uint32_t value = 0;
    judgeq_status status = gguf_read_u32(file, key, GGUF_REQUIRED, &value, error);
    if (status != JUDGEQ_OK) return status;
    if (value < (uint32_t)least || value > INT32_MAX) {
        return REFUSE("key \"%s\" is %" PRIu32 "; expected %d to %d", file->path, key, value, least, INT32_MAX);
    }
    *out = (int32_t)value;
    return JUDGEQ_OK;
}

/* Integers, each with the least that makes sense. */
static judgeq_status read_numbers(snapshot *s, judgeq_error *error) {
    const struct {
        const char *key;
        int32_t least, *out;
    } numbers[] = {{SNAPSHOT_KEY_N_LAYER, 1, &s->n_layer},     {SNAPSHOT_KEY_N_HEAD, 1, &s->n_head},
                   {SNAPSHOT_KEY_N_HEAD_KV, 1, &s->n_head_kv}, {SNAPSHOT_KEY_HEAD_DIM, 1, &s->head_dim},
                   {SNAPSHOT_KEY_N_VOCAB, 1, &s->n_vocab},     {SNAPSHOT_KEY_N_CTX, 1, &s->info.n_ctx},
                   {SNAPSHOT_KEY_CHUNK, 0, &s->chunk},         {SNAPSHOT_KEY_N_PROMPT, 1, &s->n_prompt},
                   {SNAPSHOT_KEY_N_SHIFT, 0, &s->n_shift},     {SNAPSHOT_KEY_RING_FROM, 0, &s->ring_from}};
    const struct {
        const char *key;
        gguf_need need;
        int64_t *out;
    } counts[] = {{SNAPSHOT_KEY_N_READ, GGUF_REQUIRED, &s->info.n_read},
                  {SNAPSHOT_KEY_N_DECODED, GGUF_REQUIRED, &s->info.n_decoded},
                  {SNAPSHOT_KEY_N_REJUDGED, GGUF_REQUIRED, &s->info.n_rejudged},
                  {SNAPSHOT_KEY_TURN_FROM, GGUF_OPTIONAL, &s->turn_from},
                  {SNAPSHOT_KEY_TURN_TO, GGUF_OPTIONAL, &s->turn_to},
                  {SNAPSHOT_KEY_N_PROBE, GGUF_OPTIONAL, &s->n_probe},
                  {SNAPSHOT_KEY_N_SCORED, GGUF_OPTIONAL, &s->n_scored}};
    judgeq_status status = JUDGEQ_OK;
    for (size_t i = 0; status == JUDGEQ_OK && i < sizeof numbers / sizeof *numbers; i++) {
        status = read_i32(&s->file, numbers[i].key, numbers[i].least, numbers[i].out, error);
    }
    for (size_t i = 0; status == JUDGEQ_OK && i < sizeof counts / sizeof *counts; i++) {
        status = gguf_read_i64(&s->file, counts[i].key, counts[i].need, counts[i].out, error);
    }
    return status;
}

/* Texts of the file as people may see them. */
static judgeq_status read_texts(snapshot *s, judgeq_error *error) {
    judgeq_snapshot_info *info = &s->info;
    const struct {
        const char *key;
        gguf_need need;
        char *out;
        size_t size;
    } texts[] = {{SNAPSHOT_KEY_VERSION, GGUF_REQUIRED, info->version, sizeof info->version},
                 {SNAPSHOT_KEY_FINGERPRINT, GGUF_REQUIRED, info->fingerprint, sizeof info->fingerprint},
                 {SNAPSHOT_KEY_FILE_FINGERPRINT, GGUF_REQUIRED, info->file_fingerprint, sizeof info->file_fingerprint},
                 {SNAPSHOT_KEY_MODEL_NAME, GGUF_OPTIONAL, info->model_name, sizeof info->model_name},
                 {SNAPSHOT_KEY_LABEL, GGUF_OPTIONAL, info->label, sizeof info->label},
                 {SNAPSHOT_KEY_JUDGE, GGUF_OPTIONAL, info->judge, sizeof info->judge}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const char *text = "";
        const judgeq_status status = gguf_read_string(&s->file, texts[i].key, texts[i].need, &text, error);
        if (status != JUDGEQ_OK) return status;
        visible_copy(text, texts[i].out, texts[i].size);
    }
    return JUDGEQ_OK;
}

static judgeq_status read_kv_type(snapshot *s, judgeq_error *error) {
    const char *text = "", *name;
    judgeq_status status = gguf_read_string(&s->file, SNAPSHOT_KEY_KV_TYPE, GGUF_REQUIRED, &text, error);
    if (status != JUDGEQ_OK) return status;
    for (int type = 0; (name = judgeq_kv_type_name((judgeq_kv_type)type)) != NULL; type++) {
        s->info.kv_type = (judgeq_kv_type)type;
        if (strcmp(text, name) == 0) return JUDGEQ_OK;
    }
    return REFUSE("key \"%s\" is \"%.*s\", a type that this judgeq does not know", s->file.path, SNAPSHOT_KEY_KV_TYPE,
                  VISIBLE_FIT(text, 32));
}

/* A budget in rows or as a share; none where everything is kept. */
static judgeq_status read_budget(snapshot *s, judgeq_error *error) {
    judgeq_snapshot_info *info = &s->info;
    const gguf_file *file = &s->file;
    const bool rows = gguf_find_key(file->gguf, SNAPSHOT_KEY_BUDGET) >= 0;
    info->slack = JUDGEQ_SLACK_NONE;
    if (s->policy.keep_all) return JUDGEQ_OK;
    judgeq_status status = JUDGEQ_OK;
    if (rows) status = read_i32(file, SNAPSHOT_KEY_BUDGET, 1, &info->budget, error);
    if (!rows) status = gguf_read_f32(file, SNAPSHOT_KEY_BUDGET_FRACTION, GGUF_REQUIRED, &info->budget_fraction, error);
    if (status == JUDGEQ_OK && !rows && !(info->budget_fraction > 0 && info->budget_fraction <= 1)) {
        status = REFUSE("key \"%s\" is %g; expected more than 0, up to 1", file->path, SNAPSHOT_KEY_BUDGET_FRACTION,
                        (double)info->budget_fraction);
    }
    if (status != JUDGEQ_OK || gguf_find_key(file->gguf, SNAPSHOT_KEY_SLACK) < 0) return status;
    return read_i32(file, SNAPSHOT_KEY_SLACK, 0, &info->slack, error);
}

static judgeq_status read_policy(snapshot *s, judgeq_error *error) {
    const char *text = "";
    judgeq_error inner = {0};
    judgeq_status status = gguf_read_string(&s->file, SNAPSHOT_KEY_POLICY, GGUF_REQUIRED, &text, error);
    if (status == JUDGEQ_OK && policy_read(text, &s->policy, &inner) != JUDGEQ_OK) {
        status = REFUSE("key \"%s\": %s", s->file.path, SNAPSHOT_KEY_POLICY, inner.message);
    }
    if (status != JUDGEQ_OK) return status;
    snprintf(s->info.policy, sizeof s->info.policy, "%s", s->policy.text);
    s->needs_judge = judgeq_policy_soft_tokens(&s->policy) != 0;
    if (s->needs_judge == (s->info.judge[0] != 0)) return JUDGEQ_OK;
    return REFUSE("the policy \"%s\" needs %s judge, and key \"%s\" names %s", s->file.path, s->policy.text,
                  s->needs_judge ? "a" : "no", SNAPSHOT_KEY_JUDGE, s->needs_judge ? "none" : "one");
}

static judgeq_status read_keys(snapshot *s, judgeq_error *error) {
    const gguf_file *file = &s->file;
    s->info.format_version = SNAPSHOT_FORMAT_VERSION;
    judgeq_status status = read_numbers(s, error);
    if (status == JUDGEQ_OK) status = read_texts(s, error);
    if (status == JUDGEQ_OK) status = read_kv_type(s, error);
    if (status == JUDGEQ_OK) status = read_policy(s, error);
    if (status == JUDGEQ_OK) status = read_budget(s, error);
    if (status == JUDGEQ_OK)
        status = gguf_read_bool(file, SNAPSHOT_KEY_PLAIN_WEIGHTS, GGUF_REQUIRED, &s->info.plain_weights, error);
    if (status == JUDGEQ_OK) status = gguf_read_u64(file, SNAPSHOT_KEY_SEED, GGUF_REQUIRED, &s->info.seed, error);
    if (status == JUDGEQ_OK)
        status = gguf_read_bool(file, SNAPSHOT_KEY_UNBOUNDED, GGUF_REQUIRED, &s->info.unbounded, error);
    if (status == JUDGEQ_OK) status = gguf_read_bool(file, SNAPSHOT_KEY_DEFER, GGUF_REQUIRED, &s->info.defer, error);
    if (status == JUDGEQ_OK && s->n_head % s->n_head_kv != 0) {
        status = REFUSE("%d query heads do not share %d KV heads evenly", file->path, s->n_head, s->n_head_kv);
    }
    return status;
}

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

/* The tensors in the file's order, which is the format's. */
typedef struct cursor {
    const gguf_file *file;
    struct ggml_tensor *next; /* NULL past the last */
    int64_t index;
    judgeq_error *error;
} cursor;

static bool comes(const cursor *c, const char *name) {
    return c->next && strcmp(c->next->name, name) == 0;
}

/* The next tensor, of this name, type and shape; none where the shape is empty. */
static judgeq_status take(cursor *c, const char *name, enum ggml_type type, int64_t ne0, int64_t ne1, int64_t ne2,
                          const void **out) {
    judgeq_error *error = c->error;
    const struct ggml_tensor *t = c->next;
    *out = NULL;
    if (ne0 == 0 || ne1 == 0 || ne2 == 0) return JUDGEQ_OK;
    if (!comes(c, name)) {
        return REFUSE("tensor \"%s\" is missing, or not in its place: found %.*s", c->file->path, name,
                      VISIBLE_FIT(t ? t->name : "none", 64));
    }
    if (t->type != type || t->ne[0] != ne0 || t->ne[1] != ne1 || t->ne[2] != ne2 || t->ne[3] != 1) {
        return REFUSE("tensor \"%s\" is %s [%" PRId64 ", %" PRId64 ", %" PRId64 "]; expected %s [%" PRId64 ", %" PRId64
                      ", %" PRId64 "]",
                      c->file->path, name, ggml_type_name(t->type), t->ne[2], t->ne[1], t->ne[0], ggml_type_name(type),
                      ne2, ne1, ne0);
    }
    const unsigned char *data =
        c->file->map.data + gguf_get_data_offset(c->file->gguf) + gguf_get_tensor_offset(c->file->gguf, c->index);
    if ((uintptr_t)data % sizeof(float) != 0) { /* only with a general.alignment of 1 or 2 */
        return REFUSE("tensor \"%s\" is not aligned to 4 bytes", c->file->path, name);
    }
    *out = data;
    c->next = ggml_get_next_tensor(c->file->tensors, c->next);
    c->index++;
    return JUDGEQ_OK;
}

static judgeq_status check_tokens(const snapshot *s, const char *name, const int32_t *token, int64_t n,
                                  judgeq_error *error) {
    for (int64_t i = 0; i < n; i++) {
        if (token[i] >= 0 && token[i] < s->n_vocab) continue;
        return REFUSE("%s: token %" PRId64 " is %d, not in the vocabulary of %d", s->file.path, name, i, token[i],
                      s->n_vocab);
    }
    return JUDGEQ_OK;
}

static judgeq_status check_finite(const snapshot *s, const char *name, const float *value, size_t n, float least,
                                  float most, judgeq_error *error) {
    for (size_t i = 0; i < n; i++) {
        if (isfinite(value[i]) && value[i] >= least && value[i] <= most) continue;
        return error_set(error, JUDGEQ_ERROR_NUMERIC, "%s: %s: number %zu is %g", s->file.path, name, i,
                         (double)value[i]);
    }
    return JUDGEQ_OK;
}

static judgeq_status check_counts(const snapshot *s, judgeq_error *error) {
    const judgeq_snapshot_info *info = &s->info;
    if (s->n_prompt > s->n_position) {
        return REFUSE("the policy has chosen among %d of %d tokens", s->file.path, s->n_prompt, s->n_position);
    }
    if (s->n_scored < 0 || s->n_scored > s->n_prompt || (s->n_scored > 0 && !s->policy.probe.again)) {
        return REFUSE("%" PRId64 " of %d tokens were read again", s->file.path, s->n_scored, s->n_prompt);
    }
    if (s->n_shift >= s->n_position || (s->n_shift > 0 && !info->unbounded) ||
        s->n_position - s->n_shift > info->n_ctx) {
        return REFUSE("%d tokens, %d of them before the context, which is %d long", s->file.path, s->n_position,
                      s->n_shift, info->n_ctx);
    }
    if (info->n_read < 1 || info->n_read > s->n_position) {
        return REFUSE("%" PRId64 " of %d tokens were read", s->file.path, info->n_read, s->n_position);
    }
    if (s->turn_from > s->turn_to || s->turn_to > s->n_position) {
        return REFUSE("the latest turn is [%" PRId64 ", %" PRId64 ") of %d tokens", s->file.path, s->turn_from,
                      s->turn_to, s->n_position);
    }
    if (s->ring_from - s->n_shift <= info->n_ctx) return JUDGEQ_OK;
    return REFUSE("queries from position %d on, in a context of %d", s->file.path, s->ring_from, info->n_ctx);
}

/* The sequence, what was deferred of it, logits and queries. */
static judgeq_status take_sequence(snapshot *s, cursor *c) {
    const void *tokens = NULL, *deferred = NULL, *logits = NULL, *query = NULL;
    const int64_t n = comes(c, SNAPSHOT_TOKENS) && c->next->ne[0] <= INT32_MAX ? c->next->ne[0] : 1;
    judgeq_status status = take(c, SNAPSHOT_TOKENS, GGML_TYPE_I32, n, 1, 1, &tokens);
    const int64_t n_deferred = comes(c, SNAPSHOT_DEFERRED) ? c->next->ne[0] : 0;
    if (status == JUDGEQ_OK) status = take(c, SNAPSHOT_DEFERRED, GGML_TYPE_I32, n_deferred, 1, 1, &deferred);
    const int64_t n_logits = comes(c, SNAPSHOT_LOGITS) ? s->n_vocab : 0;
    if (status == JUDGEQ_OK) status = take(c, SNAPSHOT_LOGITS, GGML_TYPE_F32, n_logits, 1, 1, &logits);
    const int64_t n_query = comes(c, SNAPSHOT_QUERIES) && c->next->ne[1] <= n ? c->next->ne[1] : 0;
    const int64_t query_size = (int64_t)s->n_head * s->head_dim;
    if (status == JUDGEQ_OK) status = take(c, SNAPSHOT_QUERIES, GGML_TYPE_F32, query_size, n_query, s->n_layer, &query);
    if (status != JUDGEQ_OK) return status;
    s->n_position = (int32_t)n;
    s->n_query = (int32_t)n_query;
    s->tokens = tokens;
    s->deferred = deferred;
    s->n_deferred = (size_t)n_deferred;
    s->logits = logits;
    s->query = query;
    status = check_counts(s, c->error);
    if (status == JUDGEQ_OK) status = check_tokens(s, SNAPSHOT_TOKENS, tokens, n, c->error);
    if (status == JUDGEQ_OK) status = check_tokens(s, SNAPSHOT_DEFERRED, deferred, n_deferred, c->error);
    if (status == JUDGEQ_OK)
        status = check_finite(s, SNAPSHOT_LOGITS, logits, (size_t)n_logits, -INFINITY, INFINITY, c->error);
    const size_t n_number = query ? (size_t)query_size * (size_t)n_query * (size_t)s->n_layer : 0;
    if (status == JUDGEQ_OK) status = check_finite(s, SNAPSHOT_QUERIES, query, n_number, -INFINITY, INFINITY, c->error);
    return status;
}

/* The rows of a layer's heads: their sum. */
static judgeq_status count_rows(const snapshot *s, int32_t layer, const int32_t *n_row, int64_t *out,
                                judgeq_error *error) {
    *out = 0;
    for (int32_t h = 0; h < s->n_head_kv; h++) {
        if (n_row[h] < 0 || n_row[h] > s->n_position) {
            return REFUSE("layer %d, head %d holds %d rows of %d tokens", s->file.path, layer, h, n_row[h],
                          s->n_position);
        }
        *out += n_row[h];
    }
    return JUDGEQ_OK;
}

/* Positions ascend and are those of tokens; all tokens since the last choice are among them, and all tokens where
 * nothing is evicted. */
static judgeq_status check_positions(const snapshot *s, int32_t layer, judgeq_error *error) {
    const int32_t *position = s->layer[layer].rows.position, *n_row = s->layer[layer].rows.n_row;
    const int32_t all_from = s->policy.keep_all ? 0 : s->n_prompt, needed = s->n_position - all_from;
    for (int32_t h = 0; h < s->n_head_kv; position += n_row[h++]) {
        for (int32_t i = 0; i < n_row[h]; i++) {
            const int32_t before = i > 0 ? position[i - 1] : -1;
            if (position[i] > before && position[i] < s->n_position) continue;
            return REFUSE("layer %d, head %d, row %d has position %d, after %d and of %d tokens", s->file.path, layer,
                          h, i, position[i], before, s->n_position);
        }
        /* ascending and below n_position: the last ones are all there if the first of them is in its place */
        if (needed == 0 || (n_row[h] >= needed && position[n_row[h] - needed] == all_from)) continue;
        return REFUSE("layer %d, head %d lacks rows of positions %d to %d", s->file.path, layer, h, all_from,
                      s->n_position - 1);
    }
    return JUDGEQ_OK;
}

/* Positions that keys are rotated by ascend too, and are below the next token's. */
static judgeq_status check_rope(const snapshot *s, int32_t layer, judgeq_error *error) {
    const int32_t *rope = s->layer[layer].rows.rope, *n_row = s->layer[layer].rows.n_row;
    if (!rope && s->n_shift > 0) return REFUSE("layer %d lacks positions within the context", s->file.path, layer);
    if (rope && !s->info.unbounded) return REFUSE("layer %d has positions of a longer text", s->file.path, layer);
    for (int32_t h = 0; rope && h < s->n_head_kv; rope += n_row[h++]) {
        for (int32_t i = 0; i < n_row[h]; i++) {
            const int32_t before = i > 0 ? rope[i - 1] : -1;
            if (rope[i] > before && rope[i] < s->n_position - s->n_shift) continue;
            return REFUSE("layer %d, head %d, row %d is rotated by %d, after %d and before %d", s->file.path, layer, h,
                          i, rope[i], before, s->n_position - s->n_shift);
        }
    }
    return JUDGEQ_OK;
}

static judgeq_status take_layer(snapshot *s, cursor *c, int32_t index, enum ggml_type type) {
    const void *data[SNAPSHOT_LAYER_TENSORS] = {0};
    char name[SNAPSHOT_LAYER_TENSORS][SNAPSHOT_NAME_SIZE];
    int64_t rows = 0;
    for (int part = 0; part < SNAPSHOT_LAYER_TENSORS; part++) {
        snapshot_part_name(index, (snapshot_part)part, name[part]);
    }
    judgeq_status status = take(c, name[0], GGML_TYPE_I32, s->n_head_kv, 1, 1, &data[0]);
    if (status == JUDGEQ_OK) status = count_rows(s, index, data[0], &rows, c->error);
    if (status == JUDGEQ_OK) status = take(c, name[1], GGML_TYPE_I32, rows, 1, 1, &data[1]);
    const int64_t n_rope = comes(c, name[SNAPSHOT_ROPE]) ? rows : 0;
    if (status == JUDGEQ_OK) status = take(c, name[SNAPSHOT_ROPE], GGML_TYPE_I32, n_rope, 1, 1, &data[SNAPSHOT_ROPE]);
    for (int part = SNAPSHOT_KEY; status == JUDGEQ_OK && part <= SNAPSHOT_VALUE; part++) {
        status = take(c, name[part], type, s->head_dim, rows, 1, &data[part]);
    }
    const int64_t group = bound_sum_group(&s->policy, s->n_head / s->n_head_kv);
    const int64_t n_sum = comes(c, name[SNAPSHOT_SUM]) ? group * rows : 0;
    if (status == JUDGEQ_OK) status = take(c, name[SNAPSHOT_SUM], GGML_TYPE_F32, n_sum, 1, 1, &data[SNAPSHOT_SUM]);
    if (status == JUDGEQ_OK) {
        const float most = s->policy.remember > 0 ? 1 : INFINITY; /* shares of the best */
        status = check_finite(s, name[SNAPSHOT_SUM], data[SNAPSHOT_SUM], (size_t)n_sum, 0, most, c->error);
    }
    const int64_t n_stays = comes(c, name[SNAPSHOT_STAYS]) ? rows : 0;
    if (status == JUDGEQ_OK) status = take(c, name[SNAPSHOT_STAYS], GGML_TYPE_I8, n_stays, 1, 1, &data[SNAPSHOT_STAYS]);
    if (status != JUDGEQ_OK) return status;
    s->layer[index] = (snapshot_layer){.rows = {.n_row = (int32_t *)(uintptr_t)data[SNAPSHOT_ROWS],
                                                .position = (int32_t *)(uintptr_t)data[SNAPSHOT_POSITION],
                                                .rope = (int32_t *)(uintptr_t)data[SNAPSHOT_ROPE],
                                                .key = (unsigned char *)(uintptr_t)data[SNAPSHOT_KEY],
                                                .value = (unsigned char *)(uintptr_t)data[SNAPSHOT_VALUE]},
                                       .sum = data[SNAPSHOT_SUM],
                                       .stays = data[SNAPSHOT_STAYS]};
    s->info.n_rows += rows;
    s->info.kv_bytes += 2 * (size_t)rows * ggml_row_size(type, s->head_dim);
    status = check_positions(s, index, c->error);
    return status == JUDGEQ_OK && rows > 0 ? check_rope(s, index, c->error) : status;
}

static judgeq_status take_layers(snapshot *s, cursor *c) {
    judgeq_error *error = c->error;
    const enum ggml_type type = session_kv_type(s->info.kv_type);
    if (s->n_layer > gguf_get_n_tensors(s->file.gguf)) {
        return REFUSE("%d layers, but %" PRId64 " tensors", s->file.path, s->n_layer, gguf_get_n_tensors(s->file.gguf));
    }
    if (s->head_dim % ggml_blck_size(type) != 0) {
        return REFUSE("a head_dim of %d does not divide into blocks of %s", s->file.path, s->head_dim,
                      ggml_type_name(type));
    }
    s->layer = calloc((size_t)s->n_layer, sizeof *s->layer);
    if (!s->layer) return error_memory(error, "the layers of a session's file");
    judgeq_status status = JUDGEQ_OK;
    for (int32_t i = 0; status == JUDGEQ_OK && i < s->n_layer; i++) status = take_layer(s, c, i, type);
    const void *checksum;
    if (status == JUDGEQ_OK) status = take(c, SNAPSHOT_CHECKSUM, GGML_TYPE_I8, DIGITS, 1, 1, &checksum);
    return status;
}

/* ---- file -------------------------------------------------------------------------------------------------------- */

static judgeq_status open_checked(snapshot *s, judgeq_error *error) {
    judgeq_status status = check_kind(&s->file, error);
    if (status == JUDGEQ_OK) status = check_hash(&s->file, error);
    if (status == JUDGEQ_OK) status = read_keys(s, error);
    if (status != JUDGEQ_OK) return status;
    cursor c = {.file = &s->file, .next = ggml_get_first_tensor(s->file.tensors), .error = error};
    status = take_sequence(s, &c);
    if (status == JUDGEQ_OK) status = take_layers(s, &c);
    s->info.n_tokens = s->n_position;
    s->info.file_bytes = s->file.map.size;
    return status;
}

judgeq_status snapshot_open(const char *path, snapshot *out, judgeq_error *error) {
    *out = (snapshot){0};
    judgeq_status status = gguf_open_checked(path, &out->file, error);
    if (status == JUDGEQ_OK) status = file_check(path, &out->file.map, open_checked(out, error), error);
    if (status != JUDGEQ_OK) snapshot_close(out);
    return status;
}

void snapshot_close(snapshot *file) {
    free(file->layer);
    gguf_file_close(&file->file);
    *file = (snapshot){0};
}
