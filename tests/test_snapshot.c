/* Sessions as files: what is loaded goes on bit for bit, whatever the policy, the type and the moment; nothing that a
 * file can hold ends the process, and what does not fit is refused by name. */
#include "gguf.h"
#include "model/fingerprint.h"
#include "session/snapshot.h"
#include "tiny_judge.h"
#include "tiny_model.h"
#include "tiny_session.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

enum { N_ALL = 300, N_SOFT = 4, BUDGET = 40, SLACK = 12, DIGITS = 32 };

static char path[300], other_path[300];
static judgeq_model *model;
static judgeq_judge *judge;
static int32_t token[N_ALL];
static judgeq_error error;

static void check(judgeq_status status) {
    if (status != JUDGEQ_OK) fail_msg("%s", error.message);
}

static judgeq_session_params defaults(void) {
    judgeq_session_params params = judgeq_session_default_params();
    params.judge = judge;
    params.budget = BUDGET;
    params.slack = SLACK;
    params.n_threads = 1;
    return params;
}

static judgeq_session *start(const char *name, judgeq_session_params params) {
    return tiny_session(model, name, params);
}

static judgeq_session *load(const char *from) {
    const judgeq_session_params params = {.judge = judge, .n_threads = 1};
    judgeq_session *session = NULL;
    check(judgeq_session_load(model, &params, from, &session, &error));
    return session;
}

/* ---- going on ---------------------------------------------------------------------------------------------------- */

/* Saves a session and loads it; both decode, with choices of the policy between, read on, and are saved. */
static void expect_same_future(judgeq_session *live, const char *what) {
    check(judgeq_session_save(live, path, &error));
    judgeq_session *again = load(path);
    tiny_same_logits(model, live, again, what);
    check(judgeq_session_save(again, other_path, &error));
    tiny_same_files(path, other_path, what);
    for (int i = 0; i < 40; i++) {
        check(judgeq_session_decode(live, token[100 + i], &error));
        check(judgeq_session_decode(again, token[100 + i], &error));
        tiny_same_logits(model, live, again, what);
    }
    check(judgeq_session_read(live, token + 200, 33, &error));
    check(judgeq_session_read(again, token + 200, 33, &error));
    tiny_same_logits(model, live, again, what);
    for (int i = 0; i < 5; i++) {
        check(judgeq_session_decode(live, token[i], &error));
        check(judgeq_session_decode(again, token[i], &error));
    }
    check(judgeq_session_save(live, path, &error));
    check(judgeq_session_save(again, other_path, &error));
    tiny_same_files(path, other_path, what);
    judgeq_session_free(again);
}

/* Every preset, and policies with ragged heads, empty heads, windows that nothing keeps; every type; both modes. */
static void test_goes_on(void **state) {
    (void)state;
    static const char *const more[] = {"adakv,allocate=ada:0,keep=none",
                                       "snapkv,probe=window:20,keep=none",
                                       "h2o,allocate=ada:0.1",
                                       "judge,probe=window:8+lookahead:6@tova:2x",
                                       "random,keep=none",
                                       "h2o,reduce=max/mean"};
    const size_t n_more = sizeof more / sizeof *more;
    for (size_t p = 0;; p++) {
        const judgeq_preset *preset = p < n_more ? NULL : judgeq_preset_at(p - n_more);
        if (p >= n_more && !preset) break;
        for (int way = 0; way < 8; way++) {
            char what[128];
            judgeq_session_params params = defaults();
            params.kv_type = (judgeq_kv_type)(way % 4);
            params.plain_weights = way >= 4;
            params.seed = UINT64_MAX - 5;
            const char *name = preset ? preset->name : more[p];
            snprintf(what, sizeof what, "%s, %s%s", name, judgeq_kv_type_name(params.kv_type),
                     way >= 4 ? ", plain" : "");
            judgeq_session *session = start(name, params);
            check(judgeq_session_prefill(session, token, 90, &error));
            for (int i = 0; i < 17; i++) check(judgeq_session_decode(session, token[90 + i], &error));
            expect_same_future(session, what);
            judgeq_session_free(session);
        }
    }
}

static void decode(judgeq_session *session, int n) {
    for (int i = 0; i < n; i++) check(judgeq_session_decode(session, token[90 + i], &error));
}

static void trim(judgeq_session *session, int n) {
    decode(session, n);
    check(judgeq_session_trim(session, &error));
}

