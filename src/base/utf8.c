#include "utf8.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unictype.h>
#include <unistr.h>

static const char REPLACEMENT[] = "\xEF\xBF\xBD";

bool utf8_valid(const char *bytes, size_t n) {
    return !u8_check((const uint8_t *)bytes, n);
}

/* ---- repair ------------------------------------------------------------------------------------------------------ */

/* Bytes of what is no character, but its beginning as far as it could be one; at least 1. */
static size_t broken_part(const uint8_t *bytes, size_t n) {
    ucs4_t point;
    size_t part = 1;
    while (part < n && u8_mbtoucr(&point, bytes, part + 1) == -2) part++;
    return part;
}

static size_t put(char *out, size_t at, const void *bytes, size_t n) {
    if (out && n > 0) memcpy(out + at, bytes, n);
    return at + n;
}

size_t utf8_repair(const char *bytes, size_t n, char *out) {
    const uint8_t *at = (const uint8_t *)bytes, *end = at + n;
    size_t length = 0;
    while (at < end) {
        const uint8_t *wrong = u8_check(at, (size_t)(end - at));
        length = put(out, length, at, (size_t)((wrong ? wrong : end) - at));
        if (!wrong) break;
        length = put(out, length, REPLACEMENT, sizeof REPLACEMENT - 1);
        at = wrong + broken_part(wrong, (size_t)(end - wrong));
    }
    return length;
}

char *utf8_repaired(const char *bytes, size_t n, size_t *length) {
    *length = utf8_repair(bytes, n, NULL);
    char *valid = malloc(*length + 1);
    if (!valid) return NULL;
    utf8_repair(bytes, n, valid);
    valid[*length] = '\0';
    return valid;
}

/* Bytes at the end that a character begins with, and that are not all of it. */
static size_t unfinished(const char *bytes, size_t n) {
    ucs4_t point;
    for (size_t part = 1; part < 4 && part <= n; part++) {
        if (u8_mbtoucr(&point, (const uint8_t *)bytes + n - part, part) == -2) return part;
    }
    return 0;
}

/* Repairs what is certain of bytes[0..n) and keeps the rest, which may be in p->byte itself. */
static size_t repair_certain(utf8_pieces *p, const char *bytes, size_t n, char *out) {
    p->n = unfinished(bytes, n);
    const size_t length = utf8_repair(bytes, n - p->n, out);
    memmove(p->byte, bytes + n - p->n, p->n);
    return length;
}

size_t utf8_repair_piece(utf8_pieces *p, const char *bytes, size_t n, char *out) {
    size_t length = 0;
    for (; p->n > 0 && n > 0; n--) { /* the end of the character that the piece before began */
        p->byte[p->n] = *bytes++;
        length += repair_certain(p, p->byte, p->n + 1, out + length);
    }
    return n > 0 ? length + repair_certain(p, bytes, n, out + length) : length;
}

size_t utf8_repair_end(utf8_pieces *p, char *out) {
    const size_t n = p->n;
    p->n = 0;
    return utf8_repair(p->byte, n, out);
}

/* ---- characters -------------------------------------------------------------------------------------------------- */

size_t utf8_decode(const char *valid, size_t n, unsigned *character) {
    ucs4_t point = 0;
    const int length = u8_mbtouc(&point, (const uint8_t *)valid, n);
    *character = point;
    return (size_t)length;
}

bool utf8_is_white_space(unsigned character) {
    return uc_is_property_white_space(character);
}
