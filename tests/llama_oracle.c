#include "llama_oracle.h"

#include <ggml-backend.h>
#include <llama.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct oracle {
    struct llama_model *model;
    struct llama_context *context;
    struct llama_batch batch; /* room for n_batch tokens */
    int n_batch, n_vocab, n_past;
    bool all_logits;
    float *logits; /* [n_past, n_vocab] with all_logits, otherwise [n_vocab] */
};

static char errors[1024]; /* libllama reports a cause first and its consequences after it */

static void keep_errors(enum ggml_log_level level, const char *text, void *data) {
    (void)data;
    size_t length = strlen(errors);
    if (level == GGML_LOG_LEVEL_ERROR) snprintf(errors + length, sizeof errors - length, "%s", text);
}

const char *oracle_error(void) {
    return errors;
}

static struct llama_model *load_model(const char *path) {
    llama_log_set(keep_errors, NULL);
    if (ggml_backend_dev_count() == 0) ggml_backend_load_all(); /* ggml built with loadable backends */
    struct llama_model_params params = llama_model_default_params();
    ggml_backend_dev_t no_devices[] = {NULL};
    params.devices = no_devices; /* nothing but the CPU, whatever else this ggml knows */
    params.n_gpu_layers = 0;
    params.use_extra_bufts = false;
    return llama_model_load_from_file(path, params);
}

static struct llama_context *new_context(struct llama_model *model, int n_ctx, const oracle_options *options,
                                         int n_batch) {
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = (uint32_t)n_ctx;
    params.n_batch = (uint32_t)n_batch;
    params.n_ubatch = (uint32_t)(options->n_ubatch ? options->n_ubatch : n_batch);
    params.n_threads = params.n_threads_batch = 1;
    params.type_k = params.type_v = options->kv_type;
    params.flash_attn_type = options->flash_attention ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
    params.offload_kqv = params.op_offload = false;
    return llama_init_from_model(model, params);
}

oracle *oracle_open(const char *path, int n_ctx, const oracle_options *options) {
    oracle_options defaults = {0};
    if (!options) options = &defaults;
    errors[0] = 0;
    oracle *o = calloc(1, sizeof *o);
    if (!o) return NULL;
    o->n_batch = options->n_batch ? options->n_batch : 512;
    o->all_logits = options->all_logits;
    o->model = load_model(path);
    if (o->model) o->context = new_context(o->model, n_ctx, options, o->n_batch);
    if (o->context) {
        o->batch = llama_batch_init(o->n_batch, 0, 1);
        o->n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(o->model));
        o->logits = malloc((size_t)o->n_vocab * sizeof *o->logits);
    }
    if (o->logits) return o;
    oracle_close(o);
    return NULL;
}

void oracle_close(oracle *o) {
    if (!o) return;
    free(o->logits);
    if (o->batch.token) llama_batch_free(o->batch);
    if (o->context) llama_free(o->context);
    if (o->model) llama_model_free(o->model);
    free(o);
}

int oracle_n_vocab(const oracle *o) {
    return o->n_vocab;
}

int oracle_n_past(const oracle *o) {
    return o->n_past;
}

/* Copies the logits of the batch's n tokens, or of its last, to where they belong. */
static int keep_logits(oracle *o, int n) {
    size_t row = (size_t)o->n_vocab;
    if (!o->all_logits) {
        memcpy(o->logits, llama_get_logits_ith(o->context, n - 1), row * sizeof *o->logits);
        return 0;
    }
    float *grown = realloc(o->logits, (size_t)(o->n_past + n) * row * sizeof *grown);
    if (!grown) return -1;
    o->logits = grown;
    for (int i = 0; i < n; i++) {
        memcpy(grown + (size_t)(o->n_past + i) * row, llama_get_logits_ith(o->context, i), row * sizeof *grown);
    }
    return 0;
}

static int append(oracle *o, const int32_t *tokens, int n) {
    o->batch.n_tokens = n;
    for (int i = 0; i < n; i++) {
        o->batch.token[i] = tokens[i];
        o->batch.pos[i] = o->n_past + i;
        o->batch.n_seq_id[i] = 1;
        o->batch.seq_id[i][0] = 0;
        o->batch.logits[i] = o->all_logits || i == n - 1;
    }
    int status = llama_decode(o->context, o->batch);
    if (status == 0) status = keep_logits(o, n);
    if (status == 0) o->n_past += n;
    return status;
}

int oracle_prompt(oracle *o, const int32_t *tokens, size_t n) {
    for (size_t done = 0; done < n;) {
        int part = n - done < (size_t)o->n_batch ? (int)(n - done) : o->n_batch;
        int status = append(o, tokens + done, part);
        if (status != 0) return status;
        done += (size_t)part;
    }
    return 0;
}

int oracle_decode(oracle *o, int32_t token) {
    return append(o, &token, 1);
}

const float *oracle_logits(const oracle *o) {
    return o->all_logits ? o->logits + (size_t)(o->n_past - 1) * (size_t)o->n_vocab : o->logits;
}

const float *oracle_all_logits(const oracle *o) {
    return o->all_logits ? o->logits : NULL;
}

int32_t oracle_best(const oracle *o) {
    const float *logits = oracle_logits(o);
    int32_t best = 0;
    for (int32_t i = 1; i < o->n_vocab; i++) {
        if (logits[i] > logits[best]) best = i;
    }
    return best;
}

int oracle_continue(oracle *o, int32_t *out, size_t n) {
    for (size_t i = 0; i < n; i++) {
        int status = i > 0 ? oracle_decode(o, out[i - 1]) : 0;
        if (status != 0) return status;
        out[i] = oracle_best(o);
    }
    return 0;
}

void oracle_reset(oracle *o) {
    llama_memory_clear(llama_get_memory(o->context), true);
    o->n_past = 0;
}

int oracle_tokenize(const oracle *o, const char *text, bool special, int32_t *tokens, int max) {
    return llama_tokenize(llama_model_get_vocab(o->model), text, (int32_t)strlen(text), tokens, max, special, special);
}

int oracle_chat(const oracle *o, const char *user, char *text, int size) {
    struct llama_chat_message message = {.role = "user", .content = user};
    const char *template = llama_model_chat_template(o->model, NULL);
    int length = template ? llama_chat_apply_template(template, &message, 1, true, text, size) : -1;
    return length < size ? length : -1;
}
