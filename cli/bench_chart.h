/* bench_chart: what `judgeq bench` measured, as a picture over the prompts' lengths. */
#ifndef JUDGEQ_CLI_BENCH_CHART_H
#define JUDGEQ_CLI_BENCH_CHART_H

#include "bench_cells.h"

/* Time to the first token, decoding speed and KV memory; SVG or PNG by the ending of `path`. */
judgeq_status bench_chart_write(const bench_cells *cells, const char *path, judgeq_error *error);

#endif
