/* data_facts: retrieval prompts for a training set. Facts that no passage holds by itself are hidden in one, and some
 * of them are asked for. */
#ifndef JUDGEQ_CLI_DATA_FACTS_H
#define JUDGEQ_CLI_DATA_FACTS_H

#include <stddef.h>

#include <jansson.h>

#include "chance.h"

/* passage[0..length) with one to eight facts between its sentences, and a question about one of them, or about several
 * at once, before or after it. Kinds, values, places and question follow from *random, which goes on. What a right
 * answer names is appended to `answers`, an array. NULL where memory ran out; the caller frees it. */
char *data_facts_hide(chance *random, const char *passage, size_t length, json_t *answers);

/* The same with four to eight facts and without a question, for questions that come later: one about each fact is
 * appended to `questions`, an array of {"question", "answers"}, in no order of the passage. */
char *data_facts_hide_all(chance *random, const char *passage, size_t length, json_t *questions);

#endif
