/* read: tokens through all layers, layer by layer. Attention is causal, so all of them can pass through layer 0 before
 * layer 1 starts; when a layer is done its scores are final, and it is cut down before the next one's rows exist. The
 * peak is one layer's rows held and new, the layers already cut down, the rows held before, which stay until the read
 * is complete, and the hidden states [n_new + n_soft, n_embd]; where the policy reads again, with those of the second
 * reading, and room for its longest piece in the layer. */
#include "reading.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "lookahead.h"
#include "model/tensors.h"
#include "watch.h"

/* Shorter prompts do not pay for a layer's expansion. */
enum { EXPAND_LEAST = 64 };

/* Of the judge's soft tokens, the first ones are enough to choose again while tokens are decoded, where every row
 * counts as much as a token. They do not see those after them, so they score as they do among all. Of the default
 * judge's 32, 4 find as many of the rows that the answer attends to as 8, and 3 do not: docs/policies/judge.md. */
enum { SOFT_MOST = 4 };

/* A graph reads at most CHUNK_MOST rows of the prompt; of these, at most ROWS_MOST attend at once. Both are fewer, but
 * at least ROWS_LEAST, where their attention [n_head, rows, n_key] would exceed GRAPH_BYTES, so that a graph stays
 * small, or CACHE_BYTES, so that it stays in the CPU's cache. */
enum { CHUNK_MOST = 512, ROWS_MOST = 128, ROWS_LEAST = 16, GRAPH_BYTES = 96 << 20, CACHE_BYTES = 8 << 20 };

/* ---- set-up ------------------------------------------------------------------------------------------------------ */

static int32_t rows_that_fit(const judgeq_model *model, int32_t n_key, int64_t bytes, int32_t most) {
    const int64_t row = (int64_t)model->info.n_head * n_key * (int64_t)sizeof(float), fits = bytes / row;
    return fits > most ? most : fits < ROWS_LEAST ? ROWS_LEAST : (int32_t)fits;
}

/* Rows that stand after the new ones at a time, at most. */
static int32_t most_after(const reading *r) {
    return r->n_soft > r->again.longest ? r->n_soft : r->again.longest;
}

/* Plain mode: as libllama does by default. A probe that is every row needs a chunk's attention in one piece. */
static void choose_rows(reading *r) {
    const judgeq_session_params *params = &r->reader[0].session->params;
    const int32_t n_key = r->n_held + r->n_new + most_after(r);
    bool all = false;
    for (size_t i = 0; i < 2 * r->n_reader; i++) {
        const scorer *s = &r->reader[i / 2].scorer[i % 2];
        all = all || (s->active && s->end[0] - s->first[0] > ROWS_MOST);
    }
    r->chunk = params->chunk > 0 ? params->chunk : CHUNK_MOST;
    r->again_chunk = params->chunk > 0 ? params->chunk : rows_that_fit(r->model, n_key, GRAPH_BYTES, CHUNK_MOST);
    if (params->plain_weights) return;
    if (all && params->chunk == 0) r->chunk = rows_that_fit(r->model, n_key, GRAPH_BYTES, CHUNK_MOST);
    r->rows_at_once = rows_that_fit(r->model, n_key, CACHE_BYTES, ROWS_MOST);
    const int32_t least = r->chunk / GRAPH_PARTS + (r->chunk % GRAPH_PARTS > 0);
    if (r->rows_at_once < least) r->rows_at_once = least;
}

/* Writes the embeddings of tokens into `hidden`, from row `first` on. */
static judgeq_status embed_tokens(reading *r, const int32_t *token, int32_t n_token, int32_t first,
                                  judgeq_error *error) {
    for (int32_t start = 0; start < n_token; start += CHUNK_MOST) {
        const int32_t n = n_token - start < CHUNK_MOST ? n_token - start : CHUNK_MOST;
        graph *g = graph_begin(r->engine);
        struct ggml_tensor *ids = graph_input(g, GGML_TYPE_I32, n, 1);
        struct ggml_tensor *rows = ggml_view_2d(g->context, r->hidden, r->hidden->ne[0], n, r->hidden->nb[1],
                                                (size_t)(first + start) * r->hidden->nb[1]);
        struct ggml_tensor *copied = ggml_cpy(g->context, block_add_embedding(g, r->model, ids), rows);
        judgeq_status status = graph_allocate(r->engine, copied, error);
        if (status != JUDGEQ_OK) return status;
        ggml_backend_tensor_set(ids, token + start, 0, (size_t)n * sizeof *token);
        status = graph_compute(r->engine, GRAPH_ROWS, 0, error);
        if (status != JUDGEQ_OK) return status;
    }
    return JUDGEQ_OK;
}

