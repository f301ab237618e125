/* worker: the public functions, the queue, and the thread's loop. */
#include "worker.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "state.h"

/* ---- the queue --------------------------------------------------------------------------------------------------- */

/* Under the lock. */
static void append(worker *w, worker_job *job) {
    if (w->last) {
        w->last->next = job;
    } else {
        w->first = job;
    }
    w->last = job;
    w->n_waiting++;
}

void queue_remove(worker *w, worker_job *job) {
    pthread_mutex_lock(&w->lock);
    worker_job *before = NULL;
    for (worker_job *at = w->first; at && at != job; at = at->next) before = at;
    *(before ? &before->next : &w->first) = job->next;
    if (w->last == job) w->last = before;
    job->next = NULL;
    w->n_waiting--;
    pthread_mutex_unlock(&w->lock);
}

/* ---- the loop ---------------------------------------------------------------------------------------------------- */

/* Sleeps while there is nothing to do. False: it is to stop, and nothing is left. *all: what is left is cancelled. */
static bool wait_for_work(worker *w, bool *all) {
    pthread_mutex_lock(&w->lock);
    while (w->n_running == 0 && !w->first && !w->stopping) pthread_cond_wait(&w->changed, &w->lock);
    const bool work = w->n_running > 0 || w->first;
    *all = w->stopping && clock_seconds() >= w->stop_at;
    pthread_mutex_unlock(&w->lock);
    return work;
}

static void *work(void *data) {
    worker *w = data;
    bool all;
    while (wait_for_work(w, &all)) {
        round_sweep(w, all);
        admit(w);
        round_read(w);
        round_decode(w);
        round_publish(w);
    }
    return NULL;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static judgeq_status check_params(const worker_params *params, judgeq_error *error) {
    judgeq_policy *policy = NULL;
    judgeq_need need;
    if (params->kv_bytes == 0) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "no bytes for KV caches: say how many there may be");
    }
    if (params->n_queue < 1 || params->n_running < 0 || params->n_answer_most < 0) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT,
                         "a queue of %d jobs, %d that run, answers of %d tokens: expected 1 or more, and 0 or more",
                         params->n_queue, params->n_running, params->n_answer_most);
    }
    judgeq_status status = judgeq_policy_parse(params->policy ? params->policy : "full", &policy, error);
    if (status != JUDGEQ_OK) return status;
    const judgeq_session_params session = session_choices_params(&params->choices, policy, params->judge, NULL, NULL);
    status = judgeq_session_need(params->model, &session, 0, 1, 0, &need, error);
    judgeq_policy_free(policy);
    return status;
}

static judgeq_status start(worker *w, judgeq_error *error) {
    if (w->params.policy) {
        w->policy = strdup(w->params.policy);
        if (!w->policy) return error_memory(error, "a worker");
        w->params.policy = w->policy;
    }
    judgeq_status status = check_params(&w->params, error);
    if (status == JUDGEQ_OK) {
        status = judgeq_engine_new(w->params.model, w->params.choices.n_threads, &w->engine, error);
    }
    if (status != JUDGEQ_OK) return status;
    w->begun = pthread_create(&w->thread, NULL, work, w) == 0;
    return w->begun ? JUDGEQ_OK : error_set(error, JUDGEQ_ERROR_MEMORY, "the worker's thread cannot be started");
}

judgeq_status worker_new(const worker_params *params, worker **out, judgeq_error *error) {
    *out = NULL;
    worker *w = calloc(1, sizeof *w);
    if (!w) return error_memory(error, "a worker");
    w->params = *params;
    if (pthread_mutex_init(&w->lock, NULL) != 0) {
        free(w);
        return error_memory(error, "a worker");
    }
    if (pthread_cond_init(&w->changed, NULL) != 0) {
        pthread_mutex_destroy(&w->lock);
        free(w);
        return error_memory(error, "a worker");
    }
    const judgeq_status status = start(w, error);
    if (status == JUDGEQ_OK) {
        *out = w;
    } else {
        worker_free(w);
    }
    return status;
}

void worker_use_judge(worker *w, const judgeq_judge *judge) {
    pthread_mutex_lock(&w->lock);
    w->params.judge = judge;
    pthread_mutex_unlock(&w->lock);
}

bool worker_has_judge(worker *w) {
    pthread_mutex_lock(&w->lock);
    const bool has = w->params.judge != NULL;
    pthread_mutex_unlock(&w->lock);
    return has;
}

void worker_stop(worker *w, double seconds) {
    pthread_mutex_lock(&w->lock);
    const double at = clock_seconds() + (seconds > 0 ? seconds : 0);
    if (!w->stopping || at < w->stop_at) w->stop_at = at;
    w->stopping = true;
    const bool join = w->begun;
    w->begun = false;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
    if (join) pthread_join(w->thread, NULL);
}

void worker_free(worker *w) {
    if (!w) return;
    worker_stop(w, 0);
    idle_free(&w->idle);
    judgeq_engine_free(w->engine);
    free((void *)w->running);
    free((void *)w->ended);
    free((void *)w->batch);
    free((void *)w->batch_job);
    free(w->batch_token);
    free(w->slot);
    free(w->policy);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->changed);
    free(w);
}

/* ---- jobs -------------------------------------------------------------------------------------------------------- */

/* Under the lock. */
static worker_status enqueue(worker *w, worker_job *job, judgeq_error *error) {
    if (w->stopping) {
        error_write(error, JUDGEQ_ERROR_CANCELLED, "the server is stopping: ask again later");
        return WORKER_STOPPING;
    }
    if (w->n_waiting >= w->params.n_queue) {
        error_write(error, JUDGEQ_ERROR_LIMIT, "%d jobs are waiting, and no more may: ask again later", w->n_waiting);
        return WORKER_BUSY;
    }
    job->id = ++w->n_jobs;
    job->accepted_at = clock_seconds();
    job->news.n_ahead = w->n_waiting;
    job_own(job);
    append(w, job);
    pthread_cond_signal(&w->changed);
    return WORKER_OK;
}

worker_status worker_submit(worker *w, const worker_request *request, worker_job **out, judgeq_error *error) {
    worker_job *job = NULL;
    pthread_mutex_lock(&w->lock);
    const worker_params params = w->params;
    pthread_mutex_unlock(&w->lock);
    worker_status status = job_of_request(&params, request, &job, error);
    pthread_mutex_lock(&w->lock);
    if (status == WORKER_OK) status = enqueue(w, job, error);
    *(status == WORKER_OK ? &w->stats.n_accepted : &w->stats.n_refused) += 1;
    pthread_mutex_unlock(&w->lock);
    if (status == WORKER_OK) {
        *out = job;
    } else {
        *out = NULL;
        job_release(job);
    }
    return status;
}

/* ---- what can be asked ------------------------------------------------------------------------------------------- */

void worker_get_stats(worker *w, worker_stats *stats) {
    pthread_mutex_lock(&w->lock);
    *stats = w->stats;
    stats->n_waiting = w->n_waiting;
    pthread_mutex_unlock(&w->lock);
}

size_t worker_get_slots(worker *w, worker_slot *slots, size_t n) {
    pthread_mutex_lock(&w->lock);
    const size_t all = w->n_slot;
    const size_t some = all < n ? all : n;
    if (some > 0) memcpy(slots, w->slot, some * sizeof *slots);
    pthread_mutex_unlock(&w->lock);
    return all;
}
