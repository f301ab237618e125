#include "tokens.h"

#include <stdlib.h>

#include "base/utf8.h"
#include "buffer.h"

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
    buffer bytes = {0};
    buffer_add(&bytes, "", 0);
    for (size_t i = 0; i < n; i++) {
        char room[256];
        const int32_t length = judgeq_token_text(model, tokens[i], room, sizeof room);
        if (length > 0) buffer_add(&bytes, room, (size_t)length);
    }
    size_t length = 0;
    char *text = bytes.failed ? NULL : utf8_repaired(bytes.bytes, bytes.n, &length);
    buffer_free(&bytes);
    return text;
}
