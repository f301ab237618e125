/* What does not depend on MPI. */
#include "ranks.h"

#include "cores_note.h"

int32_t ranks_threads(const ranks *r, int32_t n_threads, bool quiet) {
    const int32_t share = judgeq_cores() / r->n_sharing, n_core = share > 1 ? share : 1;
    cores_note_of(n_threads, n_core, quiet || r->rank > 0);
    if (r->n_sharing == 1) return n_threads;
    return n_threads > 0 && n_threads < n_core ? n_threads : n_core;
}
