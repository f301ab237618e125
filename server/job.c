#include "job.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"

/* ---- life -------------------------------------------------------------------------------------------------------- */

/* Conditions wait on the clock that nobody sets. */
static bool init_condition(pthread_cond_t *condition) {
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0) return false;
    const bool made =
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 && pthread_cond_init(condition, &attributes) == 0;
    pthread_condattr_destroy(&attributes);
    return made;
}

worker_job *job_new(void) {
    worker_job *job = calloc(1, sizeof *job);
    if (!job) return NULL;
    job->n_owner = 1;
    job->token = -1;
    if (pthread_mutex_init(&job->lock, NULL) != 0) {
        free(job);
        return NULL;
    }
    if (init_condition(&job->changed)) return job;
    pthread_mutex_destroy(&job->lock);
    free(job);
    return NULL;
}

static void job_free(worker_job *job) {
    free(job->tokens);
    free(job->context);
    free(job->save);
    free(job->saved);
    free(job->key);
    judgeq_policy_free(job->policy);
    judgeq_sampler_free(job->sampler);
    shared_plan_release(job->plan);
    for (size_t i = 0; job->stop && i < job->n_stop; i++) free(job->stop[i]);
    free((void *)job->stop);
    generation_free(&job->answer);
    held_free(&job->result.held);
    free(job->text);
    free(job->taken_text);
    json_decref(job->token_logprobs);
    json_decref(job->taken_logprobs);
    pthread_mutex_destroy(&job->lock);
    pthread_cond_destroy(&job->changed);
    free(job);
}

void job_own(worker_job *job) {
    pthread_mutex_lock(&job->lock);
    job->n_owner++;
    pthread_mutex_unlock(&job->lock);
}

void job_release(worker_job *job) {
    if (!job) return;
    pthread_mutex_lock(&job->lock);
    const bool last = --job->n_owner == 0;
    pthread_mutex_unlock(&job->lock);
    if (last) job_free(job);
}

/* ---- the worker's side ------------------------------------------------------------------------------------------- */

/* Under the lock. The client is told once for all that it has not taken, and not after it has let go. */
static void tell(worker_job *job) {
    const bool first = !job->fresh;
    job->fresh = true;
    pthread_cond_signal(&job->changed);
    if (first && job->notify) job->notify(job->data);
}

void job_post_ahead(worker_job *job, int32_t n_ahead) {
    pthread_mutex_lock(&job->lock);
    const bool other = job->news.n_ahead != n_ahead;
    job->news.n_ahead = n_ahead;
    if (other) tell(job);
    pthread_mutex_unlock(&job->lock);
}

void job_post_reading(worker_job *job, int64_t n_done, int64_t n_to_read) {
    pthread_mutex_lock(&job->lock);
    const worker_news *news = &job->news;
    const bool other = news->state != WORKER_READING || news->n_done != n_done || news->n_to_read != n_to_read;
    job->news.state = WORKER_READING;
    job->news.n_ahead = 0;
    job->news.n_done = n_done;
    job->news.n_to_read = n_to_read;
    if (other) tell(job);
    pthread_mutex_unlock(&job->lock);
}

/* Under the lock: n more bytes. */
static judgeq_status make_room(worker_job *job, size_t n, judgeq_error *error) {
    const size_t wanted = job->news.n_text + n;
    if (wanted > job->unread_most) {
        return error_set(error, JUDGEQ_ERROR_CANCELLED,
                         "cancelled: more than %zu bytes of the answer have not been taken", job->unread_most);
    }
    if (wanted <= job->text_room) return JUDGEQ_OK;
    char *larger = realloc(job->text, 2 * wanted + 64);
    if (!larger) return error_memory(error, "an answer");
    job->text = larger;
    job->text_room = 2 * wanted + 64;
    return JUDGEQ_OK;
}

