/* shared_plan: a plan of an answer, which a client's thread and its jobs have in common. */
#ifndef JUDGEQ_SERVER_SHARED_PLAN_H
#define JUDGEQ_SERVER_SHARED_PLAN_H

#include "judgeq.h"

typedef struct shared_plan shared_plan;

/* Takes `plan`, in any case. Of one owner; NULL without memory. */
shared_plan *shared_plan_new(judgeq_chat_plan *plan);
/* One owner more; accepts NULL, as do the others. */
shared_plan *shared_plan_own(shared_plan *shared);
/* One less; the last one frees it. In any thread. */
void shared_plan_release(shared_plan *shared);
/* NULL of NULL. */
const judgeq_chat_plan *shared_plan_get(const shared_plan *shared);

#endif
