/* lookahead: after prefill, for policies that decode tokens before they choose. */
#ifndef JUDGEQ_SRC_LOOKAHEAD_H
#define JUDGEQ_SRC_LOOKAHEAD_H

#include "state.h"

/* Decodes, scores, and cuts session->layer down to the budget. */
judgeq_status lookahead_run(judgeq_session *session, judgeq_error *error);

#endif
