#include "error.h"

#include <stdarg.h>
#include <stdio.h>

#include "visible.h"

void error_write_list(judgeq_error *error, judgeq_status code, const char *format, va_list arguments) {
    if (!error) return;
    /* names come from files: nothing of theirs may steer the terminal that the message ends on */
    char message[2 * sizeof error->message]; /* a form is never shorter than its text: what does not fit is not shown */
    vsnprintf(message, sizeof message, format, arguments);
    error->code = code;
    visible_copy(message, error->message, sizeof error->message);
}

void error_write(judgeq_error *error, judgeq_status code, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    error_write_list(error, code, format, arguments);
    va_end(arguments);
}
