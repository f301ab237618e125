#include "error.h"

#include <stdarg.h>
#include <stdio.h>

#include "visible.h"

void error_write(judgeq_error *error, judgeq_status code, const char *format, ...) {
    if (!error) return;
    /* names come from files: nothing of theirs may steer the terminal that the message ends on */
    char message[2 * sizeof error->message]; /* a form is never shorter than its text: what does not fit is not shown */
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    error->code = code;
    visible_copy(message, error->message, sizeof error->message);
}
