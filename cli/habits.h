/* habits: what users of llama.cpp, ollama and others write, and what does the same here. */
#ifndef JUDGEQ_CLI_HABITS_H
#define JUDGEQ_CLI_HABITS_H

#include <stddef.h>

typedef struct habit {
    const char *written; /* "-c", "--ctx-size"; or a command */
    const char *here;    /* the option or command that does it; or NULL */
    const char *advice;  /* what else there is to say; or NULL */
} habit;

/* The habit of writing an option, up to a "=", or a command; or NULL. */
const habit *habit_of_option(const char *written);
const habit *habit_of_command(const char *written);

#endif
