/* lower: Unicode text in one form: lower case, and valid UTF-8. */
#ifndef JUDGEQ_EVAL_LOWER_H
#define JUDGEQ_EVAL_LOWER_H

#include <stddef.h>

/* The text in lower case, as Python's str.lower(); the caller's: free(). NULL without memory. */
char *lower_text(const char *text);

/* bytes[0..n) with everything that is not UTF-8 replaced by U+FFFD; the caller's: free(). NULL without memory. */
char *lower_valid(const char *bytes, size_t n);

#endif