static void rewind_tokens(judgeq_session *session, int n) {
    decode(session, 2 * n);
    check(judgeq_session_rewind(session, n, &error));
}

static void trim_and_rewind(judgeq_session *session, int n) {
    decode(session, 2 * n);
    check(judgeq_session_trim(session, &error));
    check(judgeq_session_rewind(session, n, &error));
}

static void read_on(judgeq_session *session, int n) {
    decode(session, n);
    check(judgeq_session_read(session, token + 7, 50, &error));
    judgeq_session_read_abandon(session);
    bool done;
    check(judgeq_session_read_begin(session, token, 99, &error));
    check(judgeq_session_read_step(session, &done, &error));
    judgeq_session_read_abandon(session);
}

static void decode_watched(judgeq_session *session, int n) {
    (void)judgeq_session_watch(session, &error);
    decode(session, n);
    check(judgeq_session_read(session, token + 7, 2, &error)); /* ends it */
}

/* After whatever can happen to a session, and with every parameter that is stored. */
static void test_any_moment(void **state) {
    (void)state;
    static const struct {
        const char *name;
        void (*first)(judgeq_session *session, int n);
        int n;
    } moments[] = {{"decode", decode, 0}, {"decode", decode, SLACK},    {"decode", decode, 55},
                   {"trim", trim, 5},     {"rewind", rewind_tokens, 5}, {"trim, rewind", trim_and_rewind, 4},
                   {"read", read_on, 14}, {"watch", decode_watched, 3}};
    static const char *const names[] = {"full", "snapkv", "h2o", "judge", "judge-laq", "oracle", "laq"};
    for (size_t p = 0; p < sizeof names / sizeof *names; p++) {
        for (size_t m = 0; m < sizeof moments / sizeof *moments; m++) {
            char what[128];
            judgeq_session_params params = defaults();
            params.defer = strcmp(names[p], "judge-laq") == 0;
            params.budget = m % 2 == 0 ? BUDGET : 0;
            params.budget_fraction = m % 2 == 0 ? 0 : 0.3F;
            params.slack = m % 3 == 0 ? 0 : m % 3 == 1 ? SLACK : JUDGEQ_SLACK_NONE;
            params.chunk = m == 2 ? 19 : 0;
            params.n_ctx = 2000 + (int32_t)m;
            snprintf(what, sizeof what, "%s, %s %d", names[p], moments[m].name, moments[m].n);
            judgeq_session *session = start(names[p], params);
            check(judgeq_session_prefill(session, token, 90, &error));
            moments[m].first(session, moments[m].n);
            expect_same_future(session, what);
            judgeq_session_free(session);
        }
    }
}

/* Beyond the context: rows that are rotated by other positions than their own. */
static void test_unbounded(void **state) {
    (void)state;
    const judgeq_preset *preset;
    for (size_t p = 0; (preset = judgeq_preset_at(p)) != NULL; p++) {
        if (strcmp(preset->name, "full") == 0) continue;
        judgeq_session_params params = defaults();
        params.unbounded = true;
        params.n_ctx = 250;
        params.kv_type = (judgeq_kv_type)(p % 4);
        judgeq_session *session = start(preset->name, params);
        check(judgeq_session_prefill(session, token, 290, &error));
        decode(session, 17);
        assert_true(session->n_shift > 0);
        expect_same_future(session, preset->name);
        judgeq_session_free(session);
    }
}

/* Deferred tokens, the counts and the tokens are there; sessions of one engine that decode together go on together. */
static void test_state(void **state) {
    (void)state;
    judgeq_session_params params = defaults();
    params.defer = true;
    judgeq_session *live = start("judge-laq", params);
    check(judgeq_session_prefill(live, token, 90, &error));
    check(judgeq_session_save(live, path, &error));
    judgeq_engine *engine = NULL;
    check(judgeq_engine_new(model, 1, &engine, &error));
    params = (judgeq_session_params){.judge = judge, .engine = engine, .policy = &live->policy};
    judgeq_session *again[2] = {NULL};
    for (int i = 0; i < 2; i++) check(judgeq_session_load(model, &params, path, &again[i], &error));
    assert_ptr_equal(again[0]->engine, engine);
    size_t n, m;
    const int32_t *deferred = judgeq_session_deferred(live, &n), *loaded = judgeq_session_deferred(again[0], &m);
    assert_true(n > 0 && n == m);
    assert_memory_equal(deferred, loaded, n * sizeof *deferred);
    const int32_t *sequence = judgeq_session_tokens(live, &n), *same = judgeq_session_tokens(again[0], &m);
    assert_true(n > 90 && n == m);
    assert_memory_equal(sequence, same, n * sizeof *sequence);
    for (int i = 0; i < 20; i++) {
        check(judgeq_session_decode_all(again, (int32_t[]){token[i], token[i]}, 2, &error));
        tiny_same_logits(model, again[0], again[1], "together");
    }
    for (int i = 0; i < 2; i++) judgeq_session_free(again[i]);
    judgeq_engine_free(engine);
    judgeq_session_free(live);
}

