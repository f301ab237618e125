/* interrupt: Ctrl-C, or a request to end (SIGTERM), as a flag that is asked between chunks and tokens. */
#ifndef JUDGEQ_CLI_INTERRUPT_H
#define JUDGEQ_CLI_INTERRUPT_H

#include <stdbool.h>

/* From here on the first Ctrl-C and every SIGTERM only set the flag; a second Ctrl-C ends the program at once. */
void interrupt_catch(void);
bool interrupt_seen(void);

#endif