/* The rows that enter the first layer: the tokens' embeddings, the soft tokens, and the second reading's. */
static judgeq_status embed(reading *r, judgeq_error *error) {
    judgeq_status status = embed_tokens(r, r->tokens, r->n_new, 0, error);
    if (status == JUDGEQ_OK && r->n_soft > 0) {
        ggml_backend_tensor_set(r->hidden, judgeq_judge_soft_tokens(r->judge), (size_t)r->n_new * r->hidden->nb[1],
                                (size_t)r->n_soft * r->hidden->nb[1]);
    }
    if (status != JUDGEQ_OK) return status;
    return embed_tokens(r, r->again.token, r->again.n_row, r->n_new + r->n_soft, error);
}

static const char HIDDEN[] = "the hidden states of what is read";

/* The session as one that has the new tokens, but not yet their rows. */
static void enter(reading *r, size_t i, judgeq_session *session) {
    r->before[i] = (before){.layer = session->layer,
                            .logits = session->logits,
                            .deferred = session->deferred,
                            .n_deferred = session->n_deferred,
                            .n_prompt = session->n_prompt,
                            .n_position = session->n_position,
                            .turn_from = session->turn_from,
                            .turn_to = session->turn_to,
                            .budget = session->stats.budget,
                            .slack = session->slack,
                            .prefilled = session->prefilled};
    session->held = session->layer;
    session->deferred = NULL;
    session->n_deferred = 0;
    session->n_prompt = r->n_position + r->n_new;
    if (r->n_new > 0) {
        session->turn_to = session->n_prompt;
        session->turn_from = session->turn_to - (session->unread ? (int32_t)session->unread_at : r->n_new);
    }
    session_set_budgets(session);
    session->choosing = r->n_new == 0;
    session->reading = r;
}

static judgeq_status allocate(reading *r, size_t n_session, const int32_t *tokens, judgeq_error *error) {
    const judgeq_model_info *info = &r->model->info;
    r->tokens = malloc(((size_t)r->n_new + 1) * sizeof *r->tokens);
    r->reader = calloc(n_session + 1, sizeof *r->reader);
    r->before = calloc(n_session + 1, sizeof *r->before);
    r->by_run = calloc((size_t)info->n_head_kv + 1, sizeof(struct ggml_tensor *));
    if (!r->tokens || !r->reader || !r->before || !r->by_run) return error_memory(error, HIDDEN);
    if (r->n_new > 0) memcpy(r->tokens, tokens, (size_t)r->n_new * sizeof *tokens);
    return JUDGEQ_OK;
}

static judgeq_status allocate_hidden(reading *r, judgeq_error *error) {
    judgeq_status status = tensors_new(1, HIDDEN, &r->context, error);
    if (status != JUDGEQ_OK) return status;
    const int64_t n_row = (int64_t)r->n_new + r->n_soft + r->again.n_row;
    r->hidden = ggml_new_tensor_2d(r->context, GGML_TYPE_F32, r->model->info.n_embd, n_row > 0 ? n_row : 1);
    return tensors_allocate(r->context, ggml_backend_get_default_buffer_type(r->engine->backend), HIDDEN, &r->buffer,
                            error);
}

/* What the session reads a second time. */
static judgeq_status plan_again(reading *r, reader *rd, judgeq_error *error) {
    int32_t first, end;
    rd->again = again_due(rd->session);
    if (!rd->again) return JUDGEQ_OK;
    const judgeq_status status = again_add(&r->again, rd->session, &first, &end, error);
    if (status == JUDGEQ_OK) reader_read_again(rd, r->n_new + r->n_soft + first, r->n_new + r->n_soft + end);
    return status;
}

