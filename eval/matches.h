/* matches: LongBench's metrics that look for one right thing in an answer. All are 0 to 1, NaN without memory. */
#ifndef JUDGEQ_EVAL_MATCHES_H
#define JUDGEQ_EVAL_MATCHES_H

#include <jansson.h>

/* Of the numbers in the answer, the share that equals the reference. */
double matches_count(const char *answer, const char *reference);
/* The same for the number after `label` in the reference: "Paragraph ", "段落". 0 where there is none. */
double matches_retrieval(const char *answer, const char *reference, const char *label);

/* 1 / n where the answer names the reference and n classes in all. A class that is only a part of the reference does
 * not count, but as in LongBench's loop, which removes from the list it walks, the class after such a one is not
 * tested. */
double matches_classification(const char *answer, const char *reference, const json_t *classes);

/* Edit similarity (overlap_ratio) of the answer's first line without ` # or //. */
double matches_code(const char *answer, const char *reference);

#endif