/* In memory, what `path` has. */
static void expect_same_bytes(const judgeq_session *session) {
    void *bytes = NULL;
    size_t n_bytes = 0, n_file = 0;
    check(judgeq_session_save_bytes(session, &bytes, &n_bytes, &error));
    char *file = fixture_read(path, &n_file);
    assert_int_equal(n_bytes, n_file);
    assert_memory_equal(bytes, file, n_file);
    free(file);
    judgeq_free(bytes);
}

static void test_info(void **state) {
    (void)state;
    const judgeq_model_info *about = judgeq_model_get_info(model);
    judgeq_session_params params = defaults();
    params.kv_type = JUDGEQ_KV_Q8_0;
    params.seed = 12345678901234567890U;
    judgeq_session *session = start("judge", params);
    check(judgeq_session_prefill(session, token, 90, &error));
    decode(session, 30);
    check(judgeq_session_save(session, path, &error));
    judgeq_snapshot_info info;
    int32_t *tokens = NULL;
    judgeq_stats stats;
    judgeq_session_get_stats(session, &stats);
    check(judgeq_snapshot_read(path, &info, &tokens, &error));
    expect_same_bytes(session);
    assert_int_equal(info.n_tokens, 120);
    assert_memory_equal(tokens, token, 120 * sizeof *tokens);
    assert_string_equal(info.fingerprint, about->fingerprint);
    assert_string_equal(info.file_fingerprint, about->file_fingerprint);
    assert_string_equal(info.model_name, about->name);
    assert_string_equal(info.policy, session->policy.text);
    assert_string_equal(info.version, judgeq_version());
    assert_int_equal(strlen(info.judge), DIGITS);
    assert_int_equal(info.format_version, 1);
    assert_int_equal(info.budget, BUDGET);
    assert_int_equal(info.slack, SLACK);
    assert_int_equal(info.n_ctx, about->n_ctx_train);
    assert_int_equal(info.kv_type, JUDGEQ_KV_Q8_0);
    assert_int_equal(info.seed, params.seed);
    assert_int_equal(info.n_read, 90);
    assert_int_equal(info.n_decoded, 30);
    assert_int_equal(info.n_rejudged, stats.n_rejudged);
    assert_int_equal(info.kv_bytes, stats.kv_bytes_held);
    assert_true(info.n_rows > 0 && info.file_bytes > info.kv_bytes);
    judgeq_free(tokens);
    check(judgeq_snapshot_read(path, &info, NULL, &error));
    judgeq_session_free(session);
    judgeq_session *again = load(path);
    judgeq_session_get_stats(again, &stats);
    assert_int_equal(stats.n_prompt, 90);
    assert_int_equal(stats.n_decoded, 30);
    assert_int_equal(stats.n_rejudged, info.n_rejudged);
    assert_int_equal(stats.budget, BUDGET);
    assert_int_equal(stats.kv_bytes_held, info.kv_bytes);
    judgeq_session_free(again);
}

static void expect_label(const char *expected) {
    judgeq_snapshot_info info;
    check(judgeq_snapshot_read(path, &info, NULL, &error));
    assert_string_equal(info.label, expected);
}

