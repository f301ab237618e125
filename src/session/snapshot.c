/* snapshot: the public functions for sessions as files, and a session made of what a file holds. */
#include "snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/visible.h"
#include "bound.h"
#include "model/fingerprint.h"
#include "second.h"

/* ---- save -------------------------------------------------------------------------------------------------------- */

/* where: for messages. */
static judgeq_status write_bytes(const judgeq_session *session, const char *where, unsigned char **bytes, size_t *size,
                                 judgeq_error *error) {
    const char *why = session->failed       ? "after an error, a session can only be freed"
                      : session->reading    ? "the session is reading: step until it is done, or abandon the read"
                      : !session->prefilled ? "the session has read nothing yet: read a prompt first"
                      : session->watched ? "a session that is watched adds up attention, which no file holds: save it "
                                           "before, or after the next read"
                                         : NULL;
    *bytes = NULL;
    *size = 0;
    if (why) return error_set(error, JUDGEQ_ERROR_ARGUMENT, "%s: not saved: %s", where, why);
    return snapshot_bytes(session, bytes, size, error);
}

judgeq_status judgeq_session_save(const judgeq_session *session, const char *path, judgeq_error *error) {
    unsigned char *bytes;
    size_t size;
    judgeq_status status = write_bytes(session, path, &bytes, &size, error);
    if (status == JUDGEQ_OK) status = file_write_atomic(path, bytes, size, error);
    free(bytes);
    return status;
}

judgeq_status judgeq_session_save_bytes(const judgeq_session *session, void **bytes, size_t *size,
                                        judgeq_error *error) {
    unsigned char *written;
    const judgeq_status status = write_bytes(session, "a session", &written, size, error);
    *bytes = written;
    return status;
}

judgeq_status judgeq_session_set_label(judgeq_session *session, const char *label, judgeq_error *error) {
    const char *text = label ? label : "";
    char visible[sizeof session->label];
    visible_copy(text, visible, sizeof visible);
    if (strcmp(text, visible) != 0) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT,
                         "the label \"%.*s\": expected up to %zu bytes that are all visible", VISIBLE_FIT(text, 64),
                         sizeof visible - 1);
    }
    memcpy(session->label, visible, sizeof visible);
    return JUDGEQ_OK;
}

/* ---- whether the file fits --------------------------------------------------------------------------------------- */

static judgeq_status check_model(const snapshot *s, const judgeq_model_info *model, judgeq_error *error) {
    const char *path = s->file.path;
    const judgeq_snapshot_info *info = &s->info;
    const char *name = info->model_name[0] ? info->model_name : "without a name";
    if (strcmp(info->fingerprint, model->fingerprint) != 0) {
        return error_set(
            error, JUDGEQ_ERROR_MISMATCH,
            "%s: is a session of another model (%.*s, fingerprint %s) than \"%.*s\" (%s): load that model, "
            "or read the tokens again",
            path, VISIBLE_FIT(name, 64), info->fingerprint, VISIBLE_FIT(model->name, 64), model->fingerprint);
    }
    if (strcmp(info->file_fingerprint, model->file_fingerprint) != 0) {
        return error_set(error, JUDGEQ_ERROR_MISMATCH,
                         "%s: keys and values are those of another quantisation of \"%.*s\" (file fingerprint %s, not "
                         "%s): load that file of the model, or read the tokens again",
                         path, VISIBLE_FIT(model->name, 64), info->file_fingerprint, model->file_fingerprint);
    }
    const struct {
        const char *what;
        int32_t found, expected;
    } sizes[] = {{"layers", s->n_layer, model->n_layer},
                 {"query heads", s->n_head, model->n_head},
                 {"KV heads", s->n_head_kv, model->n_head_kv},
                 {"numbers per head", s->head_dim, model->head_dim},
                 {"tokens in the vocabulary", s->n_vocab, model->n_vocab}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        if (sizes[i].found == sizes[i].expected) continue;
        return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: has %d %s, the model has %d: the file is damaged", path,
                         sizes[i].found, sizes[i].what, sizes[i].expected);
    }
    return JUDGEQ_OK;
}

static judgeq_status check_judge(const snapshot *s, const judgeq_judge *judge, judgeq_error *error) {
    if (!s->needs_judge) return JUDGEQ_OK;
    if (!judge) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT,
                         "%s: its policy \"%s\" needs a judge: give the one that it was saved with (hash %s)",
                         s->file.path, s->policy.text, s->info.judge);
    }
    char hash[FINGERPRINT_SIZE];
    fingerprint_judge(judgeq_judge_get_info(judge), judgeq_judge_soft_tokens(judge), hash);
    if (strcmp(hash, s->info.judge) == 0) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_MISMATCH,
                     "%s: was saved with another judge (hash %s, not %s): give that one, or read the tokens again",
                     s->file.path, s->info.judge, hash);
}

