#include "trainer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/visible.h"
#include "layers.h"
#include "loss.h"
#include "measure.h"
#include "value_norm.h"

/* ---- life -------------------------------------------------------------------------------------------------------- */

judgeq_trainer_params judgeq_trainer_default_params(void) {
    return (judgeq_trainer_params){.loss = JUDGEQ_LOSS_KL,
                                   .n_soft = 32,
                                   .n_epochs = 6,
                                   .n_accumulate = 1,
                                   .n_warm_up = 20,
                                   .rate = 1.5e-2,
                                   .clip = 0,
                                   .heldout = 0.1,
                                   .measure_budget = {64, 128, 256},
                                   .n_ring = 64,
                                   .n_replay = 4,
                                   .n_ranks = 1,
                                   .kv_type = JUDGEQ_KV_F16,
                                   .scratch_bytes = (size_t)16 << 30};
}

static judgeq_status check_params(const judgeq_trainer_params *p, judgeq_error *error) {
    enum { SOFT_MOST = 4096 };
    if (p->loss != JUDGEQ_LOSS_KL && p->loss != JUDGEQ_LOSS_MSE) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "loss %d is not known (known: KL, MSE)", (int)p->loss);
    }
    if (p->n_soft < 1 || p->n_soft > SOFT_MOST || p->n_epochs < 0 || p->n_accumulate < 1 || p->n_warm_up < 0) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT,
                         "%d soft tokens, %d epochs, %d examples per step, %d steps of warm-up: expected 1 to %d soft "
                         "tokens, at least one example, and no negative epochs or warm-up",
                         p->n_soft, p->n_epochs, p->n_accumulate, p->n_warm_up, SOFT_MOST);
    }
    if (p->n_epochs == 0 && p->n_stream == 0 && !p->start) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT,
                         "no epoch: only a judge to start from can be measured without training it");
    }
    if (!(p->rate > 0 && isfinite(p->rate)) || !(p->clip >= 0) || !(p->heldout >= 0 && p->heldout <= 0.5)) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT,
                         "rate %g, clip %g, held-out share %g: expected a rate above 0, a clip of 0 or more, and a "
                         "share from 0 to 0.5",
                         p->rate, p->clip, p->heldout);
    }
    if (p->n_ranks < 1 || p->rank < 0 || p->rank >= p->n_ranks || (p->n_ranks > 1 && !p->sum)) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "rank %d of %d: expected a rank below their number, and a sum",
                         p->rank, p->n_ranks);
    }
    if (p->kv_type != JUDGEQ_KV_F16 && p->kv_type != JUDGEQ_KV_F32) {
        const char *name = judgeq_kv_type_name(p->kv_type);
        return error_set(error, JUDGEQ_ERROR_UNSUPPORTED,
                         "training needs the prompt's rows as they are: KV type f16 or f32, not %s",
                         name ? name : "an unknown one");
    }
    if (p->n_stream < 0 || (p->n_stream > 0 && (p->n_ring < 1 || p->n_replay < 1 || p->n_ranks > 1))) {
        return error_set(
            error, JUDGEQ_ERROR_ARGUMENT,
            "a stream of %d examples, a ring of %d, %d steps per example, %d ranks: expected at least 1 of "
            "each, and one rank",
            p->n_stream, p->n_ring, p->n_replay, p->n_ranks);
    }
    if (p->target == JUDGEQ_TARGET_COPIED && p->n_stream > 0) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT,
                         "the target copied needs examples that are read, not streamed: make a set first");
    }
    if (p->target == JUDGEQ_TARGET_MAX && (p->loss != JUDGEQ_LOSS_KL || p->n_stream > 0)) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT,
                         "the target max is no distribution, and what decoding sees is added up: it needs the loss kl, "
                         "and examples that are read, not streamed");
    }
    if (p->start_tokens && p->n_start_tokens == 0) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "the text to start from has no tokens");
    }
    return JUDGEQ_OK;
}

