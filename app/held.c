#include "held.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

void held_shares(const judgeq_model *model, const judgeq_session *session, int32_t layer, int32_t head, float *share,
                 size_t n) {
    const judgeq_model_info *info = judgeq_model_get_info(model);
    int32_t n_map = 0;
    for (size_t i = 0; i < n; i++) share[i] = 0;
    for (int32_t l = 0; l < info->n_layer; l++) {
        for (int32_t h = 0; h < info->n_head_kv; h++) {
            if ((layer >= 0 && l != layer) || (head >= 0 && h != head)) continue;
            size_t n_row;
            const int32_t *position = judgeq_session_positions(session, l, h, &n_row);
            for (size_t i = 0; i < n_row; i++) {
                if ((size_t)position[i] < n) share[position[i]]++;
            }
            n_map++;
        }
    }
    for (size_t i = 0; i < n; i++) share[i] /= (float)n_map;
}

judgeq_status held_take(const judgeq_model *model, const judgeq_session *session, held_tokens *out,
                        judgeq_error *error) {
    const int32_t *token = judgeq_session_tokens(session, &out->n);
    out->token = malloc(out->n * sizeof *out->token + 1);
    out->share = malloc(out->n * sizeof *out->share + 1);
    if (!out->token || !out->share) return error_memory(error, "what is held");
    if (out->n > 0) memcpy(out->token, token, out->n * sizeof *out->token);
    held_shares(model, session, -1, -1, out->share, out->n);
    return JUDGEQ_OK;
}

void held_free(held_tokens *h) {
    free(h->token);
    free(h->share);
    *h = (held_tokens){0};
}
