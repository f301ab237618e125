/* prefill: reads the prompt layer by layer. Attention is causal, so the whole prompt can pass through layer 0 before
 * layer 1 starts; when a layer is done its scores are final, and it is cut down before the next one's rows exist. The
 * peak is one layer's full KV, the layers already cut down, and the hidden states [n_prompt + n_soft, n_embd]. */
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "session.h"

/* Rows of the prompt per graph: as many as keep a layer's attention [n_head, rows, n_key] within these bytes. */
enum { CHUNK_MOST = 512, CHUNK_LEAST = 16, CHUNK_BYTES = 96 << 20 };

/* A policy's probes that are rows of the prompt or soft rows behind it, and what they have seen of the current layer.
 */
typedef struct scorer {
    const judgeq_policy *policy;
    int32_t first[2], end[2]; /* rows [first, end): prompt rows, soft rows */
    bool active;
    score_map map;
} scorer;

typedef struct prefill {
    judgeq_session *session;
    const int32_t *tokens;
    int32_t n_prompt, n_soft;
    int32_t chunk;
    scorer scorer[2]; /* the policy's, the draft's */
    struct ggml_context *context;
    struct ggml_tensor *hidden; /* [n_prompt + n_soft, n_embd], input of the next layer */
    ggml_backend_buffer_t buffer;
} prefill;

/* ---- set-up --------------------------------------------------------------------------------------------------------
 */

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

static int32_t choose_chunk(const judgeq_session *session, int32_t n_key) {
    if (session->params.chunk > 0) return session->params.chunk;
    const int64_t row = (int64_t)session->model->info.n_head * n_key * (int64_t)sizeof(float);
    const int64_t fits = CHUNK_BYTES / row;
    return fits > CHUNK_MOST ? CHUNK_MOST : fits < CHUNK_LEAST ? CHUNK_LEAST : (int32_t)fits;
}

/* Embeds the tokens into `hidden` and puts the soft tokens behind them. */
static judgeq_status embed(prefill *p, judgeq_error *error) {
    judgeq_session *session = p->session;
    const int32_t n_embd = session->model->info.n_embd;
    for (int32_t start = 0; start < p->n_prompt; start += CHUNK_MOST) {
        const int32_t n = p->n_prompt - start < CHUNK_MOST ? p->n_prompt - start : CHUNK_MOST;
        graph *g = graph_begin(&session->engine);
        struct ggml_tensor *ids = graph_input(g, GGML_TYPE_I32, n, 1);
        struct ggml_tensor *rows =
            ggml_view_2d(g->context, p->hidden, n_embd, n, p->hidden->nb[1], (size_t)start * p->hidden->nb[1]);
        struct ggml_tensor *copied = ggml_cpy(g->context, graph_add_embedding(g, session->model, ids), rows);
        judgeq_status status = graph_allocate(&session->engine, copied, error);
        if (status != JUDGEQ_OK) return status;
        ggml_backend_tensor_set(ids, p->tokens + start, 0, (size_t)n * sizeof *p->tokens);
        status = graph_compute(&session->engine, n, 0, error);
        if (status != JUDGEQ_OK) return status;
    }
    if (p->n_soft > 0) {
        ggml_backend_tensor_set(p->hidden, judgeq_judge_soft_tokens(session->judge),
                                (size_t)p->n_prompt * p->hidden->nb[1], (size_t)p->n_soft * p->hidden->nb[1]);
    }
    return JUDGEQ_OK;
}

static judgeq_status prefill_init(prefill *p, judgeq_session *session, const int32_t *tokens, judgeq_error *error) {
    *p = (prefill){.session = session, .tokens = tokens, .n_prompt = session->n_prompt};
    p->n_soft = session_soft_rows(session);
    p->chunk = choose_chunk(session, p->n_prompt + p->n_soft);
    p->scorer[0] = scorer_of(p, &session->policy);
    if (session->policy.probe.draft) p->scorer[1] = scorer_of(p, &session->draft);
    p->context = ggml_init((struct ggml_init_params){.mem_size = ggml_tensor_overhead(), .no_alloc = true});
    p->hidden = ggml_new_tensor_2d(p->context, GGML_TYPE_F32, session->model->info.n_embd, p->n_prompt + p->n_soft);
    p->buffer = ggml_backend_alloc_ctx_tensors(p->context, session->engine.backend);
    if (!p->buffer) return error_memory(error, "the prompt's hidden states");
    return embed(p, error);
}

