/* visible: text from outside, such as names, words of other programs and contents of files, in the form in which a
 * terminal may have it. Characters that steer a terminal, end a line or turn the direction of what follows, and bytes
 * that are not UTF-8, become escapes: \x1b, \u009b, \u202e. All others stay as they are. */
#ifndef JUDGEQ_SRC_VISIBLE_H
#define JUDGEQ_SRC_VISIBLE_H

#include <stddef.h>
#include <stdio.h>

enum { VISIBLE_MOST = 8 }; /* bytes of one character's form, the terminating zero included */

/* The form of the character that text[0..n) begins with, n > 0; *taken: bytes of text that it stands for. Returns the
 * form's length. */
size_t visible_character(const char *text, size_t n, char out[VISIBLE_MOST], size_t *taken);

/* The form of a whole text, terminated. Where out[0..size) has no room for it, it is cut between two characters and
 * ends in "...". */
void visible_copy(const char *text, char *out, size_t size);

/* Bytes of the text's first characters, `most` at most; and both as what "%.*s" takes. */
int visible_fit(const char *text, size_t most);
#define VISIBLE_FIT(text, most) visible_fit((text), (most)), (text)

/* Writes the form of text[0..n), all but the characters in `plain`, which stay. The stream remembers a failure. */
void visible_write(FILE *file, const char *text, size_t n, const char *plain);

#endif
