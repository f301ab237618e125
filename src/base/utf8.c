#include "utf8.h"

#include <stdint.h>
#include <string.h>
#include <unictype.h>
#include <unistr.h>

static const char REPLACEMENT[] = "\xEF\xBF\xBD";

bool utf8_valid(const char *bytes, size_t n) {
    return !u8_check((const uint8_t *)bytes, n);
}

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

size_t utf8_decode(const char *valid, size_t n, unsigned *character) {
    ucs4_t point = 0;
    const int length = u8_mbtouc(&point, (const uint8_t *)valid, n);
    *character = point;
    return (size_t)length;
}

bool utf8_is_white_space(unsigned character) {
    return uc_is_property_white_space(character);
}
