#include "cuts.h"

#include <stdbool.h>
#include <string.h>
#include <unigbrk.h>
#include <unistr.h>

static bool among(ucs4_t point, const ucs4_t *list, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (list[i] == point) return true;
    }
    return false;
}

/* Ideographic, fullwidth and halfwidth stops; Arabic, Urdu, Devanagari, Armenian, Ethiopic, Burmese, Khmer, Tibetan. */
static bool is_wide_stop(ucs4_t point) {
    static const ucs4_t list[] = {0x3002, 0xff01, 0xff1f, 0xff0e, 0xff61, 0x203c, 0x2047, 0x2048, 0x2049, 0x061f,
                                  0x06d4, 0x0964, 0x0965, 0x0589, 0x1362, 0x1367, 0x104b, 0x17d4, 0x0f0d};
    return among(point, list, sizeof list / sizeof list[0]);
}

static bool closes(ucs4_t point) {
    static const ucs4_t list[] = {0x300d, 0x300f, 0x3011, 0x300b, 0x3009, 0xff09, 0x201d, 0x2019, 0xbb, ')', '"', '\''};
    return is_wide_stop(point) || among(point, list, sizeof list / sizeof list[0]);
}

/* The character at text[0..n), and its bytes; 0 at the end, and at what is none. */
static size_t character_at(const char *text, size_t n, ucs4_t *point) {
    const int length = n > 0 ? u8_mbtoucr(point, (const uint8_t *)text, n) : 0;
    return length > 0 ? (size_t)length : 0;
}

size_t cuts_wide_stop(const char *text, size_t size, size_t at) {
    ucs4_t point;
    if (at >= size || (unsigned char)text[at] < 0x80) return 0;
    size_t end = at, length = character_at(text + at, size - at, &point);
    if (length == 0 || !is_wide_stop(point)) return 0;
    do {
        end += length;
        length = character_at(text + end, size - end, &point);
    } while (length > 0 && closes(point));
    return end - at + (end < size && text[end] == ' ');
}

size_t cuts_stop(const char *text, size_t size, size_t at) {
    if (at + 1 < size && text[at] && strchr(".!?", text[at]) && text[at + 1] == ' ') return 2;
    return cuts_wide_stop(text, size, at);
}

size_t cuts_character(const char *text, size_t size, size_t at) {
    const uint8_t *bytes = (const uint8_t *)text;
    while (at < size && (bytes[at] & 0xc0) == 0x80) at++;
    while (at > 0 && at < size) {
        ucs4_t before, point;
        const size_t length = character_at(text + at, size - at, &point);
        if (length == 0 || !u8_prev(&before, bytes + at, bytes) || uc_is_grapheme_break(before, point)) break;
        at += length;
    }
    return at;
}
