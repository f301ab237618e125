#include "text_stream.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* ---- stop texts -------------------------------------------------------------------------------------------------- */

/* Cuts the text before the first stop text that ends after `from`. */
static void find_stop(text_stream *stream, size_t from) {
    size_t first = stream->length;
    for (size_t i = 0; i < stream->n_stop; i++) {
        const size_t n = strlen(stream->stop[i]), begin = from >= n ? from - n + 1 : 0;
        if (begin >= stream->length) continue;
        const char *found = memmem(stream->text + begin, stream->length - begin, stream->stop[i], n);
        if (!found || (size_t)(found - stream->text) >= first) continue;
        first = (size_t)(found - stream->text);
        stream->stopped_by = i;
    }
    stream->stopped = first < stream->length;
    stream->length = first;
    stream->text[first] = '\0';
}

/* Bytes at the end of the text that a stop text may begin with. */
static size_t held_back(const text_stream *stream) {
    size_t most = 0;
    for (size_t i = 0; i < stream->n_stop; i++) {
        size_t n = strlen(stream->stop[i]) - 1;
        if (n > stream->length) n = stream->length;
        while (n > most && memcmp(stream->text + stream->length - n, stream->stop[i], n) != 0) n--;
        if (n > most) most = n;
    }
    return most;
}

/* ---- public ------------------------------------------------------------------------------------------------------ */

/* Room for n bytes more, and the terminating zero. */
static judgeq_status reserve(text_stream *stream, size_t n, judgeq_error *error) {
    if (stream->capacity - stream->length > n) return JUDGEQ_OK;
    const size_t capacity = 2 * stream->capacity + n + 256;
    char *larger = realloc(stream->text, capacity);
    if (!larger) return error_memory(error, "a text");
    stream->text = larger;
    stream->capacity = capacity;
    return JUDGEQ_OK;
}

static judgeq_status put_until(text_stream *stream, size_t end, judgeq_error *error) {
    if (!stream->put || end <= stream->n_put) return JUDGEQ_OK;
    const judgeq_status status = stream->put(stream->data, stream->text + stream->n_put, end - stream->n_put, error);
    if (status == JUDGEQ_OK) stream->n_put = end;
    return status;
}

judgeq_status text_stream_add(text_stream *stream, const char *bytes, size_t n, judgeq_error *error) {
    const size_t before = stream->length;
    if (stream->stopped) return JUDGEQ_OK;
    const judgeq_status status = reserve(stream, UTF8_REPAIR_MOST * (n + 3), error);
    if (status != JUDGEQ_OK) return status;
    stream->length += utf8_repair_piece(&stream->pieces, bytes, n, stream->text + before);
    find_stop(stream, before);
    return put_until(stream, stream->stopped ? stream->length : stream->length - held_back(stream), error);
}

static int32_t text_of(const text_stream *stream, const judgeq_model *model, int32_t token, char *text, int32_t size) {
    return stream->plan ? judgeq_chat_plan_token_text(stream->plan, token, text, size)
                        : judgeq_token_text(model, token, text, size);
}

judgeq_status text_stream_add_token(text_stream *stream, const judgeq_model *model, int32_t token,
                                    judgeq_error *error) {
    char text[128], *longer = NULL;
    int32_t n = text_of(stream, model, token, text, sizeof text);
    if (n < 0) {
        longer = malloc((size_t)-n);
        if (!longer) return error_memory(error, "a token's text");
        n = text_of(stream, model, token, longer, -n);
    }
    const judgeq_status status = text_stream_add(stream, longer ? longer : text, n > 0 ? (size_t)n : 0, error);
    free(longer);
    return status;
}

judgeq_status text_stream_end(text_stream *stream, judgeq_error *error) {
    const judgeq_status status = reserve(stream, (size_t)UTF8_REPAIR_MOST * 3, error);
    if (status != JUDGEQ_OK) return status;
    if (!stream->stopped) stream->length += utf8_repair_end(&stream->pieces, stream->text + stream->length);
    stream->text[stream->length] = '\0';
    return put_until(stream, stream->length, error);
}

judgeq_status text_stream_add_all(text_stream *stream, const judgeq_model *model, const int32_t *token, size_t n,
                                  size_t *end, judgeq_error *error) {
    for (size_t i = 0; i < n; i++) {
        const judgeq_status status = text_stream_add_token(stream, model, token[i], error);
        if (status != JUDGEQ_OK) return status;
        end[i] = stream->length;
    }
    const judgeq_status status = text_stream_end(stream, error);
    if (n > 0) end[n - 1] = stream->length;
    return status;
}

void text_stream_free(text_stream *stream) {
    free(stream->text);
}
