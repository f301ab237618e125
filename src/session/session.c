/* session: a session's public functions. Each checks its arguments, then calls read, decode or watch. */
#include "again.h"
#include "bound.h"
#include "decode.h"
#include "read.h"
#include "state.h"
#include "support.h"
#include "watch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"

/* ---- checks ------------------------------------------------------------------------------------------------------ */

static judgeq_status check_judge(const judgeq_session *session, judgeq_error *error) {
    const bool wanted = session->policy.probe.soft || session->first_policy.probe.soft;
    if (!wanted) return JUDGEQ_OK;
    if (!session->judge) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT,
                         "policy '%s' scores with soft tokens and needs a judge for this model", session->policy.text);
    }
    const judgeq_judge_info *judge = judgeq_judge_get_info(session->judge);
    const judgeq_status status =
        judge_check_model("session", judge, session->judge->version, &session->model->info, error);
    if (status != JUDGEQ_OK) return status;
    const int32_t needed = session_soft_rows(session);
    if (needed > judge->n_soft) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "policy '%s' wants %d soft tokens, the judge has %d",
                         session->policy.text, needed, judge->n_soft);
    }
    return JUDGEQ_OK;
}

static const struct {
    const char *name;
    enum ggml_type type;
} kv_types[] = {
    [JUDGEQ_KV_F16] = {"f16", GGML_TYPE_F16},
    [JUDGEQ_KV_F32] = {"f32", GGML_TYPE_F32},
    [JUDGEQ_KV_Q8_0] = {"q8_0", GGML_TYPE_Q8_0},
    [JUDGEQ_KV_Q4_0] = {"q4_0", GGML_TYPE_Q4_0},
};

const char *judgeq_kv_type_name(judgeq_kv_type type) {
    const size_t index = (size_t)type;
    return index < sizeof kv_types / sizeof *kv_types ? kv_types[index].name : NULL;
}

enum ggml_type session_kv_type(judgeq_kv_type type) {
    return kv_types[type].type;
}

static judgeq_status check_kv_type(const judgeq_session *session, judgeq_error *error) {
    const char *name = judgeq_kv_type_name(session->params.kv_type);
    if (!name) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "KV type %d is not known (known: f16, f32, q8_0, q4_0)",
                         (int)session->params.kv_type);
    }
    const int32_t head_dim = session->model->info.head_dim;
    const int64_t block = ggml_blck_size(kv_types[session->params.kv_type].type);
    if (head_dim % block == 0) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_UNSUPPORTED,
                     "KV type %s needs a head_dim that is a multiple of %d, and %s has %d: use f16", name, (int)block,
                     session->model->file.path, head_dim);
}

static judgeq_status check_params(const judgeq_session *session, judgeq_error *error) {
    const judgeq_session_params *params = &session->params;
    if (params->slack < JUDGEQ_SLACK_NONE) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "slack %d: expected rows, 0 (chosen) or -1 (none)",
                         params->slack);
    }
    if (params->n_ctx < 0 || params->chunk < 0) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "n_ctx %d, chunk %d: expected 0 or more", params->n_ctx,
                         params->chunk);
    }
    judgeq_status status = engine_check_threads(params->n_threads, error);
    if (status == JUDGEQ_OK) status = check_kv_type(session, error);
    if (status != JUDGEQ_OK) return status;
    if (params->defer && (session->policy.probe.lookahead == 0 || session->policy.probe.among == 0)) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT,
                         "policy '%s' cannot defer: only a lookahead among candidates (judge-laq) has tokens to keep",
                         session->policy.text);
    }
    if (session->policy.keep_all) return JUDGEQ_OK;
    const bool share = params->budget_fraction > 0.0f && params->budget_fraction <= 1.0f;
    if (params->budget == 0 && params->budget_fraction == 0.0f) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "policy '%s' needs a budget: rows to keep per layer and KV head",
                         session->policy.text);
    }
    if (params->budget == 0 && !share) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT,
                         "a budget of %g %% of the prompt: expected more than 0, up to 100",
                         100.0 * (double)params->budget_fraction);
    }
    if (params->budget < 0) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "budget %d: use a budget of at least 1 row", params->budget);
    }
    return JUDGEQ_OK;
}

/* Rows of the cache are read in multiples of these: enough for wide registers; and libllama's own, whose sums plain
 * mode repeats. */
enum { PADDING = 32, PADDING_PLAIN = 256 };

/* ---- life -------------------------------------------------------------------------------------------------------- */

