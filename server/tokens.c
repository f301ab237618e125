#include "tokens.h"

#include <stdlib.h>

#include "app/text_stream.h"
#include "base/text.h"

int32_t *tokens_of_json(const judgeq_model *model, const json_t *array, size_t *n) {
    const int32_t n_vocab = judgeq_model_get_info(model)->n_vocab;
    *n = json_array_size(array);
    int32_t *tokens = *n > 0 ? malloc(*n * sizeof *tokens) : NULL;
    for (size_t i = 0; tokens && i < *n; i++) {
        const json_t *token = json_array_get(array, i);
        const json_int_t id = json_is_integer(token) ? json_integer_value(token) : -1;
        if (id < 0 || id >= n_vocab) {
            free(tokens);
            return NULL;
        }
        tokens[i] = (int32_t)id;
    }
    return tokens;
}

char *tokens_text(const judgeq_model *model, const int32_t *tokens, size_t n) {
    text_stream stream = {0};
    text_buffer bytes = {0};
    judgeq_status status = JUDGEQ_OK;
    for (size_t i = 0; status == JUDGEQ_OK && i < n; i++) {
        status = text_stream_add_token(&stream, model, tokens[i], NULL);
    }
    if (status == JUDGEQ_OK) status = text_stream_end(&stream, NULL);
    if (status == JUDGEQ_OK) text_add_without_zeros(&bytes, stream.text, stream.length);
    text_stream_free(&stream);
    return status == JUDGEQ_OK ? text_take(&bytes) : NULL;
}

/* The texts between the ends [n], as clients read them. */
static json_t *cut(const char *text, const size_t *end, size_t n) {
    json_t *pieces = json_array();
    text_buffer piece = {0};
    for (size_t i = 0; i < n; i++) {
        const size_t begin = i > 0 ? end[i - 1] : 0;
        text_clear(&piece);
        text_add_without_zeros(&piece, text + begin, end[i] - begin);
        json_array_append_new(pieces, json_stringn(piece.length > 0 ? piece.bytes : "", piece.length));
    }
    if (piece.failed || json_array_size(pieces) != n) {
        json_decref(pieces);
        pieces = NULL;
    }
    text_free(&piece);
    return pieces;
}

json_t *tokens_pieces(const judgeq_model *model, const int32_t *tokens, size_t n) {
    text_stream stream = {0};
    size_t *end = malloc(n * sizeof *end + 1);
    const bool good = end && text_stream_add_all(&stream, model, tokens, n, end, NULL) == JUDGEQ_OK;
    json_t *pieces = good ? cut(stream.text, end, n) : NULL;
    text_stream_free(&stream);
    free(end);
    return pieces;
}
