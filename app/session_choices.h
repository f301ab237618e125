/* session_choices: what a command line or a request chooses of a session, read into one struct. */
#ifndef JUDGEQ_APP_SESSION_CHOICES_H
#define JUDGEQ_APP_SESSION_CHOICES_H

#include "judgeq.h"

/* Zeroed: a full F16 cache, threads and chunks as they are chosen. */
typedef struct session_choices {
    int32_t rows;             /* the budget: rows per layer and KV head; 0: `share` */
    double share;             /* of the prompt; 0: no budget is given */
    int32_t n_ctx;            /* tokens of prompt and response; 0: what the model was trained for */
    int32_t n_threads, chunk; /* 0: chosen */
    judgeq_kv_type kv_type;
    bool plain_weights, defer;
    uint64_t seed; /* of the policy random */
} session_choices;

/* With the method that goes with them: policy NULL: full; judge NULL: none. `progress`, with `data`, is asked while
 * prompts are read; or NULL. */
judgeq_session_params session_choices_params(const session_choices *choices, const judgeq_policy *policy,
                                             const judgeq_judge *judge, judgeq_progress progress, void *data);

#endif