judgeq_status job_post_text(void *data, const char *bytes, size_t n, judgeq_error *error) {
    worker_job *job = data;
    pthread_mutex_lock(&job->lock);
    const judgeq_status status = make_room(job, n, error);
    if (status == JUDGEQ_OK && n > 0) {
        memcpy(job->text + job->news.n_text, bytes, n);
        job->news.n_text += n;
        tell(job);
    }
    pthread_mutex_unlock(&job->lock);
    return status;
}

judgeq_status job_post_tokens(worker_job *job, int32_t n, json_t *logprobs, judgeq_error *error) {
    bool memory = true;
    pthread_mutex_lock(&job->lock);
    job->news.state = WORKER_ANSWERING;
    job->news.n_tokens += n;
    if (logprobs && json_array_size(logprobs) > 0) {
        if (!job->token_logprobs) job->token_logprobs = json_array();
        memory = job->token_logprobs && json_array_extend(job->token_logprobs, logprobs) == 0;
        json_array_clear(logprobs); /* each object has one owner: the client's thread, soon */
    }
    tell(job);
    pthread_mutex_unlock(&job->lock);
    return memory ? JUDGEQ_OK : error_memory(error, "log-probabilities");
}

void job_post_end(worker_job *job) {
    pthread_mutex_lock(&job->lock);
    job->news.state = WORKER_ENDED;
    tell(job);
    pthread_mutex_unlock(&job->lock);
}

/* ---- the client's side ------------------------------------------------------------------------------------------- */

static struct timespec after(double seconds) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    double whole;
    const double part = modf(seconds, &whole);
    time.tv_sec += (time_t)whole;
    time.tv_nsec += (long)(part * 1e9);
    if (time.tv_nsec >= 1000000000) {
        time.tv_nsec -= 1000000000;
        time.tv_sec++;
    }
    return time;
}

/* Under the lock: hands over what there is. */
static void take(worker_job *job, worker_news *news) {
    free(job->taken_text);
    json_decref(job->taken_logprobs);
    job->taken_text = job->text;
    job->taken_logprobs = job->token_logprobs;
    *news = job->news;
    news->text = job->text ? job->text : "";
    news->logprobs = job->token_logprobs;
    job->text = NULL;
    job->text_room = 0;
    job->token_logprobs = NULL;
    job->news.n_text = 0;
    job->news.n_tokens = 0;
    job->fresh = false;
}

enum { SECONDS_MOST = 1000000 };

bool worker_job_wait(worker_job *job, double seconds, worker_news *news) {
    const struct timespec end = after(seconds < 0 ? 0 : seconds > SECONDS_MOST ? SECONDS_MOST : seconds);
    pthread_mutex_lock(&job->lock);
    int waited = 0;
    while (!job->fresh && job->news.state != WORKER_ENDED && seconds > 0 && waited != ETIMEDOUT) {
        waited = pthread_cond_timedwait(&job->changed, &job->lock, &end);
    }
    const bool any = job->fresh || job->news.state == WORKER_ENDED;
    if (any) {
        take(job, news);
    } else {
        *news = (worker_news){.state = job->news.state, .text = ""};
    }
    pthread_mutex_unlock(&job->lock);
    return any;
}

const worker_result *worker_job_result(worker_job *job) {
    pthread_mutex_lock(&job->lock);
    const bool ended = job->news.state == WORKER_ENDED;
    pthread_mutex_unlock(&job->lock);
    return ended ? &job->result : NULL;
}

void *worker_job_take_saved(worker_job *job, size_t *n) {
    void *saved = worker_job_result(job) ? job->saved : NULL;
    *n = saved ? job->n_saved : 0;
    if (saved) job->saved = NULL;
    return saved;
}

void worker_job_cancel(worker_job *job) {
    atomic_store(&job->cancelled, true);
}

void worker_job_release(worker_job *job) {
    if (!job) return;
    worker_job_cancel(job);
    pthread_mutex_lock(&job->lock);
    job->notify = NULL;
    pthread_mutex_unlock(&job->lock);
    job_release(job);
}

int64_t worker_job_id(const worker_job *job) {
    return job->id;
}