static judgeq_status enter_all(reading *r, judgeq_session *const *session, size_t n_session, judgeq_error *error) {
    const size_t n_layer = (size_t)r->model->info.n_layer;
    for (size_t i = 0; i < n_session; i++) {
        /* before anything is there to be put back */
        judgeq_status status = session_token_room(session[i], (size_t)r->n_position + (size_t)r->n_new, error);
        if (status != JUDGEQ_OK) return status;
        /* after the sequence, which does not end with them before the read does */
        if (r->n_new > 0) memcpy(session[i]->tokens + r->n_position, r->tokens, (size_t)r->n_new * sizeof *r->tokens);
        cache_layer *next = calloc(n_layer, sizeof *next);
        if (!next) return error_memory(error, "a session's layers");
        enter(r, i, session[i]);
        r->reader[i].next = next;
        r->n_reader++;
        status = reader_init(&r->reader[i], session[i], r->n_new, r->n_soft, error);
        if (status == JUDGEQ_OK) status = plan_again(r, &r->reader[i], error);
        if (status != JUDGEQ_OK) return status;
    }
    return JUDGEQ_OK;
}

static judgeq_status start(reading *r, judgeq_session *const *session, size_t n_session, const int32_t *tokens,
                           judgeq_error *error) {
    for (size_t i = 0; i < n_session; i++) {
        const int32_t n_soft = session_soft_rows(session[i]);
        r->n_soft = n_soft > r->n_soft ? n_soft : r->n_soft;
    }
    if (r->n_new == 0 && r->n_soft > SOFT_MOST) r->n_soft = SOFT_MOST;
    judgeq_status status = allocate(r, n_session, tokens, error);
    if (status == JUDGEQ_OK) status = enter_all(r, session, n_session, error);
    if (status == JUDGEQ_OK) status = allocate_hidden(r, error);
    if (status != JUDGEQ_OK) return status;
    choose_rows(r);
    const double clock = clock_seconds();
    status = embed(r, error);
    r->embed_s = clock_seconds() - clock;
    if (status != JUDGEQ_OK || session[0]->params.plain_weights || r->n_new < EXPAND_LEAST) return status;
    status = expand_kept(r->model, &r->expanded, error);
    if (status != JUDGEQ_OK || r->expanded || r->model->n_device > 0) return status;
    return expand_init(&r->expand, r->model, EXPAND_MULTIPLY, r->engine, error);
}

judgeq_status read_begin(judgeq_session *const *session, size_t n_session, const int32_t *tokens, int32_t n_new,
                         reading **out, judgeq_error *error) {
    const judgeq_session *first = session[0];
    const double clock = clock_seconds();
    *out = NULL;
    reading *r = calloc(1, sizeof *r);
    if (!r) return error_memory(error, "a read");
    *r = (reading){.model = first->model,
                   .judge = first->judge,
                   .engine = &first->engine->graphs,
                   .n_new = n_new,
                   .n_held = session_most_rows(first),
                   .n_position = first->n_position,
                   .n_shift = first->n_shift};
    const judgeq_status status = start(r, session, n_session, tokens, error);
    if (status != JUDGEQ_OK) {
        read_end(r);
        return status;
    }
    r->spent_s = clock_seconds() - clock;
    *out = r;
    return JUDGEQ_OK;
}

/* ---- a step ------------------------------------------------------------------------------------------------------ */

static judgeq_status report(const reading *r, int32_t rows, judgeq_error *error) {
    const judgeq_session_params *params = &r->reader[0].session->params;
    if (!params->progress || r->n_new == 0) return JUDGEQ_OK;
    const int64_t of_layer = (int64_t)r->n_new + r->again.n_row;
    const int64_t total = of_layer * r->model->info.n_layer, done = of_layer * r->index + rows;
    if (params->progress(params->progress_data, done, total)) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_CANCELLED, "cancelled while reading, %lld of %lld rows done", (long long)done,
                     (long long)total);
}

/* The next of the new rows. */
static judgeq_status read_rows(reading *r, judgeq_error *error) {
    const int32_t begin = r->at, stop = r->n_new - begin < r->chunk ? r->n_new : begin + r->chunk;
    judgeq_status status = read_chunk(r, begin, stop, &r->blocks_s, error);
    r->at = stop;
    return status == JUDGEQ_OK ? report(r, stop, error) : status;
}

/* ---- a layer ----------------------------------------------------------------------------------------------------- */

static judgeq_status take_weights(reading *r, judgeq_error *error) {
    if (!r->expanded) return expand_layer(&r->expand, r->model, r->index, r->engine, &r->layer, error);
    r->layer = r->expanded[r->index].layer;
    return JUDGEQ_OK;
}