static void test_label(void **state) {
    static const char longest[] = "31 bytes; \xc3\xa4 is two of them all", wrong[] = "32 bytes, one more than there is";
    (void)state;
    judgeq_session *session = start("full", defaults());
    check(judgeq_session_prefill(session, token, 20, &error));
    check(judgeq_session_save(session, path, &error));
    expect_label("");
    check(judgeq_session_set_label(session, "first", &error));
    check(judgeq_session_set_label(session, longest, &error));
    assert_int_equal(judgeq_session_set_label(session, wrong, &error), JUDGEQ_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "31 bytes"));
    assert_int_equal(judgeq_session_set_label(session, "two\nlines", &error), JUDGEQ_ERROR_ARGUMENT);
    check(judgeq_session_save(session, path, &error));
    judgeq_session_free(session);
    expect_label(longest);
    session = load(path);
    unlink(path);
    check(judgeq_session_save(session, path, &error));
    expect_label(longest);
    check(judgeq_session_set_label(session, NULL, &error));
    check(judgeq_session_save(session, path, &error));
    expect_label("");
    judgeq_session_free(session);
}

/* ---- what is not saved ------------------------------------------------------------------------------------------- */

static void expect_not_saved(const judgeq_session *session, const char *why) {
    unlink(other_path);
    assert_int_equal(judgeq_session_save(session, other_path, &error), JUDGEQ_ERROR_ARGUMENT);
    if (!strstr(error.message, why) || !strstr(error.message, other_path)) fail_msg("%s", error.message);
    assert_int_equal(access(other_path, F_OK), -1);
    void *bytes = &bytes;
    size_t n = 1;
    assert_int_equal(judgeq_session_save_bytes(session, &bytes, &n, &error), JUDGEQ_ERROR_ARGUMENT);
    assert_null(bytes);
    assert_int_equal(n, 0);
}

static void test_not_saved(void **state) {
    (void)state;
    judgeq_session *session = start("full", defaults());
    expect_not_saved(session, "read nothing");
    check(judgeq_session_read_begin(session, token, 50, &error));
    expect_not_saved(session, "is reading");
    judgeq_session_read_abandon(session);
    expect_not_saved(session, "read nothing");
    check(judgeq_session_prefill(session, token, 50, &error));
    check(judgeq_session_watch(session, &error));
    expect_not_saved(session, "watched");
    session->failed = true;
    expect_not_saved(session, "after an error");
    judgeq_session_free(session);
}

/* The old file stays, and nothing is left beside it. */
static void test_no_room(void **state) {
    (void)state;
    char target[400];
    judgeq_session *session = start("streaming", defaults());
    check(judgeq_session_prefill(session, token, 50, &error));
    snprintf(target, sizeof target, "%s/missing/file.gguf", fixture_folder);
    assert_int_equal(judgeq_session_save(session, target, &error), JUDGEQ_ERROR_IO);
    assert_non_null(strstr(error.message, target));
    assert_int_equal(judgeq_session_save(session, "/dev/full", &error), JUDGEQ_ERROR_IO);
    assert_int_equal(judgeq_session_save(session, fixture_folder, &error), JUDGEQ_ERROR_IO);
    judgeq_session_free(session);
}

/* ---- what is not loaded ------------------------------------------------------------------------------------------ */

static void expect_refused(const judgeq_model *of, const judgeq_session_params *params, const char *from,
                           judgeq_status status, const char *why) {
    judgeq_session *session = NULL;
    error.message[0] = 0;
    const judgeq_status found = judgeq_session_load(of, params, from, &session, &error);
    if (found != status || !strstr(error.message, why) || !strstr(error.message, from)) {
        fail_msg("expected status %d and \"%s\", found %d: %s", (int)status, why, (int)found,
                 found == JUDGEQ_OK ? "loaded" : error.message);
    }
    assert_null(session);
}

/* The hash of what stands before it, as the format has it. */
static void sign(char *bytes, size_t size) {
    char hash[FINGERPRINT_SIZE];
    fingerprint_bytes(bytes, size - DIGITS, hash);
    memcpy(bytes + size - DIGITS, hash, DIGITS);
}

/* A change to a file that was saved: a key (an integer, a text or a float; none of them: removed), or a number of a
 * tensor. Of `policy`, after 90 tokens read and 5 decoded. */
typedef struct damage {
    const char *policy, *key, *text, *tensor;
    int64_t number; /* of the key; in the tensor */
    size_t at;
    float real;
    bool unset, fraction;
    bool unbounded; /* after 290 tokens read, in a context of 250 */
    judgeq_status status;
    const char *why;
} damage;

