/* With MPI. */
#include <mpi.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/error.h"
#include "interrupt.h"
#include "ranks.h"

/* Set by the mpirun of Open MPI, by Slurm's PMIx, by the mpirun of MPICH. A program that was started alone does not
 * join: that would cost it half a second. */
static bool started_by_mpirun(void) {
    return getenv("OMPI_COMM_WORLD_SIZE") || getenv("PMIX_RANK") || getenv("PMI_RANK");
}

/* Whether or not mpirun has bound the ranks to cores: those with the same set of them. */
static int32_t count_sharing(void) {
    enum { BYTES = sizeof(cpu_set_t) };
    MPI_Comm here;
    int n = 1, sharing = 0;
    cpu_set_t own;
    if (MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &here) != MPI_SUCCESS) return 1;
    MPI_Comm_size(here, &n);
    cpu_set_t *all = calloc((size_t)n, BYTES);
    CPU_ZERO(&own);
    sched_getaffinity(0, BYTES, &own);
    if (all && MPI_Allgather(&own, BYTES, MPI_BYTE, all, BYTES, MPI_BYTE, here) == MPI_SUCCESS) {
        for (int i = 0; i < n; i++) sharing += CPU_EQUAL(&all[i], &own) != 0;
    }
    free(all);
    MPI_Comm_free(&here);
    return sharing > 1 ? sharing : 1;
}

judgeq_status ranks_begin(ranks *r, judgeq_error *error) {
    *r = (ranks){.n = 1, .n_sharing = 1};
    if (!started_by_mpirun()) return JUDGEQ_OK;
    if (MPI_Init(NULL, NULL) != MPI_SUCCESS) return error_set(error, JUDGEQ_ERROR_BACKEND, "MPI could not be started");
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_size(MPI_COMM_WORLD, &r->n);
    MPI_Comm_rank(MPI_COMM_WORLD, &r->rank);
    r->n_sharing = count_sharing();
    return JUDGEQ_OK;
}

void ranks_end(const ranks *r, int exit_status) {
    int begun = 0;
    MPI_Initialized(&begun);
    if (!begun) return;
    if (exit_status != 0 && r->n > 1) MPI_Abort(MPI_COMM_WORLD, exit_status);
    MPI_Finalize();
}

/* Waits without holding a core, and no longer than until Ctrl-C: by MPI_Test, which the checker does not know. */
// NOLINTBEGIN(clang-analyzer-optin.mpi.MPI-Checker)
judgeq_status ranks_sum(void *data, double *values, size_t n, judgeq_error *error) {
    (void)data;
    const struct timespec pause = {.tv_nsec = 100000};
    MPI_Request request;
    int done = 0;
    if (MPI_Iallreduce(MPI_IN_PLACE, values, (int)n, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD, &request) != MPI_SUCCESS) {
        return error_set(error, JUDGEQ_ERROR_BACKEND, "MPI could not add up what the ranks have");
    }
    while (!done) {
        if (MPI_Test(&request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS) {
            return error_set(error, JUDGEQ_ERROR_CANCELLED, "a rank is gone");
        }
        if (!done && interrupt_seen()) return error_set(error, JUDGEQ_ERROR_CANCELLED, "interrupted");
        if (!done) nanosleep(&pause, NULL);
    }
    return JUDGEQ_OK;
}
// NOLINTEND(clang-analyzer-optin.mpi.MPI-Checker)

judgeq_status ranks_wait(ranks *r, judgeq_error *error) {
    double here = 1;
    return r->n > 1 ? ranks_sum(r, &here, 1, error) : JUDGEQ_OK;
}
