/* llama_oracle: libllama as the judge of our own engine: the same GGUF file, the same tokens, its logits.
 *
 * It runs on the CPU with one thread and without repacked weights, so that its matrix products are ggml's own plain
 * kernels, which are ours too. The KV cache is F32 and flash attention is off unless the options say otherwise.
 * libllama's log is silenced for the whole process; its errors are kept for a failing test's message. */
#ifndef JUDGEQ_TESTS_LLAMA_ORACLE_H
#define JUDGEQ_TESTS_LLAMA_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ggml.h>

typedef struct oracle oracle;

typedef struct oracle_options {
    enum ggml_type kv_type; /* of the KV cache; 0: F32. Quantised ones need flash attention */
    bool flash_attention;   /* false: product, softmax, product */
    bool all_logits;        /* keep the logits of every token, not only of the last */
    int n_batch;            /* tokens per llama_decode; 0: 512 */
    int n_ubatch;           /* tokens per graph; 0: as n_batch */
} oracle_options;

/* NULL options: all as zero. n_ctx is rounded up by libllama. NULL where the file cannot be loaded: oracle_error(). */
oracle *oracle_open(const char *path, int n_ctx, const oracle_options *options);
void oracle_close(oracle *o);
/* libllama's error messages since the last oracle_open in this process, or "". */
const char *oracle_error(void);

int oracle_n_vocab(const oracle *o);
/* Tokens in the sequence so far. */
int oracle_n_past(const oracle *o);

/* Appends n tokens to the sequence. 0, or libllama's own status. */
int oracle_prompt(oracle *o, const int32_t *tokens, size_t n);
/* Appends one. */
int oracle_decode(oracle *o, int32_t token);
/* After the last token, [n_vocab]; until the next call. */
const float *oracle_logits(const oracle *o);
/* After every token of the sequence, [oracle_n_past, n_vocab]; NULL without all_logits. Until the next call. */
const float *oracle_all_logits(const oracle *o);
/* The most likely next token; the first of equals. */
int32_t oracle_best(const oracle *o);
/* n greedy tokens after what was read: out[0] is oracle_best; all of them but the last are decoded. 0 or a status. */
int oracle_continue(oracle *o, int32_t *out, size_t n);
/* Empties the sequence: the next prompt starts at position 0. */
void oracle_reset(oracle *o);

/* Number of tokens written, or the number needed, negated, if it is larger than max. */
int oracle_tokenize(const oracle *o, const char *text, bool special, int32_t *tokens, int max);
/* The file's chat template around one user message. Bytes written, without the final zero; -1 if it does not fit or
 * libllama does not know the template. */
int oracle_chat(const oracle *o, const char *user, char *text, int size);

#endif
