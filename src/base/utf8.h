/* utf8: bytes that should be UTF-8, made so: what is no character becomes U+FFFD. */
#ifndef JUDGEQ_SRC_UTF8_H
#define JUDGEQ_SRC_UTF8_H

#include <stdbool.h>
#include <stddef.h>

bool utf8_valid(const char *bytes, size_t n);

/* bytes[0..n) with one U+FFFD for every maximal subpart of a character that is not whole (The Unicode Standard, section
 * 3.9), as Python's errors="replace" has it. Writes to `out`, unless that is NULL, and returns the length. */
size_t utf8_repair(const char *bytes, size_t n, char *out);
/* The same as a text of its own, [*length], terminated: free(). NULL without memory. */
char *utf8_repaired(const char *bytes, size_t n, size_t *length);

/* A text that comes in pieces, which need not end where its characters do. Zeroed: nothing has come yet. */
typedef struct utf8_pieces {
    char byte[4];
    size_t n; /* bytes of a character that is not complete yet, at most 3 */
} utf8_pieces;

enum { UTF8_REPAIR_MOST = 3 }; /* bytes out, for each byte in */

/* utf8_repair of the next piece, as far as it is certain: what may be the beginning of a character waits for the rest
 * of it. `out` has room for UTF8_REPAIR_MOST times (n + 3) bytes. */
size_t utf8_repair_piece(utf8_pieces *pieces, const char *bytes, size_t n, char *out);
/* Nothing more comes. `out` has room for UTF8_REPAIR_MOST times 3 bytes. */
size_t utf8_repair_end(utf8_pieces *pieces, char *out);

/* Length of the character at valid[0..n), n > 0, and the character. */
size_t utf8_decode(const char *valid, size_t n, unsigned *character);

bool utf8_is_white_space(unsigned character);

#endif
