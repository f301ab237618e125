#include "fail.h"

#include <stdarg.h>
#include <stdio.h>

judgeq_status eval_fail(judgeq_error *error, judgeq_status code, const char *format, ...) {
    if (!error) return code;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    error->code = code;
    return code;
}

judgeq_status eval_fail_memory(judgeq_error *error, const char *what) {
    return eval_fail(error, JUDGEQ_ERROR_MEMORY, "no memory for %s", what);
}
