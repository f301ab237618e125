#include "unicode.h"

#include <stdlib.h>
#include <string.h>
#include <unicase.h>
#include <unictype.h>
#include <unistr.h>

char *unicode_lower(const char *text) {
    size_t n = 0;
    /* with its terminating zero, so that what comes back has one */
    return (char *)u8_tolower((const uint8_t *)text, strlen(text) + 1, NULL, NULL, NULL, &n);
}

size_t unicode_broken(const char *bytes, size_t n, size_t *first) {
    size_t broken = 0;
    *first = n;
    for (size_t i = 0; i < n;) {
        ucs4_t point;
        const int known = u8_mbtoucr(&point, (const uint8_t *)bytes + i, n - i);
        if (known <= 0 && broken++ == 0) *first = i;
        i += known > 0 ? (size_t)known : 1;
    }
    return broken;
}

uint32_t *unicode_points(const char *text, size_t *n) {
    uint32_t *points = malloc((strlen(text) + 1) * sizeof *points);
    ucs4_t point;
    *n = 0;
    for (const uint8_t *at = (const uint8_t *)text; points && (at = u8_next(&point, at));) points[(*n)++] = point;
    return points;
}

/* Bidirectional types B, S and WS, and category Zs: Python's definition. */
bool unicode_is_space(uint32_t point) {
    return (point >= 0x09 && point <= 0x0d) || (point >= 0x1c && point <= 0x20) || point == 0x85 || point == 0xa0 ||
           point == 0x1680 || (point >= 0x2000 && point <= 0x200a) || point == 0x2028 || point == 0x2029 ||
           point == 0x202f || point == 0x205f || point == 0x3000;
}

bool unicode_is_digit(uint32_t point) {
    return uc_is_general_category_withtable(point, UC_CATEGORY_MASK_Nd);
}

bool unicode_is_word(uint32_t point) {
    return point == '_' || uc_is_general_category_withtable(point, UC_CATEGORY_MASK_L | UC_CATEGORY_MASK_N);
}

bool unicode_is_han(uint32_t point) {
    return uc_is_property_ideographic(point);
}

bool unicode_same(unicode_word a, unicode_word b) {
    return a.n == b.n && memcmp(a.bytes, b.bytes, a.n) == 0;
}

unicode_word *unicode_split(const char *text, size_t *n) {
    unicode_word *word = malloc((strlen(text) / 2 + 1) * sizeof *word);
    const char *start = NULL; /* of the word at hand */
    ucs4_t point;
    *n = 0;
    for (const char *at = text, *next; word; at = next) {
        next = (const char *)u8_next(&point, (const uint8_t *)at);
        if (next && !unicode_is_space(point)) {
            if (!start) start = at;
            continue;
        }
        if (start) word[(*n)++] = (unicode_word){start, (size_t)(at - start)};
        start = NULL;
        if (!next) break;
    }
    return word;
}
