#include "golden.h"

#include "fixture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void golden_path(const char *file, char *path, size_t size) {
    snprintf(path, size, "%s/%s", JUDGEQ_TEST_DATA, file);
}

static char *read_named(const char *name, const char *ending, size_t *size) {
    char file[128], path[512];
    snprintf(file, sizeof file, "%s%s", name, ending);
    golden_path(file, path, sizeof path);
    return fixture_read(path, size);
}

/* Version 1: magic, 1, 0, length of the header in 16 bits, a Python dictionary, then the data. */
float *golden_floats(const char *name, size_t n) {
    size_t size = 0;
    char *bytes = read_named(name, ".npy", &size);
    float *values = NULL;
    if (bytes && size > 10 && memcmp(bytes, "\x93NUMPY\x01\x00", 8) == 0) {
        size_t header = 10 + (unsigned char)bytes[8] + 256u * (unsigned char)bytes[9];
        bool is_float = size == header + n * sizeof *values && memchr(bytes + 10, '\n', header - 10) &&
                        strstr(bytes + 10, "'descr': '<f4'") && strstr(bytes + 10, "'fortran_order': False");
        if (is_float) values = malloc(n * sizeof *values);
        if (values) memcpy(values, bytes + header, n * sizeof *values);
    }
    free(bytes);
    return values;
}

int32_t *golden_tokens(const char *name, size_t n) {
    size_t size = 0, found = 0;
    char *text = read_named(name, ".txt", &size);
    int32_t *tokens = text ? malloc(n * sizeof *tokens) : NULL;
    for (char *line = text; tokens && *line; found++) {
        long token = strtol(line, &line, 10);
        if (*line != '\n' || found == n) break;
        tokens[found] = (int32_t)token;
        line++;
    }
    free(text);
    if (tokens && found == n) return tokens;
    free(tokens);
    return NULL;
}

double golden_value(const char *name) {
    size_t size = 0, length = strlen(name);
    char *text = read_named("values", ".txt", &size);
    double value = NAN;
    for (char *line = text; line && *line; line = strchr(line, '\n') + 1) {
        if (strncmp(line, name, length) == 0 && line[length] == ' ') value = strtod(line + length, NULL);
        if (!strchr(line, '\n')) break;
    }
    free(text);
    return value;
}
