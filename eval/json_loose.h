/* json_loose: JSON as Python writes and reads it, made into what jansson reads. */
#ifndef JUDGEQ_EVAL_JSON_LOOSE_H
#define JUDGEQ_EVAL_JSON_LOOSE_H

#include <stdbool.h>
#include <stddef.h>

/* Changes text[0..n) in place, byte for byte, so that places in it stay:
 * - outside strings, NaN, Infinity, -Infinity and numbers with an exponent or of more than 15 characters, which may be
 *   larger than what jansson takes, become 0: for texts of which nobody reads these;
 * - in strings, escapes that stand for no character of a C string, lone surrogates and \u0000, become \ufffd.
 * Returns how many escapes these were. Whatever else is wrong stays for the parser to find. */
size_t json_loose_mend(char *text, size_t n);

/* A walk through an array: text[begin..end) is an element, whatever is in it. Brackets and strings decide where one
 * ends, so that one that is broken inside does not take the others with it. */
typedef struct json_elements {
    const char *text;
    size_t n, begin, end, next;
} json_elements;

/* False where text[0..n) does not begin as an array. */
bool json_elements_begin(json_elements *elements, const char *text, size_t n);
bool json_elements_next(json_elements *elements);
/* After the last one: the array is closed, and nothing comes after it. */
bool json_elements_whole(const json_elements *elements);

#endif
