/* worker: the one thread that computes for a model. Other threads hand it jobs and take what becomes of them; they
 * never compute, and the worker never waits for them.
 *
 *     worker_new(&params, &w, error);
 *     // in any thread, for a client:
 *     if (worker_submit(w, &request, &job, error) == WORKER_OK) {
 *         worker_news news;
 *         do {
 *             if (worker_job_wait(job, 5.0, &news)) ... // news.text, news.n_text
 *             else ...                                  // nothing for 5 seconds: send a ping
 *         } while (news.state != WORKER_ENDED && the client is still there);
 *         ... // worker_job_result(job)
 *         worker_job_release(job); // cancels it where it has not ended
 *     }
 *     worker_stop(w, 10.0);
 *     worker_free(w);
 *
 * The worker's loop: take what has come, one step of a read (a chunk of a layer), one token for all that answer, and so
 * on. So answers go on while a long prompt is read, and nobody waits longer than a chunk takes. Several prompts may be
 * read in turn: three steps of four are for the one with the least left, the fourth is for the oldest.
 *
 * Admission. kv_bytes is never exceeded: a job starts when all that it can ever need (judgeq_session_need) is free;
 * idle conversations leave for it. Jobs start in the order in which they came. One that could never start is refused at
 * once, with the arithmetic.
 *
 * Conversations. Once a job has ended, its session stays, idle and trimmed, as long as cache_bytes and the jobs allow.
 * A job begins with the idle session of the same policy, budget, judge and context that has the most tokens in common
 * with it, from the first on: by the original tokens, whether their rows are still held or not. It works on a copy, so
 * that a side request leaves the conversation as it was. Of policies that evict, the session as it was when a long
 * prompt had been read stays as well: they cannot go back there later. Those that leave first are the ones that another
 * idle session goes on from, then those that were not used for longest. Jobs that wait with the same tokens as one that
 * is being read begin with a copy of what it has read.
 *
 * Slow readers. News gather in the job until they are taken, so nothing is lost and nobody is blocked; they are bounded
 * by the answer's own length. A reader who leaves more than unread_bytes of text has its job cancelled. */
#ifndef JUDGEQ_SERVER_WORKER_H
#define JUDGEQ_SERVER_WORKER_H

#include <jansson.h>

#include "app/generation.h"
#include "app/held.h"
#include "app/session_choices.h"
#include "judgeq.h"
#include "shared_plan.h"

typedef struct worker worker;
typedef struct worker_job worker_job;

typedef struct worker_params {
    const judgeq_model *model; /* outlives the worker, as does the judge */
    const judgeq_judge *judge; /* NULL: policies with soft tokens are refused */
    const char *policy;        /* of jobs that name none; NULL: full */
    session_choices choices;   /* of all sessions; rows and share: of jobs that name no budget */
    size_t kv_bytes;           /* of the KV caches of all sessions together, at any moment */
    size_t cache_bytes;        /* of these, at most for idle ones; 0: all that is free */
    int32_t n_queue;           /* jobs that wait, at most */
    int32_t n_running;         /* jobs that read or answer, at most; 0: any */
    size_t unread_bytes;       /* of an answer's text that was not taken, at most; 0: 1 MiB */
    int32_t n_answer_most;     /* tokens of an answer, at most, whatever a job asks for; 0: any */
} worker_params;

/* Everything is copied. */
typedef struct worker_request {
    /* The whole prompt: all turns so far, and what is new. With a context: what follows it. */
    const int32_t *tokens;
    size_t n_tokens;
    const char *context; /* the file of a session (judgeq_session_save) to begin from; or NULL. Policy and budget are
                            then the file's */
    const char *policy;  /* as judgeq_policy_parse reads it; NULL: the worker's */
    int32_t rows;        /* the budget; 0: `share`, or the worker's */
    double share;
    judgeq_sampler_params sampler;
    shared_plan *plan;       /* of an answer in a chat; the job becomes an owner. Or NULL */
    int32_t n_answer;        /* tokens of the answer, at most; 0: read only */
    const char *const *stop; /* [n_stop], texts or control tokens that the answer ends before; none is empty */
    size_t n_stop;
    int32_t logprobs; /* alternatives per token; below 0: no log-probabilities */
    bool kept;        /* the result says what is held of each token */
    bool forget;      /* the session does not stay afterwards */
    const char *save; /* the session's label, with which it is saved once the prompt is read, in memory
                         (worker_job_take_saved): no file keeps the worker waiting. Such a job goes on from no session
                         but one that is saved as well. Or NULL */
    /* Called in the worker's thread whenever there is something new, once for all that has not been taken. It must not
     * block, nor call any function of this header; or NULL. */
    void (*notify)(void *data);
    void *data;
} worker_request;

/* What comes of handing in a job: everything but WORKER_OK with a message. */
typedef enum worker_status {
    WORKER_OK = 0,
    WORKER_INVALID,   /* a field that makes no sense */
    WORKER_TOO_LONG,  /* more tokens than the context holds */
    WORKER_TOO_LARGE, /* more bytes than kv_bytes: it could never start */
    WORKER_BUSY,      /* the queue is full: later, perhaps */
    WORKER_STOPPING,  /* worker_stop was called */
    WORKER_FAILED     /* no memory */
} worker_status;