static void change(const damage *d, struct gguf_context *gguf, struct ggml_context *tensors) {
    if (d->key && d->unset) {
        assert_true(gguf_remove_key(gguf, d->key) >= 0);
    } else if (d->key && d->text) {
        gguf_set_val_str(gguf, d->key, d->text);
    } else if (d->key && d->fraction) {
        gguf_set_val_f32(gguf, d->key, d->real);
    } else if (d->key) {
        gguf_set_val_i64(gguf, d->key, d->number);
    }
    if (!d->tensor) return;
    struct ggml_tensor *tensor = ggml_get_tensor(tensors, d->tensor);
    assert_non_null(tensor);
    assert_true(d->at < (size_t)ggml_nelements(tensor));
    if (tensor->type == GGML_TYPE_F32) ((float *)tensor->data)[d->at] = d->real;
    if (tensor->type == GGML_TYPE_I32) ((int32_t *)tensor->data)[d->at] = (int32_t)d->number;
}

static void write_changed(const damage *d, const char *from, const char *to) {
    struct ggml_context *tensors = NULL;
    struct gguf_context *gguf = gguf_init_from_file(from, (struct gguf_init_params){.ctx = &tensors});
    assert_non_null(gguf);
    struct gguf_context *changed = gguf_init_empty();
    gguf_set_kv(changed, gguf);
    change(d, changed, tensors);
    for (int64_t i = 0; i < gguf_get_n_tensors(gguf); i++) {
        gguf_add_tensor(changed, ggml_get_tensor(tensors, gguf_get_tensor_name(gguf, i)));
    }
    assert_true(gguf_write_to_file(changed, to, false));
    gguf_free(changed);
    gguf_free(gguf);
    ggml_free(tensors);
    size_t size;
    char *bytes = fixture_read(to, &size);
    sign(bytes, size);
    assert_int_equal(fixture_write(to, bytes, size), 0);
    free(bytes);
}

static void save_for(const char *policy, bool unbounded) {
    judgeq_session_params params = defaults();
    params.unbounded = unbounded;
    params.n_ctx = unbounded ? 250 : 0;
    judgeq_session *session = start(policy, params);
    check(judgeq_session_prefill(session, token, unbounded ? 290 : 90, &error));
    decode(session, 5);
    check(judgeq_session_save(session, path, &error));
    judgeq_session_free(session);
}

#define K(name) .key = "judgeq.session." name

