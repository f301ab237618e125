/* Without MPI. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "ranks.h"

/* How many processes a launcher says that it has started. Slurm sets the last one in the steps that srun starts, not in
 * a job's script or in salloc's shell, whatever number of tasks the job has. */
static const char *const SIZES[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"};

judgeq_status ranks_begin(ranks *r, judgeq_error *error) {
    *r = (ranks){.n = 1, .n_sharing = 1};
    for (size_t i = 0; i < sizeof SIZES / sizeof SIZES[0]; i++) {
        const char *size = getenv(SIZES[i]);
        if (!size || strtol(size, NULL, 10) < 2) continue;
        return error_set(
            error, JUDGEQ_ERROR_UNSUPPORTED,
            "one of %.20s processes (%s), which would all do the same work and write the same files: this judgeq was "
            "built without MPI. Configure it with -DJUDGEQ_MPI=ON, or start one process",
            size, SIZES[i]);
    }
    return JUDGEQ_OK;
}

void ranks_end(const ranks *r, int exit_status) {
    (void)r;
    (void)exit_status;
}

judgeq_status ranks_sum(void *data, double *values, size_t n, judgeq_error *error) {
    (void)data;
    (void)values;
    (void)n;
    (void)error;
    return JUDGEQ_OK;
}

judgeq_status ranks_wait(ranks *r, judgeq_error *error) {
    (void)r;
    (void)error;
    return JUDGEQ_OK;
}
