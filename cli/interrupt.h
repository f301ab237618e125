/* interrupt: Ctrl-C, or a request to end (SIGTERM): ends the program, or is a flag that is asked between chunks and
 * tokens. */
#ifndef JUDGEQ_CLI_INTERRUPT_H
#define JUDGEQ_CLI_INTERRUPT_H

#include <stdbool.h>

/* From here on either signal ends the program at once, with the exit status that a shell gives for it: what runs has
 * nothing to keep. */
void interrupt_end(void);
/* From here on the first Ctrl-C and every SIGTERM only set the flag; a second Ctrl-C ends the program at once. */
void interrupt_catch(void);
/* The same, but no Ctrl-C ends the program: interrupt_take forgets it. */
void interrupt_keep(void);
/* Whether a signal breaks off a call that waits, as a read of standard input; otherwise such a call goes on after it.
 */
void interrupt_break_calls(bool on);
/* Whether Ctrl-C was pressed, which is then forgotten; a request to end is not. */
bool interrupt_take(void);
/* From here on SIGHUP ends nothing: it is a flag, which is forgotten once it was asked for. */
void interrupt_catch_hangup(void);
bool interrupt_take_hangup(void);
bool interrupt_seen(void);
/* 130 or 143, once one was seen. */
int interrupt_status(void);

#endif