static void prefill_free(prefill *p) {
    for (int i = 0; i < 2; i++) score_map_free(&p->scorer[i].map);
    ggml_backend_buffer_free(p->buffer);
    ggml_free(p->context);
}

/* ---- one layer -----------------------------------------------------------------------------------------------------
 */

/* The rows [*first, *end) of the chunk [start, end) that a scorer looks through. Prompt and soft rows never share one.
 */
static bool scorer_overlap(const scorer *s, int32_t start, int32_t stop, int32_t *first, int32_t *end) {
    for (int i = 0; s->active && i < 2; i++) {
        *first = s->first[i] > start ? s->first[i] : start;
        *end = s->end[i] < stop ? s->end[i] : stop;
        if (*first < *end) return true;
    }
    return false;
}

/* Adds the attention [n_head, rows, n_key] of a chunk's probe rows to a scorer's map. row0: the attention's first row.
 */
static void scorer_take(scorer *s, const struct ggml_tensor *attention, const float *data, int32_t row0, int32_t first,
                        int32_t end, int32_t n_prompt) {
    const int64_t n_key = attention->ne[0], n_row = n_key < n_prompt ? n_key : n_prompt;
    score_map_add(&s->map, data + (int64_t)(first - row0) * n_key, end - first, n_key, n_key * attention->ne[1], 0,
                  n_row);
    score_map_counts(&s->map, end - first);
}

static judgeq_status take_scores(prefill *p, const struct ggml_tensor *attention, int32_t row0, int32_t start,
                                 int32_t stop, judgeq_error *error) {
    const float *data = attention->data;
    float *copy = NULL;
    if (!ggml_backend_buffer_is_host(attention->buffer)) {
        data = copy = malloc(ggml_nbytes(attention));
        if (!copy) return error_memory(error, "attention rows");
        ggml_backend_tensor_get(attention, copy, 0, ggml_nbytes(attention));
    }
    for (int i = 0; i < 2; i++) {
        int32_t first, end;
        if (scorer_overlap(&p->scorer[i], start, stop, &first, &end)) {
            scorer_take(&p->scorer[i], attention, data, row0, first, end, p->n_prompt);
        }
    }
    free(copy);
    return JUDGEQ_OK;
}

/* What a chunk must give: everything in inner layers; in the last one only what scores, and the prompt's last row. */
static graph_want chunk_want(const prefill *p, bool last_layer, int32_t start, int32_t stop) {
    graph_want want = {.output = stop <= p->n_prompt || !last_layer};
    int32_t needed = last_layer ? stop : start;
    for (int i = 0; i < 2; i++) {
        int32_t first, end;
        if (!scorer_overlap(&p->scorer[i], start, stop, &first, &end)) continue;
        want.attention = true;
        if (first < needed) needed = first;
    }
    if (stop == p->n_prompt && needed > stop - 1) needed = stop - 1;
    want.first_query = needed - start;
    return want;
}

/* Multiplications of a block over n rows that attend to `past` rows before them. */
static double chunk_work(const judgeq_model *model, int32_t n, int32_t past) {
    const judgeq_model_info *info = &model->info;
    const double heads = (double)info->n_head * info->head_dim, heads_kv = (double)info->n_head_kv * info->head_dim;
    const double weights = 2 * (heads + heads_kv) * info->n_embd + 3.0 * info->n_ff * info->n_embd;
    return n * (weights + 2 * heads * (past + n));
}

