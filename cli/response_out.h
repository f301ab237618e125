/* response_out: a response as it comes, on standard output. */
#ifndef JUDGEQ_CLI_RESPONSE_OUT_H
#define JUDGEQ_CLI_RESPONSE_OUT_H

#include <stdio.h>

#include "judgeq.h"

typedef struct response_out {
    FILE *file;    /* NULL: nothing is written */
    bool terminal; /* it is one, which no character of the text may steer: src/base/visible.h */
} response_out;

/* A text_put of app/text_stream.h; `data` is a response_out. Fails with IO where the file takes no more. */
judgeq_status response_out_put(void *data, const char *bytes, size_t n, judgeq_error *error);
/* The end of the line. */
judgeq_status response_out_end(const response_out *out, judgeq_error *error);

#endif