static judgeq_status allocate(judgeq_trainer *trainer, judgeq_error *error) {
    const judgeq_model_info *model = &trainer->model->info;
    trainer->n_value = (size_t)trainer_depth(trainer) * (size_t)trainer->params.n_soft * (size_t)model->n_embd;
    trainer->soft = calloc(trainer->n_value, sizeof *trainer->soft);
    trainer->part = calloc(trainer->n_value, sizeof *trainer->part);
    trainer->mean = calloc(trainer->n_value, sizeof *trainer->mean);
    trainer->sum = calloc(trainer->n_value + TRAINER_COUNTS, sizeof *trainer->sum);
    trainer->layer_count = calloc((size_t)model->n_layer + 1, sizeof *trainer->layer_count);
    if (!trainer->soft || !trainer->part || !trainer->mean || !trainer->sum || !trainer->layer_count) {
        return error_memory(error, "training");
    }
    return adamw_init(&trainer->optimiser, trainer->n_value, error);
}

judgeq_status judgeq_trainer_new(const judgeq_model *model, const judgeq_training_set *set,
                                 const judgeq_trainer_params *params, judgeq_trainer **out, judgeq_error *error) {
    *out = NULL;
    judgeq_status status = check_params(params, error);
    if (status != JUDGEQ_OK) return status;
    if (set->info.n_examples == 0 && params->n_stream == 0) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "the training set is empty");
    }
    if (model->n_device > 0) {
        return error_set(error, JUDGEQ_ERROR_UNSUPPORTED,
                         "training computes on the CPU: load the model without devices");
    }
    judgeq_trainer *trainer = calloc(1, sizeof *trainer);
    if (!trainer) return error_memory(error, "training");
    trainer->model = model;
    trainer->set = set;
    trainer->params = *params;
    trainer->params.start = NULL;
    trainer->params.start_tokens = NULL;
    trainer->params.scratch = NULL;
    trainer->order_epoch = -1;
    status = allocate(trainer, error);
    if (status == JUDGEQ_OK)
        status = example_store_init(&trainer->store, params->scratch, params->scratch_bytes, error);
    if (status == JUDGEQ_OK) status = example_store_grow(&trainer->store, set->info.n_examples, error);
    if (status == JUDGEQ_OK)
        status =
            gradient_init(&trainer->gradient, model, trainer_depth(trainer), params->n_soft, params->n_threads, error);
    if (status == JUDGEQ_OK) status = trainer_start_soft(trainer, params, error);
    if (status == JUDGEQ_OK) status = trainer_split(trainer, error);
    if (status != JUDGEQ_OK) {
        judgeq_trainer_free(trainer);
        return status;
    }
    const int64_t batch = params->n_accumulate, n_train = (int64_t)trainer->n_train;
    trainer->n_steps =
        trainer_streams(trainer) ? params->n_replay * n_train : params->n_epochs * ((n_train + batch - 1) / batch);
    *out = trainer;
    return JUDGEQ_OK;
}

void judgeq_trainer_free(judgeq_trainer *trainer) {
    if (!trainer) return;
    example_store_free(&trainer->store);
    gradient_free(&trainer->gradient);
    adamw_free(&trainer->optimiser);
    free(trainer->soft);
    free(trainer->part);
    free(trainer->mean);
    free(trainer->sum);
    free(trainer->map);
    free(trainer->slope);
    free(trainer->weighed);
    free(trainer->layer_count);
    free(trainer->held); /* `train` is its end */
    free(trainer->order);
    free(trainer);
}

int64_t judgeq_trainer_steps_done(const judgeq_trainer *trainer) {
    return trainer->step;
}

int64_t judgeq_trainer_steps(const judgeq_trainer *trainer) {
    return trainer->n_steps;
}

/* ---- one example ------------------------------------------------------------------------------------------------- */

static bool proceed(const judgeq_trainer *trainer) {
    const judgeq_trainer_params *p = &trainer->params;
    return !p->progress || p->progress(p->progress_data, trainer->done, trainer->total);
}

static judgeq_status check_cancelled(const judgeq_trainer *trainer, judgeq_error *error) {
    if (proceed(trainer)) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_CANCELLED, "cancelled after %lld of %lld steps", (long long)trainer->step,
                     (long long)trainer->n_steps);
}

