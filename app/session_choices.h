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
    int32_t slack; /* rows that decoding adds before the policy chooses again; 0: chosen; or
                      JUDGEQ_SLACK_NONE: it chooses once for each read, as the papers do */
    bool plain_weights, defer, unbounded;
    uint64_t seed; /* of the policy random */
} session_choices;

/* The most tokens that a sequence can have, for prompts and responses: n_ctx, 0, or, unbounded, SESSION_ANY_LENGTH. */
enum { SESSION_ANY_LENGTH = INT32_MAX / 2 };
int32_t session_choices_length(const session_choices *choices);

/* With the method that goes with them: policy NULL: full; judge NULL: none. `progress`, with `data`, is asked while
 * prompts are read; or NULL. */
judgeq_session_params session_choices_params(const session_choices *choices, const judgeq_policy *policy,
                                             const judgeq_judge *judge, judgeq_progress progress, void *data);

#endif
