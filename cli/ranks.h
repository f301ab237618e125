/* ranks: the processes of one run on several machines. Built with MPI (JUDGEQ_MPI), `mpirun -n K judgeq ...` makes K of
 * them; otherwise there is one. */
#ifndef JUDGEQ_CLI_RANKS_H
#define JUDGEQ_CLI_RANKS_H

#include "judgeq.h"

typedef struct ranks {
    int32_t n, rank;
    int32_t n_sharing; /* ranks of this machine that may use the same cores, this one among them */
} ranks;

/* Joins the others, if mpirun or srun started several. Fails where one did and the program was built without MPI. */
judgeq_status ranks_begin(ranks *r, judgeq_error *error);
/* Leaves them. exit_status: of this process; where it is a failure, the others need not be waited for. */
void ranks_end(const ranks *r, int exit_status);

/* Threads for this rank, of as many as were asked for (0: not given): ranks share their cores. The first notes where
 * they are fewer, unless quiet. */
int32_t ranks_threads(const ranks *r, int32_t n_threads, bool quiet);

/* A sum of judgeq_trainer_params: data is the ranks. CANCELLED once Ctrl-C was pressed or the program told to end, even
 * while it waits for a rank that is gone. */
judgeq_status ranks_sum(void *data, double *values, size_t n, judgeq_error *error);
/* Until all ranks have come here; fails as ranks_sum does. */
judgeq_status ranks_wait(ranks *r, judgeq_error *error);

#endif
