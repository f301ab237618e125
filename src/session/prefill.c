/* prefill: reads a prompt layer by layer, for one session or for several at once. Attention is causal, so the whole
 * prompt can pass through layer 0 before layer 1 starts; when a layer is done its scores are final, and it is cut down
 * before the next one's rows exist. The peak is one layer's full KV, the layers already cut down, and the hidden states
 * [n_prompt + n_soft, n_embd]. */
#include "prefill.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "cpu/product.h"
#include "cpu/product_kernel.h"
#include "engine/expand.h"
#include "evict.h"
#include "model/tensors.h"

/* Shorter prompts do not pay for a layer's expansion. */
enum { EXPAND_LEAST = 128 };

/* A graph reads at most CHUNK_MOST rows of the prompt; of these, at most ROWS_MOST attend at once. Both are fewer, but
 * at least ROWS_LEAST, where their attention [n_head, rows, n_key] would exceed GRAPH_BYTES, so that a graph stays
 * small, or CACHE_BYTES, so that it stays in the CPU's cache. */
enum { CHUNK_MOST = 512, ROWS_MOST = 128, ROWS_LEAST = 16, GRAPH_BYTES = 96 << 20, CACHE_BYTES = 8 << 20 };

/* A policy's probes that are rows of the prompt, or soft rows after it, and their attention in the current layer. */
typedef struct scorer {
    const judgeq_policy *policy;
    int32_t first[2], end[2]; /* rows [first, end): prompt rows, soft rows */
    bool active;
    score_map map;
} scorer;

/* A session that reads the prompt. scorer[0] scores for its policy, scorer[1] for the draft policy of its lookahead. */
typedef struct reader {
    judgeq_session *session;
    scorer scorer[2];
} reader;

typedef struct prefill {
    const judgeq_model *model;
    const judgeq_judge *judge;
    graph_engine *engine;
    const int32_t *tokens;
    int32_t n_prompt, n_soft;
    int32_t chunk, rows_at_once;
    reader *reader; /* [n_reader] */
    size_t n_reader;
    struct ggml_context *context;
    struct ggml_tensor *hidden; /* [n_prompt + n_soft, n_embd], input of the next layer */
    ggml_backend_buffer_t buffer;
    const model_expanded *expanded; /* [n_layer], the model's; or NULL */
    expand expand;
    model_layer layer; /* the layer that is being read, with weights from one of these */
    cache_meter meter; /* of the layer that is being read; the sessions' own meters count it too */
    double embed_s, blocks_s;
} prefill;

/* ---- set-up ------------------------------------------------------------------------------------------------------ */

static scorer scorer_of(const prefill *p, const judgeq_policy *policy) {
    const policy_probe *probe = &policy->probe;
    scorer s = {.policy = policy};
    int32_t rows = probe->all || probe->window > p->n_prompt ? p->n_prompt : probe->window;
    s.first[0] = p->n_prompt - rows;
    s.end[0] = p->n_prompt;
    s.first[1] = p->n_prompt;
    s.end[1] = p->n_prompt + (probe->soft ? (probe->n_soft ? probe->n_soft : p->n_soft) : 0);
    s.active = !policy->keep_all && (rows > 0 || s.end[1] > s.first[1]);
    return s;
}

static int32_t rows_that_fit(const judgeq_model *model, int32_t n_key, int64_t bytes, int32_t most) {
    const int64_t row = (int64_t)model->info.n_head * n_key * (int64_t)sizeof(float), fits = bytes / row;
    return fits > most ? most : fits < ROWS_LEAST ? ROWS_LEAST : (int32_t)fits;
}

