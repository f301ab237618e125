#include "state.h"

#include <math.h>
#include <stdlib.h>

#include "base/error.h"

judgeq_status session_ask_judge(const judgeq_judge *judge, judgeq_policy *policy, judgeq_error *error) {
    if (!judge) return JUDGEQ_OK;
    const char *choices = judgeq_judge_get_info(judge)->choices;
    const judgeq_status status = policy_take_judge(policy, choices, error);
    if (status != JUDGEQ_ERROR_ARGUMENT) return status;
    /* its file's fault, not that of what was asked for */
    return error_set(
        error, JUDGEQ_ERROR_FORMAT,
        "the judge's file says \"%.60s\" as its own choices (judgeq.policy); expected reduce and smooth, for "
        "example reduce=mean/mean,smooth=none",
        choices);
}

bool session_looks_ahead(const judgeq_session *session) {
    return session->policy.probe.lookahead > 0 || session->policy.probe.response > 0;
}

enum ggml_type session_read_type(const judgeq_session *session) {
    return ggml_is_quantized(session->kv_type) ? GGML_TYPE_F16 : session->kv_type;
}

bool session_ggml_only(const judgeq_session *session) {
    return session->params.plain_weights || session->engine->graphs.n_device > 0;
}

int32_t session_soft_rows(const judgeq_session *session) {
    if (!session->judge) return 0;
    const policy_probe *probes[] = {&session->policy.probe, &session->first_policy.probe};
    int32_t most = 0;
    for (int i = 0; i < 2; i++) {
        if (!probes[i]->soft) continue;
        const int32_t n = probes[i]->n_soft > 0 ? probes[i]->n_soft : judgeq_judge_get_info(session->judge)->n_soft;
        most = n > most ? n : most;
    }
    return most;
}

/* Rows that decoding adds where the caller leaves it to us: a quarter of the budget, but not too few, since every
 * choice costs the same. */
enum { SLACK_SHARE = 4, SLACK_LEAST = 32 };

/* A share of the prompt, in rows: one at least. */
static int32_t share_rows(float share, int32_t n_prompt) {
    /* a float's 0.1 is a little more than a tenth, and must not cost a row */
    const int32_t rows = (int32_t)ceil((double)share * n_prompt - 1e-3);
    return rows > 1 ? rows : 1;
}

int32_t session_slack(const judgeq_session *session, int32_t budget) {
    const int32_t share = budget / SLACK_SHARE;
    if (session->params.slack != 0) return session->params.slack;
    return share > SLACK_LEAST ? share : SLACK_LEAST;
}

int32_t session_budget(const judgeq_session *session, int32_t n_prompt) {
    const judgeq_session_params *params = &session->params;
    return params->budget > 0 ? params->budget : share_rows(params->budget_fraction, n_prompt);
}

const float *session_layer_share(const judgeq_session *session) {
    return session->judge ? judgeq_judge_get_info(session->judge)->layer_share : NULL;
}

void session_set_budgets(judgeq_session *session) {
    const judgeq_session_params *params = &session->params;
    if (session->policy.keep_all) return;
    const int32_t rows = session_budget(session, session->n_prompt);
    session->stats.budget = rows < session->n_prompt ? rows : session->n_prompt;
    /* nothing is dropped before the budget is full */
    const int64_t room = (int64_t)session_slack(session, rows) + rows - session->stats.budget;
    session->slack = params->slack == JUDGEQ_SLACK_NONE ? 0 : room < INT32_MAX ? (int32_t)room : INT32_MAX;
    select_layer_budgets(&session->policy, session_layer_share(session), session->model->info.n_layer,
                         session->stats.budget, session->n_prompt, session->layer_budget);
}

int32_t session_most_rows(const judgeq_session *session) {
    int64_t most = 0;
    for (int32_t l = 0; l < session->model->info.n_layer; l++) {
        for (int32_t h = 0; h < session->layer[l].n_head_kv; h++) {
            const int64_t n = session->layer[l].head[h].n_row;
            most = n > most ? n : most;
        }
    }
    return (int32_t)most;
}

void session_forget_scores(judgeq_session *session) {
    for (int32_t l = 0; l < session->model->info.n_layer; l++) {
        if (session->prior) score_map_free(&session->prior[l]);
        if (session->first_kept) select_kept_free(&session->first_kept[l]);
    }
}

/* A sequence that must grow gets a quarter more room, so that a token costs few copies. */
enum { TOKENS_LEAST = 64, TOKENS_SHARE = 4 };

judgeq_status session_token_room(judgeq_session *session, size_t n, judgeq_error *error) {
    if (n <= session->token_room) return JUDGEQ_OK;
    const size_t room = n + n / TOKENS_SHARE + TOKENS_LEAST;
    int32_t *larger = realloc(session->tokens, room * sizeof *larger);
    if (!larger) return error_memory(error, "the tokens of a session");
    session->tokens = larger;
    session->token_room = room;
    return JUDGEQ_OK;
}

judgeq_status session_logits_room(judgeq_session *session, judgeq_error *error) {
    if (!session->logits) session->logits = calloc((size_t)session->model->info.n_vocab, sizeof *session->logits);
    return session->logits ? JUDGEQ_OK : error_memory(error, "logits");
}

judgeq_status session_check_logits(const judgeq_session *session, judgeq_error *error) {
    bool finite = true;
    for (int32_t i = 0; i < session->model->info.n_vocab; i++) finite = finite && isfinite(session->logits[i]);
    if (finite) return JUDGEQ_OK;
    const char *weight = model_find_non_finite(session->model);
    if (!weight) {
        return error_set(error, JUDGEQ_ERROR_NUMERIC,
                         "%s: the logits hold NaN or infinity, though all weights are finite",
                         session->model->file.path);
    }
    return error_set(error, JUDGEQ_ERROR_NUMERIC, "%s: tensor %s holds NaN or infinity: the file is damaged",
                     session->model->file.path, weight);
}
