/* fuzz_snapshot: the model and the judge of the sessions that fuzz_snapshot starts from. */
#ifndef JUDGEQ_TESTS_FUZZ_SNAPSHOT_H
#define JUDGEQ_TESTS_FUZZ_SNAPSHOT_H

#include "judgeq.h"

typedef struct fuzz_world {
    char folder[256];
    judgeq_model *model;
    judgeq_judge *judge;
} fuzz_world;

/* 0 or -1. */
int fuzz_world_new(fuzz_world *world);
void fuzz_world_free(fuzz_world *world);

#endif
