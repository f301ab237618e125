/* csv: a table as comma-separated values (RFC 4180), for spreadsheets and scripts. */
#ifndef JUDGEQ_REPORT_CSV_H
#define JUDGEQ_REPORT_CSV_H

#include "base/text.h"
#include "judgeq.h"

typedef struct csv {
    text_buffer text;
    bool inside; /* a row, after its first field */
} csv;

/* The next field of the row. A text with a comma, a quote or a line break in it is quoted; NULL and NaN are empty. */
void csv_text(csv *c, const char *text);
void csv_number(csv *c, double value);
void csv_end_row(csv *c);

/* Replaces the file that is there, whole or not at all, and frees the table. */
judgeq_status csv_write(csv *c, const char *path, judgeq_error *error);

#endif