/* Plain mode: as libllama does by default. A probe that is every row needs a chunk's attention in one piece. */
static void choose_rows(prefill *p) {
    const judgeq_session_params *params = &p->reader[0].session->params;
    const int32_t n_key = p->n_prompt + p->n_soft;
    bool all = false;
    for (size_t i = 0; i < 2 * p->n_reader; i++) {
        const scorer *s = &p->reader[i / 2].scorer[i % 2];
        all = all || (s->active && s->end[0] - s->first[0] > ROWS_MOST);
    }
    p->chunk = params->chunk > 0 ? params->chunk : CHUNK_MOST;
    if (params->plain_weights) return;
    if (all && params->chunk == 0) p->chunk = rows_that_fit(p->model, n_key, GRAPH_BYTES, CHUNK_MOST);
    p->rows_at_once = rows_that_fit(p->model, n_key, CACHE_BYTES, ROWS_MOST);
    const int32_t least = (p->chunk + GRAPH_PARTS - 1) / GRAPH_PARTS;
    if (p->rows_at_once < least) p->rows_at_once = least;
}

/* Writes the embeddings of the tokens into `hidden`, and the soft tokens after them. */
static judgeq_status embed(prefill *p, judgeq_error *error) {
    const int32_t n_embd = p->model->info.n_embd;
    for (int32_t start = 0; start < p->n_prompt; start += CHUNK_MOST) {
        const int32_t n = p->n_prompt - start < CHUNK_MOST ? p->n_prompt - start : CHUNK_MOST;
        graph *g = graph_begin(p->engine);
        struct ggml_tensor *ids = graph_input(g, GGML_TYPE_I32, n, 1);
        struct ggml_tensor *rows =
            ggml_view_2d(g->context, p->hidden, n_embd, n, p->hidden->nb[1], (size_t)start * p->hidden->nb[1]);
        struct ggml_tensor *copied = ggml_cpy(g->context, block_add_embedding(g, p->model, ids), rows);
        judgeq_status status = graph_allocate(p->engine, copied, error);
        if (status != JUDGEQ_OK) return status;
        ggml_backend_tensor_set(ids, p->tokens + start, 0, (size_t)n * sizeof *p->tokens);
        status = graph_compute(p->engine, GRAPH_ROWS, 0, error);
        if (status != JUDGEQ_OK) return status;
    }
    if (p->n_soft > 0) {
        ggml_backend_tensor_set(p->hidden, judgeq_judge_soft_tokens(p->judge), (size_t)p->n_prompt * p->hidden->nb[1],
                                (size_t)p->n_soft * p->hidden->nb[1]);
    }
    return JUDGEQ_OK;
}

static const char HIDDEN[] = "the prompt's hidden states";

static judgeq_status prefill_init(prefill *p, judgeq_session *const *session, size_t n_session, const int32_t *tokens,
                                  judgeq_error *error) {
    judgeq_session *first = session[0];
    *p = (prefill){.model = first->model, .judge = first->judge, .engine = &first->engine->graphs, .tokens = tokens};
    p->n_prompt = first->n_prompt;
    p->reader = calloc(n_session, sizeof *p->reader);
    if (!p->reader) return error_memory(error, "the readers of a prompt");
    p->n_reader = n_session;
    for (size_t i = 0; i < n_session; i++) {
        const int32_t n_soft = session_soft_rows(session[i]);
        p->n_soft = n_soft > p->n_soft ? n_soft : p->n_soft;
    }
    for (size_t i = 0; i < n_session; i++) {
        reader *r = &p->reader[i];
        r->session = session[i];
        r->scorer[0] = scorer_of(p, &session[i]->policy);
        if (session[i]->policy.probe.draft) r->scorer[1] = scorer_of(p, &session[i]->draft);
    }
    choose_rows(p);
    judgeq_status status = tensors_new(1, HIDDEN, &p->context, error);
    if (status != JUDGEQ_OK) return status;
    p->hidden = ggml_new_tensor_2d(p->context, GGML_TYPE_F32, p->model->info.n_embd, p->n_prompt + p->n_soft);
    status = tensors_allocate(p->context, ggml_backend_get_default_buffer_type(p->engine->backend), HIDDEN, &p->buffer,
                              error);
    if (status != JUDGEQ_OK) return status;
    const double start = clock_seconds();
    status = embed(p, error);
    p->embed_s = clock_seconds() - start;
    if (status != JUDGEQ_OK || first->params.plain_weights || p->n_prompt < EXPAND_LEAST) return status;
    p->expanded = p->model->expanded;
    if (p->expanded || p->model->n_device > 0) return JUDGEQ_OK;
    return expand_init(&p->expand, p->model, expand_fast_type(), p->engine, error);
}