/* The rows that the layer holds, as numbers that can be read and chosen from, with room for those that come. */
static judgeq_status make_staging(reading *r, judgeq_error *error) {
    const judgeq_session *session = r->reader[0].session;
    const cache_layer *held = &session->held[r->index];
    const judgeq_model_info *info = &r->model->info;
    const enum ggml_type type = session_read_type(session);
    const int64_t n = (int64_t)r->n_new + most_after(r);
    if (held->buffer) return cache_layer_gather(held, NULL, type, n, &r->meter, &r->staging, error);
    const cache_shape shape = {type, info->n_head_kv, info->head_dim, session->kv_padding};
    return cache_layer_init_even(&r->staging, graph_engine_of_layer(r->engine, r->model, r->index), shape, n, &r->meter,
                                 error);
}

static void free_staging(reading *r) {
    for (size_t i = 0; i < r->n_reader; i++) r->reader[i].session->meter.bytes -= r->staged;
    r->staged = 0;
    cache_layer_free(&r->staging);
}

static judgeq_status open_layer(reading *r, judgeq_error *error) {
    judgeq_status status = make_staging(r, error);
    if (status != JUDGEQ_OK) return status;
    r->staged = cache_layer_allocated(&r->staging);
    for (size_t i = 0; i < r->n_reader; i++) cache_meter_add(&r->reader[i].session->meter, r->staged);
    for (size_t i = 0; status == JUDGEQ_OK && i < r->n_reader; i++) {
        status = reader_start_layer(&r->reader[i], r->index, (int64_t)r->n_held + r->n_new, error);
    }
    const double clock = clock_seconds();
    if (status == JUDGEQ_OK) status = take_weights(r, error);
    r->blocks_s += clock_seconds() - clock;
    return status;
}