static const damage damages[] = {
    {.key = "general.architecture", .text = "judgeq-judge", .status = JUDGEQ_ERROR_UNSUPPORTED, .why = "but a judge"},
    {.key = "general.architecture", .text = "llama", .status = JUDGEQ_ERROR_UNSUPPORTED, .why = "but a model"},
    {.key = "general.architecture", .unset = true, .why = "is missing"},
    {.key = "judgeq.format_version", .number = 2, .why = "version 2; this judgeq reads 1"},
    {.key = "judgeq.format_version", .text = "1", .why = "has type"},
    {.key = "judgeq.version", .unset = true, .why = "is missing"},
    {.key = "judgeq.model.fingerprint", .text = "0", .status = JUDGEQ_ERROR_MISMATCH, .why = "another model"},
    {.key = "judgeq.model.file_fingerprint", .text = "0", .status = JUDGEQ_ERROR_MISMATCH, .why = "quantisation"},
    {.key = "judgeq.model.n_layer", .number = 0, .why = "n_layer"},
    {.key = "judgeq.model.n_layer", .number = 1, .why = "blk.1.rows"},
    {.key = "judgeq.model.n_layer", .number = 3, .why = "blk.2.rows"},
    {.key = "judgeq.model.n_layer", .number = INT32_MAX, .why = "2147483647 layers, but"},
    {.key = "judgeq.model.n_layer", .number = 1LL << 40, .why = "n_layer"},
    {.key = "judgeq.model.n_head", .number = 3, .why = "evenly"},
    {.key = "judgeq.model.n_head", .number = 64, .why = "query heads"},
    {.key = "judgeq.model.n_head_kv", .number = 1, .why = "blk.0.rows"},
    {.key = "judgeq.model.head_dim", .number = 1, .why = "blk.0.key"},
    {.key = "judgeq.model.n_vocab", .number = 1, .why = "logits"},
    {.key = "judgeq.model.n_vocab", .number = 1 << 30, .why = "logits"},
    {K("policy"), .text = "nonsense", .why = "nonsense"},
    {K("policy"), .text = "full", .why = "lacks rows"},
    {K("policy"), .text = "judge", .why = "names none"},
    {K("policy"), .text = "snapkv", .why = "queries"},
    {K("policy"), .text = "h2o", .why = "summed attention"},
    {.policy = "judge", K("policy"), .text = "tova", .why = "needs no judge"},
    {.policy = "judge", K("judge"), .text = "00", .status = JUDGEQ_ERROR_MISMATCH, .why = "another judge"},
    {.policy = "judge", K("judge"), .unset = true, .why = "names none"},
    {.policy = "h2o", K("policy"), .text = "streaming", .why = "summed attention"},
    {.policy = "laq", K("policy"), .text = "laq,probe=window:8+lookahead:8@snapkv", .status = JUDGEQ_OK},
    {K("budget"), .number = 0, .why = "budget"},
    {K("budget"), .number = UINT32_MAX, .why = "budget"},
    {K("budget"), .number = -1, .why = "negative"},
    {K("budget"), .unset = true, .why = "budget_fraction"},
    {K("slack"), .number = 1LL << 32, .why = "slack"},
    {K("n_ctx"), .number = 50, .why = "which is 50 long"},
    {K("n_ctx"), .number = 0, .why = "n_ctx"},
    {K("chunk"), .number = -3, .why = "chunk"},
    {K("kv_type"), .text = "f64", .why = "f64"},
    {K("kv_type"), .text = "q8_0", .why = "blk.0.key"},
    {K("plain_weights"), .number = 1, .why = "bool"},
    {K("seed"), .unset = true, .why = "seed"},
    {K("defer"), .unset = true, .why = "defer"},
    {K("n_prompt"), .number = 0, .why = "n_prompt"},
    {K("n_prompt"), .number = 96, .why = "chosen among 96"},
    {K("n_prompt"), .number = 20, .why = "lacks rows"},
    {K("turn_to"), .number = 96, .why = "latest turn is"},
    {K("turn_from"), .number = 91, .why = "latest turn is"},
    {K("turn_from"), .number = -1, .why = "negative"},
    {K("n_read"), .number = 0, .why = "0 of 95 tokens were read"},
    {K("n_read"), .number = 96, .why = "96 of 95"},
    {K("n_decoded"), .number = -1, .why = "negative"},
    {K("ring_from"), .number = INT32_MAX, .why = "queries"},
    {.policy = "snapkv", K("ring_from"), .number = 0, .why = "queries"},
    {.policy = "snapkv", .tensor = "queries", .at = 3, .real = NAN, .status = JUDGEQ_ERROR_NUMERIC, .why = "queries"},
    {.policy = "h2o", .tensor = "blk.1.sum", .at = 7, .real = -1, .status = JUDGEQ_ERROR_NUMERIC, .why = "blk.1.sum"},
    {.policy = "judge-later",
     .tensor = "blk.1.sum",
     .at = 7,
     .real = 1.5,
     .status = JUDGEQ_ERROR_NUMERIC,
     .why = "blk.1.sum"},
    {.policy = "h2o", K("n_probe"), .number = -1, .why = "n_probe"},
    {.tensor = "logits", .at = 1, .real = INFINITY, .status = JUDGEQ_ERROR_NUMERIC, .why = "logits"},
    {.tensor = "tokens", .at = 94, .number = -1, .why = "token 94 is -1"},
    {.tensor = "tokens", .at = 0, .number = 1 << 30, .why = "vocabulary"},
    {.tensor = "blk.0.rows", .at = 0, .number = -1, .why = "-1 rows"},
    {.tensor = "blk.0.rows", .at = 0, .number = 96, .why = "96 rows of 95"},
    {.tensor = "blk.0.rows", .at = 0, .number = 44, .why = "blk.0.position"},
    {.tensor = "blk.1.position", .at = 2, .number = 1, .why = "layer 1, head 0, row 2"},
    {.tensor = "blk.1.position", .at = 0, .number = -1, .why = "position -1"},
    {.tensor = "blk.0.position", .at = 44, .number = 95, .why = "position 95"},
    {K("n_shift"), .number = 1, .why = "1 of them before the context"},
    {K("unbounded"), .number = 1, .why = "has type"},
    {K("unbounded"), .unset = true, .why = "unbounded"},
    {.unbounded = true, K("n_shift"), .number = 0, .why = "0 of them before the context"},
    {.unbounded = true, K("n_shift"), .number = 295, .why = "295 of them before the context"},
    {.unbounded = true, K("n_shift"), .number = 290, .why = "is rotated by"},
    {.unbounded = true, K("n_shift"), .number = -1, .why = "negative"},
    {.unbounded = true, K("n_ctx"), .number = 61, .why = "which is 61 long"},
    {.unbounded = true, K("n_ctx"), .number = 20, .why = "20 long"},
    {.unbounded = true, .tensor = "blk.0.rope", .at = 5, .number = 1, .why = "layer 0, head 0, row 5 is rotated by 1"},
    {.unbounded = true, .tensor = "blk.1.rope", .at = 0, .number = -1, .why = "is rotated by -1"},
    {.unbounded = true, .tensor = "blk.1.rope", .at = 44, .number = 249, .why = "is rotated by 249"},
    {.unbounded = true, K("budget"), .number = 300, .status = JUDGEQ_ERROR_ARGUMENT, .why = "too small"},
    {.tensor = "blk.0.position", .at = 40, .number = 89, .why = "row 40 has position 89"},
};

