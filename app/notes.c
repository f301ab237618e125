#include "notes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void notes_add(notes to, const char *format, ...) {
    if (!to.take) return;
    char *note = NULL;
    va_list arguments;
    va_start(arguments, format);
    const int length = vasprintf(&note, format, arguments);
    va_end(arguments);
    to.take(to.data, length >= 0 ? note : "no memory for a note");
    if (length >= 0) free(note);
}
