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

static void add_token(buffer *bytes, const judgeq_model *model, int32_t token) {
    char room[256], *longer = NULL;
    int32_t n = judgeq_token_text(model, token, room, sizeof room);
    if (n < 0) {
        longer = malloc((size_t)-n);
        if (longer)
            n = judgeq_token_text(model, token, longer, -n);
        else
            bytes->failed = true;
    }
    if (n > 0) buffer_add_text(bytes, longer ? longer : room, (size_t)n);
    free(longer);
}

char *tokens_text(const judgeq_model *model, const int32_t *tokens, size_t n) {
    buffer bytes = {0};
    buffer_add(&bytes, "", 0);
    for (size_t i = 0; i < n; i++) add_token(&bytes, model, tokens[i]);
    size_t length = 0;
    char *text = bytes.failed ? NULL : utf8_repaired(bytes.bytes, bytes.n, &length);
    buffer_free(&bytes);
    return text;
}
