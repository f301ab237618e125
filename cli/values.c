#include "values.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool value_integer(const char *text, int64_t low, int64_t high, int64_t *out) {
    if (!*text || strspn(text, "0123456789") != strlen(text)) return false;
    errno = 0;
    const int64_t value = strtoll(text, NULL, 10);
    if (errno != 0 || value < low || value > high) return false;
    *out = value;
    return true;
}

bool value_number(const char *text, double low, double high, double *out) {
    char *end;
    if (!*text || strspn(text, "0123456789.eE+-") != strlen(text)) return false;
    const double value = strtod(text, &end);
    if (*end != '\0' || !isfinite(value) || value < low || value > high) return false;
    *out = value;
    return true;
}

int usage_wrong(const char *command, const char *format, ...) {
    va_list arguments;
    fprintf(stderr, "judgeq: %s: ", command);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "; see judgeq %s --help\n", command);
    return 2;
}

int usage_wrong_integer(const char *command, const char *option, const char *text, int64_t low, int64_t high) {
    return usage_wrong(command, "%s \"%s\": expected a whole number from %lld to %lld", option, text, (long long)low,
                       (long long)high);
}

int usage_wrong_number(const char *command, const char *option, const char *text, double low, double high) {
    return usage_wrong(command, "%s \"%s\": expected a number from %g to %g", option, text, low, high);
}
