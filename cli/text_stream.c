#include "text_stream.h"

#include <stdlib.h>
#include <string.h>

#include "base/visible.h"

static const char REPLACEMENT[] = "\xEF\xBF\xBD";

/* ---- UTF-8 ------------------------------------------------------------------------------------------------------- */

/* The length that a character beginning with this byte has; 0 where none does. */
static size_t character_length(unsigned char first) {
    if (first < 0x80) return 1;
    if (first >= 0xC2 && first <= 0xDF) return 2;
    if (first >= 0xE0 && first <= 0xEF) return 3;
    return first >= 0xF0 && first <= 0xF4 ? 4 : 0;
}

/* True where bytes[0..n) is a character or the beginning of one (The Unicode Standard, table 3-7). */
static bool may_be_character(const unsigned char *bytes, size_t n) {
    if (n > character_length(bytes[0])) return false;
    for (size_t i = 1; i < n; i++) {
        if (bytes[i] < 0x80 || bytes[i] > 0xBF) return false;
    }
    if (n < 2) return true;
    switch (bytes[0]) {
    case 0xE0:
        return bytes[1] >= 0xA0;
    case 0xED:
        return bytes[1] <= 0x9F; /* no surrogates */
    case 0xF0:
        return bytes[1] >= 0x90;
    case 0xF4:
        return bytes[1] <= 0x8F;
    default:
        return true;
    }
}

static bool append(text_stream *stream, const void *bytes, size_t n) {
    if (stream->capacity - stream->length < n + 1) {
        const size_t capacity = 2 * stream->capacity + n + 256;
        char *larger = realloc(stream->text, capacity);
        if (!larger) return false;
        stream->text = larger;
        stream->capacity = capacity;
    }
    memcpy(stream->text + stream->length, bytes, n);
    stream->length += n;
    stream->text[stream->length] = '\0';
    return true;
}

/* Gives up on the unfinished character. */
static bool append_replacement(text_stream *stream) {
    stream->n_part = 0;
    return append(stream, REPLACEMENT, strlen(REPLACEMENT));
}

static bool take_byte(text_stream *stream, unsigned char byte) {
    stream->part[stream->n_part++] = byte;
    if (!may_be_character(stream->part, stream->n_part)) {
        const bool first = stream->n_part == 1;
        if (!append_replacement(stream)) return false;
        return first || take_byte(stream, byte); /* the byte may begin a character of its own */
    }
    if (stream->n_part < character_length(stream->part[0])) return true;
    const size_t n = stream->n_part;
    stream->n_part = 0;
    return append(stream, stream->part, n);
}

/* ---- stop texts -------------------------------------------------------------------------------------------------- */

/* Cuts the text before the first stop text that ends after `from`. */
static void find_stop(text_stream *stream, size_t from) {
    size_t first = stream->length;
    for (size_t i = 0; i < stream->n_stop; i++) {
        const size_t n = strlen(stream->stop[i]), begin = from >= n ? from - n + 1 : 0;
        if (begin >= stream->length) continue;
        const char *found = memmem(stream->text + begin, stream->length - begin, stream->stop[i], n);
        if (found && (size_t)(found - stream->text) < first) first = (size_t)(found - stream->text);
    }
    stream->stopped = first < stream->length;
    stream->length = first;
    if (stream->text) stream->text[first] = '\0';
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

static bool write_text(text_stream *stream, size_t end) {
    if (!stream->file || end <= stream->n_written) return true;
    const size_t n = end - stream->n_written;
    if (stream->terminal)
        visible_write(stream->file, stream->text + stream->n_written, n, "\n\t");
    else
        fwrite(stream->text + stream->n_written, 1, n, stream->file);
    if (ferror(stream->file) || fflush(stream->file) != 0) return false;
    stream->n_written = end;
    return true;
}

bool text_stream_put(text_stream *stream, const char *bytes, size_t n) {
    const size_t before = stream->length;
    if (stream->stopped) return true;
    for (size_t i = 0; i < n; i++) {
        if (!take_byte(stream, (unsigned char)bytes[i])) return false;
    }
    find_stop(stream, before);
    return write_text(stream, stream->stopped ? stream->length : stream->length - held_back(stream));
}

bool text_stream_end(text_stream *stream) {
    if (stream->n_part > 0 && !stream->stopped && !append_replacement(stream)) return false;
    if (!write_text(stream, stream->length)) return false;
    return !stream->file || (putc('\n', stream->file) != EOF && fflush(stream->file) == 0);
}

void text_stream_free(text_stream *stream) {
    free(stream->text);
}

char *text_to_utf8(const char *bytes, size_t n, size_t *length) {
    text_stream stream = {0};
    const bool taken = append(&stream, "", 0) && text_stream_put(&stream, bytes, n) && text_stream_end(&stream);
    if (!taken) {
        text_stream_free(&stream);
        return NULL;
    }
    *length = stream.length;
    return stream.text;
}
