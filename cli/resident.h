/* resident: the memory that this process has in use, as the system counts it: the pages of the mapped model that were
 * touched, caches, everything. */
#ifndef JUDGEQ_CLI_RESIDENT_H
#define JUDGEQ_CLI_RESIDENT_H

#include <stdbool.h>

/* To be called first, by a program that runs for long: rows of many conversations come and go in any order, and so do
 * requests on threads of their own. Without it the resident memory grows to half as much again (bench/serve_load.py).
 */
void resident_keep_low(void);

/* Gives back what the allocator holds for later, and counts the peak from here on. False where the system cannot (not
 * Linux). */
bool resident_restart(void);
/* The most since then. Bytes; NaN where the system does not say. */
double resident_peak(void);

#endif
