#include "matches.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistr.h>

#include "overlap.h"
#include "unicode.h"

/* ---- numbers ----------------------------------------------------------------------------------------------------- */

/* The first run of digits at or after `from`; its end in *end. NULL: there is none. */
static const char *next_number(const char *from, const char **end) {
    const char *start = NULL;
    ucs4_t point;
    for (const char *next; (next = (const char *)u8_next(&point, (const uint8_t *)from)); from = next) {
        if (unicode_is_digit(point)) {
            if (!start) start = from;
        } else if (start) {
            break;
        }
    }
    *end = from;
    return start;
}

static double share_of_numbers(const char *answer, unicode_word wanted) {
    size_t n = 0, right = 0;
    for (const char *end, *start = next_number(answer, &end); start; start = next_number(end, &end)) {
        n++;
        right += unicode_same((unicode_word){start, (size_t)(end - start)}, wanted);
    }
    return n > 0 ? (double)right / (double)n : 0;
}

double matches_count(const char *answer, const char *reference) {
    return share_of_numbers(answer, (unicode_word){reference, strlen(reference)});
}

double matches_retrieval(const char *answer, const char *reference, const char *label) {
    for (const char *at = strstr(reference, label); at; at = strstr(at + 1, label)) {
        const char *end, *behind = at + strlen(label), *start = next_number(behind, &end);
        if (start == behind) return share_of_numbers(answer, (unicode_word){start, (size_t)(end - start)});
    }
    return 0;
}

/* ---- classes ----------------------------------------------------------------------------------------------------- */

double matches_classification(const char *answer, const char *reference, const json_t *classes) {
    size_t n = 0, n_right = 0;
    const char **named = calloc(json_array_size(classes) + 1, sizeof *named);
    if (!named) return NAN;
    for (size_t i = 0; i < json_array_size(classes); i++) {
        const char *class = json_string_value(json_array_get(classes, i));
        if (class && strstr(answer, class)) named[n++] = class;
    }
    for (size_t i = 0; i < n; i++) {
        if (!strstr(reference, named[i]) || strcmp(named[i], reference) == 0) continue;
        memmove((void *)(named + i), (void *)(named + i + 1), (n - i - 1) * sizeof *named);
        n--;
    }
    for (size_t i = 0; i < n; i++) n_right += strcmp(named[i], reference) == 0;
    free((void *)named);
    return n_right > 0 ? 1.0 / (double)n : 0;
}

/* ---- code -------------------------------------------------------------------------------------------------------- */

static bool is_code(const char *line, size_t n) {
    return !memchr(line, '`', n) && !memchr(line, '#', n) && !memmem(line, n, "//", 2);
}

double matches_code(const char *answer, const char *reference) {
    char *line = NULL;
    const char *at = answer + strspn(answer, "\n");
    for (const char *end; !line; at = end + 1) {
        end = strchrnul(at, '\n');
        if (is_code(at, (size_t)(end - at))) line = strndup(at, (size_t)(end - at));
        if (!*end) break;
    }
    const double ratio = overlap_ratio(line ? line : "", reference);
    free(line);
    return ratio;
}
