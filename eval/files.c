#include "files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistr.h>

#include "base/error.h"
#include "base/text.h"
#include "base/utf8.h"

static const size_t MOST = (size_t)2 << 30;

/* ---- encodings --------------------------------------------------------------------------------------------------- */

/* What a byte order mark says. */
typedef struct encoding {
    const char *name, *mark;
    size_t n_mark, unit; /* bytes; unit 0: nothing says what it is */
    bool big;            /* a unit's first byte is its highest */
} encoding;

/* UTF-32 before UTF-16, whose mark it begins with. */
static const encoding ENCODINGS[] = {{"UTF-8", "\xef\xbb\xbf", 3, 1, false},
                                     {"UTF-32", "\xff\xfe\0\0", 4, 4, false},
                                     {"UTF-32", "\0\0\xfe\xff", 4, 4, true},
                                     {"UTF-16", "\xff\xfe", 2, 2, false},
                                     {"UTF-16", "\xfe\xff", 2, 2, true}};

static encoding encoding_of(const char *bytes, size_t n) {
    for (size_t i = 0; i < sizeof ENCODINGS / sizeof ENCODINGS[0]; i++) {
        const encoding *e = &ENCODINGS[i];
        if (n >= e->n_mark && memcmp(bytes, e->mark, e->n_mark) == 0) return *e;
    }
    return (encoding){0};
}

static uint32_t unit_at(const encoding *e, const unsigned char *bytes) {
    uint32_t unit = 0;
    for (size_t i = 0; i < e->unit; i++) unit = unit << 8 | bytes[e->big ? i : e->unit - 1 - i];
    return unit;
}

/* bytes[0..n) as UTF-8, terminated; NULL with errno set. */
static char *convert(const encoding *e, const unsigned char *bytes, size_t n, size_t *length) {
    const size_t n_unit = n / e->unit;
    void *units = calloc(n_unit + 1, e->unit); /* the last one is 0, and terminates what comes out */
    char *out = NULL;
    if (n % e->unit != 0) errno = EILSEQ;
    for (size_t i = 0; units && i < n_unit; i++) {
        const uint32_t unit = unit_at(e, bytes + i * e->unit);
        if (e->unit == 2) ((uint16_t *)units)[i] = (uint16_t)unit;
        if (e->unit == 4) ((uint32_t *)units)[i] = unit;
    }
    if (units && n % e->unit == 0) {
        out = e->unit == 2 ? (char *)u16_to_u8(units, n_unit + 1, NULL, length)
                           : (char *)u32_to_u8(units, n_unit + 1, NULL, length);
        if (out) --*length;
    }
    free(units);
    return out;
}

/* Takes `t`, all that was read. */
static judgeq_status decode(text_buffer *t, const char *name, char **out, size_t *length, judgeq_error *error) {
    *length = t->length;
    char *bytes = *out = text_take(t);
    if (!bytes) return error_memory(error, name);
    const encoding e = encoding_of(bytes, *length);
    *length -= e.n_mark;
    if (e.unit <= 1) {
        memmove(bytes, bytes + e.n_mark, *length + 1);
        return JUDGEQ_OK;
    }
    *out = convert(&e, (const unsigned char *)bytes + e.n_mark, *length, length);
    free(bytes);
    if (*out) return JUDGEQ_OK;
    return errno == EILSEQ ? error_set(error, JUDGEQ_ERROR_FORMAT, "%s: begins as %s text and is none", name, e.name)
                           : error_memory(error, name);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static judgeq_status refuse_size(const char *name, judgeq_error *error) {
    return error_set(error, JUDGEQ_ERROR_LIMIT, "%s: is larger than 2 GiB; split it into smaller files", name);
}

static judgeq_status refuse_zero(const char *name, judgeq_error *error) {
    return error_set(error, JUDGEQ_ERROR_FORMAT,
                     "%s: holds a zero byte: it is not text (UTF-16 and UTF-32 need a byte order mark)", name);
}

/* As far as it is text: a device that never ends must not fill the memory. */
static judgeq_status fill(FILE *stream, const char *name, text_buffer *t, judgeq_error *error) {
    char part[1 << 16];
    bool wide = false; /* zero bytes are parts of characters */
    for (size_t n; (n = fread(part, 1, sizeof part, stream)) > 0;) {
        if (t->length == 0) wide = encoding_of(part, n).unit > 1;
        if (!wide && memchr(part, '\0', n)) return refuse_zero(name, error);
        if (n > MOST - t->length) return refuse_size(name, error);
        text_add(t, part, n);
        if (t->failed) return error_memory(error, name);
    }
    return ferror(stream) ? error_set(error, JUDGEQ_ERROR_IO, "cannot read %s: %s", name, strerror(errno)) : JUDGEQ_OK;
}

judgeq_status files_read_stream(FILE *stream, const char *name, char **out, size_t *length, judgeq_error *error) {
    text_buffer t = {0};
    struct stat info;
    size_t own;
    if (!length) length = &own;
    *out = NULL;
    if (fstat(fileno(stream), &info) == 0 && S_ISREG(info.st_mode) && (size_t)info.st_size > MOST) {
        return refuse_size(name, error);
    }
    judgeq_status status = fill(stream, name, &t, error);
    if (status == JUDGEQ_OK) status = decode(&t, name, out, length, error);
    text_free(&t);
    if (status != JUDGEQ_OK || strlen(*out) == *length) return status;
    free(*out);
    *out = NULL;
    return refuse_zero(name, error);
}

judgeq_status files_read_text(const char *path, char **out, judgeq_error *error) {
    *out = NULL;
    FILE *file = fopen(path, "rb");
    if (!file) return error_set(error, JUDGEQ_ERROR_IO, "%s: %s", path, strerror(errno));
    const judgeq_status status = files_read_stream(file, path, out, NULL, error);
    fclose(file);
    return status;
}

judgeq_status files_read_utf8(const char *path, char **out, judgeq_error *error) {
    char *bytes = NULL;
    *out = NULL;
    const judgeq_status status = files_read_text(path, &bytes, error);
    if (status != JUDGEQ_OK) return status;
    size_t length;
    *out = utf8_repaired(bytes, strlen(bytes), &length);
    free(bytes);
    return *out ? JUDGEQ_OK : error_memory(error, path);
}
