/* round: a round of the worker's work: jobs that end, a step of a read, a token for all that answer, and what clients
 * and statistics learn of it. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "state.h"

/* Of so many steps of reads, one is the oldest's; the others are for the one with the least left. */
enum { TURNS = 4 };

/* ---- arrays ------------------------------------------------------------------------------------------------------ */

static bool grow(void **array, size_t room, size_t size) {
    void *larger = realloc(*array, room * size);
    if (larger) *array = larger;
    return larger != NULL;
}

judgeq_status round_make_room(worker *w, judgeq_error *error) {
    if (w->n_running + w->n_ended < w->room) return JUDGEQ_OK;
    const size_t room = 2 * w->room + 16;
    const bool grown = grow((void **)&w->running, room, sizeof(worker_job *)) &&
                       grow((void **)&w->ended, room, sizeof(worker_job *)) &&
                       grow((void **)&w->batch, room, sizeof(judgeq_session *)) &&
                       grow((void **)&w->batch_job, room, sizeof(worker_job *)) &&
                       grow((void **)&w->batch_token, room, sizeof *w->batch_token);
    if (!grown) return error_memory(error, "running jobs");
    w->room = room;
    return JUDGEQ_OK;
}

/* ---- the end of a job -------------------------------------------------------------------------------------------- */

static int64_t rows_held(const worker *w, const judgeq_stats *stats) {
    const judgeq_model_info *info = judgeq_model_get_info(w->params.model);
    if (stats->kv_bytes_full == 0) return 0;
    const size_t heads = (size_t)info->n_layer * (size_t)info->n_head_kv;
    return (int64_t)(stats->kv_bytes_held / (stats->kv_bytes_full / (size_t)stats->n_position / heads));
}

static void note_session(const worker *w, worker_job *job) {
    judgeq_stats stats;
    if (!job->running) return;
    judgeq_session_get_stats(job->running, &stats);
    worker_result *result = &job->result;
    result->n_seen = stats.n_position;
    result->n_rows = rows_held(w, &stats);
    result->kv_bytes = stats.kv_bytes_held;
    result->kv_bytes_full = stats.kv_bytes_full;
    result->kv_bytes_peak = stats.kv_bytes_peak;
    result->n_rejudged = stats.n_rejudged;
}

static void note_times(worker_job *job) {
    const double now = clock_seconds();
    const bool started = job->started_at > 0, answered = job->first_at > 0;
    worker_result *result = &job->result;
    result->waited_s = (started ? job->started_at : now) - job->accepted_at;
    if (started) result->read_s = (answered ? job->first_at : now) - job->started_at;
    if (answered) result->answer_s = now - job->first_at;
}

static int32_t number_of_stop(const worker_job *job) {
    for (size_t i = 0; i < job->n_stop; i++) {
        if (job->answer.stopped_by && job->answer.stopped_by == job->stop[i]) return (int32_t)i;
    }
    return -1;
}

/* The session waits for whoever goes on with it; or not. */
static void leave_session(worker *w, worker_job *job, bool good) {
    judgeq_session *session = job->running;
    job->running = NULL;
    if (!session) return;
    if (!good || job->forget || idle_add(&w->idle, job->key, job->id, session, NULL) != JUDGEQ_OK) {
        judgeq_session_free(session);
    }
    const size_t most = w->params.cache_bytes;
    while (most > 0 && w->idle.bytes > most && idle_drop(&w->idle, false, NULL)) w->count.n_forgotten++;
}

static void remove_running(worker *w, const worker_job *job) {
    for (size_t i = 0; i < w->n_running; i++) {
        if (w->running[i] != job) continue;
        memmove(w->running + i, w->running + i + 1, (--w->n_running - i) * sizeof(worker_job *));
        return;
    }
}

