/* chat_input: what a user says in a conversation, a turn at a time: typed at a terminal, or a line each. */
#ifndef JUDGEQ_CLI_CHAT_INPUT_H
#define JUDGEQ_CLI_CHAT_INPUT_H

#include "line_editor.h"

typedef enum chat_said {
    CHAT_TURN,
    CHAT_COMMAND,     /* one line that begins with / */
    CHAT_INTERRUPTED, /* Ctrl-C, what was typed is forgotten */
    CHAT_LEAVE,       /* Ctrl-C, and nothing had been typed */
    CHAT_END,         /* the end of the input, or a request to end the program */
    CHAT_FAILED,      /* errno says why */
} chat_said;

/* editor NULL: lines of standard input. A line that ends with \ goes on in the next one; """ begins a turn of several
 * lines, which the next """ at the end of a line ends. *text is malloced; NULL unless it is a turn or a command, which
 * are not blank. */
chat_said chat_input_next(line_editor *editor, char **text);

#endif
