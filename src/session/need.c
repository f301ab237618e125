/* need: the KV bytes that a session can have allocated, from its parameters and the number of its tokens: the same sums
 * as those of cache.c, read.c and lookahead.c, with as many rows as a layer can ever have. */
#include <math.h>
#include <stdlib.h>

#include "again.h"
#include "base/error.h"
#include "bound.h"
#include "state.h"

/* A session that was never made. */
typedef struct plan {
    judgeq_session session;
    enum ggml_type read_type;
    bool ragged;     /* heads of a layer may hold different numbers of rows: mean ones are counted */
    int64_t *before; /* [n_layer], rows per KV head before a read */
    int32_t *budget; /* [n_layer] */
    size_t *next;    /* [n_layer], bytes that a read leaves */
} plan;

static int64_t largest(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static size_t most_bytes(size_t a, size_t b) {
    return a > b ? a : b;
}

/* ---- caches ------------------------------------------------------------------------------------------------------ */

static int64_t padded(const plan *p, int64_t rows) {
    const int64_t padding = p->session.kv_padding;
    return (rows + padding - 1) / padding * padding;
}

/* A layer's cache of so many rows in each head, or on average, with room for `spare` more. */
static size_t layer_bytes(const plan *p, enum ggml_type type, int64_t rows, int64_t spare) {
    const int64_t n_head = p->session.model->info.n_head_kv, all = largest(rows + spare, 1);
    const int64_t padding = p->session.kv_padding;
    const int64_t capacity = p->ragged ? n_head * (all + padding - 1) / padding * padding : n_head * padded(p, all);
    return (size_t)capacity * model_row_bytes(p->session.model, type);
}

/* The most of such a cache that rows were added to one by one, up to so many (cache_layer_reserve). */
static size_t grown_bytes(const plan *p, enum ggml_type type, int64_t rows) {
    const size_t read = layer_bytes(p, type, rows, p->ragged);
    const int64_t full = p->ragged ? rows : (rows - 1) / p->session.kv_padding * p->session.kv_padding;
    const int64_t most = p->ragged ? rows * p->session.model->info.n_head_kv : full;
    return full < 1 ? read : most_bytes(read, layer_bytes(p, type, full, cache_spare_rows(most)));
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

/* The session's budgets as they are when a sequence of n tokens was read or chosen from. */
static void choose_among(plan *p, int64_t n) {
    p->session.n_prompt = (int32_t)n;
    session_set_budgets(&p->session);
}

static int64_t rows_left(const plan *p, int32_t layer) {
    return p->session.policy.keep_all ? p->session.n_prompt : p->session.layer_budget[layer];
}

/* Tokens that a lookahead may have left for the answer to begin with. */
static int64_t n_deferred(const plan *p) {
    return p->session.params.defer ? p->session.policy.probe.lookahead : 0;
}

/* Of n tokens decoded after that, those whose rows are there at any moment. */
static int64_t rows_added(const plan *p, int64_t n) {
    return n_deferred(p) + (p->session.slack > 0 ? least(n, p->session.slack) : n);
}

/* Where layers get different budgets, those of some are largest while the sequence is short: none of them changes any
 * more once it has so many times the budget, as the layer with the most has. 0: they are alike. */
static double most_share(const judgeq_session *session) {
    const float *share = session_layer_share(session);
    double most = 1;
    if (session->policy.keep_all) return 0;
    if (session->policy.allocate == POLICY_PYRAMID) return 2;
    if (!session->policy.layers_by_judge || !share) return 0;
    for (int32_t l = 0; l < session->model->info.n_layer; l++) most = fmax(most, (double)share[l]);
    return most;
}

static int64_t next_choice(const plan *p, int64_t n, int64_t end) {
    const int32_t budget = p->session.params.budget;
    const double most = most_share(&p->session);
    const bool changes = most > 0 && (budget == 0 || (double)n <= most * budget + 1);
    return changes || n >= end ? n + 1 : end;
}

/* p->before: the most rows of each layer when up to n_added tokens were decoded after a choice among `first` to `end`
 * tokens. The budgets become the largest of these choices. */
static void most_rows(plan *p, int64_t first, int64_t end, int64_t n_added) {
    const int32_t n_layer = p->session.model->info.n_layer;
    for (int32_t l = 0; l < n_layer; l++) p->before[l] = p->budget[l] = 0;
    for (int64_t n = largest(first, 1); n <= end; n = next_choice(p, n, end)) {
        choose_among(p, n);
        for (int32_t l = 0; l < n_layer; l++) {
            p->before[l] = largest(p->before[l], rows_left(p, l) + rows_added(p, n_added));
            p->budget[l] = (int32_t)largest(p->budget[l], rows_left(p, l));
        }
    }
    for (int32_t l = 0; l < n_layer; l++) p->session.layer_budget[l] = p->budget[l];
}

/* Candidates of a lookahead, or what the policy keeps, of n rows; as reader_retain. */
static int64_t rows_kept(const plan *p, int32_t layer, int64_t n, bool *whole) {
    const policy_probe *probe = &p->session.policy.probe;
    const bool ahead = session_looks_ahead(&p->session);
    *whole = p->session.policy.keep_all || (ahead && judgeq_policy_needs_full_cache(&p->session.policy));
    if (*whole) return n;
    const int64_t times = ahead && probe->among > 0 ? probe->among : 1;
    return least(times * p->session.layer_budget[layer], n);
}

/* Rows that a read puts after those of the tokens: soft ones, or a piece that is read again. */
static int64_t rows_behind(const plan *p) {
    const int64_t again = least(p->session.policy.probe.again, p->session.n_prompt) + again_beside(&p->session);
    return largest(session_soft_rows(&p->session), p->session.policy.probe.again > 0 ? again : 0);
}

/* Rows of all pieces when n_new tokens, and those decoded before, are read again. */
static int64_t rows_again(const plan *p, int64_t n_new) {
    const int64_t most = p->session.policy.probe.again, n = n_new + p->session.slack;
    return most > 0 ? n + (n / most + 1) * again_beside(&p->session) : 0;
}

/* ---- moments ----------------------------------------------------------------------------------------------------- */

/* What a lookahead adds to `held`, once the layers `next` are there. */
static size_t look_ahead_bytes(const plan *p, size_t held, int64_t n_new) {
    const policy_probe *probe = &p->session.policy.probe;
    const int64_t n_look = probe->lookahead > 0 ? probe->lookahead : probe->response;
    const bool apart = probe->first && probe->among == 0; /* decodes from a copy of the first policy's rows */
    size_t all = held, one = 0;
    for (int32_t l = 0; l < p->session.model->info.n_layer; l++) {
        bool whole;
        const int64_t n = p->before[l] + n_new, kept = rows_kept(p, l, n, &whole);
        size_t bytes = most_bytes(p->next[l], grown_bytes(p, p->read_type, kept + n_look));
        if (apart) {
            const int64_t first = least(p->session.layer_budget[l], n);
            bytes = p->next[l] + layer_bytes(p, p->read_type, first, n_look);
        }
        const size_t small = layer_bytes(p, p->session.kv_type, p->session.layer_budget[l] + n_look, 1);
        all += bytes;
        one = most_bytes(one, most_bytes(apart ? 0 : bytes, small));
    }
    return all + one;
}

/* The peak of a read of n_new tokens onto the rows `before`; 0: a choice. */
static size_t read_bytes(const plan *p, int64_t n_new) {
    const bool ahead = session_looks_ahead(&p->session);
    const enum ggml_type left = ahead ? p->read_type : p->session.kv_type;
    const int64_t n_behind = rows_behind(p);
    size_t held = 0, next = 0, peak = 0;
    for (int32_t l = 0; l < p->session.model->info.n_layer; l++) {
        held += p->before[l] > 0 ? grown_bytes(p, p->session.kv_type, p->before[l]) : 0;
    }
    for (int32_t l = 0; l < p->session.model->info.n_layer; l++) {
        bool whole;
        const int64_t kept = rows_kept(p, l, p->before[l] + n_new, &whole);
        const size_t staging = layer_bytes(p, p->read_type, p->before[l], n_new + n_behind);
        const bool taken = whole && left == p->read_type;
        p->next[l] = taken ? staging : layer_bytes(p, left, kept, 1);
        peak = most_bytes(peak, held + next + p->next[l] + (taken ? 0 : staging));
        next += p->next[l];
    }
    return ahead ? most_bytes(peak, look_ahead_bytes(p, held, n_new)) : peak;
}

/* The rows before a read that goes on after n tokens, of which up to n_answer may have been decoded. A choice leaves
 * room for one row more. */
static void set_before(plan *p, int64_t n, int64_t n_answer) {
    if (n > 0) choose_among(p, n);
    const int64_t decoded = least(n_answer, rows_added(p, n_answer));
    most_rows(p, n - decoded, n, n_answer);
    if (n > 0) n += !p->session.policy.keep_all;
    for (int32_t l = 0; l < p->session.model->info.n_layer; l++) p->before[l] = least(p->before[l], n);
}

/* Unbounded sessions read in pieces, the later ones onto what the first left. */
static size_t whole_read_bytes(plan *p, int64_t n_before, int64_t n_new, int64_t *n_piece) {
    const judgeq_session_params *params = &p->session.params;
    *n_piece = params->unbounded ? least(n_new, least(bound_piece_most(), params->n_ctx)) : n_new;
    set_before(p, n_before, n_before);
    choose_among(p, n_before + n_new);
    if (n_new == 0) return 0;
    const size_t first = read_bytes(p, *n_piece);
    if (!params->unbounded) return first;
    set_before(p, n_before + n_new, 0);
    return most_bytes(first, read_bytes(p, *n_piece));
}

static void answer_bytes(plan *p, int64_t n_read, int64_t n_answer, judgeq_need *out) {
    choose_among(p, n_read);
    const bool again = p->session.slack > 0 && n_answer + n_deferred(p) > p->session.slack;
    most_rows(p, n_read, again ? n_read + n_answer : n_read, largest(n_answer, !p->session.policy.keep_all));
    size_t one = 0;
    for (int32_t l = 0; l < p->session.model->info.n_layer; l++) {
        const size_t bytes = grown_bytes(p, p->session.kv_type, p->before[l]);
        out->held_bytes += bytes;
        one = most_bytes(one, bytes);
    }
    out->decode_bytes = out->held_bytes + one;
    if (again) out->decode_bytes = most_bytes(out->decode_bytes, read_bytes(p, 0));
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static judgeq_status allocate(plan *p, judgeq_error *error) {
    const size_t n_layer = (size_t)p->session.model->info.n_layer;
    p->session.layer_budget = calloc(n_layer, sizeof *p->session.layer_budget);
    p->before = calloc(n_layer, sizeof *p->before);
    p->budget = calloc(n_layer, sizeof *p->budget);
    p->next = calloc(n_layer, sizeof *p->next);
    if (p->session.layer_budget && p->before && p->budget && p->next) return JUDGEQ_OK;
    return error_memory(error, "the needs of a session");
}

static judgeq_status check_length(const plan *p, int64_t n_before, int64_t n_tokens, int64_t *n_answer,
                                  judgeq_error *error) {
    const int64_t n_ctx = p->session.params.unbounded ? INT32_MAX / 2 : p->session.params.n_ctx;
    if (n_before < 0 || n_tokens < 0 || *n_answer < 0) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "numbers of tokens below 0: %lld, %lld, %lld",
                         (long long)n_before, (long long)n_tokens, (long long)*n_answer);
    }
    if (n_before > n_ctx || n_tokens > n_ctx - n_before) {
        return error_set(error, JUDGEQ_ERROR_LIMIT, "the prompt has %lld tokens, the context holds %lld",
                         (long long)n_before + (long long)n_tokens, (long long)n_ctx);
    }
    *n_answer = least(*n_answer, n_ctx - n_before - n_tokens);
    return JUDGEQ_OK;
}

static judgeq_status plan_need(plan *p, int64_t n_before, int64_t n_tokens, int64_t n_answer, judgeq_need *out,
                               judgeq_error *error) {
    judgeq_status status = check_length(p, n_before, n_tokens, &n_answer, error);
    if (status == JUDGEQ_OK) status = allocate(p, error);
    if (status == JUDGEQ_OK) status = again_init(&p->session, error);
    if (status != JUDGEQ_OK || n_before + n_tokens == 0) return status;
    const policy_allocate own = p->session.policy.allocate, first = p->session.first_policy.allocate;
    p->read_type = session_read_type(&p->session);
    p->ragged = !p->session.policy.keep_all && (own == POLICY_ADA || first == POLICY_ADA);
    int64_t n_piece;
    out->read_bytes = whole_read_bytes(p, n_before, n_tokens, &n_piece);
    answer_bytes(p, n_before + n_tokens, n_answer, out);
    const int64_t n_row = n_piece + session_soft_rows(&p->session) + rows_again(p, n_piece);
    out->hidden_bytes = (size_t)n_row * (size_t)p->session.model->info.n_embd * sizeof(float);
    return JUDGEQ_OK;
}

judgeq_status judgeq_session_need(const judgeq_model *model, const judgeq_session_params *params, int64_t n_before,
                                  int64_t n_tokens, int64_t n_answer, judgeq_need *out, judgeq_error *error) {
    *out = (judgeq_need){0};
    plan p = {.ragged = false};
    judgeq_status status = session_configure(&p.session, model, params, error);
    if (status == JUDGEQ_OK) status = plan_need(&p, n_before, n_tokens, n_answer, out, error);
    again_free(&p.session);
    free(p.session.layer_budget);
    free(p.before);
    free(p.budget);
    free(p.next);
    return status;
}
