/* support: whether a model's devices can compute what a session will ask of them. */
#ifndef JUDGEQ_SRC_SUPPORT_H
#define JUDGEQ_SRC_SUPPORT_H

#include "state.h"

/* Fails with UNSUPPORTED, naming device and operation. Nothing is computed. */
judgeq_status support_check(judgeq_session *session, judgeq_error *error);

#endif
