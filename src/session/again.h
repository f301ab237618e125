/* again: the second reading of a policy whose probe is `again` (KVzip, arXiv 2505.23416). Once all rows of a layer are
 * there, the model is asked to repeat the sequence, piece by piece, and given the piece; how much the rows of this
 * second reading attend to a piece's rows says what the piece cannot be repeated without. Pieces come after the
 * sequence, all at the same positions, and leave no rows.
 *
 * A row is scored once, by its own piece. What is read again is therefore what came since the last time, and nothing as
 * long as every row stays anyhow. */
#ifndef JUDGEQ_SRC_AGAIN_H
#define JUDGEQ_SRC_AGAIN_H

#include "state.h"

/* Tokens [first, end) of the sequence behind an instruction: rows [row, row + n_row) of the plan. */
typedef struct again_piece {
    int32_t most; /* tokens of the pieces that this one is of */
    int32_t from; /* the first token that is read again: rows before it have their scores */
    int32_t first, end;
    int32_t row, n_row;
} again_piece;

/* What a read reads a second time. */
typedef struct again_plan {
    again_piece *piece; /* [n_piece] */
    size_t n_piece;
    int32_t *token; /* [n_row], of all pieces */
    int32_t n_row, longest;
} again_plan;

/* Tokenises the instructions, where the session's policy needs them. */
judgeq_status again_init(judgeq_session *session, judgeq_error *error);
void again_free(judgeq_session *session);

/* Rows of a piece beside its tokens, at most; 0 for policies that read once. */
int32_t again_beside(const judgeq_session *session);

/* Fails with LIMIT where a read of n tokens leaves no room in the context to read them again. */
judgeq_status again_check(const judgeq_session *session, size_t n, judgeq_error *error);

/* Whether the read under way, which made n_prompt what it is, reads again: only if rows are dropped. */
bool again_due(const judgeq_session *session);

/* Adds the pieces of a session that is due to a plan, unless those of another one are the same: rows [*first, *end) of
 * the plan are its own. Its tokens are those up to n_prompt. */
judgeq_status again_add(again_plan *plan, const judgeq_session *session, int32_t *first, int32_t *end,
                        judgeq_error *error);
void again_plan_free(again_plan *plan);

/* The piece that has a row of the plan. */
const again_piece *again_piece_at(const again_plan *plan, int32_t row);

#endif
