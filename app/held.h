/* held: what a session still holds of its tokens. */
#ifndef JUDGEQ_APP_HELD_H
#define JUDGEQ_APP_HELD_H

#include <stddef.h>
#include <stdint.h>

#include "judgeq.h"

/* How many of the layers and KV heads hold each of the sequence's first n tokens, as a share: share [n]. layer, head:
 * only that one; -1: all. */
void held_shares(const judgeq_model *model, const judgeq_session *session, int32_t layer, int32_t head, float *share,
                 size_t n);

/* All tokens of a sequence, and the share of the layers and KV heads that hold each of them. */
typedef struct held_tokens {
    int32_t *token; /* [n] */
    float *share;   /* [n] */
    size_t n;
} held_tokens;

/* A copy, which outlives the session. *out is to be freed in any case. */
judgeq_status held_take(const judgeq_model *model, const judgeq_session *session, held_tokens *out,
                        judgeq_error *error);
void held_free(held_tokens *h);

#endif
