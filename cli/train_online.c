#include "train_online.h"

#include <stdio.h>
#include <unistd.h>

#include "base/error.h"

/* An example becomes the set's last; the session that answered spares reading it once more. */
static judgeq_status take(void *data, const data_example *e, judgeq_error *error) {
    const train_online *online = data;
    const judgeq_status status =
        judgeq_training_set_add(online->set, e->prompt, e->n_prompt, e->response, e->n_response, error);
    if (status != JUDGEQ_OK || !e->session) return status;
    return judgeq_trainer_take(online->trainer, e->session, error);
}

static bool go_on(void *data) {
    const train_online *online = data;
    return online->proceed(online->data);
}

judgeq_status train_online_begin(train_online *online, const judgeq_model *model, const data_options *options,
                                 bool (*proceed)(void *data), void *data, judgeq_error *error) {
    online->proceed = proceed;
    online->data = data;
    online->maker = (data_maker){.go_on = go_on, .take = take, .data = online};
    judgeq_status status = data_maker_read(&online->maker, model, options, error);
    if (status != JUDGEQ_OK) return status;
    const size_t n = json_array_size(online->maker.sources.prompts);
    if (n < (size_t)options->n_examples) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "-n %d: the sources hold %zu prompts only", options->n_examples,
                         n);
    }
    char hash[17];
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)data_sources_hash(&online->maker.sources));
    return judgeq_training_set_new(options->output, hash, &online->set, error);
}

judgeq_status train_online_open(train_online *online, judgeq_trainer *trainer, judgeq_error *error) {
    data_options *o = &online->maker.options;
    online->trainer = trainer;
    if (o->resume && access(o->output, F_OK) != 0) o->resume = false; /* the run ended before it had an example */
    return data_maker_open(&online->maker, error);
}

judgeq_status train_online_feed(train_online *online, bool *dry, judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    bool wants;
    while ((wants = judgeq_trainer_wants(online->trainer)) && status == JUDGEQ_OK && !data_maker_done(&online->maker)) {
        status = data_maker_next(&online->maker, error);
    }
    *dry = wants && status == JUDGEQ_OK;
    return status;
}

judgeq_status train_online_end(train_online *online, judgeq_error *error) {
    const judgeq_status status = data_maker_close(&online->maker, error);
    judgeq_training_set_free(online->set);
    *online = (train_online){0};
    return status;
}
