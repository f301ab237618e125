/* decode: one token into a session, or one each into several, through all layers at once. */
#ifndef JUDGEQ_SRC_DECODE_H
#define JUDGEQ_SRC_DECODE_H

#include "state.h"

/* Appends token[i] to session[i], for n different sessions of one model, and gives each its logits. One graph of the
 * first session's engine passes over the weights once; it is kept for the next call with as many sessions. Queries of
 * the tokens: session[0]->engine->decoder.query. */
judgeq_status decode_together(judgeq_session *const *session, size_t n, const int32_t *token, judgeq_error *error);

/* Appends one token by a graph of ggml's operations only, which sums as libllama does and can give back attention.
 * blocks [n_layer], or NULL: what `want` asked of each layer, valid until the next graph, as is want.by_run [n_layer,
 * n_head_kv]. */
judgeq_status decode_plainly(judgeq_session *session, int32_t token, block_want want, block_result *blocks,
                             judgeq_error *error);

/* Releases what an engine keeps for decode_together. */
void decoder_free(decoder *d);

#endif
