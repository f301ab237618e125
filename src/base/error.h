/* error: fills a caller's judgeq_error. The only place where messages are formatted. */
#ifndef JUDGEQ_SRC_ERROR_H
#define JUDGEQ_SRC_ERROR_H

#include "judgeq.h"
#include "visible.h"

/* Writes code and message into *error, if it is not NULL. */
__attribute__((format(printf, 3, 4))) void error_write(judgeq_error *error, judgeq_status code, const char *format,
                                                       ...);

/* error_write, and the code as its value, so that `return error_set(...)` reads well. A macro, so that the compiler and
 * the analyser see that the value is not JUDGEQ_OK. */
#define error_set(error, code, ...) (error_write((error), (code), __VA_ARGS__), (code))

/* error_set for a failed allocation of `what`. */
#define error_memory(error, what) error_set((error), JUDGEQ_ERROR_MEMORY, "out of memory for %s", (what))

/* error_set for what is wrong with a file: "PATH: WHAT". */
#define error_file(error, code, path, what) error_set((error), (code), "%.*s: %s", VISIBLE_FIT((path), 300), (what))

#endif
