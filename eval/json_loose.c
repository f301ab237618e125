#include "json_loose.h"

#include <stdlib.h>
#include <string.h>

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* ---- numbers ----------------------------------------------------------------------------------------------------- */

static size_t skip_digits(const char *text, size_t n, size_t at) {
    while (at < n && is_digit(text[at])) at++;
    return at;
}

/* RFC 8259, section 6. */
static bool is_number(const char *text, size_t n) {
    size_t at = n > 0 && text[0] == '-' ? 1 : 0;
    const size_t whole = skip_digits(text, n, at);
    if (whole == at || (text[at] == '0' && whole > at + 1)) return false;
    at = whole;
    if (at < n && text[at] == '.') {
        const size_t end = skip_digits(text, n, at + 1);
        if (end == at + 1) return false;
        at = end;
    }
    if (at < n && (text[at] == 'e' || text[at] == 'E')) {
        at++;
        if (at < n && (text[at] == '+' || text[at] == '-')) at++;
        const size_t end = skip_digits(text, n, at);
        if (end == at) return false;
        at = end;
    }
    return at == n;
}

static bool is_word(const char *text, size_t n, const char *word) {
    return n == strlen(word) && memcmp(text, word, n) == 0;
}

static bool in_token(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '+' || c == '-' || c == '.';
}

/* Surely in the range of what jansson takes. */
static bool is_small(const char *text, size_t n) {
    return n <= 15 && !memchr(text, 'e', n) && !memchr(text, 'E', n);
}

/* The word or number at text[0..n), n > 0, in strict JSON; its length. */
static size_t mend_token(char *text, size_t n) {
    size_t length = 0;
    while (length < n && in_token(text[length])) length++;
    if ((is_number(text, length) && !is_small(text, length)) || is_word(text, length, "NaN") ||
        is_word(text, length, "Infinity") || is_word(text, length, "-Infinity")) {
        memset(text, ' ', length);
        text[0] = '0';
    }
    return length > 0 ? length : 1;
}

/* ---- strings ----------------------------------------------------------------------------------------------------- */

enum { ESCAPE = 6 }; /* \uXXXX */

/* What the escape \uXXXX at text[0..n) says; -1: there is none. */
static long escape_at(const char *text, size_t n) {
    char digits[ESCAPE - 1] = "";
    if (n < ESCAPE || text[0] != '\\' || text[1] != 'u') return -1;
    memcpy(digits, text + 2, ESCAPE - 2);
    return strspn(digits, "0123456789abcdefABCDEF") == ESCAPE - 2 ? strtol(digits, NULL, 16) : -1;
}

/* The escape at text[0..n), which begins with a backslash; its length. */
static size_t mend_escape(char *text, size_t n, size_t *n_mended) {
    const long unit = escape_at(text, n);
    if (unit < 0) return n > 1 ? 2 : 1;
    const bool high = unit >= 0xd800 && unit < 0xdc00, low = unit >= 0xdc00 && unit < 0xe000;
    const long next = high ? escape_at(text + ESCAPE, n - ESCAPE) : -1;
    if (next >= 0xdc00 && next < 0xe000) return (size_t)2 * ESCAPE;
    if (unit == 0 || high || low) {
        memcpy(text, "\\ufffd", ESCAPE);
        ++*n_mended;
    }
    return ESCAPE;
}

size_t json_loose_mend(char *text, size_t n) {
    size_t n_mended = 0;
    bool inside = false; /* a string */
    for (size_t at = 0; at < n;) {
        if (inside && text[at] == '\\') {
            at += mend_escape(text + at, n - at, &n_mended);
        } else if (!inside && in_token(text[at])) {
            at += mend_token(text + at, n - at);
        } else {
            inside = inside != (text[at] == '"');
            at++;
        }
    }
    return n_mended;
}

/* ---- arrays ------------------------------------------------------------------------------------------------------ */

/* The end of the string that begins at `at`. A broken one ends with its line: no string of JSON holds a line's end. */
static size_t skip_string(const char *text, size_t n, size_t at) {
    for (at++; at < n && text[at] != '\n'; at++) {
        if (text[at] == '"') return at + 1;
        if (text[at] == '\\') at++;
    }
    return at < n ? at : n;
}

/* The comma or bracket that ends the element at `at`; n: none does. */
static size_t element_end(const char *text, size_t n, size_t at) {
    size_t depth = 0;
    while (at < n) {
        const char c = text[at];
        if (depth == 0 && (c == ',' || c == ']')) return at;
        if (c == '[' || c == '{') depth++;
        if ((c == ']' || c == '}') && depth > 0) depth--;
        at = c == '"' ? skip_string(text, n, at) : at + 1;
    }
    return n;
}

static size_t skip_space(const char *text, size_t n, size_t at) {
    while (at < n && is_space(text[at])) at++;
    return at;
}

bool json_elements_begin(json_elements *e, const char *text, size_t n) {
    const size_t begin = skip_space(text, n, 0);
    *e = (json_elements){.text = text, .n = n};
    if (begin == n || text[begin] != '[') return false;
    e->end = begin;
    e->next = skip_space(text, n, begin + 1);
    if (e->next < n && text[e->next] == ']') e->end = e->next; /* of none */
    return true;
}

bool json_elements_next(json_elements *e) {
    if (e->end >= e->n || e->text[e->end] == ']') return false;
    e->begin = e->next;
    e->end = element_end(e->text, e->n, e->begin);
    e->next = e->end + 1;
    return e->begin < e->n;
}

bool json_elements_whole(const json_elements *e) {
    return e->end < e->n && skip_space(e->text, e->n, e->end + 1) == e->n;
}