judgeq_session_params judgeq_session_default_params(void) {
    return (judgeq_session_params){.kv_type = JUDGEQ_KV_F16};
}

static judgeq_status take_policies(judgeq_session *session, judgeq_error *error) {
    judgeq_policy *policy = NULL;
    if (session->params.policy) {
        session->policy = *session->params.policy;
    } else {
        judgeq_status status = judgeq_policy_parse("full", &policy, error);
        if (status != JUDGEQ_OK) return status;
        session->policy = *policy;
        judgeq_policy_free(policy);
    }
    session->params.policy = NULL;
    if (!session->policy.probe.first) return JUDGEQ_OK;
    judgeq_status status = judgeq_policy_parse(session->policy.probe.first->name, &policy, error);
    if (status != JUDGEQ_OK) return status;
    session->first_policy = *policy;
    session->first_policy.remember = 0; /* it chooses once */
    judgeq_policy_free(policy);
    return JUDGEQ_OK;
}

/* What the policies leave to the judge. */
static judgeq_status ask_judge(judgeq_session *session, judgeq_error *error) {
    const judgeq_status status = session_ask_judge(session->judge, &session->policy, error);
    if (status != JUDGEQ_OK || !session->policy.probe.first) return status;
    return session_ask_judge(session->judge, &session->first_policy, error);
}

/* The one that was given, or one of its own. */
static judgeq_status take_engine(judgeq_session *session, judgeq_error *error) {
    session->engine = session->params.engine;
    session->own_engine = !session->engine;
    if (session->own_engine) {
        return judgeq_engine_new(session->model, session->params.n_threads, &session->engine, error);
    }
    if (session->engine->model == session->model) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_ARGUMENT, "the session's engine is one of another model");
}

static judgeq_status allocate(judgeq_session *session, judgeq_error *error) {
    const size_t n_layer = (size_t)session->model->info.n_layer;
    session->layer = calloc(n_layer, sizeof *session->layer);
    session->prior = calloc(n_layer, sizeof *session->prior);
    session->first_kept = calloc(n_layer, sizeof *session->first_kept);
    session->layer_budget = calloc(n_layer, sizeof *session->layer_budget);
    if (!session->layer || !session->prior || !session->first_kept || !session->layer_budget) {
        return error_memory(error, "a session");
    }
    const judgeq_status status = session_logits_room(session, error);
    return status == JUDGEQ_OK ? take_engine(session, error) : status;
}

judgeq_status session_configure(judgeq_session *session, const judgeq_model *model, const judgeq_session_params *params,
                                judgeq_error *error) {
    session->model = model;
    session->params = *params;
    session->judge = params->judge;
    session->kv_padding = params->plain_weights ? PADDING_PLAIN : PADDING;
    if (session->params.n_ctx == 0) session->params.n_ctx = model->info.n_ctx_train;
    judgeq_status status = take_policies(session, error);
    if (status == JUDGEQ_OK) status = check_params(session, error);
    if (status == JUDGEQ_OK) status = check_judge(session, error);
    if (status == JUDGEQ_OK) status = ask_judge(session, error);
    if (status == JUDGEQ_OK) session->kv_type = kv_types[params->kv_type].type;
    return status;
}

judgeq_status judgeq_session_new(const judgeq_model *model, const judgeq_session_params *params, judgeq_session **out,
                                 judgeq_error *error) {
    *out = NULL;
    judgeq_session *session = calloc(1, sizeof *session);
    if (!session) return error_memory(error, "a session");
    judgeq_status status = session_configure(session, model, params, error);
    if (status == JUDGEQ_OK) status = allocate(session, error);
    if (status == JUDGEQ_OK) status = again_init(session, error);
    if (status == JUDGEQ_OK) status = bound_init(session, error);
    if (status == JUDGEQ_OK) status = bound_check(session, error);
    if (status == JUDGEQ_OK) status = support_check(session, error);
    if (status != JUDGEQ_OK) {
        judgeq_session_free(session);
        return status;
    }
    *out = session;
    return JUDGEQ_OK;
}

void judgeq_session_free(judgeq_session *session) {
    if (!session) return;
    judgeq_session_read_abandon(session);
    for (int32_t l = 0; session->layer && l < session->model->info.n_layer; l++) cache_layer_free(&session->layer[l]);
    session_forget_scores(session);
    free(session->layer);
    free(session->prior);
    free(session->first_kept);
    free(session->layer_budget);
    free(session->logits);
    free(session->deferred);
    free(session->tokens);
    free(session->watched);
    again_free(session);
    bound_free(session);
    if (session->own_engine) judgeq_engine_free(session->engine);
    free(session);
}

