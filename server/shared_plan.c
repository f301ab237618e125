#include "shared_plan.h"

#include <stdatomic.h>
#include <stdlib.h>

struct shared_plan {
    judgeq_chat_plan *plan;
    atomic_int n_owner;
};

shared_plan *shared_plan_new(judgeq_chat_plan *plan) {
    shared_plan *shared = calloc(1, sizeof *shared);
    if (!shared) {
        judgeq_chat_plan_free(plan);
        return NULL;
    }
    shared->plan = plan;
    shared->n_owner = 1;
    return shared;
}

shared_plan *shared_plan_own(shared_plan *shared) {
    if (shared) atomic_fetch_add(&shared->n_owner, 1);
    return shared;
}

void shared_plan_release(shared_plan *shared) {
    if (!shared || atomic_fetch_sub(&shared->n_owner, 1) > 1) return;
    judgeq_chat_plan_free(shared->plan);
    free(shared);
}

const judgeq_chat_plan *shared_plan_get(const shared_plan *shared) {
    return shared ? shared->plan : NULL;
}
