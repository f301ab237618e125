/* train_log: what a training run did, as JSON lines: one object per step, measurement and skipped example. */
#ifndef JUDGEQ_CLI_TRAIN_LOG_H
#define JUDGEQ_CLI_TRAIN_LOG_H

#include <stdio.h>

#include "judgeq.h"

typedef struct train_log {
    FILE *file;
    const char *path;
    int64_t measured; /* the last step with a measurement; -1: none */
} train_log;

/* Opens an empty log, or, to resume after `step`, keeps the lines up to that step. */
judgeq_status train_log_open(train_log *log, const char *path, bool resume, int64_t step, judgeq_error *error);

/* Each writes one line, whole or not at all. False, with errno set. */
bool train_log_step(train_log *log, const judgeq_training_step *step);
bool train_log_measures(train_log *log, int64_t step, const judgeq_measures *measures);
bool train_log_notice(train_log *log, int64_t step, const char *message);

/* False where something was not written. Accepts a zeroed log. */
bool train_log_close(train_log *log);

#endif
