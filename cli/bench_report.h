/* bench_report: what `judgeq bench` measured, as a table for people, as JSON, as CSV. */
#ifndef JUDGEQ_CLI_BENCH_REPORT_H
#define JUDGEQ_CLI_BENCH_REPORT_H

#include <jansson.h>
#include <stdio.h>

#include "bench_cells.h"

/* False where the file cannot be written. */
bool bench_print(const bench_setup *setup, const bench_cells *cells, FILE *file);

/* NULL where memory ran out. */
json_t *bench_json(const bench_setup *setup, const bench_cells *cells);

/* A header and a row for every cell. */
judgeq_status bench_write_csv(const bench_cells *cells, const char *path, judgeq_error *error);

#endif