/* ---- steps ------------------------------------------------------------------------------------------------------- */

static judgeq_status check_token(const judgeq_session *session, int32_t token, judgeq_error *error) {
    if (token >= 0 && token < session->model->info.n_vocab) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_ARGUMENT, "token %d is not in the vocabulary of %d", token,
                     session->model->info.n_vocab);
}

/* Neither broken nor in the middle of a read. */
static judgeq_status check_ready(const judgeq_session *session, judgeq_error *error) {
    if (session->failed) return error_set(error, JUDGEQ_ERROR_ARGUMENT, "after an error, a session can only be freed");
    if (!session->reading) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_ARGUMENT,
                     "the session is reading: step until it is done, or abandon it (judgeq_session_read_abandon)");
}

static judgeq_status check_read(const judgeq_session *session, const int32_t *tokens, size_t n, judgeq_error *error) {
    judgeq_status status = check_ready(session, error);
    if (status != JUDGEQ_OK) return status;
    if (n == 0) return error_set(error, JUDGEQ_ERROR_ARGUMENT, "the prompt is empty");
    const int32_t n_ctx = session->params.n_ctx, n_before = session->n_position;
    const int32_t n_kept_ahead = session->params.defer ? session->policy.probe.lookahead : 0;
    if (session->params.unbounded && n > (size_t)(INT32_MAX / 2 - n_before)) {
        return error_set(error, JUDGEQ_ERROR_LIMIT, "%zu tokens after %d: more than a sequence can have", n, n_before);
    }
    if (!session->params.unbounded && (int64_t)n > (int64_t)n_ctx - n_before - n_kept_ahead) {
        char before[96] = "";
        if (n_before > 0) snprintf(before, sizeof before, " after the %d before it", n_before);
        if (n_kept_ahead > 0) {
            const size_t used = strlen(before);
            snprintf(before + used, sizeof before - used, ", and defers %d", n_kept_ahead);
        }
        return error_set(error, JUDGEQ_ERROR_LIMIT,
                         "the prompt has %zu tokens%s, the context holds %d (the model was trained for %d)", n, before,
                         n_ctx, session->model->info.n_ctx_train);
    }
    status = again_check(session, n, error);
    for (size_t i = 0; status == JUDGEQ_OK && i < n; i++) status = check_token(session, tokens[i], error);
    return status;
}

static judgeq_status check_first(const judgeq_session *session, judgeq_error *error) {
    if (!session->prefilled) return JUDGEQ_OK;
    return error_set(
        error, JUDGEQ_ERROR_ARGUMENT,
        "the session has read a prompt: judgeq_session_read goes on from there, a new session starts anew");
}

static judgeq_status check_different(judgeq_session *const *sessions, size_t n, judgeq_error *error) {
    for (size_t i = 1; i < n; i++) {
        for (size_t k = 0; k < i; k++) {
            if (sessions[i] == sessions[k]) {
                return error_set(error, JUDGEQ_ERROR_ARGUMENT, "sessions %zu and %zu are the same", k, i);
            }
        }
    }
    return JUDGEQ_OK;
}

/* What sessions must have in common to read a prompt together. */
static judgeq_status check_company(judgeq_session *const *sessions, size_t n, judgeq_error *error) {
    const judgeq_session *first = sessions[0];
    for (size_t i = 1; i < n; i++) {
        if (sessions[i]->model != first->model || sessions[i]->judge != first->judge ||
            session_read_type(sessions[i]) != session_read_type(first) ||
            sessions[i]->params.plain_weights != first->params.plain_weights) {
            return error_set(error, JUDGEQ_ERROR_ARGUMENT,
                             "session %zu has another model or judge than the first, or only one of both has "
                             "plain_weights or an F32 cache: read its prompt alone",
                             i);
        }
    }
    return JUDGEQ_OK;
}

static judgeq_status read_all(judgeq_session *const *sessions, size_t n, const int32_t *tokens, int32_t n_tokens,
                              judgeq_error *error) {
    reading *r = NULL;
    bool done = false;
    judgeq_status status = read_begin(sessions, n, tokens, n_tokens, &r, error);
    while (status == JUDGEQ_OK && !done) status = read_step(r, &done, error);
    read_end(r);
    return status;
}

