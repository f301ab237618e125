#include "chat_input.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "interrupt.h"

static const char PROMPT[] = "> ", MORE[] = "| ", QUOTES[] = "\"\"\"";

/* ---- lines ------------------------------------------------------------------------------------------------------- */

/* A zero byte ends no line here: it becomes a byte that is not UTF-8 either, and is read as U+FFFD. */
static line_status read_line(char **line) {
    size_t capacity = 0;
    interrupt_break_calls(true);
    ssize_t n = getline(line, &capacity, stdin);
    const int why = errno;
    interrupt_break_calls(false);
    if (n < 0) {
        free(*line);
        *line = NULL;
        errno = why;
        return feof(stdin) || interrupt_seen() ? LINE_END : LINE_FAILED;
    }
    for (ssize_t i = 0; i < n; i++) {
        if (!(*line)[i]) (*line)[i] = '\xff';
    }
    if (n > 0 && (*line)[n - 1] == '\n') (*line)[--n] = '\0';
    if (n > 0 && (*line)[n - 1] == '\r') (*line)[--n] = '\0';
    return LINE_READ;
}

static line_status get_line(line_editor *editor, const char *prompt, char **line, bool *was_empty) {
    *line = NULL;
    return editor ? line_editor_get(editor, prompt, line, was_empty) : read_line(line);
}

/* ---- turns ------------------------------------------------------------------------------------------------------- */

static const char *skip_blanks(const char *text) {
    while (isspace((unsigned char)*text)) text++;
    return text;
}

/* The last `n` bytes of the text are `end`, and are cut off. */
static bool cut_end(char *text, const char *end) {
    const size_t length = strlen(text), n = strlen(end);
    if (length < n || strcmp(text + length - n, end) != 0) return false;
    text[length - n] = '\0';
    return true;
}

/* `text`, a new line, `line`; takes both. NULL without memory. */
static char *add_line(char *text, char *line) {
    char *longer = NULL;
    if (asprintf(&longer, "%s\n%s", text, line) < 0) longer = NULL;
    free(text);
    free(line);
    return longer;
}

/* Whether the turn is complete, as far as its last line, `last`, says; what says so is cut off. */
static bool is_complete(char *last, bool quoted) {
    return quoted ? cut_end(last, QUOTES) : !cut_end(last, "\\");
}

/* Drops the quotes that a text begins with. */
static bool open_quotes(char *text) {
    const char *at = skip_blanks(text);
    if (strncmp(at, QUOTES, strlen(QUOTES)) != 0) return false;
    memmove(text, at + strlen(QUOTES), strlen(at) - strlen(QUOTES) + 1);
    return true;
}

/* The lines that come after the first one. */
static line_status complete(line_editor *editor, char **text, bool quoted, bool *was_empty) {
    bool done = is_complete(*text, quoted);
    while (!done && *text) {
        char *line = NULL;
        const line_status status = get_line(editor, MORE, &line, was_empty);
        if (status == LINE_END) break;
        if (status != LINE_READ) return status;
        done = is_complete(line, quoted);
        *text = add_line(*text, line);
    }
    return *text ? LINE_READ : LINE_FAILED;
}

static chat_said ended(line_status status, char **text, bool was_empty) {
    const int why = errno;
    free(*text);
    *text = NULL;
    errno = why;
    if (status == LINE_INTERRUPTED) return was_empty ? CHAT_LEAVE : CHAT_INTERRUPTED;
    return status == LINE_FAILED ? CHAT_FAILED : CHAT_END;
}

/* Without the new line after the first quotes. */
static void drop_first_end(char *text) {
    if (*text == '\n') memmove(text, text + 1, strlen(text));
}

chat_said chat_input_next(line_editor *editor, char **text) {
    for (;;) {
        bool was_empty = false;
        line_status status = get_line(editor, PROMPT, text, &was_empty);
        if (status != LINE_READ) return ended(status, text, was_empty);
        const bool quoted = open_quotes(*text), command = !quoted && **text == '/';
        if (!command) status = complete(editor, text, quoted, &was_empty);
        if (status != LINE_READ) return ended(status, text, false);
        if (quoted) drop_first_end(*text);
        if (*skip_blanks(*text)) {
            if (editor) line_editor_remember(editor, *text);
            return command ? CHAT_COMMAND : CHAT_TURN;
        }
        free(*text);
    }
}