/* Rows [start, stop) through one layer: their keys and values into `staging`, their outputs back into `hidden`. */
static judgeq_status run_chunk(prefill *p, int32_t index, cache_layer *staging, int32_t start, int32_t stop,
                               judgeq_error *error) {
    judgeq_session *session = p->session;
    const int32_t n = stop - start;
    const graph_want want = chunk_want(p, index + 1 == session->model->info.n_layer, start, stop);
    graph *g = graph_begin(&session->engine);
    struct ggml_tensor *x =
        ggml_view_2d(g->context, p->hidden, p->hidden->ne[0], n, p->hidden->nb[1], (size_t)start * p->hidden->nb[1]);
    struct ggml_tensor *position = graph_input(g, GGML_TYPE_I32, n, 1);
    const graph_block block = graph_add_block(g, session->model, index, staging, x, position, want);
    struct ggml_tensor *result = NULL;
    if (block.output) {
        const size_t offset = (size_t)(start + want.first_query) * p->hidden->nb[1];
        result = ggml_cpy(
            g->context, block.output,
            ggml_view_2d(g->context, p->hidden, p->hidden->ne[0], block.output->ne[1], p->hidden->nb[1], offset));
    }
    judgeq_status status = graph_allocate(&session->engine, result, error);
    int32_t *positions = status == JUDGEQ_OK ? malloc((size_t)n * sizeof *positions) : NULL;
    if (status == JUDGEQ_OK && !positions) status = error_memory(error, "positions");
    if (status != JUDGEQ_OK) return status;
    for (int32_t i = 0; i < n; i++) positions[i] = start + i;
    ggml_backend_tensor_set(position, positions, 0, (size_t)n * sizeof *positions);
    free(positions);
    status = graph_compute(&session->engine, n, block.output ? chunk_work(session->model, n, start) : 0, error);
    if (status != JUDGEQ_OK) return status;
    cache_layer_append(staging, n, start);
    if (!block.attention) return JUDGEQ_OK;
    const double clock = session_clock();
    status = take_scores(p, block.attention, start + (int32_t)want.first_query, start, stop, error);
    session->stats.score_s += session_clock() - clock;
    return status;
}

static judgeq_status report(const prefill *p, int32_t layer, int32_t rows, judgeq_error *error) {
    const judgeq_session_params *params = &p->session->params;
    if (!params->progress) return JUDGEQ_OK;
    const int64_t total = (int64_t)p->n_prompt * p->session->model->info.n_layer;
    const int64_t done = (int64_t)p->n_prompt * layer + rows;
    if (params->progress(params->progress_data, done, total)) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_CANCELLED, "cancelled while reading the prompt, %lld of %lld rows done",
                     (long long)done, (long long)total);
}

static judgeq_status run_layer(prefill *p, int32_t index, cache_layer *staging, judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    const judgeq_model_info *info = &p->session->model->info;
    for (int i = 0; status == JUDGEQ_OK && i < 2; i++) {
        scorer *s = &p->scorer[i];
        score_map_free(&s->map);
        if (!s->active) continue;
        status = score_map_init(&s->map, info->n_head, info->n_head_kv, p->n_prompt, s->policy->reduce_rows, error);
    }
    for (int32_t start = 0; status == JUDGEQ_OK && start < p->n_prompt; start += p->chunk) {
        const int32_t stop = p->n_prompt - start < p->chunk ? p->n_prompt : start + p->chunk;
        status = run_chunk(p, index, staging, start, stop, error);
        if (status == JUDGEQ_OK) status = report(p, index, stop, error);
    }
    if (status != JUDGEQ_OK || p->n_soft == 0) return status;
    const double clock = session_clock();
    const double counted = p->session->stats.score_s;
    status = run_chunk(p, index, staging, p->n_prompt, p->n_prompt + p->n_soft, error);
    p->session->stats.score_s = counted + session_clock() - clock;
    cache_layer_truncate(staging, p->n_prompt);
    return status;
}

/* ---- what stays of a layer -----------------------------------------------------------------------------------------
 */

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

