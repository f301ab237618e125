/* ingest_options: the command line of `judgeq ingest`, read into one struct. */
#ifndef JUDGEQ_CLI_INGEST_OPTIONS_H
#define JUDGEQ_CLI_INGEST_OPTIONS_H

#include "run_options.h"

typedef struct ingest_options {
    options run; /* what judgeq run has as well */
    const char *output;
    char *const *file; /* [n_file], the command line's; "-" is standard input */
    int n_file;
} ingest_options;

/* The exit status: 0, or 2 after a message. */
int ingest_options_read(int argc, char **argv, ingest_options *out);
void ingest_options_free(ingest_options *o);

#endif
