/* job: what a client asks of the worker, and the news that pass from the worker's thread to the client's. */
#ifndef JUDGEQ_SERVER_JOB_H
#define JUDGEQ_SERVER_JOB_H

#include <pthread.h>
#include <stdatomic.h>

#include "worker.h"

struct worker_job {
    int64_t id;

    /* The request. Constant once it was accepted. */
    int32_t *tokens; /* [n_tokens], the context's first */
    size_t n_tokens, n_context;
    char *context;                 /* a path, or NULL */
    char *save;                    /* the label of what is saved, or NULL */
    char *key;                     /* jobs with the same key may go on from each other's sessions */
    judgeq_policy *policy;         /* the context's, where it has one */
    judgeq_session_params session; /* but for the engine */
    judgeq_sampler *sampler;
    shared_plan *plan; /* or NULL */
    char **stop;       /* [n_stop] */
    size_t n_stop;
    int32_t n_answer, logprobs;
    bool kept, forget;
    size_t unread_most;
    atomic_bool cancelled;

    /* The worker's thread alone. */
    judgeq_session *running;
    generation answer;
    int32_t token;                    /* that is decoded next; -1: none */
    judgeq_need need;                 /* what it can need, as it was begun */
    int64_t n_cached, n_done, n_work; /* rows in one layer that the read has done, and of all of it */
    bool answering;
    double accepted_at, started_at, first_at, stepped_at; /* clock_seconds; the last two: 0, not yet */
    worker_result result;
    void *saved; /* [n_saved], malloced, or NULL; the client's once it has ended */
    size_t n_saved;
    worker_job *next; /* in the queue, under the worker's lock */

    /* Between both, under `lock`. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int n_owner; /* the client and the worker */
    void (*notify)(void *data);
    void *data;
    bool fresh; /* there is something that was not taken */
    worker_news news;
    char *text; /* [news.n_text] of text_room */
    size_t text_room;
    json_t *token_logprobs; /* that were not taken; or NULL */

    /* The client's. */
    char *taken_text;
    json_t *taken_logprobs;
};

/* A job without a request, of one owner. NULL without memory. */
worker_job *job_new(void);
/* Takes one owner away. Accepts NULL. */
void job_release(worker_job *job);
void job_own(worker_job *job);

/* In the worker's thread: what the client learns. */
void job_post_ahead(worker_job *job, int32_t n_ahead);
void job_post_reading(worker_job *job, int64_t n_done, int64_t n_to_read);
/* More of the answer: a text_put, with the job as its data. */
judgeq_status job_post_text(void *data, const char *bytes, size_t n, judgeq_error *error);
/* That tokens were added, with what logprobs [..] says of them, which is emptied; or NULL. */
judgeq_status job_post_tokens(worker_job *job, int32_t n, json_t *logprobs, judgeq_error *error);
/* The end: job->result is what it will be. */
void job_post_end(worker_job *job);

/* Whether a file can be a context. */
bool job_is_gguf(const char *path);
/* judgeq_snapshot_read, which says nothing of what another file holds: clients are told. */
judgeq_status job_read_context(const char *path, judgeq_snapshot_info *info, int32_t **tokens, judgeq_error *error);
/* Makes a job of a request, or says why not: server/request.c. n_context: tokens of its context. */
worker_status job_of_request(const worker_params *params, const worker_request *request, worker_job **out,
                             judgeq_error *error);
/* What it needs when n_before of its tokens are there. */
judgeq_status job_need(const worker_job *job, const judgeq_model *model, int64_t n_before, judgeq_need *out,
                       judgeq_error *error);

#endif
