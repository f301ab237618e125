#include "lower.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unicase.h>
#include <unistr.h>

#include "text.h"

char *lower_text(const char *text_in) {
    size_t n = 0;
    /* with its terminating zero, so that what comes back has one */
    return (char *)u8_tolower((const uint8_t *)text_in, strlen(text_in) + 1, NULL, NULL, NULL, &n);
}

char *lower_valid(const char *bytes, size_t n) {
    text_buffer out = {0};
    for (size_t i = 0; i < n;) {
        ucs4_t point;
        const int length = u8_mbtoucr(&point, (const uint8_t *)bytes + i, n - i);
        if (length > 0) text_add(&out, bytes + i, (size_t)length);
        if (length <= 0) text_print(&out, "\xef\xbf\xbd");
        i += length > 0 ? (size_t)length : 1;
    }
    return text_take(&out);
}
