/* admit: which job may start, and with what session. kv_bytes holds at any moment: what running jobs can need is
 * reserved, and idle sessions take what is left. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "state.h"

/* Prompts that are read in turn: each has its hidden states in memory. */
enum { READERS_MOST = 4 };

/* A read of fewer tokens is repeated where it must be. */
enum { KEEP_LEAST = 128 };

/* ---- bytes ------------------------------------------------------------------------------------------------------- */

/* Between two steps of its own. A read may wait anywhere. */
static size_t resting_bytes(const worker_job *job) {
    return !job->answering && job->need.read_bytes > job->need.held_bytes ? job->need.read_bytes : job->need.held_bytes;
}

size_t reserved_bytes(const worker *w, const worker_job *more) {
    size_t all = 0, moving = 0;
    for (size_t i = 0; i <= w->n_running; i++) {
        const worker_job *job = i < w->n_running ? w->running[i] : more;
        if (!job) continue;
        const size_t rests = resting_bytes(job), most = job->need.decode_bytes;
        all += rests;
        if (most > rests && most - rests > moving) moving = most - rests;
    }
    return all + moving;
}

static judgeq_status set_need(const worker *w, worker_job *job, size_t n_before, judgeq_error *error) {
    return job_need(job, w->params.model, (int64_t)n_before, &job->need, error);
}

/* Whether the job can start once idle sessions have left, all or only superseded ones, without `spared`. Then they
 * leave. taken: bytes of an idle session that the job itself goes on with. */
static bool make_room(worker *w, const worker_job *job, bool only_superseded, judgeq_session *spared, size_t taken) {
    const size_t most = w->params.kv_bytes, reserved = reserved_bytes(w, job) - taken;
    if (reserved + w->idle.bytes - idle_droppable(&w->idle, only_superseded, spared) > most) return false;
    while (reserved + w->idle.bytes > most && idle_drop(&w->idle, only_superseded, spared)) w->count.n_forgotten++;
    return true;
}

/* ---- sessions ---------------------------------------------------------------------------------------------------- */

/* What a copy that is cut takes while it is trimmed: its own bytes, and a layer's, of which one may be twice the mean.
 */
static size_t cut_bytes(const worker *w, size_t bytes) {
    return bytes + 2 * bytes / (size_t)judgeq_model_get_info(w->params.model)->n_layer;
}

static judgeq_status cut_to(judgeq_session *session, size_t n, judgeq_error *error) {
    size_t n_own;
    (void)judgeq_session_tokens(session, &n_own);
    if (n_own == n) return JUDGEQ_OK;
    const judgeq_status status = judgeq_session_cut(session, (int64_t)n, error);
    return status == JUDGEQ_OK ? judgeq_session_trim(session, error) : status;
}

typedef enum placing { NO_ROOM, PLACED, ANEW } placing;

/* The job goes on from an idle session, if there is one and room: from a copy, so that what went on from it before is
 * still there for others; from itself where a copy would cost a session that nobody has gone on from. */
static placing go_on_from_idle(worker *w, worker_job *job, judgeq_error *error) {
    size_t common;
    idle_session *idle = idle_find(&w->idle, job->key, job->tokens, job->n_tokens, &common);
    if (!idle || set_need(w, job, common, error) != JUDGEQ_OK) return ANEW;
    judgeq_session *session = idle->session;
    size_t n_own;
    (void)judgeq_session_tokens(session, &n_own);
    const size_t bytes = idle->bytes; /* idle_drop moves the items */
    const size_t cut = n_own > common ? cut_bytes(w, bytes) : 0;
    if (cut > job->need.read_bytes) job->need.read_bytes = cut;
    idle_use(&w->idle, idle);
    judgeq_status status = JUDGEQ_OK;
    if (make_room(w, job, true, session, 0)) {
        status = judgeq_session_copy(session, &job->running, error);
    } else if (make_room(w, job, false, session, bytes)) {
        job->running = idle_take(&w->idle, session);
    } else {
        return w->n_running > 0 ? NO_ROOM : ANEW;
    }
    if (status == JUDGEQ_OK) status = cut_to(job->running, common, error);
    if (status == JUDGEQ_OK) {
        job->n_cached = (int64_t)common;
        return PLACED;
    }
    judgeq_session_free(job->running);
    job->running = NULL;
    return ANEW;
}

static judgeq_session_params params_of(worker *w, const worker_job *job) {
    judgeq_session_params params = job->session;
    params.engine = w->engine;
    params.progress = round_go_on;
    params.progress_data = w;
    return params;
}

/* A copy of the job's session, if there is room for it and what trimming takes: another may go on from it. */
static judgeq_session *copy_if_room(const worker *w, const worker_job *job, const worker_job *more) {
    judgeq_stats stats;
    judgeq_session *copy = NULL;
    judgeq_session_get_stats(job->running, &stats);
    const size_t bytes = stats.kv_bytes_allocated, idle = w->params.cache_bytes, then = w->idle.bytes + bytes;
    if (reserved_bytes(w, more) + then + bytes > w->params.kv_bytes || (idle > 0 && then > idle)) return NULL;
    return judgeq_session_copy(job->running, &copy, NULL) == JUDGEQ_OK ? copy : NULL;
}

/* The context stays, too: it is asked again. */
static void keep_context(worker *w, const worker_job *job) {
    judgeq_session *copy = copy_if_room(w, job, job);
    if (copy && idle_add(&w->idle, job->key, job->id, copy, NULL) != JUDGEQ_OK) judgeq_session_free(copy);
}

