/* interrupt: Ctrl-C as a flag that is asked between chunks and tokens. */
#ifndef JUDGEQ_CLI_INTERRUPT_H
#define JUDGEQ_CLI_INTERRUPT_H

#include <stdbool.h>

/* From here on the first Ctrl-C only sets the flag; a second one ends the program at once. */
void interrupt_catch(void);
bool interrupt_seen(void);

#endif
