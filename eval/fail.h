/* fail: fills the caller's judgeq_error, as the library does. */
#ifndef JUDGEQ_EVAL_FAIL_H
#define JUDGEQ_EVAL_FAIL_H

#include "judgeq.h"

__attribute__((format(printf, 3, 4))) void eval_fail_write(judgeq_error *error, judgeq_status code, const char *format,
                                                           ...);
/* Writes the message, and is `code`: whoever reads a caller, a checker too, sees that it fails. */
#define eval_fail(error, code, ...) (eval_fail_write(error, code, __VA_ARGS__), (code))
/* "no memory for WHAT" */
#define eval_fail_memory(error, what) eval_fail(error, JUDGEQ_ERROR_MEMORY, "no memory for %s", what)

#endif
