#include "tokenizer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/stack.h"
#include "base/utf8.h"
#include "guard.h"
#include "vocabulary_check.h"

/* STACK: libllama splits text by regular expressions, for which libstdc++ calls itself for every character of a match:
 * 320 bytes of stack for each with GCC 12 and 14 on x86-64, whatever the pre-tokenizer. BASE is for everything else.
 * UNBROKEN bounds the memory that a text can make of it. */
enum { STACK_PER_CHARACTER = 1024, STACK_BASE = 1 << 20, MOST_UNBROKEN = 1 << 22 };

/* Characters whose stack any caller has left. */
enum { FEW_CHARACTERS = 64 };

/* Texts up to this are tokenised whatever the context, so that an error can say how many tokens there are. */
enum { FREE_BYTES = 1 << 20 };

static bool token_missing(const judgeq_model *model, llama_token token) {
    return token < 0 || token >= model->info.n_vocab;
}

/* ---- loading ----------------------------------------------------------------------------------------------------- */

/* The cause without what libllama says it led to. */
static const char *load_cause(const quiet_record *record) {
    static const char *const steps[] = {"error loading model: ", "error loading model vocabulary: "};
    const char *cause = record->error;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        if (strncmp(cause, steps[i], strlen(steps[i])) == 0) cause += strlen(steps[i]);
    }
    return *cause ? cause : "it does not say why";
}

static judgeq_status load_vocabulary(judgeq_model *model, judgeq_error *error) {
    quiet_record *record = &model->tokenizer->record;
    quiet_keep(record);
    const judgeq_status status = guard_load_vocabulary(model->file.gguf, &model->vocabulary, error);
    quiet_keep(NULL);
    if (status != JUDGEQ_OK) return status;
    if (!model->vocabulary) {
        return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: libllama refuses the vocabulary: %s", model->file.path,
                         load_cause(record));
    }
    const struct llama_vocab *vocab = llama_model_get_vocab(model->vocabulary);
    if (llama_vocab_get_add_bos(vocab) && token_missing(model, llama_vocab_bos(vocab))) {
        return error_set(error, JUDGEQ_ERROR_FORMAT,
                         "%s: tokenizer.ggml.add_bos_token wants a first token before every text, but "
                         "tokenizer.ggml.bos_token_id names none",
                         model->file.path);
    }
    return JUDGEQ_OK;
}

static judgeq_status learn(const judgeq_model *model, judgeq_error *error) {
    const struct llama_vocab *vocab = llama_model_get_vocab(model->vocabulary);
    tokenizer *t = model->tokenizer;
    for (llama_token id = 0; id < model->info.n_vocab; id++) {
        const size_t n = strlen(llama_vocab_get_text(vocab, id));
        if (n > t->longest) t->longest = n;
    }
    if (t->record.n_more > 0) snprintf(t->more, sizeof t->more, "and %zu more warnings", t->record.n_more);
    return t->sentencepiece ? text_cut_learn(vocab, &t->cut, error) : JUDGEQ_OK;
}

judgeq_status tokenizer_load(judgeq_model *model, judgeq_error *error) {
    model->tokenizer = calloc(1, sizeof *model->tokenizer);
    if (!model->tokenizer) return error_memory(error, "a tokenizer");
    judgeq_status status = vocabulary_check(model, &model->tokenizer->sentencepiece, error);
    if (status == JUDGEQ_OK) status = load_vocabulary(model, error);
    return status == JUDGEQ_OK ? learn(model, error) : status;
}

void tokenizer_free(judgeq_model *model) {
    if (model->vocabulary) llama_model_free(model->vocabulary);
    model->vocabulary = NULL;
    if (model->tokenizer) text_cut_forget(&model->tokenizer->cut);
    free(model->tokenizer);
    model->tokenizer = NULL;
}

const char *judgeq_model_warning_at(const judgeq_model *model, size_t index) {
    const tokenizer *t = model->tokenizer;
    if (index < t->record.n_warning) return t->record.warning[index];
    return index == t->record.n_warning && t->record.n_more > 0 ? t->more : NULL;
}

/* ---- tokenising -------------------------------------------------------------------------------------------------- */

typedef struct token_list {
    int32_t *id;
    size_t n, room;
} token_list;

