/* baseline_llama: libllama on the same ggml build, for bench/performance.py: reads a prompt, decodes, prints one line
 * of JSON. With the settings that make it fast on CPUs: weights repacked where it can, a thread pool of its own that
 * lives from graph to graph, a cache of F16; flash attention is an argument, because which is faster depends on the
 * length.
 *
 *   baseline_llama MODEL PROMPT_TOKENS DECODED_TOKENS THREADS FLASH(0|1) SEQUENCES REPACK(0|1)
 *
 * REPACK 0 leaves the weights as they are in the file: on some processors with AMX, ggml's repacked weights end the
 * process with an illegal instruction.
 *
 * Sequences share one reading of the prompt, as in judgeq bench, and then decode together, each from a cache of its
 * own.
 */
#include <ggml-backend.h>
#include <ggml-cpu.h>
#include <limits.h>
#include <llama.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

enum { BATCH = 2048, ROWS = 512 }; /* tokens per call, and per graph: libllama's defaults */
enum { WARM_UP = 64 };             /* tokens, as in performance.py */

typedef struct baseline {
    struct llama_model *model;
    struct llama_context *context;
    struct llama_batch batch;
    ggml_threadpool_t pool;
    int n_prompt, n_decode, n_threads, n_sequence;
    bool flash, repack;
} baseline;

static void silence(enum ggml_log_level level, const char *text, void *data) {
    (void)data;
    if (level == GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

static int fail(const char *what) {
    fprintf(stderr, "baseline_llama: %s\n", what);
    return 1;
}

static bool open_model(baseline *b, const char *path) {
    llama_log_set(silence, NULL);
    struct llama_model_params model = llama_model_default_params();
    model.n_gpu_layers = 0;
    model.use_extra_bufts = b->repack;
    b->model = llama_model_load_from_file(path, model);
    if (!b->model) return false;
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = (uint32_t)(b->n_sequence * ((b->n_prompt + b->n_decode + 255) / 256 * 256));
    params.n_seq_max = (uint32_t)b->n_sequence;
    params.n_batch = BATCH;
    params.n_ubatch = ROWS;
    params.n_threads = params.n_threads_batch = b->n_threads;
    params.flash_attn_type = b->flash ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
    params.kv_unified = false;
    b->context = llama_init_from_model(b->model, params);
    struct ggml_threadpool_params pool = ggml_threadpool_params_default(b->n_threads);
    b->pool = ggml_threadpool_new(&pool);
    if (!b->context || !b->pool) return false;
    llama_attach_threadpool(b->context, b->pool, b->pool);
    b->batch = llama_batch_init(BATCH, 0, 1);
    return true;
}

static void add_token(baseline *b, int token, int position, int sequence, bool logits) {
    const int i = b->batch.n_tokens++;
    b->batch.token[i] = token;
    b->batch.pos[i] = position;
    b->batch.n_seq_id[i] = 1;
    b->batch.seq_id[i][0] = sequence;
    b->batch.logits[i] = logits;
}

/* Any tokens: what they are changes no time. */
static int token_at(const baseline *b, int position) {
    const unsigned n = (unsigned)llama_vocab_n_tokens(llama_model_get_vocab(b->model));
    return (int)(((unsigned)position * 2654435761u >> 7) % n);
}

static int read_tokens(baseline *b, int n) {
    for (int done = 0; done < n;) {
        b->batch.n_tokens = 0;
        const int end = n - done < BATCH ? n : done + BATCH;
        for (; done < end; done++) add_token(b, token_at(b, done), done, 0, done + 1 == n);
        if (llama_decode(b->context, b->batch) != 0) return fail("cannot read the prompt");
    }
    return 0;
}

/* The first graph pays for pages, buffers and sleeping threads. */
static int warm_up(baseline *b) {
    const int status = read_tokens(b, b->n_prompt < WARM_UP ? b->n_prompt : WARM_UP);
    llama_memory_clear(llama_get_memory(b->context), true);
    return status;
}

static int read_prompt(baseline *b) {
    if (read_tokens(b, b->n_prompt) != 0) return 1;
    for (int s = 1; s < b->n_sequence; s++) llama_memory_seq_cp(llama_get_memory(b->context), 0, s, -1, -1);
    return llama_get_logits_ith(b->context, -1) ? 0 : fail("no logits"); /* waits for them */
}

static int decode(baseline *b) {
    for (int i = 0; i < b->n_decode; i++) {
        b->batch.n_tokens = 0;
        for (int s = 0; s < b->n_sequence; s++) add_token(b, token_at(b, i + s), b->n_prompt + i, s, true);
        if (llama_decode(b->context, b->batch) != 0) return fail("cannot decode");
        if (!llama_get_logits_ith(b->context, -1)) return fail("no logits");
    }
    return 0;
}

/* Bytes of the cells of its cache, F16 keys and values. */
static double cache_bytes(const baseline *b) {
    const struct llama_model *m = b->model;
    const double row = 2.0 * 2 * llama_model_n_embd(m) / llama_model_n_head(m) * llama_model_n_head_kv(m);
    return row * llama_model_n_layer(m) * llama_n_ctx(b->context);
}

static int measure(baseline *b) {
    if (warm_up(b) != 0) return 1;
    const double start = clock_seconds();
    if (read_prompt(b) != 0) return 1;
    const double read = clock_seconds();
    if (decode(b) != 0) return 1;
    const double end = clock_seconds();
    printf("{\"prefill_s\": %.6f, \"decode_s\": %.6f, \"decoded\": %d, \"kv_bytes_peak\": %.0f}\n", read - start,
           end - read, b->n_decode * b->n_sequence, cache_bytes(b));
    return 0;
}

/* -1 where `text` is no whole number. */
static int whole_number(const char *text) {
    char *end = NULL;
    const long value = strtol(text, &end, 10);
    return end > text && !*end && value >= 0 && value <= INT_MAX ? (int)value : -1;
}

int main(int argc, char **argv) {
    if (argc != 8) return fail("MODEL PROMPT_TOKENS DECODED_TOKENS THREADS FLASH(0|1) SEQUENCES REPACK(0|1)");
    baseline b = {.n_prompt = whole_number(argv[2]),
                  .n_decode = whole_number(argv[3]),
                  .n_threads = whole_number(argv[4]),
                  .flash = whole_number(argv[5]) == 1,
                  .n_sequence = whole_number(argv[6]),
                  .repack = whole_number(argv[7]) == 1};
    if (b.n_prompt < 1 || b.n_decode < 0 || b.n_threads < 1 || b.n_sequence < 1) return fail("arguments out of range");
    if (ggml_backend_dev_count() == 0) ggml_backend_load_all();
    const int status = open_model(&b, argv[1]) ? measure(&b) : fail("cannot open the model");
    if (b.batch.token) llama_batch_free(b.batch);
    if (b.context) llama_free(b.context);
    if (b.pool) ggml_threadpool_free(b.pool);
    if (b.model) llama_model_free(b.model);
    return status;
}
