/* cores: how many of the machine's cores this process may use. More threads than that wait for each other while none of
 * them computes. */
#ifndef JUDGEQ_SRC_CORES_H
#define JUDGEQ_SRC_CORES_H

#include <stdint.h>

/* Cores' worth of time that the process's control groups (cgroup v1 and v2) and those above them allow, rounded up; 0
 * where they do not limit it. root: what /proc and /sys begin with; "" but in tests. */
int32_t cores_of_quota(const char *root);

/* Cores of the machine that other threads than the calling one leave free at this moment; -1 where the system does not
 * say. root: as above. */
int32_t cores_free(const char *root);

#endif
