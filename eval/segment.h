/* segment: Chinese text cut into words. */
#ifndef JUDGEQ_EVAL_SEGMENT_H
#define JUDGEQ_EVAL_SEGMENT_H

/* The words with spaces between them; the caller's: free(). NULL without memory. Every Han character is a word of its
 * own, and so is a run of letters and digits, and any other character (docs/evaluation.md compares with jieba). */
char *segment_chinese(const char *text);

#endif
