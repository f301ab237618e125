/* train_curves: a picture of a training run, from its log. */
#ifndef JUDGEQ_CLI_TRAIN_CURVES_H
#define JUDGEQ_CLI_TRAIN_CURVES_H

#include "judgeq.h"

/* Draws the loss of every step and the held-out loss, hit rate and attention mass kept over the steps of the log
 * (JSON lines, see train_log.h), as SVG or PNG by the ending of `path`. */
judgeq_status train_curves_draw(const char *log, const char *path, judgeq_error *error);

#endif