/* The file's policy names what it took from its judge. */
static judgeq_status check_policy(const snapshot *s, const judgeq_session_params *params, judgeq_error *error) {
    if (!params->policy) return JUDGEQ_OK;
    judgeq_policy asked = *params->policy;
    const judgeq_status status = session_ask_judge(params->judge, &asked, error);
    if (status != JUDGEQ_OK || strcmp(asked.text, s->policy.text) == 0) return status;
    return error_set(error, JUDGEQ_ERROR_MISMATCH,
                     "%s: has the policy \"%s\", not \"%s\": name that one or none, or read the tokens again",
                     s->file.path, s->policy.text, asked.text);
}

/* Whether the attention summed is that which the policy needs. */
static bool sums_fit(const snapshot *s, bool wanted) {
    for (int32_t i = 0; i < s->n_layer; i++) {
        const snapshot_layer *layer = &s->layer[i];
        if ((layer->sum != NULL) != (wanted && layer->rows.position)) return false;
    }
    return true;
}

/* What follows from the policy, as the session that it makes shows. */
static judgeq_status check_parts(const snapshot *s, const judgeq_session *session, judgeq_error *error) {
    const int32_t since = s->n_position - s->ring_from;
    const int32_t n_query = since < 0 ? 0 : since < session->n_ring ? since : session->n_ring;
    const size_t most_deferred = s->info.defer ? (size_t)s->policy.probe.lookahead : 0;
    const char *wrong = !s->logits && session_looks_ahead(session) ? "has no logits, from which its policy looks ahead"
                        : s->n_query != n_query         ? "has another number of queries than its policy's window"
                        : s->n_deferred > most_deferred ? "has more deferred tokens than its policy looks ahead"
                        : !sums_fit(s, session->sum != 0)
                            ? "has not the summed attention, or the scores, that its policy needs"
                            : NULL;
    if (!wrong) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: %s: the file is damaged", s->file.path, wrong);
}

/* ---- load -------------------------------------------------------------------------------------------------------- */

static judgeq_status make_session(const snapshot *s, const judgeq_model *model, const judgeq_session_params *given,
                                  judgeq_session **out, judgeq_error *error) {
    const judgeq_snapshot_info *info = &s->info;
    judgeq_session_params params = *given;
    judgeq_error inner = {0};
    params.policy = &s->policy;
    params.budget = info->budget;
    params.budget_fraction = info->budget_fraction;
    params.slack = info->slack;
    params.unbounded = info->unbounded;
    params.n_ctx = info->n_ctx;
    params.chunk = s->chunk;
    params.kv_type = info->kv_type;
    params.plain_weights = info->plain_weights;
    params.seed = info->seed;
    params.defer = info->defer;
    const judgeq_status status = judgeq_session_new(model, &params, out, &inner);
    return status == JUDGEQ_OK ? status : error_set(error, status, "%s: %s", s->file.path, inner.message);
}

static judgeq_status copy_tokens(const snapshot *s, judgeq_session *session, judgeq_error *error) {
    const judgeq_status status = session_token_room(session, (size_t)s->n_position, error);
    if (status != JUDGEQ_OK) return status;
    memcpy(session->tokens, s->tokens, (size_t)s->n_position * sizeof *s->tokens);
    if (s->n_deferred == 0) return JUDGEQ_OK;
    session->deferred = malloc(s->n_deferred * sizeof *s->deferred);
    if (!session->deferred) return error_memory(error, "deferred tokens");
    memcpy(session->deferred, s->deferred, s->n_deferred * sizeof *s->deferred);
    session->n_deferred = s->n_deferred;
    return JUDGEQ_OK;
}

static judgeq_status copy_layer(const snapshot *s, int32_t index, judgeq_session *session, judgeq_error *error) {
    const cache_shape shape = {session->kv_type, s->n_head_kv, s->head_dim, session->kv_padding};
    ggml_backend_t backend = graph_engine_of_layer(&session->engine->graphs, session->model, index);
    judgeq_status status = cache_layer_import(backend, shape, s->layer[index].rows, s->n_shift, 1, &session->meter,
                                              &session->layer[index], error);
    if (status == JUDGEQ_OK && session->sum) {
        status = bound_set_sum(session, index, s->layer[index].sum, s->n_probe, error);
    }
    return status;
}