static void test_damaged(void **state) {
    (void)state;
    const char *policy = "";
    bool unbounded = false;
    const judgeq_session_params params = {.judge = judge, .n_threads = 1};
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        const damage *d = &damages[i];
        const char *of = d->policy ? d->policy : "streaming";
        if (strcmp(policy, of) != 0 || unbounded != d->unbounded) save_for(of, d->unbounded);
        policy = of;
        unbounded = d->unbounded;
        write_changed(d, path, other_path);
        if (!d->why) {
            judgeq_session_free(load(other_path));
            continue;
        }
        expect_refused(model, &params, other_path, d->status ? d->status : JUDGEQ_ERROR_FORMAT, d->why);
    }
}

/* Cut short anywhere, longer, or with a byte that is another. */
static void test_any_byte(void **state) {
    (void)state;
    const judgeq_session_params params = {.judge = judge, .n_threads = 1};
    judgeq_session *session = start("h2o", defaults());
    check(judgeq_session_prefill(session, token, 3, &error));
    check(judgeq_session_save(session, path, &error));
    judgeq_session_free(session);
    size_t size;
    char *bytes = fixture_read(path, &size);
    for (size_t n = 0; n < size; n += n < 3000 ? 1 : 37) {
        if (fixture_write(other_path, bytes, n) != 0) fail_msg("cannot write");
        session = NULL;
        const judgeq_status status = judgeq_session_load(model, &params, other_path, &session, &error);
        if (status != JUDGEQ_ERROR_FORMAT || !strstr(error.message, other_path)) fail_msg("%zu: %s", n, error.message);
    }
    for (size_t i = 0; i < size; i += i < 3000 ? 1 : 37) {
        bytes[i] ^= 1 << i % 8;
        fixture_write(other_path, bytes, size);
        const judgeq_status status = judgeq_session_load(model, &params, other_path, &session, &error);
        if (status == JUDGEQ_OK || !strstr(error.message, other_path)) fail_msg("byte %zu: %d", i, (int)status);
        bytes[i] ^= 1 << i % 8;
    }
    bytes[size] = 0;
    fixture_write(other_path, bytes, size + 1); /* fixture_read ends in a zero */
    expect_refused(model, &params, other_path, JUDGEQ_ERROR_FORMAT, "goes on after its checksum");
    free(bytes);
}

/* Judges, models, texts; nothing. */
static void test_other_files(void **state) {
    (void)state;
    judgeq_snapshot_info info;
    check(judgeq_judge_save(judge, other_path, &error));
    expect_refused(model, NULL, other_path, JUDGEQ_ERROR_UNSUPPORTED, "but a judge");
    expect_refused(model, NULL, fixture_model, JUDGEQ_ERROR_UNSUPPORTED, "but a model");
    fixture_write(other_path, "A letter to nobody\n", 19);
    expect_refused(model, NULL, other_path, JUDGEQ_ERROR_FORMAT, "not a GGUF file but a text");
    fixture_write(other_path, "", 0);
    expect_refused(model, NULL, other_path, JUDGEQ_ERROR_FORMAT, "is empty");
    assert_int_equal(judgeq_snapshot_read(other_path, &info, NULL, &error), JUDGEQ_ERROR_FORMAT);
    expect_refused(model, NULL, fixture_folder, JUDGEQ_ERROR_IO, "is a folder");
    expect_refused(model, NULL, "/nowhere/x.gguf", JUDGEQ_ERROR_IO, "cannot open");
    save_for("streaming", false);
    judgeq_model *wrong = NULL;
    assert_int_equal(judgeq_model_load(path, &wrong, &error), JUDGEQ_ERROR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "a session's file, not a model"));
    judgeq_judge *no_judge = NULL;
    assert_int_equal(judgeq_judge_load(path, NULL, &no_judge, &error), JUDGEQ_ERROR_UNSUPPORTED);
}

