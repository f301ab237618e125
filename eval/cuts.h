/* cuts: where a text may be cut, in languages with spaces and without. Texts are UTF-8, places are bytes. */
#ifndef JUDGEQ_EVAL_CUTS_H
#define JUDGEQ_EVAL_CUTS_H

#include <stddef.h>

/* Bytes of what ends a sentence at `at`, 0 where nothing does. Full stops, question and exclamation marks of scripts
 * other than Latin end one wherever they are, with the quotes and brackets that close after them and a space; cuts_stop
 * knows . ! and ? before a space as well. */
size_t cuts_stop(const char *text, size_t size, size_t at);
size_t cuts_wide_stop(const char *text, size_t size, size_t at);

/* The first border between two characters as readers see them (a letter with its marks is one) at or after `at`. */
size_t cuts_character(const char *text, size_t size, size_t at);

#endif
