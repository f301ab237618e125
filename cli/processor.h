/* processor: what this machine's processor is called. */
#ifndef JUDGEQ_CLI_PROCESSOR_H
#define JUDGEQ_CLI_PROCESSOR_H

#include <stddef.h>

/* As the system names it ("AMD EPYC"), or its architecture ("aarch64") where it does not. */
void processor_name(char *name, size_t size);

#endif
