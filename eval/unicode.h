/* unicode: texts as Python sees them: lower case, white space, digits, words. UTF-8 in and out. */
#ifndef JUDGEQ_EVAL_UNICODE_H
#define JUDGEQ_EVAL_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The text in lower case, as str.lower(); the caller's: free(). NULL without memory. */
char *unicode_lower(const char *text);

/* How many of bytes[0..n) belong to no character of UTF-8; *first: where the first of them is. */
size_t unicode_broken(const char *bytes, size_t n, size_t *first);

/* The code points of a text, [*n]; the caller's: free(). NULL without memory. */
uint32_t *unicode_points(const char *text, size_t *n);

/* str.isspace(), a digit for re's \d, a character for re's \w, a Han character. */
bool unicode_is_space(uint32_t point);
bool unicode_is_digit(uint32_t point);
bool unicode_is_word(uint32_t point);
bool unicode_is_han(uint32_t point);

/* A piece of a text. */
typedef struct unicode_word {
    const char *bytes; /* not terminated */
    size_t n;
} unicode_word;

bool unicode_same(unicode_word a, unicode_word b);

/* The words of a text, as str.split() cuts it, [*n]; they point into the text. The caller's: free(). */
unicode_word *unicode_split(const char *text, size_t *n);

#endif