/* The next choice is there for all layers or for none, and only where second.h would make one. */
static judgeq_status copy_second(const snapshot *s, judgeq_session *session, judgeq_error *error) {
    int32_t n = 0;
    for (int32_t i = 0; i < s->n_layer; i++) n += s->layer[i].stays != NULL;
    if (n > 0 && (n < s->n_layer || !second_wanted(session))) {
        return error_set(
            error, JUDGEQ_ERROR_FORMAT,
            "%s: has rows that stay for %d of %d layers, and its policy has them for all or none: the file "
            "is damaged",
            s->file.path, n, s->n_layer);
    }
    judgeq_status status = JUDGEQ_OK;
    judgeq_error inner = {0};
    for (int32_t i = 0; status == JUDGEQ_OK && i < n; i++) {
        status = second_set_stays(session, i, s->layer[i].stays, &inner);
    }
    return status == JUDGEQ_OK ? status : error_set(error, status, "%s: %s", s->file.path, inner.message);
}

/* An empty session becomes that of the file. */
static judgeq_status fill(const snapshot *s, judgeq_session *session, judgeq_error *error) {
    memcpy(session->label, s->info.label, sizeof session->label);
    session->n_prompt = s->n_prompt;
    session->n_position = s->n_position;
    session->n_shift = s->n_shift;
    session->turn_from = (int32_t)s->turn_from;
    session->turn_to = (int32_t)s->turn_to;
    session->n_scored = (int32_t)s->n_scored;
    session->n_read = s->info.n_read;
    session->stats.n_decoded = s->info.n_decoded;
    session->stats.n_rejudged = s->info.n_rejudged;
    session_set_budgets(session);
    if (s->logits) {
        memcpy(session->logits, s->logits, (size_t)s->n_vocab * sizeof *s->logits);
    } else {
        free(session->logits);
        session->logits = NULL;
    }
    judgeq_status status = copy_tokens(s, session, error);
    if (status == JUDGEQ_OK) status = bound_set_queries(session, s->ring_from, s->query, s->n_query, error);
    for (int32_t i = 0; status == JUDGEQ_OK && i < s->n_layer; i++) status = copy_layer(s, i, session, error);
    if (status == JUDGEQ_OK) status = copy_second(s, session, error);
    if (status == JUDGEQ_OK && !bound_fits(session)) {
        status = error_set(error, JUDGEQ_ERROR_FORMAT, "%s: holds more rows than a context of %d goes on with",
                           s->file.path, s->info.n_ctx);
    }
    session->prefilled = status == JUDGEQ_OK;
    return status;
}

static judgeq_status load_from(const snapshot *s, const judgeq_model *model, const judgeq_session_params *params,
                               judgeq_session **out, judgeq_error *error) {
    judgeq_status status = check_model(s, judgeq_model_get_info(model), error);
    if (status == JUDGEQ_OK) status = check_judge(s, params->judge, error);
    if (status == JUDGEQ_OK) status = check_policy(s, params, error);
    if (status == JUDGEQ_OK) status = make_session(s, model, params, out, error);
    if (status == JUDGEQ_OK) status = check_parts(s, *out, error);
    if (status == JUDGEQ_OK) status = fill(s, *out, error);
    return file_check(s->file.path, &s->file.map, status, error);
}

judgeq_status judgeq_session_load(const judgeq_model *model, const judgeq_session_params *params, const char *path,
                                  judgeq_session **out, judgeq_error *error) {
    const judgeq_session_params defaults = judgeq_session_default_params();
    snapshot s;
    *out = NULL;
    judgeq_status status = snapshot_open(path, &s, error);
    if (status != JUDGEQ_OK) return status;
    status = load_from(&s, model, params ? params : &defaults, out, error);
    snapshot_close(&s);
    if (status == JUDGEQ_OK) return JUDGEQ_OK;
    judgeq_session_free(*out);
    *out = NULL;
    return status;
}

/* ---- look -------------------------------------------------------------------------------------------------------- */

judgeq_status judgeq_snapshot_read(const char *path, judgeq_snapshot_info *info, int32_t **tokens,
                                   judgeq_error *error) {
    snapshot s;
    *info = (judgeq_snapshot_info){0};
    if (tokens) *tokens = NULL;
    judgeq_status status = snapshot_open(path, &s, error);
    if (status != JUDGEQ_OK) return status;
    int32_t *copy = tokens ? malloc((size_t)s.n_position * sizeof *copy) : NULL;
    if (tokens && !copy) status = error_memory(error, "the tokens of a session's file");
    if (copy) memcpy(copy, s.tokens, (size_t)s.n_position * sizeof *copy);
    status = file_check(path, &s.file.map, status, error);
    if (status == JUDGEQ_OK) {
        *info = s.info;
        if (tokens) *tokens = copy;
    } else {
        free(copy);
    }
    snapshot_close(&s);
    return status;
}
