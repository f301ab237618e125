#include "fail.h"

#include <stdarg.h>
#include <stdio.h>

void eval_fail_write(judgeq_error *error, judgeq_status code, const char *format, ...) {
    if (!error) return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    error->code = code;
}
