#include "values.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

bool value_budget(const char *text, int32_t *rows, float *fraction) {
    const size_t length = strlen(text);
    int64_t whole = 0;
    double percent = 0;
    *rows = 0;
    *fraction = 0;
    if (length > 0 && text[length - 1] == '%') {
        char number[64] = "";
        if (length < sizeof number) memcpy(number, text, length - 1);
        if (value_number(number, 0, 100, &percent)) *fraction = (float)(percent / 100);
        return *fraction > 0;
    }
    if (!value_integer(text, 1, INT32_MAX, &whole)) return false;
    *rows = (int32_t)whole;
    return true;
}

bool value_kv_type(const char *text, judgeq_kv_type *out) {
    const char *name;
    for (int type = 0; (name = judgeq_kv_type_name((judgeq_kv_type)type)); type++) {
        if (strcmp(text, name) != 0) continue;
        *out = (judgeq_kv_type)type;
        return true;
    }
    return false;
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

static int usage_wrong_number(const char *command, const char *option, const char *text, double low, double high) {
    return usage_wrong(command, "%s \"%s\": expected a number from %g to %g", option, text, low, high);
}

int usage_wrong_budget(const char *command, const char *option, const char *text) {
    return usage_wrong(command,
                       "%s \"%s\": expected rows per layer and KV head, 1 or more, or a share of the prompt such as "
                       "10%%, above 0 and up to 100%%",
                       option, text);
}

int value_take_integer(const char *command, const char *option, const char *text, int64_t low, int64_t high,
                       int64_t *out) {
    return value_integer(text, low, high, out) ? 0 : usage_wrong_integer(command, option, text, low, high);
}

int value_take_int32(const char *command, const char *option, const char *text, int32_t low, int32_t high,
                     int32_t *out) {
    int64_t value = *out;
    const int status = value_take_integer(command, option, text, low, high, &value);
    *out = (int32_t)value;
    return status;
}

int value_take_number(const char *command, const char *option, const char *text, double low, double high, double *out) {
    return value_number(text, low, high, out) ? 0 : usage_wrong_number(command, option, text, low, high);
}

int value_take_kv_type(const char *command, const char *text, judgeq_kv_type *out) {
    if (value_kv_type(text, out)) return 0;
    return usage_wrong(command, "--kv-type \"%s\": expected f16, f32, q8_0 or q4_0", text);
}

int usage_option(const char *command, int option, const char *given) {
    if (option == ':') return usage_wrong(command, "%s needs a value", given);
    if (option == '?' && optopt > 0 && optopt < 256) return usage_wrong(command, "unknown option -%c", optopt);
    return option == '?' ? usage_wrong(command, "unknown option %s", given) : 0;
}