static void prefill_free(prefill *p) {
    for (size_t i = 0; i < 2 * p->n_reader; i++) score_map_free(&p->reader[i / 2].scorer[i % 2].map);
    free(p->reader);
    expand_free(&p->expand);
    ggml_backend_buffer_free(p->buffer);
    ggml_free(p->context);
}

/* ---- one layer --------------------------------------------------------------------------------------------------- */

/* The rows [*first, *end) of the chunk [start, stop) that are probes of a scorer. No chunk has both prompt rows and
 * soft rows. */
static bool scorer_overlap(const scorer *s, int32_t start, int32_t stop, int32_t *first, int32_t *end) {
    for (int i = 0; s->active && i < 2; i++) {
        *first = s->first[i] > start ? s->first[i] : start;
        *end = s->end[i] < stop ? s->end[i] : stop;
        if (*first < *end) return true;
    }
    return false;
}

/* Adds the attention of a chunk's probe rows [first, end) to a scorer's map. row0: the attention's first row. */
static void scorer_take(scorer *s, const struct ggml_tensor *attention, const float *data, int32_t row0, int32_t first,
                        int32_t end, int32_t n_prompt) {
    const int64_t n_key = attention->ne[0], n_row = n_key < n_prompt ? n_key : n_prompt;
    score_map_add(&s->map, data + (int64_t)(first - row0) * n_key, end - first, n_key, n_key * attention->ne[1], 0,
                  n_row);
    score_map_counts(&s->map, end - first);
}

/* Adds the attention that the chunk [start, stop) returned to the maps of all scorers whose probes it has. */
static judgeq_status take_scores(prefill *p, const block_result *block, int32_t start, int32_t stop,
                                 judgeq_error *error) {
    const struct ggml_tensor *attention = block->attention;
    if (!attention) return JUDGEQ_OK;
    const int32_t row0 = start + (int32_t)block->first_attention;
    const float *data = attention->data;
    float *copy = NULL;
    if (!ggml_backend_buffer_is_host(attention->buffer)) {
        data = copy = malloc(ggml_nbytes(attention));
        if (!copy) return error_memory(error, "attention rows");
        ggml_backend_tensor_get(attention, copy, 0, ggml_nbytes(attention));
    }
    for (size_t i = 0; i < 2 * p->n_reader; i++) {
        reader *r = &p->reader[i / 2];
        int32_t first, end;
        if (!scorer_overlap(&r->scorer[i % 2], start, stop, &first, &end)) continue;
        const double clock = clock_seconds();
        scorer_take(&r->scorer[i % 2], attention, data, row0, first, end, p->n_prompt);
        r->session->stats.score_s += clock_seconds() - clock;
    }
    free(copy);
    return JUDGEQ_OK;
}

/* Which outputs a chunk must return: all of them in inner layers; in the last layer only the attention of probe rows,
 * and the prompt's last row. Soft rows never use flash.h: all of their attention is needed as a matrix, and would
 * otherwise be computed twice. In plain mode, all rows of the last chunk attend in the last
 * layer unless probes need fewer: libllama does so, and ggml sums one row in another order than many. */
