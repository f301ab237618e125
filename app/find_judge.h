/* find_judge: the judge of a model, where nobody names one, and what is done where there is none. */
#ifndef JUDGEQ_APP_FIND_JUDGE_H
#define JUDGEQ_APP_FIND_JUDGE_H

#include <stddef.h>

#include "judgeq.h"
#include "notes.h"

typedef struct judge_search {
    const judgeq_model *model;
    const char *model_path;
    const char *named; /* a judge's file, or NULL: the model's own is searched for */
    bool by_default;   /* nobody named the policies: without a judge, a fallback will do */
    notes notes;
} judge_search;

typedef struct judge_found {
    judgeq_judge *judge; /* NULL where no policy needs one */
    char *path;          /* of the judge; malloced, or NULL */
    bool fallback;       /* there is none, and the caller's policies must give way to FALLBACK_POLICY */
} judge_found;

/* The judge that some of policy[n] need. Where it is not named: MODEL.judge.gguf beside MODEL.gguf, which must then be
 * this model's, or else the first of this model in the installed judges folder and in the source tree's. One that is
 * named must be this model's, needed or not. Fails where one is needed and there is none, except by default. *found is
 * to be freed in any case. */
judgeq_status find_judge(const judge_search *search, judgeq_policy *const *policy, size_t n, judge_found *found,
                         judgeq_error *error);
void judge_found_free(judge_found *found);

#endif