typedef enum worker_state { WORKER_WAITING = 0, WORKER_READING, WORKER_ANSWERING, WORKER_ENDED } worker_state;

/* What is new since it was asked last. */
typedef struct worker_news {
    worker_state state;
    int32_t n_ahead;           /* while it waits: jobs before it */
    int64_t n_prompt;          /* tokens of the prompt, the context's included */
    int64_t n_done, n_to_read; /* while it reads: tokens, those of it that are done (all layers of a token count) */
    const char *text;          /* [n_text], more of the answer: whole characters. Valid until the job is asked again */
    size_t n_text;
    int32_t n_tokens;       /* tokens since then; some may have given no text yet */
    const json_t *logprobs; /* of these tokens, as app/logprobs.h writes them; NULL: none were asked for, or none came.
                               Valid as `text` is */
} worker_news;

typedef struct worker_result {
    judgeq_status status; /* JUDGEQ_OK, and `end` says why the answer ended; or with `error`. CANCELLED: by somebody */
    judgeq_error error;
    generation_end end;
    int32_t stop;         /* the number of the request's stop text that the answer ended before, from 0; or -1 */
    int64_t n_prompt;     /* tokens of the prompt, the context's included */
    int64_t n_cached;     /* of these, that an idle session, a context or another job had read before */
    int64_t n_answer;     /* tokens, without the one that ended it */
    int64_t n_seen;       /* tokens of the sequence that the session has */
    int64_t n_rows;       /* rows that it holds, over all layers and KV heads; judgeq_session_positions */
    size_t kv_bytes;      /* of these rows */
    size_t kv_bytes_full; /* what all rows would take */
    size_t kv_bytes_peak;
    int64_t n_rejudged;
    double waited_s, read_s, answer_s; /* in the queue; until the first token; from then on */
    held_tokens held;                  /* where it was asked for: of all n_seen tokens; else empty */
} worker_result;

/* Starts the thread. Model and judge must not be freed before the worker. */
judgeq_status worker_new(const worker_params *params, worker **out, judgeq_error *error);
/* The judge of jobs that are handed in from now on. The former must live as long as the worker, too: sessions use it.
 */
void worker_use_judge(worker *w, const judgeq_judge *judge);
bool worker_has_judge(worker *w);
/* Takes no more jobs, lets those that there are go on for so many seconds, and cancels the rest. Returns when the
 * thread has ended; jobs can still be asked for what they have, and must be released before worker_free. */
void worker_stop(worker *w, double seconds);
/* Stops it at once where it runs. Accepts NULL. */
void worker_free(worker *w);

/* ---- jobs -------------------------------------------------------------------------------------------------------- */

/* Hands in a job. *out: one thread's, but for worker_job_cancel. */
worker_status worker_submit(worker *w, const worker_request *request, worker_job **out, judgeq_error *error);
/* Waits until there is something new, but not longer than `seconds` (0: not at all). False where there is nothing; the
 * news then hold the state only. Once ended, it returns true at once, with nothing new. */
bool worker_job_wait(worker_job *job, double seconds, worker_news *news);
/* NULL before it has ended. Valid until it is released. */
const worker_result *worker_job_result(worker_job *job);
/* What was saved, once it has ended: the bytes of a session's file, [*n], for the caller to free(); NULL where there is
 * none. */
void *worker_job_take_saved(worker_job *job, size_t *n);
/* The job ends within one step of the worker, with CANCELLED. Its memory is then free for others: what it was reading
 * is gone, and what had begun to answer is an idle session. In any thread. */
void worker_job_cancel(worker_job *job);
/* The job is no longer asked: it is cancelled unless it has ended. Accepts NULL. */
void worker_job_release(worker_job *job);

/* ---- what can be asked ------------------------------------------------------------------------------------------- */

typedef struct worker_stats {
    /* now */
    int32_t n_waiting, n_reading, n_answering, n_idle;
    size_t kv_bytes;          /* allocated, by running and idle sessions, at the end of the last step */
    size_t kv_bytes_reserved; /* what running jobs can need */
    size_t kv_bytes_idle, kv_bytes_most;
    int64_t n_rows; /* held by running and idle sessions */
    /* since it began */
    int64_t n_accepted, n_refused, n_ended, n_cancelled, n_failed; /* jobs; n_ended: all that have ended */
    int64_t n_read, n_cached, n_answered; /* tokens read; of prompts, but not read again; of answers */
    int64_t n_rejudged, n_forgotten;      /* choices while answering; idle sessions that left for others */
    int64_t n_steps;                      /* of all that answer together */
    double read_s, answer_s;              /* that these took */
    double step_most_s;                   /* the longest time between two steps of a job that answers */
} worker_stats;

void worker_get_stats(worker *w, worker_stats *stats);

/* A job or an idle session. */
typedef struct worker_slot {
    int64_t id; /* the job's number, from 1 */
    bool idle;
    worker_state state;
    int64_t n_prompt, n_cached, n_done, n_answer, n_seen, n_rows;
    size_t kv_bytes;
    int32_t budget;   /* rows per layer and KV head; 0: full, or not known yet */
    char policy[256]; /* as judgeq_policy_text writes it */
} worker_slot;

/* Writes up to n of them, running jobs first, and returns how many there are. */
size_t worker_get_slots(worker *w, worker_slot *slots, size_t n);

/* The number of a job. */
int64_t worker_job_id(const worker_job *job);

#endif
