/* bench_compare: an earlier result of `judgeq bench --json` beside what was measured now, cell by cell. */
#ifndef JUDGEQ_CLI_BENCH_COMPARE_H
#define JUDGEQ_CLI_BENCH_COMPARE_H

#include <jansson.h>
#include <stdio.h>

#include "bench_cells.h"

/* Reads and checks it. The caller's: json_decref. Fails with IO or FORMAT, naming the file. */
judgeq_status bench_compare_read(const char *path, json_t **out, judgeq_error *error);

/* How many times as fast each cell is as the same one was in setup->then, and how much KV memory it takes; cells that
 * only one of them has are left out. False where the file cannot be written. */
bool bench_compare_print(const bench_setup *setup, const bench_cells *cells, FILE *file);

/* {"first_token": how many times as fast, "decode", "kv_bytes_peak": a share}, of medians; null: the cell was not
 * measured then. */
json_t *bench_compare_json(const bench_cell *cell, const json_t *then);

#endif
