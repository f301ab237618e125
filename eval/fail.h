/* fail: fills the caller's judgeq_error, as the library does. */
#ifndef JUDGEQ_EVAL_FAIL_H
#define JUDGEQ_EVAL_FAIL_H

#include "judgeq.h"

/* Returns `code`. */
__attribute__((format(printf, 3, 4))) judgeq_status eval_fail(judgeq_error *error, judgeq_status code,
                                                              const char *format, ...);
/* "no memory for WHAT" */
judgeq_status eval_fail_memory(judgeq_error *error, const char *what);

#endif
