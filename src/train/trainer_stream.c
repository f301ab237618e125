/* Online training: which examples a step takes while the set still grows. The first examples are held out; every other
 * one is learnt from when it comes, and again, drawn by the seed, while it is among the latest. All of it follows from
 * the number of the step, so that a resumed run needs no more than the examples' tokens. */
#include "base/error.h"
#include "base/splitmix.h"
#include "session/export.h"
#include "trainer.h"

/* Held-out examples are measured on again and again: more than these say little more. */
enum { HELD_MOST = 64 };

bool trainer_streams(const judgeq_trainer *trainer) {
    return trainer->params.n_stream > 0;
}

void trainer_stream_split(judgeq_trainer *trainer) {
    const double held = (double)trainer->params.n_stream * trainer->params.heldout;
    trainer->n_held = held < HELD_MOST ? (size_t)held : HELD_MOST;
    trainer->n_train = (size_t)trainer->params.n_stream - trainer->n_held;
    for (size_t i = 0; i < trainer->n_held; i++) trainer->held[i] = i;
}

/* The example that comes new with the step to come, or came with an earlier one and is replayed. */
static size_t newest_of_step(const judgeq_trainer *trainer) {
    return trainer->n_held + (size_t)(trainer->step / trainer->params.n_replay);
}

void trainer_stream_order(judgeq_trainer *trainer) {
    const judgeq_trainer_params *p = &trainer->params;
    const size_t newest = newest_of_step(trainer), ring = (size_t)p->n_ring, come = newest - trainer->n_held + 1;
    const size_t oldest = come > ring ? newest + 1 - ring : trainer->n_held;
    const bool fresh = trainer->step % p->n_replay == 0;
    if (fresh && oldest > trainer->n_held) example_store_drop(&trainer->store, oldest - 1);
    uint64_t state = trainer_seed(trainer, TRAINER_STREAM_REPLAY);
    state = splitmix_next(&state) + (uint64_t)trainer->step;
    for (int32_t i = 0; i < p->n_accumulate; i++) {
        const size_t drawn = oldest + (size_t)(splitmix_next(&state) % (newest + 1 - oldest));
        trainer->order[i] = fresh && i == 0 ? newest : drawn;
    }
}

bool judgeq_trainer_wants(const judgeq_trainer *trainer) {
    if (!trainer_streams(trainer) || trainer->step >= trainer->n_steps) return false;
    return trainer->set->info.n_examples <= newest_of_step(trainer);
}

judgeq_status judgeq_trainer_take(judgeq_trainer *trainer, judgeq_session *session, judgeq_error *error) {
    const size_t n = trainer->set->info.n_examples;
    if (!trainer_streams(trainer) || n == 0) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "only an online run takes what a session has read");
    }
    const set_example *at = &trainer->set->example[n - 1];
    if (!session_is_of(session, trainer->model, trainer->params.kv_type)) {
        return error_set(error, JUDGEQ_ERROR_MISMATCH, "the session has another model or KV type than the trainer");
    }
    judgeq_stats stats;
    int64_t n_watched;
    judgeq_session_get_stats(session, &stats);
    (void)judgeq_session_watched(session, 0, &n_watched);
    if (stats.n_prompt != at->n_prompt || n_watched != example_rows(at->n_response)) {
        return error_set(error, JUDGEQ_ERROR_MISMATCH,
                         "the session has read %lld tokens and watched %lld, not the example's %d and %d",
                         (long long)stats.n_prompt, (long long)n_watched, at->n_prompt, example_rows(at->n_response));
    }
    example *e = NULL;
    judgeq_status status = example_store_grow(&trainer->store, n, error);
    if (status == JUDGEQ_OK) status = example_take(trainer->model, session, trainer->params.n_soft, &e, error);
    if (status == JUDGEQ_OK) example_store_put(&trainer->store, n - 1, e);
    example_free(e);
    return status;
}
