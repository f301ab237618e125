/* arms: the policies and budgets that are compared: the full cache first, then every policy under every budget. */
#ifndef JUDGEQ_EVAL_ARMS_H
#define JUDGEQ_EVAL_ARMS_H

#include <jansson.h>

#include "judgeq.h"

typedef struct arm {
    const char *policy;          /* as given; "full" for the first arm */
    const judgeq_policy *parsed; /* NULL for a full cache */
    judgeq_kv_type kv_type;
    const char *budget; /* as given: "64", "5%"; NULL for a full cache */
    int32_t rows;       /* 0: share */
    double share;       /* of the prompt */
} arm;

typedef struct arms {
    char **policy; /* [n_policy], without the full cache of the first arm */
    judgeq_policy **parsed;
    judgeq_kv_type *kv_type;
    size_t n_policy;
    char **budget; /* [n_budget] */
    size_t n_budget;
    arm *arm; /* [n_arm] */
    size_t n_arm;
} arms;

/* Reads the options of judgeq eval; arms_free releases *out. Fails with ARGUMENT.
 *
 * - policies: names or texts of policies, separated by ";", or by "," if none of them has a "=". A policy may end in
 *   "@TYPE", the type of its KV cache. The others, and the first arm, have kv_type.
 * - choices: appended to every policy, such as ",keep=none"; or "".
 * - budgets: rows, or shares of the prompt such as 5%, separated by ",". */
judgeq_status arms_parse(const char *policies, const char *choices, const char *budgets, judgeq_kv_type kv_type,
                         arms *out, judgeq_error *error);
void arms_free(arms *arms);

/* True where the arm keeps what the first one keeps, in the same type. */
bool arm_is_full(const arms *arms, size_t index, int32_t n_prompt);
/* The arm's budget for a prompt, in rows; the prompt's length where everything is kept. */
int32_t arm_rows(const arm *arm, int32_t n_prompt);
/* All choices, or "full". */
const char *arm_policy_text(const arm *arm);

#endif
