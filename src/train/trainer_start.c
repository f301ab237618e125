/* What a training run starts with, all of it given by the seed: soft tokens, the held-out part, the order of examples.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/splitmix.h"
#include "model/judge.h"
#include "trainer.h"

/* Below n. The bias of the remainder is n / 2^64. */
static size_t random_below(uint64_t *state, size_t n) {
    return (size_t)(splitmix_next(state) % n);
}

static void shuffle(size_t *list, size_t n, uint64_t state) {
    for (size_t i = n; i > 1; i--) {
        const size_t k = random_below(&state, i), last = list[i - 1];
        list[i - 1] = list[k];
        list[k] = last;
    }
}

/* ---- soft tokens ------------------------------------------------------------------------------------------------- */

int32_t trainer_depth(const judgeq_trainer *trainer) {
    return trainer->params.deep ? trainer->model->info.n_layer : 1;
}

static void read_embedding(const judgeq_model *model, int32_t token, float *out) {
    const struct ggml_tensor *table = model->token_embedding;
    const char *row = (const char *)table->data + (size_t)token * table->nb[1];
    if (table->type == GGML_TYPE_F32) {
        memcpy(out, row, (size_t)table->ne[0] * sizeof *out);
    } else {
        ggml_get_type_traits(table->type)->to_float(row, out, table->ne[0]);
    }
}

/* A token that has a text: control tokens have none, and many of their embeddings were never trained. */
static int32_t draw_token(const judgeq_model *model, uint64_t *state) {
    char text[1];
    int32_t token = 0;
    for (int attempt = 0; attempt < 1000; attempt++) {
        token = (int32_t)random_below(state, (size_t)model->info.n_vocab);
        if (judgeq_token_text(model, token, text, sizeof text) != 0) break;
    }
    return token;
}

judgeq_status trainer_start_soft(judgeq_trainer *trainer, const judgeq_trainer_params *params, judgeq_error *error) {
    const judgeq_model *model = trainer->model;
    if (params->start) {
        const judgeq_judge_info *info = judgeq_judge_get_info(params->start);
        const judgeq_status status =
            judge_check_model("the judge to start from", info, params->start->version, &model->info, error);
        if (status != JUDGEQ_OK) return status;
        if (info->n_soft != params->n_soft) {
            return error_set(error, JUDGEQ_ERROR_ARGUMENT,
                             "the judge to start from has %d soft tokens, and %d are to be trained", info->n_soft,
                             params->n_soft);
        }
        if (info->n_depth > trainer_depth(trainer)) {
            return error_set(error, JUDGEQ_ERROR_ARGUMENT, "the judge to start from is deep: train a deep one");
        }
        memcpy(trainer->soft, judgeq_judge_soft_tokens(params->start), judge_size(info) * sizeof *trainer->soft);
        return JUDGEQ_OK;
    }
    uint64_t state = trainer_seed(trainer, TRAINER_STREAM_TOKENS);
    for (int32_t i = 0; i < params->n_soft; i++) {
        const int32_t token =
            params->start_tokens ? params->start_tokens[(size_t)i % params->n_start_tokens] : draw_token(model, &state);
        if (token < 0 || token >= model->info.n_vocab) {
            return error_set(error, JUDGEQ_ERROR_ARGUMENT, "token %d is not in the vocabulary of %d", token,
                             model->info.n_vocab);
        }
        read_embedding(model, token, trainer->soft + (size_t)i * (size_t)model->info.n_embd);
    }
    return JUDGEQ_OK;
}

/* ---- examples ---------------------------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b) {
    const size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

judgeq_status trainer_split(judgeq_trainer *trainer, judgeq_error *error) {
    const bool streams = trainer_streams(trainer);
    const size_t n = streams ? (size_t)trainer->params.n_stream : trainer->set->info.n_examples;
    trainer->held = malloc(n * sizeof *trainer->held);
    trainer->order = malloc((streams ? (size_t)trainer->params.n_accumulate : n) * sizeof *trainer->order);
    if (!trainer->held || !trainer->order) return error_memory(error, "the order of the examples");
    if (streams) {
        trainer_stream_split(trainer);
        return JUDGEQ_OK;
    }
    trainer->n_held = (size_t)((double)n * trainer->params.heldout);
    trainer->n_train = n - trainer->n_held;
    for (size_t i = 0; i < n; i++) trainer->held[i] = i;
    shuffle(trainer->held, n, trainer_seed(trainer, TRAINER_STREAM_SPLIT));
    trainer->train = trainer->held + trainer->n_held;
    qsort(trainer->held, trainer->n_held, sizeof *trainer->held, compare);
    qsort(trainer->train, trainer->n_train, sizeof *trainer->train, compare);
    return JUDGEQ_OK;
}

void trainer_shuffle(judgeq_trainer *trainer, int64_t epoch) {
    if (epoch == trainer->order_epoch) return;
    memcpy(trainer->order, trainer->train, trainer->n_train * sizeof *trainer->order);
    uint64_t state = trainer_seed(trainer, TRAINER_STREAM_ORDER);
    shuffle(trainer->order, trainer->n_train, splitmix_next(&state) + (uint64_t)epoch);
    trainer->order_epoch = epoch;
}
