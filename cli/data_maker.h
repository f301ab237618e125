/* data_maker: prompts from sources, answered by the model itself, into the file of a training set, one example after
 * the other. */
#ifndef JUDGEQ_CLI_DATA_MAKER_H
#define JUDGEQ_CLI_DATA_MAKER_H

#include <stdio.h>

#include "app/prompt.h"
#include "data_options.h"

/* An example that stands in the file. */
typedef struct data_example {
    const int32_t *prompt, *response;
    size_t n_prompt, n_response;
    judgeq_session
        *session; /* that has just answered, watched, unless its response was shortened; NULL: from the file */
} data_example;

typedef struct data_maker {
    data_options options;
    const judgeq_model *model;
    data_sources sources;
    FILE *file;
    size_t next;       /* prompt */
    size_t n_examples; /* in the file */
    size_t n_short, n_long, n_refused, n_silent, n_wrong;
    prompt_params prompt;
    /* set by the caller, before data_maker_read */
    bool (*go_on)(void *data); /* asked often */
    /* called for every example, those included that an earlier run left in the file; or NULL */
    judgeq_status (*take)(void *data, const data_example *example, judgeq_error *error);
    void *data;
} data_maker;

/* Reads the sources. The maker may be closed in any case. */
judgeq_status data_maker_read(data_maker *maker, const judgeq_model *model, const data_options *options,
                              judgeq_error *error);
/* Then opens the file: a new one, or, to resume, one that was begun with the same options. */
judgeq_status data_maker_open(data_maker *maker, judgeq_error *error);
/* Where all prompts were taken, or as many examples made as the options want. */
bool data_maker_done(const data_maker *maker);
/* Takes the next prompt, which may become an example. CANCELLED where go_on says stop. */
judgeq_status data_maker_next(data_maker *maker, judgeq_error *error);
/* At the end: fails with FORMAT, says why, and removes the file, where it holds no example. */
judgeq_status data_maker_refuse_empty(data_maker *maker, judgeq_error *error);
/* Releases everything. IO where not all was written. Accepts a zeroed maker, and zeroes it. */
judgeq_status data_maker_close(data_maker *maker, judgeq_error *error);
/* What became of the prompts, on standard error. */
void data_maker_summarise(const data_maker *maker);

#endif
