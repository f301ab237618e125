#include "again.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* KVzip's words; they are part of the method. */
static const char ASK_WHOLE[] = "\n\nRepeat the previous context exactly.";
static const char ASK_PART[] = "\n\nRepeat the part of the previous context exactly, starting with";

/* After ASK_PART come so many tokens from before the piece. */
enum { LEAD = 8 };

/* The context's end makes pieces shorter, down to this. While tokens are decoded, one of this length may pass the
 * context, as soft tokens and lookaheads do. */
enum { PIECE_LEAST = 16 };

/* ---- the instructions -------------------------------------------------------------------------------------------- */

static judgeq_status tokenise(const judgeq_model *model, const char *text, unsigned flags, session_tokens *out,
                              judgeq_error *error) {
    return judgeq_tokenize(model, text, strlen(text), flags, &out->token, &out->n, error);
}

/* What the chat template has between a user's last word and the assistant's first. A model without a template that can
 * be rendered has a line's end there. */
static judgeq_status tokenise_turn(const judgeq_model *model, session_tokens *out, judgeq_error *error) {
    static const char mark[] = "\n#############";
    const judgeq_message message = {"user", "context\n#############"};
    const judgeq_chat_params params = {.think = JUDGEQ_THINK_OFF, .now = 1};
    char *text = NULL;
    const judgeq_status rendered = judgeq_chat_text(model, &message, 1, &params, &text, NULL);
    if (rendered == JUDGEQ_ERROR_MEMORY) return error_memory(error, "a chat template's text");
    const char *found = text ? strstr(text, mark) : NULL;
    const judgeq_status status = tokenise(model, found ? found + strlen(mark) : "\n", JUDGEQ_TEXT_CONTROL, out, error);
    judgeq_free(text);
    return status;
}

judgeq_status again_init(judgeq_session *session, judgeq_error *error) {
    if (!session->policy.probe.again) return JUDGEQ_OK;
    judgeq_status status = tokenise(session->model, ASK_WHOLE, JUDGEQ_TEXT_PLAIN, &session->ask_whole, error);
    if (status == JUDGEQ_OK) {
        status = tokenise(session->model, ASK_PART, JUDGEQ_TEXT_PLAIN, &session->ask_part, error);
    }
    return status == JUDGEQ_OK ? tokenise_turn(session->model, &session->ask_turn, error) : status;
}

void again_free(judgeq_session *session) {
    judgeq_free(session->ask_whole.token);
    judgeq_free(session->ask_part.token);
    judgeq_free(session->ask_turn.token);
}

/* ---- room -------------------------------------------------------------------------------------------------------- */

int32_t again_beside(const judgeq_session *session) {
    if (!session->policy.probe.again) return 0;
    const size_t whole = session->ask_whole.n, part = session->ask_part.n + LEAD;
    return (int32_t)((whole > part ? whole : part) + session->ask_turn.n);
}

judgeq_status again_check(const judgeq_session *session, size_t n, judgeq_error *error) {
    const judgeq_session_params *params = &session->params;
    const int64_t after = session->n_position + (int64_t)n;
    if (!session->policy.probe.again || params->unbounded || session_budget(session, (int32_t)after) >= after) {
        return JUDGEQ_OK;
    }
    const int32_t needed = again_beside(session) + PIECE_LEAST;
    const int64_t most = (int64_t)params->n_ctx - needed;
    if (after <= most) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_LIMIT,
                     "policy '%s' reads the prompt again behind it: %lld tokens and at least %d for an instruction and "
                     "a piece, but the context holds %d: use %lld tokens at most, or a budget of all of them",
                     session->policy.text, (long long)after, needed, params->n_ctx, (long long)(most > 0 ? most : 0));
}

/* ---- pieces ------------------------------------------------------------------------------------------------------ */

bool again_due(const judgeq_session *session) {
    return session->policy.probe.again > 0 && session->stats.budget < session->n_prompt &&
           session->n_scored < session->n_prompt;
}

