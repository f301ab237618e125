/* plan_check: finds out, before anything is asked, what cannot be. */
#ifndef JUDGEQ_EVAL_PLAN_CHECK_H
#define JUDGEQ_EVAL_PLAN_CHECK_H

#include "plan.h"
#include "trial.h"

/* Fails where a task of our own has no room in --length, or --length none in the model's context, and where no sample
 * remains. Samples of files that are empty or too long are left out of the plan and noted in plan->left_out. */
judgeq_status plan_check(plan *plan, const trial_setup *setup, judgeq_error *error);

#endif
