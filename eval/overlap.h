/* overlap: how much two texts share, as LongBench's metrics count it. All are 0 to 1, NaN without memory. */
#ifndef JUDGEQ_EVAL_OVERLAP_H
#define JUDGEQ_EVAL_OVERLAP_H

/* F1 of the words, without case, ASCII punctuation and English articles (SQuAD's, Rajpurkar et al. 2016). */
double overlap_f1(const char *answer, const char *reference);
/* F1 of Chinese words without punctuation. */
double overlap_f1_zh(const char *answer, const char *reference);

/* ROUGE-L of summaries (Lin 2004) as PyPI's rouge 1.0.1 counts it: over sets of words, sentences end at ".". That
 * package fails, and LongBench then scores 0, on sentences too long for Python's stack; here they are scored. */
double overlap_rouge_l(const char *answer, const char *reference);
/* The same over Chinese words. */
double overlap_rouge_l_zh(const char *answer, const char *reference);

/* Edit similarity as fuzzywuzzy's ratio without python-Levenshtein: difflib's ratio of matching blocks (Ratcliff and
 * Metzener 1988), with difflib's rule that characters popular in a reference of 200 or more match nothing; rounded to a
 * hundredth. */
double overlap_ratio(const char *answer, const char *reference);

#endif
