/* find_judge: the judge of a model, where the command line names none. */
#ifndef JUDGEQ_CLI_FIND_JUDGE_H
#define JUDGEQ_CLI_FIND_JUDGE_H

#include <stddef.h>

#include "judgeq.h"

/* The judge that some of policy[n] need. It is the file `named`, or where that is NULL, one of this model:
 * MODEL.judge.gguf beside MODEL.gguf, then every .gguf file in the installed judges folder and in the source tree's;
 * *path (malloced) says which, and is NULL otherwise. *out is NULL where no policy needs a judge. Fails where one does
 * and there is none. */
judgeq_status find_judge(judgeq_policy *const *policy, size_t n, const judgeq_model *model, const char *model_path,
                         const char *named, judgeq_judge **out, char **path, judgeq_error *error);

#endif
