#include "response_out.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/visible.h"

static judgeq_status flush(const response_out *out, judgeq_error *error) {
    if (!ferror(out->file) && fflush(out->file) == 0) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_IO, "cannot write to standard output: %s", strerror(errno));
}

judgeq_status response_out_put(void *data, const char *bytes, size_t n, judgeq_error *error) {
    const response_out *out = data;
    if (!out->file) return JUDGEQ_OK;
    if (out->terminal)
        visible_write(out->file, bytes, n, "\n\t");
    else
        fwrite(bytes, 1, n, out->file);
    return flush(out, error);
}

judgeq_status response_out_end(const response_out *out, judgeq_error *error) {
    if (!out->file) return JUDGEQ_OK;
    putc('\n', out->file);
    return flush(out, error);
}
