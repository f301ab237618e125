/* exit_status: how every command ends: 0 fine, 1 failure, 2 wrong usage, 130 after Ctrl-C, 143 after SIGTERM. */
#ifndef JUDGEQ_CLI_EXIT_STATUS_H
#define JUDGEQ_CLI_EXIT_STATUS_H

#include "judgeq.h"

enum { EXIT_USAGE = 2 };

/* An argument that makes no sense is wrong usage. What was cancelled by a signal ends as the signal would end it. */
int exit_status(judgeq_status status);

/* The same, after the message on standard error if there is one. */
int exit_with(judgeq_status status, const judgeq_error *error);

#endif
