/* standard_input: whether there is a text on it, and a note where it keeps the user waiting. */
#ifndef JUDGEQ_CLI_STANDARD_INPUT_H
#define JUDGEQ_CLI_STANDARD_INPUT_H

#include <stdbool.h>

/* Nobody has named standard input; is a document on it all the same? A file that nobody has read from yet is one, and a
 * pipe or a socket that brings something or ends: one that a program feeds, whenever it does; another within seconds,
 * and a message says where it did not. A terminal or /dev/null is none. */
bool standard_input_has_document(bool quiet);

/* Returns when something can be read, or all is; says that it waits after the first second. */
void standard_input_wait(bool quiet);

#endif
