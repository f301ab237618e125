/* cores_note: a note where more threads are asked for than this process has cores. */
#ifndef JUDGEQ_CLI_CORES_NOTE_H
#define JUDGEQ_CLI_CORES_NOTE_H

#include <stdbool.h>
#include <stdint.h>

/* Where n_threads is more than n_core, and not quiet. */
void cores_note_of(int32_t n_threads, int32_t n_core, bool quiet);
/* The same of all cores that this process may use. */
void cores_note(int32_t n_threads, bool quiet);

#endif