static block_want chunk_want(const prefill *p, bool last_layer, int32_t start, int32_t stop) {
    const bool own = !session_ggml_only(p->reader[0].session), soft = start >= p->n_prompt;
    block_want want = {
        .output = !soft || !last_layer, .rows_at_once = p->rows_at_once, .own_softmax = own, .flash = own && !soft};
    int32_t probe = stop;
    for (size_t i = 0; i < 2 * p->n_reader; i++) {
        int32_t first, end;
        if (!scorer_overlap(&p->reader[i / 2].scorer[i % 2], start, stop, &first, &end)) continue;
        want.attention = true;
        if (first < probe) probe = first;
    }
    int32_t needed = last_layer ? probe : start;
    if (stop == p->n_prompt && needed > stop - 1) {
        needed = p->reader[0].session->params.plain_weights ? start : stop - 1;
    }
    want.first_query = needed - start;
    want.first_attention = probe - start;
    want.first_output = last_layer && want.output ? stop - start - 1 : want.first_query;
    return want;
}

/* Multiplications of a block over n rows that attend to `past` rows before them. */
static double chunk_work(const model_layer *layer, int32_t n, int32_t past) {
    double weights = 0;
    for (int m = 0; m < MODEL_MATRICES; m++) weights += (double)ggml_nelements(layer->matrix[m].weight);
    return n * (weights + 2.0 * layer->n_head * layer->head_dim * (past + n));
}

/* Rows [start, stop) through one layer: their keys and values into `staging`, their outputs back into `hidden`.
 * *out: the graph's block, until the next graph starts. */
static judgeq_status run_chunk(prefill *p, int32_t index, cache_layer *staging, int32_t start, int32_t stop,
                               block_result *out, judgeq_error *error) {
    const int32_t n = stop - start;
    const block_want want = chunk_want(p, index + 1 == p->model->info.n_layer, start, stop);
    const size_t row = p->hidden->nb[1];
    graph *g = graph_begin(p->engine);
    struct ggml_tensor *x = ggml_view_2d(g->context, p->hidden, p->hidden->ne[0], n, row, (size_t)start * row);
    struct ggml_tensor *position = graph_input(g, GGML_TYPE_I32, n, 1);
    const block_result block = block_add(g, &p->layer, attention_over_cache(staging), x, position, want);
    struct ggml_tensor *result = NULL;
    if (block.output) {
        result = ggml_cpy(g->context, block.output,
                          ggml_view_2d(g->context, p->hidden, p->hidden->ne[0], block.output->ne[1], row,
                                       (size_t)(start + want.first_output) * row));
    }
    /* soft rows as in training, if they are enough for products that take KERNEL_COLUMNS rows at a time */
    const bool as_trained = start >= p->n_prompt && 2 * n >= KERNEL_COLUMNS;
    if (want.own_softmax) product_replace(g->context, g->nodes, !as_trained);
    judgeq_status status = graph_allocate(p->engine, result, error);
    int32_t *positions = status == JUDGEQ_OK ? malloc((size_t)n * sizeof *positions) : NULL;
    if (status == JUDGEQ_OK && !positions) status = error_memory(error, "positions");
    if (status != JUDGEQ_OK) return status;
    for (int32_t i = 0; i < n; i++) positions[i] = start + i;
    ggml_backend_tensor_set(position, positions, 0, (size_t)n * sizeof *positions);
    free(positions);
    status = graph_compute(p->engine, GRAPH_ROWS, block.output ? chunk_work(&p->layer, n, start) : 0, error);
    if (status != JUDGEQ_OK) return status;
    cache_layer_append(staging, n, start);
    *out = block;
    return JUDGEQ_OK;
}

static judgeq_status report(const prefill *p, int32_t layer, int32_t rows, judgeq_error *error) {
    const judgeq_session_params *params = &p->reader[0].session->params;
    if (!params->progress) return JUDGEQ_OK;
    const int64_t total = (int64_t)p->n_prompt * p->model->info.n_layer;
    const int64_t done = (int64_t)p->n_prompt * layer + rows;
    if (params->progress(params->progress_data, done, total)) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_CANCELLED, "cancelled while reading the prompt, %lld of %lld rows done",
                     (long long)done, (long long)total);
}