void keep_prompt(worker *w, const worker_job *job) {
    judgeq_stats stats;
    judgeq_session_get_stats(job->running, &stats);
    const bool worth = (int64_t)job->n_tokens - job->n_cached >= KEEP_LEAST && job->n_answer > 0 && !job->forget;
    if (!worth || stats.n_chosen != (int64_t)job->n_tokens || stats.n_position > stats.n_chosen) return;
    judgeq_session *copy = copy_if_room(w, job, NULL);
    if (copy && idle_add_prompt(&w->idle, job->key, job->id, copy, NULL) != JUDGEQ_OK) judgeq_session_free(copy);
}

/* The file may be another one by now, of other tokens or of a budget for which nothing is reserved. */
static bool is_as_asked_for(const worker_job *job) {
    const judgeq_session_params *asked = &job->session, made = judgeq_session_get_params(job->running);
    size_t n;
    judgeq_stats stats;
    const int32_t *tokens = judgeq_session_tokens(job->running, &n);
    judgeq_session_get_stats(job->running, &stats);
    return n == job->n_context && memcmp(tokens, job->tokens, n * sizeof *tokens) == 0 &&
           made.budget == asked->budget && !(made.budget_fraction > asked->budget_fraction) &&
           made.slack == asked->slack && made.kv_type == asked->kv_type &&
           stats.kv_bytes_allocated <= job->need.held_bytes;
}

static judgeq_status load_context(worker *w, worker_job *job, judgeq_error *error) {
    const judgeq_session_params params = params_of(w, job);
    const judgeq_status status = judgeq_session_load(w->params.model, &params, job->context, &job->running, error);
    if (status != JUDGEQ_OK) return status;
    if (!is_as_asked_for(job)) {
        return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: is another context than when it was asked for: ask again",
                         job->context);
    }
    job->n_cached = (int64_t)job->n_context;
    keep_context(w, job);
    return JUDGEQ_OK;
}

static judgeq_status start_anew(worker *w, worker_job *job, judgeq_error *error) {
    if (job->context) return load_context(w, job, error);
    const judgeq_session_params params = params_of(w, job);
    return judgeq_session_new(w->params.model, &params, &job->running, error);
}

/* ---- who starts -------------------------------------------------------------------------------------------------- */

static bool same_prompt(const worker_job *a, const worker_job *b) {
    return a->n_tokens == b->n_tokens && strcmp(a->key, b->key) == 0 &&
           memcmp(a->tokens, b->tokens, a->n_tokens * sizeof *a->tokens) == 0;
}

/* Waits for another job that reads the same. */
static bool follows(const worker *w, const worker_job *job) {
    for (size_t i = 0; i < w->n_running; i++) {
        if (!w->running[i]->answering && same_prompt(w->running[i], job)) return true;
    }
    return false;
}

static size_t n_reading(const worker *w) {
    size_t n = 0;
    for (size_t i = 0; i < w->n_running; i++) n += !w->running[i]->answering;
    return n;
}

static bool may_run(const worker *w) {
    return w->params.n_running == 0 || w->n_running < (size_t)w->params.n_running;
}

static void begin(worker *w, worker_job *job, judgeq_status status, const judgeq_error *error) {
    queue_remove(w, job);
    job->started_at = clock_seconds();
    if (status == JUDGEQ_OK) {
        round_begin_job(w, job);
    } else {
        round_end_job(w, job, status, error);
    }
}

/* False where it has to wait. */
static bool start(worker *w, worker_job *job) {
    judgeq_error error = {0};
    if (round_make_room(w, &error) != JUDGEQ_OK) return false; /* perhaps in the next round */
    const placing place = go_on_from_idle(w, job, &error);
    if (place == NO_ROOM) return false;
    judgeq_status status = JUDGEQ_OK;
    if (place == ANEW) {
        status = set_need(w, job, job->n_context, &error);
        if (status == JUDGEQ_OK && !make_room(w, job, false, NULL, 0)) return false;
        if (status == JUDGEQ_OK) status = start_anew(w, job, &error);
    }
    begin(w, job, status, &error);
    return true;
}

/* The queue changes under the lock, and only this thread takes jobs out of it. */
static worker_job *first_waiting(worker *w, const worker_job *after) {
    pthread_mutex_lock(&w->lock);
    worker_job *job = after ? after->next : w->first;
    pthread_mutex_unlock(&w->lock);
    return job;
}

void admit(worker *w) {
    worker_job *job = first_waiting(w, NULL);
    while (job && may_run(w) && n_reading(w) < READERS_MOST) {
        worker_job *next = first_waiting(w, job);
        if (!follows(w, job) && !start(w, job)) return;
        job = next;
    }
}

void admit_followers(worker *w, const worker_job *leader) {
    judgeq_error error = {0};
    worker_job *next;
    for (worker_job *job = first_waiting(w, NULL); job && may_run(w); job = next) {
        next = first_waiting(w, job);
        if (!same_prompt(job, leader) || set_need(w, job, job->n_tokens, &error) != JUDGEQ_OK) continue;
        if (!make_room(w, job, false, NULL, 0) || round_make_room(w, &error) != JUDGEQ_OK) return;
        const judgeq_status status = judgeq_session_copy(leader->running, &job->running, &error);
        job->n_cached = (int64_t)job->n_tokens;
        begin(w, job, status, &error);
    }
}
