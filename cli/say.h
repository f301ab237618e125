/* say: what the command tells on standard error. Messages quote names, files and other programs, and nothing of these
 * may steer a terminal: src/base/visible.h says how it is shown. */
#ifndef JUDGEQ_CLI_SAY_H
#define JUDGEQ_CLI_SAY_H

#include <jansson.h>
#include <stdbool.h>

#include "app/notes.h"

/* One line, "judgeq: MESSAGE", written at once. */
__attribute__((format(printf, 1, 2))) void say(const char *format, ...);

/* A text of ours as it is, several lines of help, say. */
__attribute__((format(printf, 1, 2))) void say_plain(const char *format, ...);

/* Notes as such lines; quiet: none. */
notes say_notes(bool quiet);

/* A result in JSON on standard output, and the end of a line; in ASCII where that is a terminal, for the same reason.
 * flags: jansson's. */
bool say_json(const json_t *value, size_t flags);

#endif
