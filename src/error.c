#include "error.h"

#include <stdarg.h>
#include <stdio.h>

judgeq_status error_set(judgeq_error *error, judgeq_status code, const char *format, ...) {
    if (error) {
        va_list arguments;
        va_start(arguments, format);
        error->code = code;
        vsnprintf(error->message, sizeof error->message, format, arguments);
        va_end(arguments);
    }
    return code;
}

judgeq_status error_memory(judgeq_error *error, const char *what) {
    return error_set(error, JUDGEQ_ERROR_MEMORY, "out of memory for %s", what);
}
