/* rank: the best rows of a list, in O(n), with one answer for equal scores on every machine.
 * A rank key is a 64-bit number above 0; the larger key is the better row. */
#ifndef JUDGEQ_SRC_RANK_H
#define JUDGEQ_SRC_RANK_H

#include <stdint.h>

/* The larger score is better; of equal scores the earlier position (>= 0). NaN is below everything. */
uint64_t rank_key(float score, int32_t position);

/* Takes the `count` largest of key[n] by setting them to 0; of equal keys those that come first. Keys that are 0 are
 * taken already. Takes all that are left where there are fewer. Returns how many it took. */
int64_t rank_take(uint64_t *key, int64_t n, int64_t count);

#endif
