#include "visible.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistr.h>

/* Bytes of the UTF-8 character at text[0..n), and which it is; 0 where there is none. */
static size_t decode(const char *text, size_t n, uint32_t *point) {
    const int length = u8_mbtoucr(point, (const uint8_t *)text, n);
    return length > 0 ? (size_t)length : 0;
}

/* C0 and C1 controls, line and paragraph separators, what marks, embeds, overrides or isolates a direction, and what is
 * no character at all. */
static bool steers(uint32_t point) {
    return point < 0x20 || (point >= 0x7f && point < 0xa0) || point == 0x61c || point == 0x200e || point == 0x200f ||
           (point >= 0x2028 && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069) || point == 0xfffe ||
           point == 0xffff;
}

size_t visible_character(const char *text, size_t n, char out[VISIBLE_MOST], size_t *taken) {
    uint32_t point = 0;
    const size_t length = decode(text, n, &point);
    *taken = length > 0 ? length : 1;
    if (length > 0 && !steers(point)) {
        memcpy(out, text, length);
        out[length] = '\0';
        return length;
    }
    if (length < 2) return (size_t)snprintf(out, VISIBLE_MOST, "\\x%02x", (unsigned)(unsigned char)text[0]);
    return (size_t)snprintf(out, VISIBLE_MOST, "\\u%04x", (unsigned)(point & 0xffff));
}

void visible_copy(const char *text, char *out, size_t size) {
    static const char cut[] = "...";
    char form[VISIBLE_MOST];
    size_t used = 0, room_for_cut = 0, taken;
    for (size_t n = strlen(text); n > 0; text += taken, n -= taken) {
        const size_t length = visible_character(text, n, form, &taken);
        if (used + sizeof cut <= size) room_for_cut = used;
        if (used + length + 1 > size) {
            if (size >= sizeof cut)
                memcpy(out + room_for_cut, cut, sizeof cut);
            else if (size > 0)
                out[used] = '\0';
            return;
        }
        memcpy(out + used, form, length);
        used += length;
    }
    if (size > 0) out[used] = '\0';
}

int visible_fit(const char *text, size_t most) {
    size_t n = strnlen(text, most + 1);
    if (n <= most) return (int)n;
    for (n = most; n > 0 && most - n < 3 && ((unsigned char)text[n] & 0xc0) == 0x80;) n--;
    return (int)n;
}

void visible_write(FILE *file, const char *text, size_t n, const char *plain) {
    char form[VISIBLE_MOST];
    for (size_t taken; n > 0; text += taken, n -= taken) {
        const size_t length = visible_character(text, n, form, &taken);
        if (*text && strchr(plain, *text))
            fputc(*text, file);
        else
            fwrite(form, 1, length, file);
    }
}
