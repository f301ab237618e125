#include "vocabulary_check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/error.h"
#include "base/visible.h"

enum { EMPTY_NAME = 32, LONGEST_TOKEN = 1 << 14, MOST_SQUARES = 1 << 28 };

/* A token's text as libllama has it: empty ones get a name. */
static const char *token_text(const judgeq_model *model, int64_t id, size_t index, char room[EMPTY_NAME]) {
    const char *text = gguf_get_arr_str(model->file.gguf, id, index);
    if (*text) return text;
    snprintf(room, EMPTY_NAME, "[EMPTY_%zu]", index);
    return room;
}

static bool same_text(const judgeq_model *model, int64_t id, size_t index, const char *text) {
    char room[EMPTY_NAME];
    return strcmp(token_text(model, id, index, room), text) == 0;
}

/* No token may occur twice: libllama asserts it. Open addressing over the tokens' hashes. */
static judgeq_status check_unique(const judgeq_model *model, int64_t id, size_t n, judgeq_error *error) {
    size_t size = 16;
    while (size < 2 * n) size *= 2;
    uint32_t *slot = calloc(size, sizeof *slot); /* index + 1; 0: free */
    if (!slot) return error_memory(error, "a vocabulary");
    judgeq_status status = JUDGEQ_OK;
    for (size_t i = 0; i < n && status == JUDGEQ_OK; i++) {
        char room[EMPTY_NAME];
        const char *text = token_text(model, id, i, room);
        size_t at = (size_t)XXH3_64bits(text, strlen(text)) & (size - 1);
        while (slot[at] && !same_text(model, id, slot[at] - 1, text)) at = (at + 1) & (size - 1);
        if (slot[at]) {
            status = error_set(error, JUDGEQ_ERROR_FORMAT,
                               "%s: tokenizer.ggml.tokens: tokens %" PRIu32 " and %zu are the same", model->file.path,
                               slot[at] - 1, i);
        }
        slot[at] = (uint32_t)i + 1;
    }
    free(slot);
    return status;
}

/* Where a character of a token stands for no byte, libllama writes the whole token in its place: a token of 64 KiB
 * could become 2 GiB, on which libllama aborts. The longest tokens of real vocabularies have a few hundred bytes. */
static judgeq_status check_lengths(const judgeq_model *model, int64_t id, size_t n, judgeq_error *error) {
    size_t squares = 0;
    for (size_t i = 0; i < n; i++) {
        const size_t length = strlen(gguf_get_arr_str(model->file.gguf, id, i));
        if (length <= LONGEST_TOKEN) squares += length * length;
        if (length <= LONGEST_TOKEN && squares <= MOST_SQUARES) continue;
        return error_set(
            error, JUDGEQ_ERROR_UNSUPPORTED,
            "%s: tokenizer.ggml.tokens: %s token %zu, of %zu bytes: a token may have %d, and their squares "
            "may sum up to %d",
            model->file.path, length <= LONGEST_TOKEN ? "too many long tokens up to" : "too long:", i, length,
            LONGEST_TOKEN, MOST_SQUARES);
    }
    return JUDGEQ_OK;
}

/* A token for a byte is written <0xNN>; libllama reads the digits of anything that says it is one. */
static judgeq_status check_byte_types(const judgeq_model *model, int64_t id, size_t n, judgeq_error *error) {
    const struct gguf_context *gguf = model->file.gguf;
    const int64_t types = gguf_find_key(gguf, "tokenizer.ggml.token_type");
    if (types < 0) return JUDGEQ_OK;
    const int32_t *type = gguf_get_arr_data(gguf, types);
    for (size_t i = 0; i < n; i++) {
        const char *text = gguf_get_arr_str(gguf, id, i);
        if (type[i] != LLAMA_TOKEN_TYPE_BYTE || strlen(text) >= 5) continue;
        return error_set(error, JUDGEQ_ERROR_FORMAT,
                         "%s: tokenizer.ggml.token_type says that token %zu, \"%s\", is a byte; those are named <0xNN>",
                         model->file.path, i, text);
    }
    return JUDGEQ_OK;
}

/* Pre-tokenizers that libllama knows, but of which it aborts at texts. */
static judgeq_status check_pre(const judgeq_model *model, judgeq_error *error) {
    const char *pre = "";
    const judgeq_status status = gguf_read_string(&model->file, "tokenizer.ggml.pre", GGUF_OPTIONAL, &pre, error);
    if (status != JUDGEQ_OK || strcmp(pre, "whitespace") != 0) return status;
    return error_set(
        error, JUDGEQ_ERROR_UNSUPPORTED,
        "%s: tokenizer.ggml.pre is 'whitespace', which is for models of embeddings: libllama cannot read two "
        "spaces with it",
        model->file.path);
}

