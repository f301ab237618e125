#include "tokenizer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "error.h"
#include "guard.h"

/* ---- checks: libllama aborts on what these refuse ---------------------------------------------------------------- */

/* No token may occur twice: libllama asserts it. Open addressing over the tokens' hashes. */
static judgeq_status check_unique(const judgeq_model *model, int64_t id, size_t n, judgeq_error *error) {
    size_t size = 16;
    while (size < 2 * n) size *= 2;
    uint32_t *slot = calloc(size, sizeof *slot); /* index + 1; 0: free */
    if (!slot) return error_memory(error, "a vocabulary");
    judgeq_status status = JUDGEQ_OK;
    for (size_t i = 0; i < n && status == JUDGEQ_OK; i++) {
        const char *text = gguf_get_arr_str(model->file.gguf, id, i);
        size_t at = (size_t)XXH3_64bits(text, strlen(text)) & (size - 1);
        while (slot[at] && strcmp(gguf_get_arr_str(model->file.gguf, id, slot[at] - 1), text) != 0) {
            at = (at + 1) & (size - 1);
        }
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

static judgeq_status check_vocabulary(const judgeq_model *model, judgeq_error *error) {
    const char *kind = NULL;
    int64_t id = -1, merges = -1;
    size_t n = 0, n_merges = 0;
    judgeq_status status = gguf_read_string(&model->file, "tokenizer.ggml.model", GGUF_REQUIRED, &kind, error);
    if (status != JUDGEQ_OK) return status;
    if (strcmp(kind, "llama") != 0 && strcmp(kind, "gpt2") != 0) {
        return error_set(error, JUDGEQ_ERROR_UNSUPPORTED,
                         "%s: tokenizer.ggml.model '%.32s' is not known (known: llama, gpt2)", model->file.path, kind);
    }
    status = gguf_read_strings(&model->file, "tokenizer.ggml.tokens", GGUF_REQUIRED, &id, &n, error);
    if (status != JUDGEQ_OK) return status;
    if (n != (size_t)model->info.n_vocab) {
        return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: tokenizer.ggml.tokens has %zu tokens, the model embeds %d",
                         model->file.path, n, model->info.n_vocab);
    }
    status = check_unique(model, id, n, error);
    if (status == JUDGEQ_OK) {
        status = check_array(model, "tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, GGUF_TYPE_FLOAT32, n, error);
    }
    if (status == JUDGEQ_OK) {
        status = check_array(model, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, GGUF_TYPE_UINT32, n, error);
    }
    if (status == JUDGEQ_OK && strcmp(kind, "llama") == 0) status = check_byte_tokens(model, error);
    if (status == JUDGEQ_OK) {
        status = gguf_read_strings(&model->file, "tokenizer.ggml.merges", GGUF_OPTIONAL, &merges, &n_merges, error);
    }
    return status;
}

static bool token_missing(const judgeq_model *model, llama_token token) {
    return token < 0 || token >= model->info.n_vocab;
}

judgeq_status tokenizer_load(judgeq_model *model, judgeq_error *error) {
    judgeq_status status = check_vocabulary(model, error);
    if (status != JUDGEQ_OK) return status;
    status = guard_load_vocabulary(model->file.path, &model->vocabulary, error);
    if (status != JUDGEQ_OK) return status;
    if (!model->vocabulary) {
        return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: libllama cannot load the vocabulary", model->file.path);
    }
    const struct llama_vocab *vocab = llama_model_get_vocab(model->vocabulary);
    if ((llama_vocab_get_add_bos(vocab) && token_missing(model, llama_vocab_bos(vocab))) ||
        (llama_vocab_get_add_eos(vocab) && token_missing(model, llama_vocab_eos(vocab)))) {
        return error_set(error, JUDGEQ_ERROR_FORMAT,
                         "%s: the vocabulary wants a first or last token around every text, but names none",
                         model->file.path);
    }
    return JUDGEQ_OK;
}

void tokenizer_free(judgeq_model *model) {
    if (model->vocabulary) llama_model_free(model->vocabulary);
    model->vocabulary = NULL;
}

/* ---- public ------------------------------------------------------------------------------------------------------ */

judgeq_status judgeq_tokenize(const judgeq_model *model, const char *text, size_t length, unsigned flags,
                              int32_t **tokens, size_t *n_tokens, judgeq_error *error) {
    *tokens = NULL;
    *n_tokens = 0;
    const bool begin = (flags & JUDGEQ_TEXT_BEGIN) != 0, control = (flags & JUDGEQ_TEXT_CONTROL) != 0;
    if (length > INT32_MAX / 2) return error_set(error, JUDGEQ_ERROR_LIMIT, "text of %zu bytes is too long", length);
    const struct llama_vocab *vocab = llama_model_get_vocab(model->vocabulary);
    /* a byte is a token at most, plus what is put around the text */
    int32_t room = (int32_t)length + 16;
    int32_t *ids = malloc((size_t)room * sizeof *ids);
    if (!ids) return error_memory(error, "tokens");
    int32_t n;
    judgeq_status status = guard_tokenize(vocab, text, (int32_t)length, ids, room, begin, control, &n, error);
    if (status == JUDGEQ_OK && n < 0 && n != INT32_MIN) {
        room = -n;
        int32_t *larger = realloc(ids, (size_t)room * sizeof *ids);
        if (!larger) {
            free(ids);
            return error_memory(error, "tokens");
        }
        ids = larger;
        status = guard_tokenize(vocab, text, (int32_t)length, ids, room, begin, control, &n, error);
    }
    if (status == JUDGEQ_OK && n < 0) {
        status = error_set(error, JUDGEQ_ERROR_BACKEND, "libllama cannot tokenise the text");
    }
    if (status != JUDGEQ_OK) {
        free(ids);
        return status;
    }
    *tokens = ids;
    *n_tokens = (size_t)n;
    return JUDGEQ_OK;
}

int32_t judgeq_token_text(const judgeq_model *model, int32_t token, char *text, int32_t size) {
    if (token_missing(model, token)) return 0;
    return llama_token_to_piece(llama_model_get_vocab(model->vocabulary), token, text, size, 0, false);
}

bool judgeq_token_ends(const judgeq_model *model, int32_t token) {
    return !token_missing(model, token) && llama_vocab_is_eog(llama_model_get_vocab(model->vocabulary), token);
}

judgeq_status judgeq_chat_text(const judgeq_model *model, const judgeq_message *messages, size_t n_messages,
                               char **text, judgeq_error *error) {
    *text = NULL;
    const char *template = llama_model_chat_template(model->vocabulary, NULL);
    if (!template) {
        return error_set(error, JUDGEQ_ERROR_UNSUPPORTED, "%s: the file has no chat template; use raw text",
                         model->file.path);
    }
    struct llama_chat_message *chat = calloc(n_messages ? n_messages : 1, sizeof *chat);
    if (!chat) return error_memory(error, "messages");
    size_t length = 256;
    for (size_t i = 0; i < n_messages; i++) {
        chat[i] = (struct llama_chat_message){messages[i].role, messages[i].content};
        length += 2 * (strlen(messages[i].role) + strlen(messages[i].content)) + 64;
    }
    judgeq_status status = JUDGEQ_OK;
    char *buffer = length < INT32_MAX ? malloc(length) : NULL;
    if (!buffer) {
        status = error_memory(error, "a chat text");
    } else {
        int32_t n = llama_chat_apply_template(template, chat, n_messages, true, buffer, (int32_t)length - 1);
        if (n < 0 || (size_t)n >= length) {
            status = error_set(error, JUDGEQ_ERROR_UNSUPPORTED,
                               "%s: libllama does not know the file's chat template; use raw text", model->file.path);
            free(buffer);
        } else {
            buffer[n] = '\0';
            *text = buffer;
        }
    }
    free(chat);
    return status;
}
