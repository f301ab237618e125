#include "fail.h"

#include <stdarg.h>

#include "base/error.h"

void eval_fail_write(judgeq_error *error, judgeq_status code, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    error_write_list(error, code, format, arguments);
    va_end(arguments);
}
