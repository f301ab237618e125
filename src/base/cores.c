#include "cores.h"

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "judgeq.h"

enum { PATH_MOST = 4096 };

/* A file's first line; false where there is none. */
static bool read_line(const char *folder, const char *name, char *line, size_t size) {
    char path[2 * PATH_MOST];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "re");
    if (!file) return false;
    const bool read = fgets(line, (int)size, file) != NULL;
    fclose(file);
    return read;
}

/* Microseconds of a core's time in each period; 0 where a folder does not limit them. */
static int32_t cores_of(const char *quota, const char *period) {
    const long long used = strtoll(quota, NULL, 10), all = strtoll(period, NULL, 10); /* "max" and -1: no limit */
    if (used <= 0 || all <= 0 || used / all >= INT32_MAX) return 0;
    return (int32_t)((used + all - 1) / all);
}

static int32_t cores_of_folder(const char *folder) {
    char quota[128] = "", period[128] = "";
    if (read_line(folder, "cpu.max", quota, sizeof quota)) { /* v2: "QUOTA PERIOD" */
        return cores_of(quota, quota + strcspn(quota, " "));
    }
    const bool both = read_line(folder, "cpu.cfs_quota_us", quota, sizeof quota) &&
                      read_line(folder, "cpu.cfs_period_us", period, sizeof period);
    return both ? cores_of(quota, period) : 0;
}

static int32_t smaller_limit(int32_t a, int32_t b) {
    return a == 0 || (b > 0 && b < a) ? b : a;
}

/* The least limit of a group and those above it. A container may see its own group at the root of the mount, and its
 * path from outside: what is not there does not limit. */
static int32_t cores_of_group(const char *mount, const char *group) {
    char folder[PATH_MOST];
    const int n = snprintf(folder, sizeof folder, "%s%s", mount, group);
    int32_t cores = 0;
    if (n < 0 || (size_t)n >= sizeof folder) return 0;
    while (strlen(folder) >= strlen(mount)) {
        cores = smaller_limit(cores, cores_of_folder(folder));
        *strrchr(folder, '/') = '\0';
    }
    return cores;
}

/* True for "cpu" and "cpu,cpuacct". */
static bool names_cpu(const char *controllers) {
    for (const char *at = controllers; *at;) {
        const size_t n = strcspn(at, ",");
        if (n == 3 && strncmp(at, "cpu", 3) == 0) return true;
        at += n + (at[n] == ',');
    }
    return false;
}

/* "NUMBER:CONTROLLERS:GROUP", no controllers in v2. */
static int32_t cores_of_line(const char *root, char *line) {
    char mount[PATH_MOST];
    line[strcspn(line, "\n")] = '\0';
    char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!group) return 0;
    *group++ = '\0';
    controllers++;
    if (*controllers && !names_cpu(controllers)) return 0;
    snprintf(mount, sizeof mount, "%s/sys/fs/cgroup%s%s", root, *controllers ? "/" : "", controllers);
    return cores_of_group(mount, group);
}

int32_t cores_of_quota(const char *root) {
    char path[PATH_MOST], line[PATH_MOST];
    int32_t cores = 0;
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file)) cores = smaller_limit(cores, cores_of_line(root, line));
    if (file) fclose(file);
    return cores;
}

/* "0.57 0.49 0.31 3/412 9127": three threads run or want to, the calling one among them. */
static long running_of(char *line) {
    char *slash = strchr(line, '/'), *blank;
    if (!slash) return 0;
    *slash = '\0';
    blank = strrchr(line, ' ');
    return blank ? strtol(blank + 1, NULL, 10) : 0;
}

int32_t cores_free(const char *root) {
    char path[PATH_MOST], line[PATH_MOST];
    snprintf(path, sizeof path, "%s/proc/loadavg", root);
    FILE *file = fopen(path, "re");
    const long running = file && fgets(line, sizeof line, file) ? running_of(line) : 0;
    if (file) fclose(file);
    if (running < 1) return -1;
    const long left = sysconf(_SC_NPROCESSORS_ONLN) - (running - 1);
    return left > 0 ? (int32_t)left : 0;
}

/* Those that the process is bound to, or all of the machine's. */
static int32_t cores_of_affinity(void) {
    cpu_set_t set;
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    const long n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : online;
    return n > 1 ? (int32_t)n : 1;
}

int32_t judgeq_cores(void) {
    return smaller_limit(cores_of_affinity(), cores_of_quota(""));
}