/* What a deep judge adds to the soft rows that enter a layer. */
static judgeq_status deepen_soft_rows(prefill *p, int32_t index, judgeq_error *error) {
    const judgeq_judge_info *info = judgeq_judge_get_info(p->judge);
    if (index == 0 || index >= info->n_depth) return JUDGEQ_OK;
    const size_t n = (size_t)p->n_soft * (size_t)info->n_embd, at = (size_t)p->n_prompt * p->hidden->nb[1];
    const float *added =
        judgeq_judge_soft_tokens(p->judge) + (size_t)index * (size_t)info->n_soft * (size_t)info->n_embd;
    float *rows = malloc(n * sizeof *rows);
    if (!rows) return error_memory(error, "the soft rows");
    ggml_backend_tensor_get(p->hidden, rows, at, n * sizeof *rows);
    for (size_t i = 0; i < n; i++) rows[i] += added[i];
    ggml_backend_tensor_set(p->hidden, rows, at, n * sizeof *rows);
    free(rows);
    return JUDGEQ_OK;
}

/* The soft rows, after the prompt's. Their keys and values are removed again: the cache is as it was before. */
static judgeq_status run_soft_rows(prefill *p, int32_t index, cache_layer *staging, judgeq_error *error) {
    const double start = clock_seconds();
    const int32_t first = p->n_prompt, stop = p->n_prompt + p->n_soft;
    block_result block = {0};
    judgeq_status status = deepen_soft_rows(p, index, error);
    if (status == JUDGEQ_OK) status = run_chunk(p, index, staging, first, stop, &block, error);
    const double seconds = clock_seconds() - start;
    for (size_t i = 0; i < p->n_reader; i++) {
        if (session_soft_rows(p->reader[i].session) > 0) p->reader[i].session->stats.score_s += seconds;
    }
    if (status == JUDGEQ_OK) status = take_scores(p, &block, first, stop, error);
    cache_layer_truncate(staging, p->n_prompt);
    return status;
}

/* The prompt's rows, chunk by chunk. */
static judgeq_status run_rows(prefill *p, int32_t index, cache_layer *staging, judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    for (int32_t start = 0; status == JUDGEQ_OK && start < p->n_prompt; start += p->chunk) {
        const int32_t stop = p->n_prompt - start < p->chunk ? p->n_prompt : start + p->chunk;
        block_result block = {0};
        const double clock = clock_seconds();
        status = run_chunk(p, index, staging, start, stop, &block, error);
        p->blocks_s += clock_seconds() - clock;
        if (status == JUDGEQ_OK) status = take_scores(p, &block, start, stop, error);
        if (status == JUDGEQ_OK) status = report(p, index, stop, error);
    }
    return status;
}

static judgeq_status run_layer(prefill *p, int32_t index, cache_layer *staging, judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    const judgeq_model_info *info = &p->model->info;
    for (size_t i = 0; status == JUDGEQ_OK && i < 2 * p->n_reader; i++) {
        scorer *s = &p->reader[i / 2].scorer[i % 2];
        score_map_free(&s->map);
        if (!s->active) continue;
        status = score_map_init(&s->map, info->n_head, info->n_head_kv, p->n_prompt, s->policy->reduce_rows, error);
    }
    if (status == JUDGEQ_OK) status = run_rows(p, index, staging, error);
    return status == JUDGEQ_OK && p->n_soft > 0 ? run_soft_rows(p, index, staging, error) : status;
}

/* ---- what stays of a layer --------------------------------------------------------------------------------------- */

