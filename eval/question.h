/* question: what a sample asks, in a few words, for those who read the results. */
#ifndef JUDGEQ_EVAL_QUESTION_H
#define JUDGEQ_EVAL_QUESTION_H

#include "sample.h"

enum { QUESTION_MOST = 600 }; /* bytes, and an ellipsis */

/* The question, or the prompt's end where the file does not say which part is the question, and what is asked after it,
 * in lines; of more than QUESTION_MOST bytes the last ones. The caller's: free(). NULL without memory. */
char *question_of(const sample *sample);

#endif
