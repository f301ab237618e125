/* resident: the most memory that this process had in use since a moment, as the system counts it: the pages of the
 * mapped model that were touched, caches, everything. */
#ifndef JUDGEQ_CLI_RESIDENT_H
#define JUDGEQ_CLI_RESIDENT_H

#include <stdbool.h>

/* Gives back what the allocator holds for later, and counts from here on. False where the system cannot (not Linux). */
bool resident_restart(void);
/* Bytes; NaN where the system does not say. */
double resident_peak(void);

#endif