/* An array of 4-byte numbers, one per token, or nothing. */
static judgeq_status check_array(const judgeq_model *model, const char *key, enum gguf_type type,
                                 enum gguf_type or_type, size_t n, judgeq_error *error) {
    const struct gguf_context *gguf = model->file.gguf;
    const int64_t id = gguf_find_key(gguf, key);
    if (id < 0) return JUDGEQ_OK;
    if (gguf_get_kv_type(gguf, id) == GGUF_TYPE_ARRAY && gguf_get_arr_n(gguf, id) == n) {
        const enum gguf_type found = gguf_get_arr_type(gguf, id);
        if (found == type || found == or_type) return JUDGEQ_OK;
    }
    return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: %s: expected an array of %zu %s", model->file.path, key, n,
                     gguf_type_name(type));
}

/* SentencePiece falls back to bytes: libllama throws where a text has a byte that is neither <0xNN> nor a token itself.
 */
static judgeq_status check_byte_tokens(const judgeq_model *model, judgeq_error *error) {
    const struct gguf_context *gguf = model->file.gguf;
    const int64_t id = gguf_find_key(gguf, "tokenizer.ggml.tokens");
    const size_t n = gguf_get_arr_n(gguf, id);
    bool found[256] = {false};
    for (size_t i = 0; i < n; i++) {
        const char *text = gguf_get_arr_str(gguf, id, i);
        char written[8];
        if (text[0] && !text[1]) found[(unsigned char)text[0]] = true;
        if (strlen(text) != 6 || memcmp(text, "<0x", 3) != 0) continue;
        const long byte = strtol(text + 3, NULL, 16);
        snprintf(written, sizeof written, "<0x%02lX>", (unsigned long)byte & 0xff);
        if (strcmp(written, text) == 0) found[byte] = true;
    }
    for (int byte = 0; byte < 256; byte++) {
        if (found[byte]) continue;
        return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: tokenizer.ggml.tokens has no token <0x%02X>",
                         model->file.path, byte);
    }
    return JUDGEQ_OK;
}

static judgeq_status check_kind(const judgeq_model *model, bool *sentencepiece, judgeq_error *error) {
    const char *kind = NULL;
    const judgeq_status status = gguf_read_string(&model->file, "tokenizer.ggml.model", GGUF_REQUIRED, &kind, error);
    if (status != JUDGEQ_OK) return status;
    *sentencepiece = strcmp(kind, "llama") == 0;
    if (*sentencepiece) return JUDGEQ_OK;
    if (strcmp(kind, "gpt2") == 0) return check_pre(model, error);
    return error_set(error, JUDGEQ_ERROR_UNSUPPORTED,
                     "%s: tokenizer.ggml.model '%.*s' is not known (known: llama, gpt2)", model->file.path,
                     VISIBLE_FIT(kind, 32));
}

judgeq_status vocabulary_check(const judgeq_model *model, bool *sentencepiece, judgeq_error *error) {
    int64_t id = -1, merges = -1;
    size_t n = 0, n_merges = 0;
    judgeq_status status = check_kind(model, sentencepiece, error);
    if (status == JUDGEQ_OK) {
        status = gguf_read_strings(&model->file, "tokenizer.ggml.tokens", GGUF_REQUIRED, &id, &n, error);
    }
    if (status != JUDGEQ_OK) return status;
    if (n != (size_t)model->info.n_vocab) {
        return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: tokenizer.ggml.tokens has %zu tokens, the model embeds %d",
                         model->file.path, n, model->info.n_vocab);
    }
    status = check_lengths(model, id, n, error);
    if (status == JUDGEQ_OK) status = check_unique(model, id, n, error);
    if (status == JUDGEQ_OK) {
        status = check_array(model, "tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, GGUF_TYPE_INT32, n, error);
    }
    if (status == JUDGEQ_OK) {
        status = check_array(model, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, GGUF_TYPE_INT32, n, error);
    }
    if (status == JUDGEQ_OK) status = check_byte_types(model, id, n, error);
    if (status == JUDGEQ_OK && *sentencepiece) status = check_byte_tokens(model, error);
    if (status == JUDGEQ_OK) {
        status = gguf_read_strings(&model->file, "tokenizer.ggml.merges", GGUF_OPTIONAL, &merges, &n_merges, error);
    }
    return status;
}