/* The session's progress: only asks whether to go on. */
static bool prefill_progress(void *data, int64_t done, int64_t total) {
    (void)done;
    (void)total;
    return proceed(data);
}

/* The session that reads an example. */
static judgeq_session_params read_params(judgeq_trainer *trainer) {
    judgeq_session_params params = judgeq_session_default_params();
    params.n_threads = trainer->params.n_threads;
    params.kv_type = trainer->params.kv_type;
    params.progress = prefill_progress;
    params.progress_data = trainer;
    return params;
}

/* Example `index` with such a target, read or from the store, for the caller to free. An example is only ever learnt
 * from or only measured on, so the store holds one target of it. */
static judgeq_status take_example(judgeq_trainer *trainer, size_t index, judgeq_target target, example **out,
                                  judgeq_error *error) {
    judgeq_status status = example_store_grow(&trainer->store, trainer->set->info.n_examples, error);
    if (status != JUDGEQ_OK) return status;
    status = example_store_take(&trainer->store, index, trainer->gradient.engine.backend, out, error);
    if (status != JUDGEQ_OK || *out) return status;
    const set_example *at = &trainer->set->example[index];
    const int32_t *token = trainer->set->token + at->first;
    const judgeq_session_params params = read_params(trainer);
    const int32_t *response = token + at->n_prompt;
    const size_t n_prompt = (size_t)at->n_prompt, n_response = (size_t)at->n_response;
    if (trainer_streams(trainer)) {
        status = example_answer(trainer->model, &params, token, n_prompt, response, n_response, trainer->params.n_soft,
                                out, error);
    } else {
        const unsigned char *answer = trainer->set->answer + at->first + at->n_prompt;
        const example_text text = {token, response, answer, n_prompt, n_response};
        status = example_read(trainer->model, &params, target, &text, trainer->params.n_soft, out, error);
    }
    if (status == JUDGEQ_OK) example_store_put(&trainer->store, index, *out);
    return status;
}

static judgeq_status reserve_maps(judgeq_trainer *trainer, const example *e, judgeq_error *error) {
    const size_t n = (size_t)e->n_layer * (size_t)e->n_head * (size_t)e->n_prompt;
    if (n <= trainer->map_room) return JUDGEQ_OK;
    free(trainer->map);
    free(trainer->slope);
    free(trainer->weighed);
    trainer->map = malloc(n * sizeof *trainer->map);
    trainer->slope = malloc(n * sizeof *trainer->slope);
    trainer->weighed = malloc(n * sizeof *trainer->weighed);
    trainer->map_room = trainer->map && trainer->slope && trainer->weighed ? n : 0;
    return trainer->map_room ? JUDGEQ_OK : error_memory(error, "the soft tokens' attention");
}

/* The loss of the soft tokens on an example, its maps in trainer->map and their slopes in trainer->slope. */
static judgeq_status find_loss(judgeq_trainer *trainer, const example *e, double *loss, judgeq_error *error) {
    const int64_t n_map = (int64_t)e->n_layer * e->n_head;
    judgeq_status status = reserve_maps(trainer, e, error);
    if (status != JUDGEQ_OK) return status;
    status = gradient_forward(&trainer->gradient, e->layer, e->n_prompt, trainer->soft, trainer->map, error);
    if (status != JUDGEQ_OK) return status;
    const loss_kind kind = trainer->params.loss == JUDGEQ_LOSS_MSE ? LOSS_MSE : LOSS_KL;
    const float *target = e->target;
    if (trainer->params.weigh_values) {
        value_norm_weigh(e, trainer->slope, trainer->weighed); /* the slopes come later */
        target = trainer->weighed;
    }
    *loss = loss_of_maps(kind, trainer->map, target, n_map, e->n_prompt, trainer->slope);
    if (isfinite(*loss)) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_NUMERIC, "the loss is not a finite number");
}

