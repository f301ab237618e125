/* tiny_judge: judges that nobody trained. */
#ifndef JUDGEQ_TESTS_TINY_JUDGE_H
#define JUDGEQ_TESTS_TINY_JUDGE_H

#include "judgeq.h"

/* Every field has a value; n_depth is 1 and the fingerprint is no model's. */
judgeq_judge_info tiny_judge_info(int32_t n_soft, int32_t n_embd);
/* Random soft tokens for the model, from -0.5 to 0.5, the same each time. Freed by judgeq_judge_free; NULL where none
 * can be made. */
judgeq_judge *tiny_judge(const judgeq_model *model, int32_t n_depth, int32_t n_soft);
/* The same, with shares of layers [n]. */
judgeq_judge *tiny_judge_sharing(const judgeq_judge *judge, const float *share, int32_t n);

#endif