/* The layer of a policy that looks ahead: candidates, or everything with the draft's choice noted beside it. */
static judgeq_status finish_draft(prefill *p, int32_t index, judgeq_error *error) {
    judgeq_session *session = p->session;
    scorer *own = &p->scorer[0], *draft = &p->scorer[1];
    score_map *prior = &session->prior[index];
    if (!draft->policy) { /* response: decoded from the full cache */
        *prior = own->map;
        own->map = (score_map){0};
        return JUDGEQ_OK;
    }
    select_kept kept;
    judgeq_status status = evict_select(session, &session->draft, draft->active ? &draft->map : NULL,
                                        &session->layer[index], index, draft_budget(session, index), &kept, error);
    if (status != JUDGEQ_OK) return status;
    if (session->policy.probe.among == 0) {
        *prior = own->map;
        own->map = (score_map){0};
        session->drafted[index] = kept;
        return JUDGEQ_OK;
    }
    if (own->active) status = take_map(&own->map, &kept, prior, error);
    if (status == JUDGEQ_OK) status = evict_gather(session, index, &kept, error);
    select_kept_free(&kept);
    return status;
}

static judgeq_status finish_layer(prefill *p, int32_t index, judgeq_error *error) {
    judgeq_session *session = p->session;
    const scorer *own = &p->scorer[0];
    if (own->active && session->score_hook) session->score_hook(session->score_hook_data, index, &own->map);
    if (session->policy.keep_all) return JUDGEQ_OK;
    if (session_looks_ahead(session)) return finish_draft(p, index, error);
    select_kept kept;
    judgeq_status status = evict_select(session, &session->policy, own->active ? &own->map : NULL,
                                        &session->layer[index], index, session->layer_budget[index], &kept, error);
    if (status != JUDGEQ_OK) return status;
    status = evict_gather(session, index, &kept, error);
    select_kept_free(&kept);
    return status;
}

/* ---- the whole prompt ----------------------------------------------------------------------------------------------
 */

static judgeq_status read_logits(prefill *p, judgeq_error *error) {
    judgeq_session *session = p->session;
    graph *g = graph_begin(&session->engine);
    struct ggml_tensor *x = ggml_view_2d(g->context, p->hidden, p->hidden->ne[0], 1, p->hidden->nb[1],
                                         (size_t)(p->n_prompt - 1) * p->hidden->nb[1]);
    struct ggml_tensor *logits = graph_add_logits(g, session->model, x);
    judgeq_status status = graph_allocate(&session->engine, logits, error);
    if (status == JUDGEQ_OK) status = graph_compute(&session->engine, 1, 0, error);
    if (status != JUDGEQ_OK) return status;
    ggml_backend_tensor_get(logits, session->logits, 0, ggml_nbytes(logits));
    return session_check_logits(session, error);
}

static judgeq_status read_layers(prefill *p, judgeq_error *error) {
    judgeq_session *session = p->session;
    const judgeq_model_info *info = &session->model->info;
    judgeq_status status = report(p, 0, 0, error);
    int64_t *capacity = malloc((size_t)info->n_head_kv * sizeof *capacity);
    if (!capacity) return error_memory(error, "a KV cache");
    for (int32_t h = 0; h < info->n_head_kv; h++) capacity[h] = p->n_prompt + p->n_soft;
    for (int32_t l = 0; status == JUDGEQ_OK && l < info->n_layer; l++) {
        cache_layer *layer = &session->layer[l];
        status = cache_layer_init(layer, session->engine.backend, session->kv_type, info->n_head_kv, info->head_dim,
                                  capacity, &session->meter, error);
        if (status == JUDGEQ_OK) status = run_layer(p, l, layer, error);
        if (status == JUDGEQ_OK) status = finish_layer(p, l, error);
    }
    free(capacity);
    return status;
}

judgeq_status prefill_run(judgeq_session *session, const int32_t *tokens, judgeq_error *error) {
    prefill p;
    judgeq_status status = prefill_init(&p, session, tokens, error);
    if (status == JUDGEQ_OK) status = read_layers(&p, error);
    if (status == JUDGEQ_OK) status = read_logits(&p, error);
    prefill_free(&p);
    session->n_position = session->n_prompt;
    return status;
}
