#include "cores_note.h"

#include "judgeq.h"
#include "say.h"

void cores_note_of(int32_t n_threads, int32_t n_core, bool quiet) {
    if (n_threads <= n_core || quiet) return;
    say("-t %d: this process may use %d core%s, and more threads would only wait for each other: %d at most compute%s",
        n_threads, n_core, n_core > 1 ? "s" : "", n_core, n_core > 1 ? "" : "s");
}

void cores_note(int32_t n_threads, bool quiet) {
    cores_note_of(n_threads, judgeq_cores(), quiet);
}
