/* error: fills a caller's judgeq_error. The only place where messages are formatted. */
#ifndef JUDGEQ_SRC_ERROR_H
#define JUDGEQ_SRC_ERROR_H

#include "judgeq.h"

/* Writes code and message into *error (if not NULL) and returns the code, so that `return error_set(...)` reads well.
 */
__attribute__((format(printf, 3, 4))) judgeq_status error_set(judgeq_error *error, judgeq_status code,
                                                              const char *format, ...);

/* error_set for a failed allocation of `what`. */
judgeq_status error_memory(judgeq_error *error, const char *what);

#endif
