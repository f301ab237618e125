/* Quantised caches: the attention to them against its definition in double precision, what they hold against the rows
 * of an F16 cache, and their logits against libllama's with a cache of the same type. */
#include "engine/attend.h"
#include "engine/graph.h"
#include "llama_oracle.h"
#include "session/state.h"
#include "tiny_judge.h"
#include "tiny_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "ggml-cpu.h"

enum { N_PROMPT = 150, BUDGET = 48, N_SOFT = 8, N_DECODE = 80 };

static const judgeq_kv_type quantised[] = {JUDGEQ_KV_Q8_0, JUDGEQ_KV_Q4_0};
enum { N_QUANTISED = 2 };

/* ---- helpers ----------------------------------------------------------------------------------------------------- */

static judgeq_model *load(const char *name, int n_layer, char path[512]) {
    tiny_spec spec;
    judgeq_error error = {0};
    judgeq_model *model = NULL;
    assert_true(tiny_spec_find(name, &spec));
    spec.n_layer = n_layer;
    snprintf(path, 512, "%s/%s-%d.gguf", fixture_folder, name, n_layer);
    assert_int_equal(tiny_model_write(&spec, path), 0);
    if (judgeq_model_load(path, &model, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    return model;
}

static judgeq_session *start(const judgeq_model *model, const judgeq_judge *judge, const char *text,
                             judgeq_session_params params) {
    judgeq_error error = {0};
    judgeq_policy *policy = NULL;
    judgeq_session *session = NULL;
    if (judgeq_policy_parse(text, &policy, &error) != JUDGEQ_OK) fail_msg("%s: %s", text, error.message);
    params.policy = policy;
    params.judge = judge;
    params.budget = BUDGET;
    params.slack = JUDGEQ_SLACK_NONE;
    params.n_threads = 1;
    if (judgeq_session_new(model, &params, &session, &error) != JUDGEQ_OK) fail_msg("%s: %s", text, error.message);
    judgeq_policy_free(policy);
    return session;
}

static void prefill(judgeq_session *session, size_t n) {
    judgeq_error error = {0};
    int32_t prompt[N_PROMPT];
    tiny_prompt(1, session->model->info.n_vocab, prompt, N_PROMPT);
    if (judgeq_session_prefill(session, prompt, n, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
}

static judgeq_session *run(const judgeq_model *model, const judgeq_judge *judge, const char *text,
                           judgeq_kv_type type) {
    judgeq_session_params params = judgeq_session_default_params();
    params.kv_type = type;
    judgeq_session *session = start(model, judge, text, params);
    prefill(session, N_PROMPT);
    return session;
}

static void decode(judgeq_session *session, int32_t token) {
    judgeq_error error = {0};
    if (judgeq_session_decode(session, token, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
}

/* Row `row` of a head's keys or values as floats [head_dim], unpacked by ggml. */
static void read_row(const cache_layer *layer, bool values, int32_t head, int64_t row, float *out) {
    const cache_head *h = &layer->head[head];
    const size_t bytes = ggml_row_size(layer->type, layer->head_dim);
    const char *from = (const char *)(values ? layer->v : layer->k)->data + (size_t)h->first * bytes;
    const struct ggml_type_traits *traits = ggml_get_type_traits(layer->type);
    if (!values || cache_quantised(layer)) {
        traits->to_float(from + (size_t)row * bytes, out, layer->head_dim);
        return;
    }
    for (int64_t d = 0; d < layer->head_dim; d++) {
        traits->to_float(from + (size_t)(d * h->capacity + row) * traits->type_size, &out[d], 1);
    }
}

/* row [head_dim] = H row, by the definition of a Hadamard matrix (Sylvester's): where a cache holds its rows so. */
static void turn(const cache_layer *layer, float *row) {
    const int32_t n = layer->head_dim & -layer->head_dim;
    if (!cache_turned(layer)) return;
    float *block = malloc((size_t)n * sizeof *block);
    for (int32_t first = 0; first < layer->head_dim; first += n) {
        memcpy(block, row + first, (size_t)n * sizeof *block);
        for (int32_t i = 0; i < n; i++) {
            double sum = 0;
            for (int32_t k = 0; k < n; k++)
                sum += __builtin_parity((unsigned)(i & k)) ? -(double)block[k] : (double)block[k];
            row[first + i] = (float)(sum / sqrt(n));
        }
    }
    free(block);
}

/* Whether `rounded` [head_dim] is `row` to the precision that a type promises: steps of 1/127 of the largest in each
 * 32, rounded, or of 1/8, where what lies opposite the largest may be a whole step away. */
static bool is_rounded(const float *rounded, const float *row, int32_t head_dim, enum ggml_type type) {
    bool close = true;
    for (int32_t first = 0; first < head_dim; first += 32) {
        float most = 0;
        for (int i = 0; i < 32; i++) most = fmaxf(most, fabsf(row[first + i]));
        const float step = type == GGML_TYPE_Q8_0 ? 0.5f * most / 127 : most / 8;
        const float scale = most * 0x1p-10f; /* the step itself is an F16 */
        for (int i = 0; i < 32; i++) close = close && fabsf(rounded[first + i] - row[first + i]) <= step + scale;
    }
    return close;
}

/* ---- the operation ----------------------------------------------------------------------------------------------- */

static float noise(void) {
    return (float)rand() / (float)RAND_MAX * 2 - 1;
}

/* A cache of `type` with n_row[h] rows in head h, taken from an F16 one of random numbers. */
static void random_layer(graph_engine *engine, enum ggml_type type, int32_t n_head_kv, int32_t head_dim,
                         const int64_t *n_row, cache_meter *meter, cache_layer *out) {
    const cache_shape shape = {GGML_TYPE_F16, n_head_kv, head_dim, 32};
    cache_layer half;
    judgeq_error error = {0};
    assert_int_equal(cache_layer_init(&half, engine->backend, shape, n_row, meter, &error), JUDGEQ_OK);
    ggml_fp16_t *k = half.k->data, *v = half.v->data;
    for (int64_t i = 0; i < ggml_nelements(half.k); i++) {
        k[i] = ggml_fp32_to_fp16(noise());
        v[i] = ggml_fp32_to_fp16(noise());
    }
    for (int32_t h = 0; h < n_head_kv; h++) {
        for (int64_t i = 0; i < n_row[h]; i++) half.head[h].position[i] = (int32_t)(2 * i);
        half.head[h].n_row = n_row[h];
    }
    assert_int_equal(cache_layer_gather(&half, NULL, type, 1, meter, out, &error), JUDGEQ_OK);
    float *row = malloc(2 * (size_t)head_dim * sizeof *row);
    for (int32_t h = 0; type != GGML_TYPE_F16 && h < n_head_kv; h++) {
        assert_int_equal(out->head[h].n_row, n_row[h]);
        for (int64_t i = 0; i < n_row[h]; i++) {
            assert_int_equal(out->head[h].position[i], 2 * i);
            for (int values = 0; values < 2; values++) {
                read_row(&half, values, h, i, row);
                turn(out, row);
                read_row(out, values, h, i, row + head_dim);
                assert_true(is_rounded(row + head_dim, row, head_dim, type));
            }
        }
    }
    free(row);
    cache_layer_free(&half);
}

/* What ggml's products make of a query before they multiply it with rows of `type`. */
static void round_query(enum ggml_type type, const float *query, int32_t head_dim, float *out) {
    char packed[2048];
    const enum ggml_type with = ggml_get_type_traits_cpu(type)->vec_dot_type;
    ggml_get_type_traits_cpu(with)->from_float(query, packed, head_dim);
    ggml_get_type_traits(with)->to_float(packed, out, head_dim);
}

/* out [head_dim] = softmax(query . K^T / sqrt(head_dim)) . V over the rows that the head holds, in double precision. */
static void attend_exactly(const cache_layer *layer, int32_t head, const float *query, double *out) {
    const int32_t head_dim = layer->head_dim;
    const int64_t n = layer->head[head].n_row;
    float *row = malloc(2 * (size_t)head_dim * sizeof *row), *rounded = row + head_dim;
    double *score = malloc((size_t)n * sizeof *score), most = -INFINITY, sum = 0;
    memcpy(row, query, (size_t)head_dim * sizeof *row);
    turn(layer, row);
    round_query(layer->type, row, head_dim, rounded);
    for (int64_t i = 0; i < n; i++) {
        read_row(layer, false, head, i, row);
        score[i] = 0;
        for (int32_t d = 0; d < head_dim; d++) score[i] += (double)row[d] * (double)rounded[d] / sqrt(head_dim);
        most = fmax(most, score[i]);
    }
    for (int64_t i = 0; i < n; i++) sum += score[i] = exp(score[i] - most);
    for (int32_t d = 0; d < head_dim; d++) out[d] = 0;
    for (int64_t i = 0; i < n; i++) {
        read_row(layer, true, head, i, row);
        turn(layer, row);
        for (int32_t d = 0; d < head_dim; d++) out[d] += score[i] / sum * (double)row[d];
    }
    free(row);
    free(score);
}

/* The operation over two sequences of ragged heads; the largest difference from the definition. */
static double attend_error(graph_engine *engine, enum ggml_type type, int32_t group, int32_t head_dim) {
    enum { N_HEAD_KV = 3, N = 2 };
    static const int64_t n_row[N][N_HEAD_KV] = {{1, 77, 200}, {16, 31, 32}};
    const int64_t n_head = (int64_t)group * N_HEAD_KV;
    cache_meter meter = {0};
    cache_layer layer[N];
    attend_batch batch = {0};
    judgeq_error error = {0};
    assert_int_equal(attend_batch_resize(&batch, N, &error), JUDGEQ_OK);
    for (int i = 0; i < N; i++) {
        random_layer(engine, type, N_HEAD_KV, head_dim, n_row[i], &meter, &layer[i]);
        batch.layers[i] = &layer[i];
    }
    assert_int_equal(attend_batch_prepare(&batch, 1, engine->threads.most, group, &error), JUDGEQ_OK);
    const attend_layer node = {&batch, 0, 1.0f / sqrtf((float)head_dim)};
    graph *g = graph_begin(engine);
    struct ggml_tensor *in[3];
    for (int i = 0; i < 3; i++) {
        in[i] = ggml_new_tensor_3d(g->context, GGML_TYPE_F32, head_dim, i == 0 ? n_head : N_HEAD_KV, N);
        ggml_set_input(in[i]);
    }
    struct ggml_tensor *out = attend_add(g->context, &node, in[0], in[1], in[2]);
    assert_int_equal(graph_allocate(engine, out, &error), JUDGEQ_OK);
    for (int i = 0; i < 3; i++) {
        float *data = in[i]->data;
        for (int64_t k = 0; k < ggml_nelements(in[i]); k++) data[k] = 3 * noise();
    }
    float *query = malloc(ggml_nbytes(in[0]));
    memcpy(query, in[0]->data, ggml_nbytes(in[0]));
    assert_int_equal(graph_compute(engine, GRAPH_BATCH, 0, &error), JUDGEQ_OK);
    double *exact = calloc((size_t)head_dim, sizeof *exact), worst = 0;
    for (int i = 0; i < N; i++) {
        cache_layer_append(&layer[i], 1, 1000);
        for (int64_t h = 0; h < n_head; h++) {
            const int64_t at = (i * n_head + h) * head_dim;
            attend_exactly(&layer[i], (int32_t)h / group, query + at, exact);
            const float *ours = (const float *)out->data + at;
            for (int32_t d = 0; d < head_dim; d++) worst = fmax(worst, fabs((double)ours[d] - exact[d]));
        }
        cache_layer_free(&layer[i]);
    }
    assert_int_equal(meter.bytes, 0);
    free(exact);
    free(query);
    attend_batch_free(&batch);
    return worst;
}

static void test_attention_is_its_definition(void **state) {
    (void)state;
    static const struct {
        enum ggml_type type;
        double allowed; /* values are up to 3; transposed ones are multiplied with probabilities rounded to F16 */
    } types[] = {{GGML_TYPE_F16, 2e-3}, {GGML_TYPE_Q8_0, 1e-5}, {GGML_TYPE_Q4_0, 1e-5}};
    char path[512];
    judgeq_model *model = load("llama", 2, path);
    graph_engine engine;
    judgeq_error error = {0};
    assert_int_equal(graph_engine_init(&engine, model, 1, &error), JUDGEQ_OK);
    srand(1);
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        for (int32_t head_dim = 32; head_dim <= 192; head_dim += 32) {
            for (int32_t group = 1; group <= 3; group++) {
                const double worst = attend_error(&engine, types[t].type, group, head_dim);
                if (!(worst <= types[t].allowed)) {
                    fail_msg("%s, head_dim %d, group %d: off by %g", ggml_type_name(types[t].type), head_dim, group,
                             worst);
                }
            }
        }
    }
    graph_engine_free(&engine);
    judgeq_model_free(model);
}

/* ---- sessions ---------------------------------------------------------------------------------------------------- */

/* Every policy keeps what it keeps of an F16 cache, and only then rounds it: position by position, and row by row. */
static void compare_rows(const judgeq_session *rounded, const judgeq_session *half, const char *name) {
    const judgeq_model_info *info = &half->model->info;
    float *row = malloc(2 * (size_t)info->head_dim * sizeof *row);
    for (int32_t l = 0; l < info->n_layer; l++) {
        for (int32_t h = 0; h < info->n_head_kv; h++) {
            size_t n, n_half;
            const int32_t *position = judgeq_session_positions(rounded, l, h, &n);
            const int32_t *half_position = judgeq_session_positions(half, l, h, &n_half);
            assert_int_equal(n, n_half);
            assert_memory_equal(position, half_position, n * sizeof *position);
            for (size_t i = 0; i < 2 * n; i++) {
                read_row(&half->layer[l], i % 2, h, (int64_t)(i / 2), row);
                turn(&rounded->layer[l], row);
                read_row(&rounded->layer[l], i % 2, h, (int64_t)(i / 2), row + info->head_dim);
                if (!is_rounded(row + info->head_dim, row, info->head_dim, rounded->kv_type)) {
                    fail_msg("%s: layer %d, head %d, row %zu", name, l, h, i / 2);
                }
            }
        }
    }
    free(row);
}

static void test_chosen_before_rounded(void **state) {
    (void)state;
    char path[512];
    judgeq_model *model = load("mistral", 2, path);
    judgeq_judge *judge = tiny_judge(model, 1, N_SOFT);
    const judgeq_preset *preset;
    for (size_t at = 0; (preset = judgeq_preset_at(at)); at++) {
        judgeq_session *half = run(model, judge, preset->name, JUDGEQ_KV_F16);
        for (int t = 0; t < N_QUANTISED; t++) {
            judgeq_session *rounded = run(model, judge, preset->name, quantised[t]);
            compare_rows(rounded, half, preset->name);
            /* the prompt itself was read as ever */
            assert_memory_equal(judgeq_session_logits(rounded), judgeq_session_logits(half),
                                (size_t)model->info.n_vocab * sizeof(float));
            judgeq_session_free(rounded);
        }
        judgeq_session_free(half);
    }
    judgeq_judge_free(judge);
    judgeq_model_free(model);
}

/* 32 numbers take 34 bytes as Q8_0 and 18 as Q4_0. */
static void test_bytes(void **state) {
    (void)state;
    static const size_t block[] = {34, 18};
    char path[512];
    judgeq_model *model = load("mistral", 2, path);
    const size_t heads = (size_t)model->info.n_layer * (size_t)model->info.n_head_kv;
    const size_t row_f16 = 4 * (size_t)model->info.head_dim * (size_t)model->info.n_head_kv;
    for (int t = 0; t < N_QUANTISED; t++) {
        const size_t row = 2 * block[t] * (size_t)model->info.head_dim / 32;
        judgeq_session *session = run(model, NULL, "snapkv", quantised[t]);
        judgeq_stats stats;
        for (size_t n = 0; n <= N_DECODE; n++) {
            judgeq_session_get_stats(session, &stats);
            assert_int_equal(stats.kv_bytes_held, heads * row * (BUDGET + n));
            assert_int_equal(stats.kv_bytes_full, heads * row * (N_PROMPT + n));
            if (n < N_DECODE) decode(session, 5);
        }
        /* one layer as F16 and padding, and the others, cut down */
        const size_t limit = row_f16 * (N_PROMPT + 32) + heads * row * (BUDGET + 64);
        if (stats.kv_bytes_peak > limit) fail_msg("peak %zu, expected at most %zu", stats.kv_bytes_peak, limit);
        judgeq_session_free(session);
    }
    judgeq_model_free(model);
}

/* libllama rounds every row as it reads it; ours are rounded when the prompt has been read. So the first token, which
 * sees its own row, differs, and in deeper layers what follows from it. A single layer reads nothing but embeddings:
 * from the second token on only the order of sums differs, and the first row, which was an F16 in between. Differences
 * in standard deviations. */
static double compare_with_libllama(const judgeq_model *model, const char *path, int type, size_t first) {
    static const enum ggml_type types[] = {GGML_TYPE_Q8_0, GGML_TYPE_Q4_0};
    const size_t n_vocab = (size_t)model->info.n_vocab;
    const oracle_options options = {.kv_type = types[type], .flash_attention = true};
    int32_t prompt[N_PROMPT];
    double worst = 0;
    tiny_prompt(1, model->info.n_vocab, prompt, N_PROMPT);
    oracle *o = oracle_open(path, 512, &options);
    if (!o) fail_msg("%s", oracle_error());
    judgeq_session_params params = judgeq_session_default_params();
    params.kv_type = quantised[type];
    judgeq_session *session = start(model, NULL, "full", params);
    for (size_t i = 0; i < N_PROMPT; i++) {
        assert_int_equal(oracle_decode(o, prompt[i]), 0);
        if (i == 0) {
            prefill(session, 1);
        } else {
            decode(session, prompt[i]);
        }
        if (i < first) continue;
        const float *theirs = oracle_logits(o);
        worst = fmax(worst, fixture_max_difference(judgeq_session_logits(session), theirs, n_vocab) /
                                fixture_deviation(theirs, n_vocab));
    }
    print_message("%s, %s, %d layers: logits differ by %g standard deviations from libllama's\n", model->info.name,
                  judgeq_kv_type_name(quantised[type]), model->info.n_layer, worst);
    judgeq_session_free(session);
    oracle_close(o);
    return worst;
}

static void test_libllama(void **state) {
    (void)state;
    static const char *const names[] = {"mistral", "qwen3", "f32"};
    /* seen: 0.012 and 2e-6; 0.037 and 0.41. A row of f32's, of 64 numbers, is turned, by other sums than theirs, and a
     * last bit of that takes a number to the next step: 9e-4, where rows that one side alone turns make 0.18 (q8_0).
     */
    static const double allowed[] = {0.03, 1e-4}, allowed_turned[] = {0.03, 0.02}, allowed_deep[] = {0.1, 0.8};
    for (size_t m = 0; m < sizeof names / sizeof *names; m++) {
        for (int deep = 0; deep < 2; deep++) {
            char path[512];
            judgeq_model *model = load(names[m], deep ? 2 : 1, path);
            for (int t = 0; t < N_QUANTISED; t++) {
                const double worst = compare_with_libllama(model, path, t, !deep);
                const double *limit = deep ? allowed_deep : model->info.head_dim % 64 == 0 ? allowed_turned : allowed;
                if (!(worst <= limit[t])) fail_msg("%s: too far", names[m]);
            }
            judgeq_model_free(model);
        }
    }
}

/* The F16 cache's greedy tokens: a quantised one agrees but where two tokens are as good within its error, and that is
 * bounded. */
static void test_near_f16(void **state) {
    (void)state;
    static const double allowed[] = {0.25, 2.5};
    char path[512];
    judgeq_model *model = load("f32", 2, path);
    const int32_t n_vocab = model->info.n_vocab;
    judgeq_session *half = run(model, NULL, "snapkv", JUDGEQ_KV_F16);
    judgeq_session *session[N_QUANTISED];
    double worst[N_QUANTISED] = {0};
    int other[N_QUANTISED] = {0};
    for (int t = 0; t < N_QUANTISED; t++) session[t] = run(model, NULL, "snapkv", quantised[t]);
    for (int i = 0; i < N_DECODE; i++) {
        const float *logits = judgeq_session_logits(half);
        const int32_t token = fixture_best(logits, n_vocab);
        for (int t = 0; t < N_QUANTISED; t++) {
            const float *ours = judgeq_session_logits(session[t]);
            const double difference = fixture_max_difference(ours, logits, (size_t)n_vocab);
            worst[t] = fmax(worst[t], difference / fixture_deviation(logits, (size_t)n_vocab));
            other[t] += fixture_best(ours, n_vocab) != token;
            assert_true((double)(ours[fixture_best(ours, n_vocab)] - ours[token]) <= 2 * difference);
        }
        decode(half, token);
        for (int t = 0; t < N_QUANTISED; t++) decode(session[t], token);
    }
    for (int t = 0; t < N_QUANTISED; t++) {
        print_message("%s: logits differ by %g standard deviations from F16's, %d of %d tokens\n",
                      judgeq_kv_type_name(quantised[t]), worst[t], other[t], N_DECODE);
        if (!(worst[t] > 0 && worst[t] <= allowed[t])) fail_msg("allowed: %g", allowed[t]);
        judgeq_session_free(session[t]);
    }
    judgeq_session_free(half);
    judgeq_model_free(model);
}

/* ggml's own operations, in a graph of their own per token, see what ours sees: plain mode, and what is watched. Plain
 * mode also reads the prompt by them, whose F16 rounding takes some numbers to the next step of their quantised block.
 */
static void test_plain_and_watched(void **state) {
    (void)state;
    const double other = 0.25;
    char path[512];
    judgeq_model *model = load("mistral", 2, path);
    const size_t n_vocab = (size_t)model->info.n_vocab;
    for (int t = 0; t < N_QUANTISED; t++) {
        judgeq_session_params params = judgeq_session_default_params();
        params.kv_type = quantised[t];
        judgeq_session *ours = start(model, NULL, "full", params), *watched = start(model, NULL, "full", params);
        judgeq_session *ragged = start(model, NULL, "adakv,probe=window:4,keep=none", params);
        params.plain_weights = true;
        judgeq_session *plain = start(model, NULL, "full", params);
        judgeq_session *ragged_plain = start(model, NULL, "adakv,probe=window:4,keep=none", params);
        judgeq_session *all[] = {ours, watched, plain, ragged, ragged_plain};
        judgeq_error error = {0};
        for (int i = 0; i < 5; i++) prefill(all[i], 100); /* not expanded */
        assert_int_equal(judgeq_session_watch(watched, &error), JUDGEQ_OK);
        for (int i = 0; i < 50; i++) {
            for (int k = 0; k < 5; k++) decode(all[k], 7 + i);
            const double w =
                fixture_max_difference(judgeq_session_logits(ours), judgeq_session_logits(watched), n_vocab);
            const double p = fixture_max_difference(judgeq_session_logits(ours), judgeq_session_logits(plain), n_vocab);
            const double r =
                fixture_max_difference(judgeq_session_logits(ragged), judgeq_session_logits(ragged_plain), n_vocab);
            if (!(w < 0.1 && p < other && r < other)) {
                fail_msg("%s, token %d: logits differ by %g watched, %g in plain mode, %g there with ragged heads",
                         judgeq_kv_type_name(quantised[t]), i, w, p, r);
            }
        }
        int64_t n = 0;
        const float *map = judgeq_session_watched(watched, 0, &n);
        assert_int_equal(n, 50);
        double sum = 0;
        for (int i = 0; i < 100; i++) sum += (double)map[i];
        assert_true(sum > 1 && sum < 50); /* the rest fell on the response */
        for (int i = 0; i < 5; i++) judgeq_session_free(all[i]);
    }
    judgeq_model_free(model);
}

/* Other tokens in place of those that are taken back: as if they had never been. */
static void test_rewind(void **state) {
    (void)state;
    char path[512];
    judgeq_model *model = load("mistral", 2, path);
    for (int t = 0; t < N_QUANTISED; t++) {
        judgeq_session *a = run(model, NULL, "snapkv", quantised[t]), *b = run(model, NULL, "snapkv", quantised[t]);
        judgeq_error error = {0};
        for (int i = 0; i < N_DECODE; i++) decode(a, 3 + i);
        assert_int_equal(judgeq_session_rewind(a, 2, &error), JUDGEQ_OK);
        decode(b, 3);
        decode(b, 4);
        for (int i = 0; i < N_DECODE; i++) {
            decode(a, 90 - i);
            decode(b, 90 - i);
        }
        assert_memory_equal(judgeq_session_logits(a), judgeq_session_logits(b),
                            (size_t)model->info.n_vocab * sizeof(float));
        judgeq_session_free(a);
        judgeq_session_free(b);
    }
    judgeq_model_free(model);
}

/* Sessions of different types read a prompt together, as each would alone. F32 rows are read as F32: refused. */
static void test_read_together(void **state) {
    (void)state;
    char path[512];
    judgeq_model *model = load("mistral", 2, path);
    const judgeq_kv_type types[] = {JUDGEQ_KV_F16, JUDGEQ_KV_Q8_0, JUDGEQ_KV_Q4_0, JUDGEQ_KV_Q4_0};
    static const char *const policies[] = {"full", "full", "snapkv", "laq"};
    judgeq_session *session[4];
    int32_t prompt[N_PROMPT];
    judgeq_error error = {0};
    judgeq_session_params params = judgeq_session_default_params();
    tiny_prompt(1, model->info.n_vocab, prompt, N_PROMPT);
    for (int i = 0; i < 4; i++) {
        params.kv_type = types[i];
        session[i] = start(model, NULL, policies[i], params);
    }
    assert_int_equal(judgeq_session_prefill_all(session, 4, prompt, N_PROMPT, &error), JUDGEQ_OK);
    for (int i = 0; i < 4; i++) {
        judgeq_session *alone = run(model, NULL, policies[i], types[i]);
        decode(session[i], 5);
        decode(alone, 5);
        assert_memory_equal(judgeq_session_logits(session[i]), judgeq_session_logits(alone),
                            (size_t)model->info.n_vocab * sizeof(float));
        judgeq_session_free(alone);
        judgeq_session_free(session[i]);
    }
    for (int i = 0; i < 2; i++) {
        params.kv_type = i == 0 ? JUDGEQ_KV_Q8_0 : JUDGEQ_KV_F32;
        session[i] = start(model, NULL, "full", params);
    }
    assert_int_equal(judgeq_session_prefill_all(session, 2, prompt, N_PROMPT, &error), JUDGEQ_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "F32"));
    for (int i = 0; i < 2; i++) judgeq_session_free(session[i]);
    judgeq_model_free(model);
}

static void test_refusals(void **state) {
    (void)state;
    char path[512];
    judgeq_model *model = load("llama", 2, path); /* head_dim 16 */
    judgeq_session *session = NULL;
    judgeq_error error = {0};
    judgeq_session_params params = judgeq_session_default_params();
    params.kv_type = JUDGEQ_KV_Q8_0;
    assert_int_equal(judgeq_session_new(model, &params, &session, &error), JUDGEQ_ERROR_UNSUPPORTED);
    assert_null(session);
    assert_non_null(strstr(error.message, "q8_0 needs a head_dim that is a multiple of 32"));
    params.kv_type = (judgeq_kv_type)99;
    assert_int_equal(judgeq_session_new(model, &params, &session, &error), JUDGEQ_ERROR_ARGUMENT);
    assert_null(judgeq_kv_type_name((judgeq_kv_type)99));
    assert_null(judgeq_kv_type_name((judgeq_kv_type)-1));
    judgeq_model_free(model);
}

TESTS_MAIN(fixture_set_up, fixture_tear_down, cmocka_unit_test(test_attention_is_its_definition),
           cmocka_unit_test(test_chosen_before_rounded), cmocka_unit_test(test_bytes), cmocka_unit_test(test_libllama),
           cmocka_unit_test(test_near_f16), cmocka_unit_test(test_plain_and_watched), cmocka_unit_test(test_rewind),
           cmocka_unit_test(test_read_together), cmocka_unit_test(test_refusals))