/* A prompt that is read for several sessions is read in one piece. */
static judgeq_status check_piece(const judgeq_session *session, size_t n, judgeq_error *error) {
    if (!session->params.unbounded || (int64_t)n <= bound_piece(session)) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_LIMIT,
                     "the prompt has %zu tokens, of which an unbounded session reads %d at once: read it alone "
                     "(judgeq_session_read)",
                     n, bound_piece(session));
}

judgeq_status judgeq_session_prefill_all(judgeq_session *const *sessions, size_t n_sessions, const int32_t *tokens,
                                         size_t n_tokens, judgeq_error *error) {
    if (n_sessions == 0) return error_set(error, JUDGEQ_ERROR_ARGUMENT, "no session to read the prompt");
    judgeq_status status = check_different(sessions, n_sessions, error);
    if (status == JUDGEQ_OK) status = check_company(sessions, n_sessions, error);
    for (size_t i = 0; status == JUDGEQ_OK && i < n_sessions; i++) {
        status = check_first(sessions[i], error);
        if (status == JUDGEQ_OK) status = check_read(sessions[i], tokens, n_tokens, error);
        if (status == JUDGEQ_OK) status = check_piece(sessions[i], n_tokens, error);
    }
    if (status != JUDGEQ_OK) return status;
    return read_all(sessions, n_sessions, tokens, (int32_t)n_tokens, error);
}

judgeq_status judgeq_session_prefill(judgeq_session *session, const int32_t *tokens, size_t n_tokens,
                                     judgeq_error *error) {
    const judgeq_status status = check_first(session, error);
    return status == JUDGEQ_OK ? judgeq_session_read(session, tokens, n_tokens, error) : status;
}

/* The next piece of what is to be read: all of it, unless the session is unbounded. */
static judgeq_status begin_piece(judgeq_session *session, judgeq_error *error) {
    reading *r; /* the session has it as well */
    size_t n = session->n_unread;
    judgeq_status status = JUDGEQ_OK;
    if (session->params.unbounded) {
        const int32_t most = bound_piece(session);
        if (most < 1)
            return error_set(error, JUDGEQ_ERROR_LIMIT, "the rows held leave no room in the context to read on");
        n = n < (size_t)most ? n : (size_t)most;
        status = bound_make_room(session, (int32_t)n, error);
    }
    if (status != JUDGEQ_OK) return status;
    const int32_t *tokens = session->unread + session->unread_at;
    session->unread_at += n;
    session->n_unread -= n;
    return read_begin(&session, 1, tokens, (int32_t)n, &r, error);
}

static void forget_unread(judgeq_session *session) {
    free(session->unread);
    session->unread = NULL;
    session->n_unread = session->unread_at = 0;
}

judgeq_status judgeq_session_read_begin(judgeq_session *session, const int32_t *tokens, size_t n_tokens,
                                        judgeq_error *error) {
    judgeq_status status = check_read(session, tokens, n_tokens, error);
    if (status != JUDGEQ_OK) return status;
    session->unread = malloc(n_tokens * sizeof *tokens);
    if (!session->unread) return error_memory(error, "the tokens to read");
    memcpy(session->unread, tokens, n_tokens * sizeof *tokens);
    session->n_unread = n_tokens;
    status = begin_piece(session, error);
    if (status != JUDGEQ_OK) forget_unread(session);
    return status;
}

judgeq_status judgeq_session_read_step(judgeq_session *session, bool *done, judgeq_error *error) {
    *done = false;
    if (!session->reading) return error_set(error, JUDGEQ_ERROR_ARGUMENT, "no read was begun");
    bool end = false;
    judgeq_status status = read_step(session->reading, &end, error);
    if (end || status != JUDGEQ_OK) read_end(session->reading);
    if (end && session->n_unread > 0) {
        status = begin_piece(session, error);
    } else {
        *done = end;
    }
    if (*done || status != JUDGEQ_OK) forget_unread(session);
    return status;
}

judgeq_status judgeq_session_read(judgeq_session *session, const int32_t *tokens, size_t n_tokens,
                                  judgeq_error *error) {
    bool done = false;
    judgeq_status status = judgeq_session_read_begin(session, tokens, n_tokens, error);
    while (status == JUDGEQ_OK && !done) status = judgeq_session_read_step(session, &done, error);
    return status;
}

void judgeq_session_read_abandon(judgeq_session *session) {
    read_end(session->reading);
    forget_unread(session);
}