void round_end_job(worker *w, worker_job *job, judgeq_status status, const judgeq_error *error) {
    worker_result *result = &job->result;
    const bool good = job->answering && (status == JUDGEQ_OK || status == JUDGEQ_ERROR_CANCELLED);
    if (error) result->error = *error;
    if (job->answering && status == JUDGEQ_OK) status = generation_finish(&job->answer, &result->error);
    if (job->kept && status == JUDGEQ_OK) {
        status = held_take(w->params.model, job->running, &result->held, &result->error);
    }
    if (status == JUDGEQ_OK) result->error = (judgeq_error){0};
    result->status = status;
    result->end = status == JUDGEQ_OK ? job->answer.end : GENERATION_CANCELLED;
    result->stop = number_of_stop(job);
    result->n_prompt = (int64_t)job->n_tokens;
    result->n_cached = job->n_cached;
    result->n_answer = (int64_t)job->answer.n_token;
    note_session(w, job);
    note_times(job);
    leave_session(w, job, good);
    remove_running(w, job);
    w->count.n_ended++;
    w->count.n_cancelled += status == JUDGEQ_ERROR_CANCELLED;
    w->count.n_failed += status != JUDGEQ_OK && status != JUDGEQ_ERROR_CANCELLED;
    w->ended[w->n_ended++] = job;
}

static const judgeq_error CANCELLED = {JUDGEQ_ERROR_CANCELLED, "cancelled"},
                          STOPPED = {JUDGEQ_ERROR_CANCELLED, "the server is stopping: ask again later"};

