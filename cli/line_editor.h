/* line_editor: a line from a person at a terminal, by libedit, with a history that is kept in a file. */
#ifndef JUDGEQ_CLI_LINE_EDITOR_H
#define JUDGEQ_CLI_LINE_EDITOR_H

#include <stdbool.h>

typedef struct line_editor line_editor;

typedef enum line_status {
    LINE_READ,
    LINE_INTERRUPTED, /* Ctrl-C, which is then forgotten */
    LINE_END,         /* Ctrl-D on an empty line, the end of the input, or a request to end the program */
    LINE_FAILED,      /* errno says why */
} line_status;

/* On standard input, whose prompts and echo go to standard output, or to standard error where only that is a terminal.
 * Sets the locale of characters, to UTF-8 where the environment has none. NULL after a message. */
line_editor *line_editor_new(bool quiet);
void line_editor_free(line_editor *editor);

/* *line: without the end of the line, which may hold others that the history has given back; malloced. *was_empty,
 * where Ctrl-C was pressed: nothing had been typed. */
line_status line_editor_get(line_editor *editor, const char *prompt, char **line, bool *was_empty);

/* Adds a text, of one line or several, to the history and to its file: judgeq/history in $XDG_STATE_HOME or
 * ~/.local/state, which only its owner reads. */
void line_editor_remember(line_editor *editor, const char *text);

#endif
