/* utf8: bytes that should be UTF-8, made so: what is no character becomes U+FFFD. */
#ifndef JUDGEQ_SRC_UTF8_H
#define JUDGEQ_SRC_UTF8_H

#include <stdbool.h>
#include <stddef.h>

bool utf8_valid(const char *bytes, size_t n);

/* bytes[0..n) with one U+FFFD for every maximal subpart of a character that is not whole (The Unicode Standard, section
 * 3.9), as Python's errors="replace" has it. Writes to `out`, unless that is NULL, and returns the length. */
size_t utf8_repair(const char *bytes, size_t n, char *out);

/* Length of the character at valid[0..n), n > 0, and the character. */
size_t utf8_decode(const char *valid, size_t n, unsigned *character);

bool utf8_is_white_space(unsigned character);

#endif