void round_sweep(worker *w, bool all) {
    const judgeq_error *why = all ? &STOPPED : &CANCELLED;
    for (size_t i = w->n_running; i > 0; i--) {
        worker_job *job = w->running[i - 1];
        if (all || atomic_load(&job->cancelled)) round_end_job(w, job, JUDGEQ_ERROR_CANCELLED, why);
    }
    worker_job *next;
    pthread_mutex_lock(&w->lock);
    worker_job *job = w->first;
    pthread_mutex_unlock(&w->lock);
    for (; job; job = next) {
        pthread_mutex_lock(&w->lock);
        next = job->next;
        pthread_mutex_unlock(&w->lock);
        if (!all && !atomic_load(&job->cancelled)) continue;
        judgeq_error error = {0};
        if (round_make_room(w, &error) != JUDGEQ_OK) return; /* in the next round */
        queue_remove(w, job);
        round_end_job(w, job, JUDGEQ_ERROR_CANCELLED, why);
    }
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

/* Draws the next token and gives out what is new. */
static void draw(worker *w, worker_job *job) {
    judgeq_error error = {0};
    const size_t before = job->answer.n_token;
    if (job->first_at <= 0) job->first_at = clock_seconds();
    judgeq_status status = generation_next(&job->answer, judgeq_session_logits(job->running), &job->token, &error);
    const size_t n = job->answer.n_token - before;
    w->count.n_answered += (int64_t)n;
    if (status == JUDGEQ_OK) status = job_post_tokens(job, (int32_t)n, job->answer.logprobs, &error);
    if (status != JUDGEQ_OK || job->answer.end != GENERATION_OPEN) round_end_job(w, job, status, &error);
}

static judgeq_status init_answer(const worker *w, worker_job *job, judgeq_error *error) {
    generation_params params = {.sampler = job->sampler,
                                .stop = (const char *const *)job->stop,
                                .n_stop = job->n_stop,
                                .plan = shared_plan_get(job->plan),
                                .n_tokens = job->n_answer,
                                .n_ctx = job->session.unbounded ? SESSION_ANY_LENGTH : job->session.n_ctx,
                                .n_before = job->n_tokens,
                                .logprobs = job->logprobs,
                                .started = job->accepted_at,
                                .put = job_post_text,
                                .data = job};
    params.known = judgeq_session_deferred(job->running, &params.n_known);
    return generation_init(&job->answer, w->params.model, &params, error);
}

static judgeq_status save(worker_job *job, judgeq_error *error) {
    if (!job->save) return JUDGEQ_OK;
    const judgeq_status status = judgeq_session_set_label(job->running, job->save, error);
    return status == JUDGEQ_OK ? judgeq_session_save_bytes(job->running, &job->saved, &job->n_saved, error) : status;
}

/* All of its prompt is read. */
static void begin_answer(worker *w, worker_job *job) {
    judgeq_error error = {0};
    judgeq_status status = save(job, &error);
    if (status == JUDGEQ_OK) keep_prompt(w, job);
    if (status == JUDGEQ_OK) status = init_answer(w, job, &error);
    job->answering = true;
    if (status != JUDGEQ_OK || job->answer.end != GENERATION_OPEN) {
        round_end_job(w, job, status, &error);
    } else {
        draw(w, job);
    }
}

void round_decode(worker *w) {
    size_t n = 0;
    judgeq_error error = {0};
    for (size_t i = 0; i < w->n_running; i++) {
        if (!w->running[i]->answering) continue;
        w->batch_job[n] = w->running[i];
        w->batch[n] = w->running[i]->running;
        w->batch_token[n++] = w->running[i]->token;
    }
    if (n == 0) return;
    const double start = clock_seconds();
    const judgeq_status status = judgeq_session_decode_all(w->batch, w->batch_token, n, &error);
    const double now = clock_seconds();
    w->count.answer_s += now - start;
    w->count.n_steps++;
    for (size_t i = 0; i < n; i++) {
        worker_job *job = w->batch_job[i];
        const double last = job->stepped_at > 0 ? job->stepped_at : job->first_at;
        if (now - last > w->count.step_most_s) w->count.step_most_s = now - last;
        job->stepped_at = now;
        /* where one of them could not make room, nothing has changed, and the others can go on */
        if (status == JUDGEQ_OK || judgeq_session_decode(w->batch[i], w->batch_token[i], NULL) == JUDGEQ_OK) {
            draw(w, job);
        } else {
            round_end_job(w, job, status, &error);
        }
    }
}

/* ---- reads ------------------------------------------------------------------------------------------------------- */

bool round_go_on(void *data, int64_t done, int64_t total) {
    worker *w = data;
    if (!w->asked) return true;
    w->asked->n_done = done;
    w->asked->n_work = total;
    return !atomic_load(&w->asked->cancelled);
}

void round_begin_job(worker *w, worker_job *job) {
    judgeq_error error = {0};
    const size_t n_cached = (size_t)job->n_cached, n_new = job->n_tokens - n_cached;
    w->running[w->n_running++] = job;
    w->count.n_cached += job->n_cached;
    if (n_new == 0) {
        begin_answer(w, job);
        return;
    }
    job->n_work = (int64_t)n_new * judgeq_model_get_info(w->params.model)->n_layer;
    const judgeq_status status = judgeq_session_read_begin(job->running, job->tokens + n_cached, n_new, &error);
    if (status == JUDGEQ_OK) {
        job_post_reading(job, 0, (int64_t)n_new);
    } else {
        round_end_job(w, job, status, &error);
    }
}

static worker_job *whose_turn(worker *w) {
    worker_job *job = NULL;
    const bool oldest = w->n_turns++ % TURNS == TURNS - 1;
    for (size_t i = 0; i < w->n_running; i++) {
        worker_job *other = w->running[i];
        if (other->answering) continue;
        if (!job || (!oldest && other->n_work - other->n_done < job->n_work - job->n_done)) job = other;
    }
    return job;
}

void round_read(worker *w) {
    judgeq_error error = {0};
    worker_job *job = whose_turn(w);
    bool done = false;
    if (!job) return;
    const double start = clock_seconds();
    w->asked = job;
    const judgeq_status status = judgeq_session_read_step(job->running, &done, &error);
    w->asked = NULL;
    w->count.read_s += clock_seconds() - start;
    if (status != JUDGEQ_OK) {
        round_end_job(w, job, status, &error);
        return;
    }
    const int64_t n_new = (int64_t)job->n_tokens - job->n_cached;
    job_post_reading(job, done ? n_new : job->n_done / judgeq_model_get_info(w->params.model)->n_layer, n_new);
    if (!done) return;
    w->count.n_read += n_new;
    admit_followers(w, job);
    begin_answer(w, job);
}

/* ---- what is told ------------------------------------------------------------------------------------------------ */

static worker_slot slot_of(const worker *w, const judgeq_session *session, const char *policy) {
    worker_slot slot = {.idle = true};
    judgeq_stats stats;
    judgeq_session_get_stats(session, &stats);
    slot.n_seen = stats.n_position;
    slot.n_rows = rows_held(w, &stats);
    slot.kv_bytes = stats.kv_bytes_allocated;
    slot.budget = stats.budget;
    strncat(slot.policy, policy, sizeof slot.policy - 1);
    return slot;
}

static worker_slot running_slot(const worker *w, const worker_job *job) {
    worker_slot slot = slot_of(w, job->running, judgeq_policy_text(job->policy));
    slot.idle = false;
    slot.id = job->id;
    slot.state = job->answering ? WORKER_ANSWERING : WORKER_READING;
    slot.n_prompt = (int64_t)job->n_tokens;
    slot.n_cached = job->n_cached;
    slot.n_done =
        job->answering ? slot.n_prompt : job->n_cached + job->n_done / judgeq_model_get_info(w->params.model)->n_layer;
    slot.n_answer = (int64_t)job->answer.n_token;
    return slot;
}

static worker_slot idle_slot(const worker *w, const idle_session *idle) {
    char policy[sizeof((worker_slot *)NULL)->policy] = "";
    strncat(policy, idle->key, strcspn(idle->key, "|") < sizeof policy ? strcspn(idle->key, "|") : sizeof policy - 1);
    worker_slot slot = slot_of(w, idle->session, policy);
    slot.id = idle->id;
    slot.state = WORKER_ENDED;
    slot.n_prompt = slot.n_done = slot.n_seen;
    return slot;
}

/* Under the lock. */
static void write_slots(worker *w) {
    const size_t n = w->n_running + w->idle.n;
    if (n > w->slot_room) {
        if (!grow((void **)&w->slot, 2 * n, sizeof *w->slot)) return;
        w->slot_room = 2 * n;
    }
    w->n_slot = n;
    for (size_t i = 0; i < n; i++) {
        w->slot[i] = i < w->n_running ? running_slot(w, w->running[i]) : idle_slot(w, &w->idle.item[i - w->n_running]);
    }
}

/* Under the lock. */
static void write_stats(worker *w) {
    worker_stats *stats = &w->count;
    stats->n_reading = stats->n_answering = 0;
    for (size_t i = 0; i < w->n_running; i++)
        *(w->running[i]->answering ? &stats->n_answering : &stats->n_reading) += 1;
    stats->n_idle = (int32_t)w->idle.n;
    stats->n_rows = 0;
    stats->kv_bytes = 0;
    for (size_t i = 0; i < w->n_slot; i++) {
        stats->n_rows += w->slot[i].n_rows;
        stats->kv_bytes += w->slot[i].kv_bytes;
    }
    stats->kv_bytes_idle = w->idle.bytes;
    stats->kv_bytes_reserved = reserved_bytes(w, NULL);
    if (stats->kv_bytes > stats->kv_bytes_most) stats->kv_bytes_most = stats->kv_bytes;
    const int64_t n_accepted = w->stats.n_accepted, n_refused = w->stats.n_refused;
    w->stats = *stats;
    w->stats.n_accepted = n_accepted;
    w->stats.n_refused = n_refused;
}

static void tell_waiting(worker *w) {
    int32_t n_ahead = 0;
    for (worker_job *job = w->first; job; job = job->next) job_post_ahead(job, n_ahead++);
}

void round_publish(worker *w) {
    pthread_mutex_lock(&w->lock);
    write_slots(w);
    write_stats(w);
    tell_waiting(w);
    pthread_mutex_unlock(&w->lock);
    for (size_t i = 0; i < w->n_ended; i++) {
        job_post_end(w->ended[i]);
        job_release(w->ended[i]);
    }
    w->n_ended = 0;
}
