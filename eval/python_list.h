/* python_list: lists of strings as Python's repr() writes them, which some copies of LongBench hold in place of arrays.
 */
#ifndef JUDGEQ_EVAL_PYTHON_LIST_H
#define JUDGEQ_EVAL_PYTHON_LIST_H

#include <jansson.h>

/* "['a', \"b\"]" as an array of texts; NULL where it is something else, or without memory. */
json_t *python_list_parse(const char *text);

#endif