static judgeq_status close_layer(reading *r, judgeq_error *error) {
    judgeq_status status = r->n_soft > 0 ? read_soft_rows(r, error) : JUDGEQ_OK;
    if (status == JUDGEQ_OK) status = expand_check(&r->expand, error);
    for (size_t i = 0; status == JUDGEQ_OK && i < r->n_reader; i++) {
        if (r->n_new == 0) status = reader_add_window(&r->reader[i], r->index, &r->staging, error);
        if (status == JUDGEQ_OK) status = reader_retain(&r->reader[i], r->index, &r->staging, r->n_reader == 1, error);
    }
    if (!r->staging.buffer) r->staged = 0; /* taken whole */
    free_staging(r);
    r->index++;
    r->at = r->again_at = 0;
    return status;
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

static judgeq_status read_logits(reading *r, judgeq_error *error) {
    if (r->n_new == 0) return JUDGEQ_OK;
    graph *g = graph_begin(r->engine);
    struct ggml_tensor *x = ggml_view_2d(g->context, r->hidden, r->hidden->ne[0], 1, r->hidden->nb[1],
                                         (size_t)(r->n_new - 1) * r->hidden->nb[1]);
    struct ggml_tensor *logits = block_add_logits(g, r->model, x);
    judgeq_status status = graph_allocate(r->engine, logits, error);
    if (status == JUDGEQ_OK) status = graph_compute(r->engine, GRAPH_TOKEN, 0, error);
    for (size_t i = 0; status == JUDGEQ_OK && i < r->n_reader; i++) {
        judgeq_session *session = r->reader[i].session;
        session->logits = NULL; /* those before are kept aside */
        status = session_logits_room(session, error);
        if (status == JUDGEQ_OK) ggml_backend_tensor_get(logits, session->logits, 0, ggml_nbytes(logits));
    }
    return status == JUDGEQ_OK ? session_check_logits(r->reader[0].session, error) : status;
}

/* The same logits in a place of their own: looking ahead overwrites them, and a failure must not. */
static judgeq_status copy_logits(judgeq_session *session, judgeq_error *error) {
    const float *same = session->logits;
    session->logits = NULL;
    const judgeq_status status = session_logits_room(session, error);
    if (status == JUDGEQ_OK) memcpy(session->logits, same, (size_t)session->model->info.n_vocab * sizeof *same);
    return status;
}

/* The sessions have the rows that were read, for policies that decode before they choose. */
static judgeq_status look_ahead(reading *r, judgeq_error *error) {
    judgeq_session **ahead = malloc(r->n_reader * sizeof(judgeq_session *));
    size_t n = 0;
    if (!ahead) return error_memory(error, "sessions that look ahead");
    judgeq_status status = JUDGEQ_OK;
    for (size_t i = 0; status == JUDGEQ_OK && i < r->n_reader; i++) {
        judgeq_session *session = r->reader[i].session;
        if (r->n_new == 0 && session_looks_ahead(session)) status = copy_logits(session, error);
        session->layer = r->reader[i].next;
        r->reader[i].next = NULL;
        session->n_position = session->n_prompt;
        if (session_looks_ahead(session)) ahead[n++] = session;
    }
    if (status == JUDGEQ_OK && n > 0) status = lookahead_run(ahead, n, error);
    free((void *)ahead);
    return status;
}

/* What the read took, and how much of it was reading. */
static void note_times(reading *r) {
    for (size_t i = 0; i < r->n_reader; i++) {
        judgeq_stats *stats = &r->reader[i].session->stats;
        if (r->n_new == 0) continue; /* bound.h notes what that takes */
        stats->embed_s += r->embed_s;
        stats->blocks_s += r->blocks_s;
        stats->prefill_s += session_looks_ahead(r->reader[i].session) ? r->spent_s : r->read_s;
    }
}

static judgeq_status step(reading *r, judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    if (!r->staging.buffer) status = open_layer(r, error);
    if (status == JUDGEQ_OK && r->index == 0 && r->at == 0) status = report(r, 0, error);
    if (status != JUDGEQ_OK) return status;
    if (r->at < r->n_new) {
        status = read_rows(r, error);
    } else if (r->again_at < r->again.n_row) {
        status = read_rows_again(r, error);
        if (status == JUDGEQ_OK) status = report(r, r->n_new + r->again_at, error);
    }
    if (status == JUDGEQ_OK && r->at == r->n_new && r->again_at == r->again.n_row) status = close_layer(r, error);
    return status;
}

judgeq_status read_step(reading *r, bool *done, judgeq_error *error) {
    const double clock = clock_seconds();
    *done = false;
    judgeq_status status = step(r, error);
    if (status == JUDGEQ_OK && r->index == r->model->info.n_layer) {
        status = read_logits(r, error);
        r->read_s = r->spent_s + clock_seconds() - clock;
        if (status == JUDGEQ_OK) status = look_ahead(r, error);
        *done = r->complete = status == JUDGEQ_OK;
    }
    r->spent_s += clock_seconds() - clock;
    if (r->complete) note_times(r);
    return status;
}

static void free_layers(const reading *r, cache_layer *layer) {
    for (int32_t l = 0; layer && l < r->model->info.n_layer; l++) cache_layer_free(&layer[l]);
    free(layer);
}

/* The session has what was read, and what it was before is freed. */
static void keep(const reading *r, reader *rd, before *b) {
    judgeq_session *session = rd->session;
    session->n_read += r->n_new;
    if (rd->again) session->n_scored = session->n_prompt;
    if (r->n_new > 0) session->ring_from = session->n_position;
    reader_hand_over(rd);
    session->prefilled = true;
    watch_end(session);
    free_layers(r, b->layer);
    if (r->n_new > 0) {
        free(b->deferred);
    } else { /* the answer still begins with these */
        free(session->deferred);
        session->deferred = b->deferred;
        session->n_deferred = b->n_deferred;
    }
    if (session->logits != b->logits) free(b->logits);
}

/* The session is what it was before. */
static void put_back(const reading *r, judgeq_session *session, const before *b) {
    if (session->layer != b->layer) free_layers(r, session->layer);
    if (session->logits != b->logits) free(session->logits);
    free(session->deferred);
    session->layer = b->layer;
    session->logits = b->logits;
    session->deferred = b->deferred;
    session->n_deferred = b->n_deferred;
    session->n_prompt = b->n_prompt;
    session->n_position = b->n_position;
    session->turn_from = b->turn_from;
    session->turn_to = b->turn_to;
    session->stats.budget = b->budget;
    session->slack = b->slack;
    session->prefilled = b->prefilled;
}

void read_end(reading *r) {
    if (!r) return;
    if (r->staging.buffer) free_staging(r);
    for (size_t i = 0; i < r->n_reader; i++) {
        judgeq_session *session = r->reader[i].session;
        if (r->complete) {
            keep(r, &r->reader[i], &r->before[i]);
        } else {
            put_back(r, session, &r->before[i]);
        }
        session_forget_scores(session);
        session->held = NULL;
        session->reading = NULL;
        session->choosing = false;
        free_layers(r, r->reader[i].next);
        reader_free(&r->reader[i]);
    }
    free(r->tokens);
    free(r->reader);
    free(r->before);
    free((void *)r->by_run);
    again_plan_free(&r->again);
    expand_free(&r->expand);
    ggml_backend_buffer_free(r->buffer);
    ggml_free(r->context);
    free(r);
}
