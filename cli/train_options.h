/* train_options: the command line of `judgeq train`, read into one struct. */
#ifndef JUDGEQ_CLI_TRAIN_OPTIONS_H
#define JUDGEQ_CLI_TRAIN_OPTIONS_H

#include "data_options.h"
#include "judgeq.h"

typedef struct train_options {
    bool help, resume, quiet;
    bool online; /* examples are made of `sources` while the judge is trained */
    data_options sources;
    const char *model, *data, *output, *log;
    const char *start_text, *start_judge; /* --init text:..., judge:...; both NULL: vocabulary */
    int32_t measure_every;                /* steps; 0: at the end of every epoch */
    int32_t checkpoint_every;             /* seconds */
    size_t cache_bytes;                   /* for 16-bit weights */
    judgeq_trainer_params params;         /* without the scratch's folder, which is the output's */
} train_options;

/* The exit status: 0, or 2 after a message. */
int train_options_read(int argc, char **argv, train_options *out);

#endif