/* Adds the gradient of an example to trainer->sum. */
static judgeq_status learn(judgeq_trainer *trainer, const example *e, double *loss, judgeq_error *error) {
    judgeq_status status = find_loss(trainer, e, loss, error);
    if (status != JUDGEQ_OK) return status;
    status = gradient_backward(&trainer->gradient, e->layer, e->n_prompt, trainer->slope, trainer->part, error);
    bool finite = true;
    for (size_t i = 0; i < trainer->n_value; i++) finite = finite && isfinite(trainer->part[i]);
    if (status == JUDGEQ_OK && !finite) status = error_set(error, JUDGEQ_ERROR_NUMERIC, "the gradient is not finite");
    for (size_t i = 0; status == JUDGEQ_OK && i < trainer->n_value; i++) trainer->sum[i] += (double)trainer->part[i];
    return status;
}

/* True where a failure concerns one example only; says so to `notice`. */
static bool skip(const judgeq_trainer *trainer, size_t index, judgeq_status status, const judgeq_error *error) {
    if (status != JUDGEQ_ERROR_NUMERIC) return false;
    char message[sizeof error->message + 512];
    snprintf(message, sizeof message, "%.*s:%lld: example skipped: %s", VISIBLE_FIT(trainer->set->path, 400),
             (long long)trainer->set->example[index].line, error->message);
    if (trainer->params.notice) trainer->params.notice(trainer->params.notice_data, message);
    return true;
}

/* ---- steps ------------------------------------------------------------------------------------------------------- */

/* The ranks' values [n] become their sum. The last of them counts ranks that have failed: a rank that cannot go on says
 * so here, or the others would wait for it, and then every rank fails. */
static judgeq_status sum_over_ranks(const judgeq_trainer *trainer, double *values, size_t n, judgeq_status own,
                                    judgeq_error *error) {
    const judgeq_trainer_params *p = &trainer->params;
    if (p->n_ranks == 1) return own;
    judgeq_error other = {0};
    values[n - 1] = own != JUDGEQ_OK;
    const judgeq_status status = p->sum(p->sum_data, values, n, &other);
    if (own != JUDGEQ_OK) return own;
    if (status != JUDGEQ_OK) return error_set(error, status, "%s", other.message);
    if (values[n - 1] == 0) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_CANCELLED, "another rank has stopped after step %lld of %lld",
                     (long long)trainer->step, (long long)trainer->n_steps);
}

/* This rank's examples among order[first ... first + n) of the step to come; sums their gradients and losses. */
static judgeq_status learn_part(judgeq_trainer *trainer, size_t first, size_t n, judgeq_error *error) {
    double *count = trainer->sum + trainer->n_value;
    memset(trainer->sum, 0, (trainer->n_value + TRAINER_COUNTS) * sizeof *trainer->sum);
    trainer->total = (int64_t)n;
    for (size_t i = (size_t)trainer->params.rank; i < n; i += (size_t)trainer->params.n_ranks) {
        const size_t index = trainer->order[first + i];
        judgeq_error own = {0};
        example *e = NULL;
        double loss = NAN;
        trainer->done = (int64_t)i;
        judgeq_status status = check_cancelled(trainer, &own);
        if (status == JUDGEQ_OK) status = take_example(trainer, index, trainer->params.target, &e, &own);
        if (status == JUDGEQ_OK) status = learn(trainer, e, &loss, &own);
        example_free(e);
        if (status == JUDGEQ_OK) {
            count[TRAINER_EXAMPLES]++;
            count[TRAINER_LOSS] += loss;
        } else if (skip(trainer, index, status, &own)) {
            count[TRAINER_SKIPPED]++;
        } else {
            return error_set(error, status, "%s", own.message);
        }
    }
    return JUDGEQ_OK;
}