static judgeq_model *another_model(enum ggml_type type, uint64_t seed) {
    tiny_spec spec;
    char name[320];
    judgeq_model *other = NULL;
    assert_true(tiny_spec_find("qwen3", &spec));
    spec.n_ctx = 4096;
    spec.weight_type = type;
    spec.seed = seed ? seed : spec.seed;
    snprintf(name, sizeof name, "%s/other.gguf", fixture_folder);
    assert_int_equal(tiny_model_write(&spec, name), 0);
    check(judgeq_model_load(name, &other, &error));
    return other;
}

/* Another model, another quantisation, another judge, another policy; none of them. */
static void test_mismatches(void **state) {
    (void)state;
    judgeq_session_params params = {.judge = judge, .n_threads = 1};
    save_for("judge", false);
    judgeq_model *other = another_model(GGML_TYPE_Q8_0, 0);
    expect_refused(other, &params, path, JUDGEQ_ERROR_MISMATCH, "another quantisation");
    judgeq_model_free(other);
    other = another_model(GGML_TYPE_F32, 77);
    expect_refused(other, &params, path, JUDGEQ_ERROR_MISMATCH, "another model");
    judgeq_model_free(other);
    expect_refused(model, NULL, path, JUDGEQ_ERROR_ARGUMENT, "needs a judge");
    judgeq_judge_info about = *judgeq_judge_get_info(judge);
    float soft[N_SOFT * 1024] = {1};
    assert_true(about.n_embd <= 1024);
    judgeq_judge *another = NULL;
    check(judgeq_judge_new(soft, &about, &another, &error));
    params.judge = another;
    expect_refused(model, &params, path, JUDGEQ_ERROR_MISMATCH, "another judge");
    judgeq_judge_free(another);
    params.judge = judge;
    judgeq_policy *policy = NULL;
    check(judgeq_policy_parse("snapkv", &policy, &error));
    params.policy = policy;
    expect_refused(model, &params, path, JUDGEQ_ERROR_MISMATCH, "has the policy \"probe=soft");
    params.policy = NULL;
    params.n_threads = -1;
    expect_refused(model, &params, path, JUDGEQ_ERROR_ARGUMENT, "threads");
    judgeq_policy_free(policy);
}

/* A file that loses its end while it is read: the rest is zeros, and the call says so. */
static void test_shrinking(void **state) {
    (void)state;
    snapshot s;
    judgeq_guard_mappings();
    save_for("streaming", false);
    check(snapshot_open(path, &s, &error));
    assert_int_equal(truncate(path, 100), 0);
    assert_int_equal(s.tokens[s.n_position - 1], 0);
    assert_int_equal(file_check(path, &s.file.map, JUDGEQ_OK, &error), JUDGEQ_ERROR_IO);
    snapshot_close(&s);
}

/* ---- set-up ------------------------------------------------------------------------------------------------------ */

static int set_up(void **state) {
    if (tiny_set_up(state, "qwen3", 4096, &model) != 0) return -1;
    snprintf(path, sizeof path, "%s/session.gguf", fixture_folder);
    snprintf(other_path, sizeof other_path, "%s/again.gguf", fixture_folder);
    return tiny_set_up_prompt(model, N_SOFT, &judge, token, N_ALL);
}

static int tear_down(void **state) {
    return tiny_tear_down(state, model, judge);
}

TESTS_MAIN(set_up, tear_down, cmocka_unit_test(test_goes_on), cmocka_unit_test(test_any_moment),
           cmocka_unit_test(test_unbounded), cmocka_unit_test(test_state), cmocka_unit_test(test_info),
           cmocka_unit_test(test_label), cmocka_unit_test(test_not_saved), cmocka_unit_test(test_no_room),
           cmocka_unit_test(test_damaged), cmocka_unit_test(test_any_byte), cmocka_unit_test(test_other_files),
           cmocka_unit_test(test_mismatches), cmocka_unit_test(test_shrinking))
