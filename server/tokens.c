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
