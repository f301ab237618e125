/* chat_options: the command line of `judgeq chat`, read into the struct of judgeq run's. */
#ifndef JUDGEQ_CLI_CHAT_OPTIONS_H
#define JUDGEQ_CLI_CHAT_OPTIONS_H

#include "run_options.h"

/* The exit status: 0, or 2 after a message. */
int chat_options_read(int argc, char **argv, options *out);

/* The budget where none is given: 1,024 rows, which several turns fill, but no more than half of the context. */
int32_t chat_options_rows(const options *o, const judgeq_model *model);

#endif
