#include "segment.h"

#include <unistr.h>

#include "base/text.h"
#include "unicode.h"

char *segment_chinese(const char *text) {
    text_buffer out = {0};
    bool in_run = false;
    ucs4_t point;
    for (const uint8_t *at = (const uint8_t *)text, *next; (next = u8_next(&point, at)); at = next) {
        const bool run = unicode_is_word(point) && !unicode_is_han(point);
        if (out.length > 0 && !(run && in_run)) text_add(&out, " ", 1);
        text_add(&out, (const char *)at, (size_t)(next - at));
        in_run = run;
    }
    return text_take(&out);
}
