/* second: a choice that is made for two. Reading a judge's soft tokens takes as long as decoding some tokens. So a
 * choice by them also says which of the rows that stay will stay at the next one, when the slack is used up once more:
 * as many fewer as tokens are decoded until then, whose own rows all stay. That one reads nothing, and the one after it
 * reads again. A budget is at least twice the slack, so that half of its rows or more were chosen by their scores. */
#ifndef JUDGEQ_SRC_SECOND_H
#define JUDGEQ_SRC_SECOND_H

#include "state.h"

/* Whether a choice that is made now, of a session whose budgets are set for it, is made for two. */
bool second_wanted(const judgeq_session *session);

/* The budget of the rows that stay at the next choice. */
int32_t second_budget(const judgeq_session *session, int32_t index);

/* The session's next choice is this [n_layer], which it owns from now on; NULL: it reads. */
void second_set(judgeq_session *session, select_kept *choice);
void second_free(select_kept *choice, int32_t n_layer);

/* That choice, now. The session is what it was after an error. */
judgeq_status second_cut(judgeq_session *session, judgeq_error *error);

/* The same of another session, which has the same rows. */
judgeq_status second_copy(const judgeq_session *from, judgeq_session *to, judgeq_error *error);

/* What a file of the session holds of it: for each row of a layer, one head after the other, 1 where it stays. */
void second_get_stays(const judgeq_session *session, int32_t index, int8_t *out);
/* Puts it back into the session's `second`, whose layer has its rows already. */
judgeq_status second_set_stays(judgeq_session *session, int32_t index, const int8_t *stays, judgeq_error *error);

#endif