/* Moves the soft tokens against the mean of the gradients that were summed. */
static void update(judgeq_trainer *trainer, judgeq_training_step *step) {
    const judgeq_trainer_params *p = &trainer->params;
    const double *count = trainer->sum + trainer->n_value, n = count[TRAINER_EXAMPLES];
    step->n_examples = (int32_t)n;
    step->n_skipped = (int32_t)count[TRAINER_SKIPPED];
    step->rate = adamw_rate(p->rate, trainer->step, p->n_warm_up, trainer->n_steps);
    step->loss = step->gradient = NAN;
    if (n > 0) {
        step->loss = count[TRAINER_LOSS] / n;
        for (size_t i = 0; i < trainer->n_value; i++) trainer->mean[i] = (float)(trainer->sum[i] / n);
        step->gradient = adamw_clip(trainer->mean, trainer->n_value, p->clip);
        adamw_update(&trainer->optimiser, trainer->soft, trainer->mean, step->rate);
    }
    step->step = ++trainer->step;
}

/* Where the examples of the step to come stand in trainer->order. */
typedef struct order_part {
    size_t first, n;
} order_part;

static order_part order_step(judgeq_trainer *trainer, int32_t *epoch) {
    const judgeq_trainer_params *p = &trainer->params;
    const size_t batch = (size_t)p->n_accumulate;
    *epoch = 1;
    if (trainer_streams(trainer)) {
        trainer_stream_order(trainer);
        return (order_part){0, batch};
    }
    const int64_t per_epoch = trainer->n_steps / p->n_epochs, epochs_done = trainer->step / per_epoch;
    const size_t first = (size_t)(trainer->step % per_epoch) * batch, left = trainer->n_train - first;
    trainer_shuffle(trainer, epochs_done);
    *epoch = (int32_t)epochs_done + 1;
    return (order_part){first, left < batch ? left : batch};
}

judgeq_status judgeq_trainer_step(judgeq_trainer *trainer, judgeq_training_step *out, judgeq_error *error) {
    if (trainer->step >= trainer->n_steps) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "all %lld steps are done", (long long)trainer->n_steps);
    }
    if (judgeq_trainer_wants(trainer)) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "step %lld needs an example that has not come yet",
                         (long long)trainer->step + 1);
    }
    judgeq_training_step step = {.n_steps = trainer->n_steps};
    const order_part part = order_step(trainer, &step.epoch);
    judgeq_status status = learn_part(trainer, part.first, part.n, error);
    status = sum_over_ranks(trainer, trainer->sum, trainer->n_value + TRAINER_COUNTS, status, error);
    if (status != JUDGEQ_OK) return status;
    update(trainer, &step);
    *out = step;
    return JUDGEQ_OK;
}

/* ---- measures ---------------------------------------------------------------------------------------------------- */

static judgeq_status measure_example(judgeq_trainer *trainer, size_t index, measure_sums *sums, judgeq_error *error) {
    example *e = NULL;
    double loss = NAN;
    judgeq_status status = check_cancelled(trainer, error);
    const judgeq_target target =
        trainer->params.target == JUDGEQ_TARGET_COPIED ? JUDGEQ_TARGET_COPIED : JUDGEQ_TARGET_MEAN;
    if (status == JUDGEQ_OK) status = take_example(trainer, index, target, &e, error);
    if (status == JUDGEQ_OK) status = find_loss(trainer, e, &loss, error);
    if (status == JUDGEQ_OK) {
        status = measure_add(sums, &trainer->model->info, trainer->params.measure_budget, trainer->map, e->target,
                             e->n_prompt, loss, error);
    }
    example_free(e);
    return status;
}

/* This rank's part of the held-out examples. */
static judgeq_status measure_part(judgeq_trainer *trainer, measure_sums *sums, judgeq_error *error) {
    trainer->total = (int64_t)trainer->n_held;
    for (size_t i = (size_t)trainer->params.rank; i < trainer->n_held; i += (size_t)trainer->params.n_ranks) {
        judgeq_error own = {0};
        trainer->done = (int64_t)i;
        const judgeq_status status = measure_example(trainer, trainer->held[i], sums, &own);
        if (status != JUDGEQ_OK && !skip(trainer, trainer->held[i], status, &own)) {
            return error_set(error, status, "%s", own.message);
        }
    }
    return JUDGEQ_OK;
}

