/* quiet: the library never prints, so ggml's and libllama's log lines go to judgeq_set_log's function, or nowhere; and
 * what they said during a call can be kept. */
#ifndef JUDGEQ_SRC_QUIET_H
#define JUDGEQ_SRC_QUIET_H

#include <stddef.h>

/* The first call in a process takes over the logs of ggml and libllama; later calls do nothing. */
void quiet_ggml_log(void);

enum { QUIET_LINES = 16, QUIET_LINE_BYTES = 256 };

/* Lines without the name of the function that wrote them; long ones are cut. */
typedef struct quiet_record {
    char error[QUIET_LINE_BYTES]; /* the first: libllama reports a cause before its consequences; or "" */
    char warning[QUIET_LINES][QUIET_LINE_BYTES]; /* [n_warning] */
    size_t n_warning, n_more;                    /* n_more: warnings that found no place */
} quiet_record;

/* A line of the library's own in that log. */
__attribute__((format(printf, 1, 2))) void quiet_inform(const char *format, ...);

/* From now on, what the calling thread logs as a warning or an error is kept in *record as well; NULL: no more. */
void quiet_keep(quiet_record *record);

#endif
