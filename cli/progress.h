/* progress: how far prefill is, on standard error: a bar in place on a terminal, otherwise a line now and then. */
#ifndef JUDGEQ_CLI_PROGRESS_H
#define JUDGEQ_CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct progress {
    int64_t n_tokens; /* of the prompt */
    bool quiet, terminal;
    double start, last; /* seconds: of the prefill, of what was shown last (0: nothing yet) */
    double shown;       /* share of the work that was shown last */
} progress;

void progress_begin(progress *p, int64_t n_tokens, bool quiet);
/* A judgeq_progress: `data` is the progress. False once Ctrl-C was pressed. */
bool progress_report(void *data, int64_t done, int64_t total);
/* Wipes the bar. */
void progress_end(progress *p);

/* "names [####....] numbers" in place of the line that is there, on a terminal; the bar only where there is room. */
void progress_draw(const char *names, const char *numbers, double share);

/* "0:42", "1:02:03" */
void progress_time(char *text, size_t size, double seconds);

/* 1234567 as "1,234,567", in `text`. */
const char *progress_count(char *text, size_t size, int64_t n);

#endif