static judgeq_status make_room(token_list *list, size_t n, judgeq_error *error) {
    if (list->room - list->n >= n) return JUDGEQ_OK;
    int32_t *larger = realloc(list->id, (list->n + n) * sizeof *larger);
    if (!larger) return error_memory(error, "tokens");
    list->id = larger;
    list->room = list->n + n;
    return JUDGEQ_OK;
}

/* One text for libllama. */
typedef struct piece {
    const judgeq_model *model;
    const char *text;
    size_t length;
    bool control;
    token_list *list;
    judgeq_error *error;
    judgeq_status status;
} piece;

/* A byte is a token at most, but for what libllama puts between tokens; where that is not enough it says how many. */
static void tokenize_piece(void *data) {
    piece *p = data;
    const struct llama_vocab *vocab = llama_model_get_vocab(p->model->vocabulary);
    int32_t n = -(int32_t)p->length - 16;
    for (int attempt = 0; attempt < 2 && p->status == JUDGEQ_OK && n < 0 && n != INT32_MIN; attempt++) {
        const int32_t room = -n;
        p->status = make_room(p->list, (size_t)room, p->error);
        if (p->status != JUDGEQ_OK) return;
        p->status = guard_tokenize(vocab, p->text, (int32_t)p->length, p->list->id + p->list->n, room, p->control, &n,
                                   p->error);
    }
    if (p->status != JUDGEQ_OK) return;
    if (n < 0)
        p->status = error_set(p->error, JUDGEQ_ERROR_BACKEND, "libllama cannot tokenise the text");
    else
        p->list->n += (size_t)n;
}

static size_t count_characters(const char *text, size_t length) {
    size_t n = 0;
    for (size_t i = 0; i < length; i++) n += ((unsigned char)text[i] & 0xC0) != 0x80;
    return n;
}

/* Characters of the longest part of valid UTF-8 in which no line ends before a character that is seen. No pre-tokenizer
 * of libllama's matches over such a place. */
static size_t longest_unbroken(const char *text, size_t length) {
    size_t longest = 0, start = 0;
    for (size_t at = 0; at < length;) {
        const char *line_end = memchr(text + at, '\n', length - at);
        at = line_end ? (size_t)(line_end - text) + 1 : length;
        unsigned next = 0;
        if (at < length) utf8_decode(text + at, length - at, &next);
        if (at < length && utf8_is_white_space(next)) continue;
        const size_t n = count_characters(text + start, at - start);
        if (n > longest) longest = n;
        start = at;
    }
    return longest;
}

/* With stack enough for the whole text: a match is not longer. */
static judgeq_status tokenize_deeply(piece *p) {
    const size_t n = count_characters(p->text, p->length);
    if (n > FEW_CHARACTERS) {
        if (n > MOST_UNBROKEN && longest_unbroken(p->text, p->length) > MOST_UNBROKEN) {
            return error_set(p->error, JUDGEQ_ERROR_LIMIT,
                             "the text has more than %d characters without an end of a line among them, which can take "
                             "more memory than there is: write it in lines",
                             MOST_UNBROKEN);
        }
        const judgeq_status status = stack_call(STACK_BASE + n * STACK_PER_CHARACTER, tokenize_piece, p, p->error);
        return status == JUDGEQ_OK ? p->status : status;
    }
    tokenize_piece(p);
    return p->status;
}

/* Removes the first n tokens from `first` on. */
static void drop(token_list *list, size_t first, size_t n) {
    if (n > list->n - first) n = list->n - first;
    memmove(list->id + first, list->id + first + n, (list->n - first - n) * sizeof *list->id);
    list->n -= n;
}

static judgeq_status tokenize_pieces(piece *p) {
    const tokenizer *t = p->model->tokenizer;
    if (!t->sentencepiece) return tokenize_deeply(p);
    const char *text = p->text;
    const size_t length = p->length;
    for (size_t at = 0; at < length && p->status == JUDGEQ_OK; at += p->length) {
        const size_t first = p->list->n;
        p->text = text + at;
        p->length = text_cut_piece(&t->cut, p->text, length - at);
        tokenize_piece(p);
        if (at > 0 && p->status == JUDGEQ_OK) drop(p->list, first, t->cut.n_prefix);
    }
    return p->status;
}

