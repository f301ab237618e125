/* find_judge: the judge of a model, where the command line names none. */
#ifndef JUDGEQ_CLI_FIND_JUDGE_H
#define JUDGEQ_CLI_FIND_JUDGE_H

#include "judgeq.h"

/* Looks for a judge of this model: MODEL.judge.gguf beside MODEL.gguf, then every .gguf file in the installed judges
 * folder and in the source tree's. *path (malloced) says which it is. Fails where there is none. */
judgeq_status find_judge(const judgeq_model *model, const char *model_path, judgeq_judge **out, char **path,
                         judgeq_error *error);

#endif
