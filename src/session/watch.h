/* watch: the attention of decoded tokens to the prompt, added up layer by layer. */
#ifndef JUDGEQ_SRC_WATCH_H
#define JUDGEQ_SRC_WATCH_H

#include "state.h"

/* Adds the attention of the token just decoded: blocks [n_layer] of a step that wanted it. */
judgeq_status watch_add(judgeq_session *session, const block_result *blocks, judgeq_error *error);

/* From now on, nothing is added up. */
void watch_end(judgeq_session *session);

#endif
