#include "values.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"
#include "exit_status.h"
#include "say.h"

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
    char *message = NULL;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&message, format, arguments) < 0) message = NULL;
    va_end(arguments);
    const char *said = message ? message : "wrong usage";
    const bool question = *said && said[strlen(said) - 1] == '?';
    say("%s: %s%s judgeq %s --help", command, said, question ? " See" : "; see", command);
    free(message);
    return EXIT_USAGE;
}

int usage_wrong_integer(const char *command, const char *option, const char *text, int64_t low, int64_t high) {
    return usage_wrong(command, "%s \"%s\": expected a whole number from %lld to %lld", option, text, (long long)low,
                       (long long)high);
}

int usage_wrong_choice(const char *command, const char *option, const char *text, const char *all, const char *near) {
    if (!near) return usage_wrong(command, "%s \"%s\": expected %s", option, text, all);
    return usage_wrong(command, "%s \"%s\": expected %s; did you mean %s?", option, text, all, near);
}

int usage_wrong_kv_type(const char *command, const char *option, const char *text) {
    const char *name;
    nearest near = {.word = text};
    for (int type = 0; (name = judgeq_kv_type_name((judgeq_kv_type)type)); type++) nearest_try(&near, name);
    return usage_wrong_choice(command, option, text, "f16, f32, q8_0 or q4_0", near.name);
}

int usage_wrong_budget(const char *command, const char *option, const char *text) {
    return usage_wrong(command,
                       "%s \"%s\": expected rows per layer and KV head, 1 or more, or a share of the prompt such as "
                       "10%%, above 0 and up to 100%%",
                       option, text);
}
