/* train_online: the examples of `judgeq train --online`, made while they are learnt from. */
#ifndef JUDGEQ_CLI_TRAIN_ONLINE_H
#define JUDGEQ_CLI_TRAIN_ONLINE_H

#include "data_maker.h"

typedef struct train_online {
    data_maker maker;
    judgeq_training_set *set;
    judgeq_trainer *trainer;     /* the caller's */
    bool (*proceed)(void *data); /* the caller's too */
    void *data;
} train_online;

/* Reads the sources; *set is the empty set that will grow. proceed and data: as go_on and data of a maker. */
judgeq_status train_online_begin(train_online *online, const judgeq_model *model, const data_options *options,
                                 bool (*proceed)(void *data), void *data, judgeq_error *error);
/* Then opens the file of the set, for the trainer of it; the examples that an earlier run left there come first. */
judgeq_status train_online_open(train_online *online, judgeq_trainer *trainer, judgeq_error *error);
/* Makes examples until the trainer can take its next step. *dry: the sources have no more. */
judgeq_status train_online_feed(train_online *online, bool *dry, judgeq_error *error);
/* Frees the set too. Accepts a zeroed one. */
judgeq_status train_online_end(train_online *online, judgeq_error *error);

#endif