/* Examples that could not be measured were named then. */
static judgeq_status count_layers(judgeq_trainer *trainer, const judgeq_judge *judge, judgeq_error *error) {
    const judgeq_session_params params = read_params(trainer);
    for (size_t i = (size_t)trainer->params.rank; i < trainer->n_held; i += (size_t)trainer->params.n_ranks) {
        const set_example *at = &trainer->set->example[trainer->held[i]];
        trainer->done = (int64_t)i;
        judgeq_status status = check_cancelled(trainer, error);
        if (status == JUDGEQ_OK) {
            status = layers_add(trainer->layer_count, trainer->model, judge, &params, trainer->params.measure_budget,
                                trainer->set->token + at->first, (size_t)at->n_prompt, error);
        }
        if (status != JUDGEQ_OK && status != JUDGEQ_ERROR_NUMERIC) return status;
    }
    return JUDGEQ_OK;
}

/* How layers share a budget out is asked of the judge that is written, once. */
static judgeq_status measure_layers(judgeq_trainer *trainer, judgeq_error *error) {
    judgeq_judge *judge = NULL;
    judgeq_status status = judgeq_trainer_judge(trainer, "", &judge, error);
    if (status == JUDGEQ_OK) status = count_layers(trainer, judge, error);
    judgeq_judge_free(judge);
    return sum_over_ranks(trainer, trainer->layer_count, (size_t)trainer->model->info.n_layer + 1, status, error);
}

judgeq_status judgeq_trainer_measure(judgeq_trainer *trainer, judgeq_measures *out, judgeq_error *error) {
    measure_sums sums = {0};
    const size_t n_count = (size_t)trainer->model->info.n_layer + 1;
    memset(trainer->layer_count, 0, n_count * sizeof *trainer->layer_count);
    judgeq_status status = measure_part(trainer, &sums, error);
    status = sum_over_ranks(trainer, &sums.n_examples, sizeof sums / sizeof(double), status, error);
    if (status != JUDGEQ_OK) return status;
    trainer->measures = measure_means(&sums, trainer->params.measure_budget);
    *out = trainer->measures;
    return trainer->step == trainer->n_steps ? measure_layers(trainer, error) : JUDGEQ_OK;
}

/* out [n_layer]: the counts with a mean of 1; false: nothing was counted. */
static bool layer_shares(const judgeq_trainer *trainer, float *out) {
    const int32_t n_layer = trainer->model->info.n_layer;
    double sum = 0;
    for (int32_t l = 0; l < n_layer; l++) sum += trainer->layer_count[l];
    for (int32_t l = 0; l < n_layer && sum > 0; l++) out[l] = (float)(trainer->layer_count[l] * n_layer / sum);
    return sum > 0;
}

judgeq_status judgeq_trainer_judge(const judgeq_trainer *trainer, const char *origin, judgeq_judge **out,
                                   judgeq_error *error) {
    const judgeq_model_info *model = &trainer->model->info;
    const bool measured = trainer->measures.n_examples > 0;
    float *share = malloc(((size_t)model->n_layer + 1) * sizeof *share);
    if (!share) return error_memory(error, "a judge");
    const bool shared = measured && layer_shares(trainer, share);
    const judgeq_judge_info info = {
        .n_depth = trainer_depth(trainer),
        .n_soft = trainer->params.n_soft,
        .n_embd = model->n_embd,
        .fingerprint = model->fingerprint,
        .model_name = model->name,
        .weight_type = model->weight_type,
        .origin = origin,
        .loss = trainer->params.loss == JUDGEQ_LOSS_MSE ? "mse" : "kl",
        .data_hash = trainer->set->info.hash,
        /* what copies depends on single rows: docs/training.md, "What a judge says about its scores" */
        .choices = trainer->params.target == JUDGEQ_TARGET_COPIED ? "reduce=mean/mean,smooth=none" : "",
        .steps = trainer->step,
        .heldout_loss = measured ? (float)trainer->measures.loss : NAN,
        .heldout_hit_rate = measured ? (float)trainer->measures.hit_rate[0] : NAN,
        .layer_share = shared ? share : NULL,
        .n_layer_share = shared ? model->n_layer : 0,
    };
    const judgeq_status status = judgeq_judge_new(trainer->soft, &info, out, error);
    free(share);
    return status;
}
