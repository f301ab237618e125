#include "python_list.h"

#include <stdlib.h>
#include <string.h>
#include <unistr.h>

#include "base/text.h"

/* The character after "\x", "\u" or "\U": `digits` hexadecimal digits. False where they are not there. */
static bool add_code(text_buffer *out, const char *digits, int n) {
    char number[9] = "", *end;
    uint8_t bytes[6];
    if (strnlen(digits, (size_t)n) < (size_t)n) return false;
    memcpy(number, digits, (size_t)n);
    const ucs4_t point = (ucs4_t)strtoul(number, &end, 16);
    const int length = *end == '\0' ? u8_uctomb(bytes, point, sizeof bytes) : -1;
    if (length > 0) text_add(out, (const char *)bytes, (size_t)length);
    return length > 0;
}

/* Reads one escape, from after its backslash. Returns the end of it, or NULL. */
static const char *take_escape(text_buffer *out, const char *at) {
    static const char names[] = "nrt\\'\"", values[] = "\n\r\t\\'\"";
    const char *known = *at ? strchr(names, *at) : NULL;
    if (known) {
        text_add(out, &values[known - names], 1);
        return at + 1;
    }
    const int digits = *at == 'x' ? 2 : *at == 'u' ? 4 : *at == 'U' ? 8 : 0;
    return digits > 0 && add_code(out, at + 1, digits) ? at + 1 + digits : NULL;
}

/* Adds the quoted string at `at` to the list. Returns the end of it, or NULL. */
static const char *take_string(const char *at, json_t *list) {
    const char quote = *at++;
    text_buffer out = {0};
    while (at && *at && *at != quote) {
        if (*at == '\\') {
            at = take_escape(&out, at + 1);
        } else {
            text_add(&out, at++, 1);
        }
    }
    const bool whole = at && *at == quote;
    char *bytes = text_take(&out);
    const bool added = whole && bytes && json_array_append_new(list, json_string(bytes)) == 0;
    free(bytes);
    return added ? at + 1 : NULL;
}

json_t *python_list_parse(const char *text) {
    const char *at = text;
    json_t *list = *at == '[' ? json_array() : NULL;
    if (!list) return NULL;
    at++;
    while (at && (*at == '\'' || *at == '"')) {
        at = take_string(at, list);
        if (at && *at == ',') at += 1 + strspn(at + 1, " ");
    }
    if (at && strcmp(at, "]") == 0) return list;
    json_decref(list);
    return NULL;
}