static judgeq_status check_decode(const judgeq_session *session, int32_t token, judgeq_error *error) {
    judgeq_status status = check_ready(session, error);
    if (status != JUDGEQ_OK) return status;
    if (!session->prefilled) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "a session decodes after a prompt was read");
    }
    status = check_token(session, token, error);
    if (status != JUDGEQ_OK || session->params.unbounded || session->n_position < session->params.n_ctx) return status;
    return error_set(error, JUDGEQ_ERROR_LIMIT, "the context of %d tokens is full", session->params.n_ctx);
}

/* True where a session's token needs a graph of its own: to sum as libllama does, or to return its attention. */
static bool decodes_alone(const judgeq_session *session) {
    return session_ggml_only(session) || session->watched;
}

static judgeq_status decode_alone(judgeq_session *session, int32_t token, judgeq_error *error) {
    const size_t n_layer = (size_t)session->model->info.n_layer, n_head_kv = (size_t)session->model->info.n_head_kv;
    block_result *blocks = calloc(n_layer, sizeof *blocks);
    struct ggml_tensor **query = calloc(n_layer, sizeof(struct ggml_tensor *));
    struct ggml_tensor **by_run = calloc(n_layer * n_head_kv, sizeof(struct ggml_tensor *));
    const block_want want = {.output = true,
                             .attention = session->watched || bound_wants_attention(session),
                             .query = bound_wants_query(session),
                             .by_run = by_run};
    judgeq_status status = blocks && query && by_run ? JUDGEQ_OK : error_memory(error, "attention rows");
    if (status == JUDGEQ_OK) status = decode_plainly(session, token, want, blocks, error);
    if (status == JUDGEQ_OK && session->watched) status = watch_add(session, blocks, error);
    if (status == JUDGEQ_OK) status = bound_note_attention(session, by_run, error);
    for (size_t l = 0; status == JUDGEQ_OK && l < n_layer; l++) query[l] = blocks[l].query;
    if (status == JUDGEQ_OK) bound_note_queries(session, query, 0);
    free(blocks);
    free((void *)query);
    free((void *)by_run);
    return status;
}

static judgeq_status decode_all(judgeq_session *const *sessions, const int32_t *tokens, size_t n, judgeq_error *error) {
    judgeq_session **together = malloc(n * sizeof(judgeq_session *));
    int32_t *token = malloc(n * sizeof *token);
    judgeq_status status = together && token ? JUDGEQ_OK : error_memory(error, "a batch of sessions");
    size_t n_together = 0;
    for (size_t i = 0; status == JUDGEQ_OK && i < n; i++) {
        if (decodes_alone(sessions[i])) {
            status = decode_alone(sessions[i], tokens[i], error);
        } else {
            together[n_together] = sessions[i];
            token[n_together++] = tokens[i];
        }
    }
    if (status == JUDGEQ_OK && n_together > 0) status = decode_together(together, n_together, token, error);
    for (size_t i = 0; status == JUDGEQ_OK && i < n_together; i++) {
        bound_note_queries(together[i], together[0]->engine->decoder.query, i);
    }
    free(together);
    free(token);
    return status;
}

judgeq_status judgeq_session_decode_all(judgeq_session *const *sessions, const int32_t *tokens, size_t n_sessions,
                                        judgeq_error *error) {
    if (n_sessions == 0) return error_set(error, JUDGEQ_ERROR_ARGUMENT, "no session to decode");
    judgeq_status status = check_different(sessions, n_sessions, error);
    for (size_t i = 0; status == JUDGEQ_OK && i < n_sessions; i++) {
        if (sessions[i]->model != sessions[0]->model) {
            return error_set(error, JUDGEQ_ERROR_ARGUMENT, "session %zu has another model than the first", i);
        }
        status = check_decode(sessions[i], tokens[i], error);
    }
    for (size_t i = 0; status == JUDGEQ_OK && i < n_sessions; i++) status = bound_hold(sessions[i], error);
    if (status != JUDGEQ_OK) return status;
    const double start = clock_seconds();
    status = decode_all(sessions, tokens, n_sessions, error);
    const double seconds = clock_seconds() - start;
    for (size_t i = 0; i < n_sessions; i++) {
        sessions[i]->stats.decode_s += seconds;
        sessions[i]->failed = status != JUDGEQ_OK;
        sessions[i]->stats.n_decoded += status == JUDGEQ_OK;
    }
    return status;
}

judgeq_status judgeq_session_decode(judgeq_session *session, int32_t token, judgeq_error *error) {
    return judgeq_session_decode_all(&session, &token, 1, error);
}