/* The map of the rows that are kept: value[h][i] = from[h][kept row i of h's KV head]. Frees `from`. */
static judgeq_status take_map(score_map *from, const select_kept *kept, score_map *out, judgeq_error *error) {
    int64_t most = 1;
    for (int32_t h = 0; h < kept->n_head_kv; h++) most = kept->n_row[h] > most ? kept->n_row[h] : most;
    judgeq_status status = score_map_init(out, from->n_head, from->n_head_kv, most, from->reduce_rows, error);
    if (status != JUDGEQ_OK) return status;
    out->n_probe = from->n_probe;
    const int32_t group = from->n_head / from->n_head_kv;
    for (int32_t h = 0; h < from->n_head; h++) {
        const float *value = from->value + (size_t)h * (size_t)from->n_row;
        float *taken = out->value + (size_t)h * (size_t)out->n_row;
        for (int64_t i = 0; i < kept->n_row[h / group]; i++) taken[i] = value[kept->row[h / group][i]];
    }
    score_map_free(from);
    *from = (score_map){0};
    return JUDGEQ_OK;
}

/* Candidates a lookahead chooses among: M x budget, or all rows. */
static int32_t draft_budget(const judgeq_session *session, int32_t index) {
    const int64_t among = session->policy.probe.among > 0 ? session->policy.probe.among : 1;
    const int64_t rows = among * session->layer_budget[index];
    return rows > session->n_prompt ? session->n_prompt : (int32_t)rows;
}

/* The type of what prefill leaves of a layer: policies that look ahead have yet to choose, and do so among floats. */
static enum ggml_type left_type(const judgeq_session *session) {
    return session_looks_ahead(session) ? session_read_type(session) : session->kv_type;
}

/* All of the layer: the staging itself for a reader that is alone, a copy otherwise. */
static judgeq_status take_all(const prefill *p, judgeq_session *session, int32_t index, cache_layer *staging,
                              judgeq_error *error) {
    if (p->n_reader > 1 || left_type(session) != staging->type) {
        return evict_gather(session, staging, NULL, left_type(session), &session->layer[index], error);
    }
    session->layer[index] = *staging;
    session->layer[index].meter = &session->meter;
    *staging = (cache_layer){0};
    return JUDGEQ_OK;
}

/* The rows that a scorer's policy keeps, and, if prior is not NULL, own's attention to them. */
static judgeq_status take_kept(judgeq_session *session, scorer *s, scorer *own, int32_t index, int32_t budget,
                               const cache_layer *staging, score_map *prior, judgeq_error *error) {
    select_kept kept;
    judgeq_status status =
        evict_select(session, s->policy, s->active ? &s->map : NULL, staging, index, budget, &kept, error);
    if (status != JUDGEQ_OK) return status;
    if (prior && own->active) status = take_map(&own->map, &kept, prior, error);
    if (status == JUDGEQ_OK) {
        status = evict_gather(session, staging, &kept, left_type(session), &session->layer[index], error);
    }
    select_kept_free(&kept);
    return status;
}

/* Keeps all of a layer, for a policy that looks ahead over the full cache, and notes which rows its draft policy, if it
 * has one, would keep. */
static judgeq_status take_full(const prefill *p, reader *r, int32_t index, cache_layer *staging, judgeq_error *error) {
    judgeq_session *session = r->session;
    scorer *draft = &r->scorer[1];
    judgeq_status status = JUDGEQ_OK;
    if (draft->policy) {
        status = evict_select(session, draft->policy, draft->active ? &draft->map : NULL, staging, index,
                              draft_budget(session, index), &session->drafted[index], error);
    }
    if (status == JUDGEQ_OK) status = take_all(p, session, index, staging, error);
    session->prior[index] = r->scorer[0].map;
    r->scorer[0].map = (score_map){0};
    return status;
}

/* What stays of a layer for one reader. */
static judgeq_status finish_layer(const prefill *p, reader *r, int32_t index, cache_layer *staging,
                                  judgeq_error *error) {
    judgeq_session *session = r->session;
    scorer *own = &r->scorer[0], *draft = &r->scorer[1];
    if (own->active && session->score_hook) session->score_hook(session->score_hook_data, index, &own->map);
    if (session->policy.keep_all) return take_all(p, session, index, staging, error);
    if (!session_looks_ahead(session)) {
        return take_kept(session, own, own, index, session->layer_budget[index], staging, NULL, error);
    }
    if (judgeq_policy_needs_full_cache(&session->policy)) return take_full(p, r, index, staging, error);
    return take_kept(session, draft, own, index, draft_budget(session, index), staging, &session->prior[index], error);
}

