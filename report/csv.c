#include "csv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"

static void begin_field(csv *c) {
    if (c->inside) text_add(&c->text, ",", 1);
    c->inside = true;
}

void csv_text(csv *c, const char *text) {
    begin_field(c);
    if (!text) return;
    const bool quoted = strpbrk(text, ",\"\r\n") != NULL;
    if (quoted) text_add(&c->text, "\"", 1);
    for (const char *at = text; *at; at++) {
        if (*at == '"') text_add(&c->text, at, 1);
        text_add(&c->text, at, 1);
    }
    if (quoted) text_add(&c->text, "\"", 1);
}

void csv_number(csv *c, double value) {
    begin_field(c);
    if (!isnan(value)) text_print(&c->text, "%.15g", value);
}

void csv_end_row(csv *c) {
    text_add(&c->text, "\r\n", 2);
    c->inside = false;
}

judgeq_status csv_write(csv *c, const char *path, judgeq_error *error) {
    const size_t length = c->text.length;
    char *text = text_take(&c->text);
    if (!text) return error_memory(error, "a table");
    const judgeq_status status = file_write_atomic(path, text, length, error);
    free(text);
    return status;
}
