/* lookahead: once all layers are read, for policies that decode tokens before they choose. */
#ifndef JUDGEQ_SRC_LOOKAHEAD_H
#define JUDGEQ_SRC_LOOKAHEAD_H

#include "state.h"

/* For n sessions that look ahead and have read one prompt: decodes, scores, and cuts each session->layer down to its
 * budget. Pseudo tokens are decoded together, and sessions of one policy share a response. */
judgeq_status lookahead_run(judgeq_session *const *session, size_t n, judgeq_error *error);

#endif