/* ---- the whole prompt -------------------------------------------------------------------------------------------- */

static judgeq_status read_logits(prefill *p, judgeq_error *error) {
    graph *g = graph_begin(p->engine);
    struct ggml_tensor *x = ggml_view_2d(g->context, p->hidden, p->hidden->ne[0], 1, p->hidden->nb[1],
                                         (size_t)(p->n_prompt - 1) * p->hidden->nb[1]);
    struct ggml_tensor *logits = block_add_logits(g, p->model, x);
    judgeq_status status = graph_allocate(p->engine, logits, error);
    if (status == JUDGEQ_OK) status = graph_compute(p->engine, GRAPH_TOKEN, 0, error);
    for (size_t i = 0; status == JUDGEQ_OK && i < p->n_reader; i++) {
        status = session_logits_room(p->reader[i].session, error);
    }
    if (status != JUDGEQ_OK) return status;
    for (size_t i = 0; i < p->n_reader; i++) {
        ggml_backend_tensor_get(logits, p->reader[i].session->logits, 0, ggml_nbytes(logits));
    }
    return session_check_logits(p->reader[0].session, error);
}

static judgeq_status take_weights(prefill *p, int32_t index, judgeq_error *error) {
    if (!p->expanded) return expand_layer(&p->expand, p->model, index, p->engine, &p->layer, error);
    p->layer = p->expanded[index].layer;
    return JUDGEQ_OK;
}

/* One layer, from its rows to what every reader keeps of them. */
static judgeq_status read_layer(prefill *p, int32_t index, judgeq_error *error) {
    const judgeq_model_info *info = &p->model->info;
    cache_layer staging;
    const judgeq_session *first = p->reader[0].session;
    const cache_shape shape = {session_read_type(first), info->n_head_kv, info->head_dim, first->kv_padding};
    judgeq_status status = cache_layer_init_even(&staging, graph_engine_of_layer(p->engine, p->model, index), shape,
                                                 p->n_prompt + p->n_soft, &p->meter, error);
    if (status != JUDGEQ_OK) return status;
    const size_t bytes = cache_layer_allocated(&staging);
    for (size_t i = 0; i < p->n_reader; i++) cache_meter_add(&p->reader[i].session->meter, bytes);
    const double start = clock_seconds();
    status = take_weights(p, index, error);
    p->blocks_s += clock_seconds() - start;
    if (status == JUDGEQ_OK) status = run_layer(p, index, &staging, error);
    for (size_t i = 0; status == JUDGEQ_OK && i < p->n_reader; i++) {
        status = finish_layer(p, &p->reader[i], index, &staging, error);
    }
    if (!staging.buffer) return status; /* taken whole */
    for (size_t i = 0; i < p->n_reader; i++) p->reader[i].session->meter.bytes -= bytes;
    cache_layer_free(&staging);
    return status;
}

static judgeq_status read_layers(prefill *p, judgeq_error *error) {
    judgeq_status status = report(p, 0, 0, error);
    for (int32_t l = 0; status == JUDGEQ_OK && l < p->model->info.n_layer; l++) status = read_layer(p, l, error);
    return status;
}

judgeq_status prefill_run(judgeq_session *const *session, size_t n_session, const int32_t *tokens,
                          judgeq_error *error) {
    prefill p;
    judgeq_status status = prefill_init(&p, session, n_session, tokens, error);
    if (status == JUDGEQ_OK) status = read_layers(&p, error);
    if (status == JUDGEQ_OK) status = read_logits(&p, error);
    prefill_free(&p);
    for (size_t i = 0; i < n_session; i++) {
        session[i]->n_position = session[i]->n_prompt;
        session[i]->stats.embed_s = p.embed_s;
        session[i]->stats.blocks_s = p.blocks_s;
    }
    return status;
}
