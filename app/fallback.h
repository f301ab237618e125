/* fallback: what is done without a judge where nobody named a policy: the best training-free one, and a word on how to
 * train a judge. */
#ifndef JUDGEQ_APP_FALLBACK_H
#define JUDGEQ_APP_FALLBACK_H

#include "judgeq.h"
#include "notes.h"

/* docs/policies/README.md has the measurement for it. */
#define FALLBACK_POLICY "snapkv,probe=window:16,keep=recent:16"

/* Replaces the default policy that was parsed from `text`, a preset's name with choices after it. *taken (malloced) is
 * the text of the new one. */
judgeq_status fallback_take(const char *text, char **taken, judgeq_policy **policy, judgeq_error *error);

/* One line: which policy decides, and the command that trains a judge into judge_path. */
void fallback_note(const judgeq_model *model, const char *model_path, const char *judge_path, notes note);

#endif
