#include "session_choices.h"

int32_t session_choices_length(const session_choices *choices) {
    return choices->unbounded ? SESSION_ANY_LENGTH : choices->n_ctx;
}

judgeq_session_params session_choices_params(const session_choices *choices, const judgeq_policy *policy,
                                             const judgeq_judge *judge, judgeq_progress progress, void *data) {
    judgeq_session_params params = judgeq_session_default_params();
    params.policy = policy;
    params.judge = judge;
    params.budget = choices->rows;
    if (choices->rows == 0) params.budget_fraction = (float)choices->share;
    params.n_ctx = choices->n_ctx;
    params.n_threads = choices->n_threads;
    params.chunk = choices->chunk;
    params.kv_type = choices->kv_type;
    params.plain_weights = choices->plain_weights;
    params.seed = choices->seed;
    params.defer = choices->defer;
    params.slack = choices->slack;
    params.unbounded = choices->unbounded;
    params.progress = progress;
    params.progress_data = data;
    return params;
}
