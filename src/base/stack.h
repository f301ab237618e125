/* stack: calls a function on a stack that suffices for it, whatever is left of the caller's. */
#ifndef JUDGEQ_SRC_STACK_H
#define JUDGEQ_SRC_STACK_H

#include <stddef.h>

#include "judgeq.h"

/* Calls call(data) in a thread with `size` bytes of stack, and waits for it. They cost nothing until they are used. */
judgeq_status stack_call(size_t size, void (*call)(void *data), void *data, judgeq_error *error);

#endif
