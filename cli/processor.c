#include "processor.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

/* The value of a line "model name : VALUE". */
static const char *value_of(char *line) {
    static const char key[] = "model name";
    char *colon = strchr(line, ':');
    if (strncmp(line, key, sizeof key - 1) != 0 || !colon) return NULL;
    line[strcspn(line, "\n")] = '\0';
    return colon + 1 + strspn(colon + 1, " \t");
}

void processor_name(char *name, size_t size) {
    struct utsname system;
    char line[512];
    const char *value = NULL;
    snprintf(name, size, "%s", uname(&system) == 0 ? system.machine : "?");
    FILE *file = fopen("/proc/cpuinfo", "re");
    if (!file) return;
    while (!value && fgets(line, sizeof line, file)) value = value_of(line);
    if (value && *value) snprintf(name, size, "%s", value);
    fclose(file);
}