/* Tokens of a piece: as the policy says, unless the context leaves less room. */
static int32_t piece_tokens(const judgeq_session *session) {
    const int32_t next = session->n_prompt - session->n_shift;
    const int32_t room = session->params.n_ctx - next - again_beside(session);
    const int32_t most = room < session->policy.probe.again ? room : session->policy.probe.again;
    return most > PIECE_LEAST ? most : PIECE_LEAST;
}

static int32_t *put(int32_t *to, const int32_t *token, size_t n) {
    if (n > 0) memcpy(to, token, n * sizeof *to);
    return to + n;
}

/* Tokens from `first` on, at most piece.most of them. */
static void add_piece(again_plan *plan, const judgeq_session *session, again_piece piece) {
    const int32_t lead = piece.first < LEAD ? piece.first : LEAD;
    int32_t *begin = plan->token + plan->n_row, *to = begin;
    if (piece.first == 0) {
        to = put(to, session->ask_whole.token, session->ask_whole.n);
    } else {
        to = put(to, session->ask_part.token, session->ask_part.n);
        to = put(to, session->tokens + piece.first - lead, (size_t)lead);
    }
    to = put(to, session->ask_turn.token, session->ask_turn.n);
    to = put(to, session->tokens + piece.first, (size_t)(piece.end - piece.first));
    piece.row = plan->n_row;
    piece.n_row = (int32_t)(to - begin);
    plan->n_row += piece.n_row;
    if (piece.n_row > plan->longest) plan->longest = piece.n_row;
    plan->piece[plan->n_piece++] = piece;
}

static judgeq_status reserve(again_plan *plan, size_t n_piece, size_t n_token, judgeq_error *error) {
    again_piece *piece = realloc(plan->piece, (plan->n_piece + n_piece) * sizeof *piece);
    if (piece) plan->piece = piece;
    int32_t *token = piece ? realloc(plan->token, ((size_t)plan->n_row + n_token) * sizeof *token) : NULL;
    if (token) plan->token = token;
    return token ? JUDGEQ_OK : error_memory(error, "what is read again");
}

/* Sessions that read together have read nothing before: pieces of the same length are the same. */
static bool has_same(const again_plan *plan, int32_t most, int32_t *first, int32_t *end) {
    bool found = false;
    for (size_t i = 0; i < plan->n_piece; i++) {
        if (plan->piece[i].most != most) continue;
        if (!found) *first = plan->piece[i].row;
        *end = plan->piece[i].row + plan->piece[i].n_row;
        found = true;
    }
    return found;
}

judgeq_status again_add(again_plan *plan, const judgeq_session *session, int32_t *first, int32_t *end,
                        judgeq_error *error) {
    const int32_t most = piece_tokens(session), from = session->n_scored, n = session->n_prompt - from;
    const size_t n_piece = (size_t)n / (size_t)most + 1; /* one more than needed, at most */
    if (has_same(plan, most, first, end)) return JUDGEQ_OK;
    const judgeq_status status = reserve(plan, n_piece, (size_t)n + n_piece * (size_t)again_beside(session), error);
    if (status != JUDGEQ_OK) return status;
    *first = plan->n_row;
    for (int32_t at = from; at < session->n_prompt; at += most) {
        const int32_t stop = session->n_prompt - at < most ? session->n_prompt : at + most;
        add_piece(plan, session, (again_piece){.most = most, .from = from, .first = at, .end = stop});
    }
    *end = plan->n_row;
    return JUDGEQ_OK;
}

void again_plan_free(again_plan *plan) {
    free(plan->piece);
    free(plan->token);
}

const again_piece *again_piece_at(const again_plan *plan, int32_t row) {
    size_t i = 0;
    while (row >= plan->piece[i].row + plan->piece[i].n_row) i++;
    return &plan->piece[i];
}
