/* choices: --probe to --remember, which replace choices of the policies that a command is given. */
#ifndef JUDGEQ_CLI_CHOICES_H
#define JUDGEQ_CLI_CHOICES_H

#include "command_line.h"

enum { CHOICES = 6 };

typedef struct choices {
    const char *value[CHOICES]; /* as given, or NULL */
} choices;

extern const command_option choices_rows[];

bool choices_given(const choices *c);
/* True where the probe is one of them, which is what may need a judge. */
bool choices_have_probe(const choices *c);

/* What follows a policy's name or text: ",probe=X,keep=Y", or "" where none is given. *text is malloced. 0, or the exit
 * status after a message. */
int choices_text(const choices *c, const char *command, char **text);

#endif
