/* continuation: a stretch of a real text, whose last tokens are predicted, not asked for. */
#ifndef JUDGEQ_EVAL_CONTINUATION_H
#define JUDGEQ_EVAL_CONTINUATION_H

#include "task.h"

enum { CONTINUATION = 512 }; /* tokens */

/* Fails with ARGUMENT where the request has no text, or too little of it. */
judgeq_status continuation_make(const task_request *request, sample *out, judgeq_error *error);

#endif
