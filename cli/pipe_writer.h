/* pipe_writer: whether a program feeds the pipe on standard input. */
#ifndef JUDGEQ_CLI_PIPE_WRITER_H
#define JUDGEQ_CLI_PIPE_WRITER_H

#include <stdbool.h>

/* True where it is the standard output of a process that is none of those which have started this one, as in a shell's
 * "a | b". A pipe that only a parent holds is often nobody's: programs that start others leave it open. False where
 * /proc does not tell. */
bool pipe_writer_is_there(void);

#endif
