#include "resident.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

bool resident_restart(void) {
#ifdef __GLIBC__
    malloc_trim(0);
#endif
    FILE *file = fopen("/proc/self/clear_refs", "we");
    if (!file) return false;
    const bool written = fputs("5", file) >= 0; /* resets VmHWM: proc(5) */
    return fclose(file) == 0 && written;
}

void resident_keep_low(void) {
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, 256 << 10); /* larger blocks are the system's, and return to it when they are freed */
    mallopt(M_ARENA_MAX, 2);
#endif
}

double resident_peak(void) {
    FILE *file = fopen("/proc/self/status", "re");
    if (!file) return NAN;
    char line[256];
    double kib = NAN;
    while (isnan(kib) && fgets(line, sizeof line, file)) {
        if (strncmp(line, "VmHWM:", 6) == 0) kib = strtod(line + 6, NULL);
    }
    fclose(file);
    return kib * 1024;
}
