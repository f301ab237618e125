/* read: tokens on from where a session is, through all layers, one layer after the other: a prompt, a turn, or no token
 * at all, which lets the policy choose again among the rows held. */
#ifndef JUDGEQ_SRC_READ_H
#define JUDGEQ_SRC_READ_H

#include "state.h"

/* Starts to read tokens[n_new] into all sessions: they share a model, a judge and the type that rows are read in. More
 * than one only where none has read anything; the blocks are computed once, by the first session's engine. Until
 * read_end, the sessions must not be used otherwise. */
judgeq_status read_begin(judgeq_session *const *session, size_t n_session, const int32_t *tokens, int32_t n_new,
                         reading **out, judgeq_error *error);
/* Reads one chunk of one layer. *done: it was the last one. After an error, only read_end. */
judgeq_status read_step(reading *r, bool *done, judgeq_error *error);
/* Releases it. Unless it was done, the sessions are then what they were before. Accepts NULL. */
void read_end(reading *r);

#endif