/* Position n is one that check_ready and the policy allow. */
static void cut(judgeq_session *session, int32_t n) {
    for (int32_t l = 0; l < session->model->info.n_layer; l++) cache_layer_truncate(&session->layer[l], n);
    if (n < session->n_prompt) {
        session->n_prompt = n;
        if (n < session->n_scored) session->n_scored = n;
        watch_end(session); /* its sums are over the prompt that was */
    }
    session->prefilled = n > 0;
    session->n_position = n;
    if (n < session->turn_to) session->turn_to = n;
    if (n < session->turn_from) session->turn_from = n;
    bound_rewind(session);
}

judgeq_status judgeq_session_rewind(judgeq_session *session, int64_t n_tokens, judgeq_error *error) {
    const int64_t n_decoded = session->n_position - session->n_prompt;
    judgeq_status status = check_ready(session, error);
    if (status != JUDGEQ_OK) return status;
    if (!session->prefilled || n_tokens < 0 || n_tokens > n_decoded) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT,
                         "cannot rewind to %lld tokens: %lld were decoded since the policy chose", (long long)n_tokens,
                         (long long)n_decoded);
    }
    cut(session, session->n_prompt + (int32_t)n_tokens);
    return JUDGEQ_OK;
}

judgeq_status judgeq_session_cut(judgeq_session *session, int64_t n_position, judgeq_error *error) {
    judgeq_status status = check_ready(session, error);
    if (status != JUDGEQ_OK) return status;
    if (n_position < 0 || n_position > session->n_position) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "cannot cut at position %lld: the sequence has %d tokens",
                         (long long)n_position, session->n_position);
    }
    if (n_position < session->n_prompt && !session->policy.keep_all) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT,
                         "cannot cut at position %lld: policy '%s' has evicted rows of the %d tokens up to its last "
                         "choice; cut there or later, or use policy full",
                         (long long)n_position, session->policy.text, session->n_prompt);
    }
    cut(session, (int32_t)n_position);
    return JUDGEQ_OK;
}

judgeq_status judgeq_session_trim(judgeq_session *session, judgeq_error *error) {
    judgeq_status status = check_ready(session, error);
    if (status != JUDGEQ_OK) return status;
    if (!session_looks_ahead(session)) { /* which begins with the token that they predict */
        free(session->logits);
        session->logits = NULL;
    }
    bound_trim(session);
    for (int32_t l = 0; status == JUDGEQ_OK && session->prefilled && l < session->model->info.n_layer; l++) {
        status = cache_layer_trim(&session->layer[l], error);
    }
    return status;
}

/* ---- what can be asked ------------------------------------------------------------------------------------------- */

const float *judgeq_session_logits(const judgeq_session *session) {
    return session->logits;
}

const int32_t *judgeq_session_deferred(const judgeq_session *session, size_t *n_tokens) {
    *n_tokens = session->n_deferred;
    return session->deferred;
}

const int32_t *judgeq_session_tokens(const judgeq_session *session, size_t *n_tokens) {
    *n_tokens = (size_t)session->n_position;
    return session->n_position > 0 ? session->tokens : NULL;
}

judgeq_session_params judgeq_session_get_params(const judgeq_session *session) {
    return session->params;
}

void judgeq_session_get_stats(const judgeq_session *session, judgeq_stats *stats) {
    const judgeq_model_info *info = &session->model->info;
    *stats = session->stats;
    stats->n_prompt = session->n_read;
    stats->n_position = session->n_position;
    stats->kv_bytes_full = (size_t)session->n_position * (size_t)info->n_layer * (size_t)info->n_head_kv *
                           model_row_bytes(session->model, session->kv_type);
    for (int32_t l = 0; l < info->n_layer; l++) stats->kv_bytes_held += cache_layer_bytes(&session->layer[l]);
    stats->n_chosen = session->policy.keep_all ? 0 : session->n_prompt;
    stats->kv_bytes_allocated = session->meter.bytes;
    stats->kv_bytes_peak = session->meter.peak;
    stats->n_threads = session->engine->graphs.threads.most;
}

const int32_t *judgeq_session_positions(const judgeq_session *session, int32_t layer, int32_t head_kv, size_t *n_rows) {
    *n_rows = 0;
    const judgeq_model_info *info = &session->model->info;
    if (!session->prefilled || layer < 0 || layer >= info->n_layer || head_kv < 0 || head_kv >= info->n_head_kv) {
        return NULL;
    }
    const cache_head *head = &session->layer[layer].head[head_kv];
    *n_rows = (size_t)head->n_row;
    return head->position;
}