/* The beginning-of-text token, unless the text has it written out. */
static judgeq_status begin(const judgeq_model *model, bool control, token_list *list, judgeq_error *error) {
    const struct llama_vocab *vocab = llama_model_get_vocab(model->vocabulary);
    const llama_token bos = llama_vocab_bos(vocab);
    // NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): where there are tokens, libllama wrote them
    const bool written = control && list->n > 0 && list->id[0] == bos;
    if (!llama_vocab_get_add_bos(vocab) || written) return JUDGEQ_OK;
    const judgeq_status status = make_room(list, 1, error);
    if (status != JUDGEQ_OK) return status;
    memmove(list->id + 1, list->id, list->n++ * sizeof *list->id);
    list->id[0] = bos;
    return JUDGEQ_OK;
}

static judgeq_status tokenize_valid(const judgeq_model *model, const char *text, size_t length, unsigned flags,
                                    int32_t **tokens, size_t *n_tokens, judgeq_error *error) {
    const bool control = (flags & JUDGEQ_TEXT_CONTROL) != 0;
    token_list list = {0};
    piece p = {.model = model, .text = text, .length = length, .control = control, .list = &list, .error = error};
    judgeq_status status = make_room(&list, 1, error); /* so that an empty list is not NULL */
    if (status == JUDGEQ_OK) status = tokenize_pieces(&p);
    if (status == JUDGEQ_OK && (flags & JUDGEQ_TEXT_BEGIN)) status = begin(model, control, &list, error);
    if (status != JUDGEQ_OK) {
        free(list.id);
        return status;
    }
    *tokens = list.id;
    *n_tokens = list.n;
    return JUDGEQ_OK;
}

/* A text of more bytes than n_ctx tokens can stand for is refused before it takes time and memory. */
static judgeq_status check_length(const judgeq_model *model, int32_t n_ctx, size_t length, judgeq_error *error) {
    const size_t holds = n_ctx > 0 ? (size_t)n_ctx * model->tokenizer->longest : INT32_MAX;
    const size_t most = holds > FREE_BYTES ? holds : FREE_BYTES;
    if (length > most) {
        return error_set(error, JUDGEQ_ERROR_LIMIT,
                         "a text of %zu bytes is too long: %d tokens, which the context holds, stand for %zu bytes at "
                         "most",
                         length, n_ctx, holds);
    }
    if (length <= INT32_MAX / 8) return JUDGEQ_OK; /* of libllama's lengths: a byte can become more than one token */
    return error_set(error, JUDGEQ_ERROR_LIMIT, "a text of %zu bytes is too long; libllama reads %d", length,
                     INT32_MAX / 8);
}

/* ---- public ------------------------------------------------------------------------------------------------------ */

judgeq_status judgeq_tokenize_for(const judgeq_model *model, int32_t n_ctx, const char *text, size_t length,
                                  unsigned flags, int32_t **tokens, size_t *n_tokens, judgeq_error *error) {
    *tokens = NULL;
    *n_tokens = 0;
    judgeq_status status = check_length(model, n_ctx, length, error);
    if (status != JUDGEQ_OK) return status;
    if (utf8_valid(text, length)) return tokenize_valid(model, text, length, flags, tokens, n_tokens, error);
    const size_t n = utf8_repair(text, length, NULL);
    status = check_length(model, n_ctx, n, error);
    if (status != JUDGEQ_OK) return status;
    char *valid = malloc(n);
    if (!valid) return error_memory(error, "a text");
    utf8_repair(text, length, valid);
    status = tokenize_valid(model, valid, n, flags, tokens, n_tokens, error);
    free(valid);
    return status;
}

judgeq_status judgeq_tokenize(const judgeq_model *model, const char *text, size_t length, unsigned flags,
                              int32_t **tokens, size_t *n_tokens, judgeq_error *error) {
    return judgeq_tokenize_for(model, model->info.n_ctx_train, text, length, flags, tokens, n_tokens, error);
}

int32_t judgeq_token_text(const judgeq_model *model, int32_t token, char *text, int32_t size) {
    if (token_missing(model, token)) return 0;
    return llama_token_to_piece(llama_model_get_vocab(model->vocabulary), token, text, size, 0, false);
}

bool judgeq_token_ends(const judgeq_model *model, int32_t token) {
    return !token_missing(model, token) && llama_vocab_is_eog(llama_model_get_vocab(model->vocabulary), token);
}
