#include "error.h"

#include <stdarg.h>
#include <stdio.h>

void error_write(judgeq_error *error, judgeq_status code, const char *format, ...) {
    if (error) {
        va_list arguments;
        va_start(arguments, format);
        error->code = code;
        vsnprintf(error->message, sizeof error->message, format, arguments);
        va_end(arguments);
        /* names come from files: no byte of theirs may steer the terminal that the message ends on */
        for (unsigned char *c = (unsigned char *)error->message; *c; c++) {
            if (*c < 0x20 || *c == 0x7f) *c = '?';
        }
    }
}
