/* state: what a worker holds. worker.c has the public functions and the thread's loop, admit.c says which job may
 * start and with what session, round.c does a round of work. */
#ifndef JUDGEQ_SERVER_STATE_H
#define JUDGEQ_SERVER_STATE_H

#include "idle.h"
#include "job.h"

struct worker {
    worker_params params; /* constant, but for the judge, which is under `lock` */
    char *policy;         /* the params' */
    pthread_t thread;

    /* The thread's own. */
    judgeq_engine *engine;
    idle_store idle;
    worker_job **running; /* [n_running], in the order in which they began */
    worker_job **ended;   /* [n_ended], whose end is to be told at the end of the round */
    size_t n_running, n_ended, room;
    judgeq_session **batch; /* [room], that decode together */
    worker_job **batch_job;
    int32_t *batch_token;
    worker_job *asked; /* whose read step is under way, within which it may be cancelled; or NULL */
    int64_t n_turns;   /* read steps */
    worker_stats count;

    /* Under `lock`. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool begun, stopping;
    double stop_at;           /* on clock_seconds: what is left then is cancelled */
    worker_job *first, *last; /* that wait */
    int32_t n_waiting;
    int64_t n_jobs;
    worker_stats stats; /* as of the last round */
    worker_slot *slot;  /* [n_slot] of slot_room, likewise */
    size_t n_slot, slot_room;
};

/* ---- admit.c ----------------------------------------------------------------------------------------------------- */

/* Starts jobs of the queue, from its beginning, as long as they fit. */
void admit(worker *w);
/* A job's prompt has been read: those that wait with the same one begin with a copy. */
void admit_followers(worker *w, const worker_job *leader);
/* A job's prompt has been read: where its policy will choose again as it answers, a copy stays, if there is room. It is
 * for those who ask the same again, or send the answer back with other tokens than it was written with. */
void keep_prompt(worker *w, const worker_job *job);
/* What the running jobs can have allocated at any moment, and one more, unless it is NULL. The rows of one session at a
 * time move. */
size_t reserved_bytes(const worker *w, const worker_job *more);

/* ---- round.c ----------------------------------------------------------------------------------------------------- */

/* Room for one job more, in all of its arrays. */
judgeq_status round_make_room(worker *w, judgeq_error *error);
/* A job whose session is there begins: it reads its tokens from n_cached on, or, where none are left, answers. */
void round_begin_job(worker *w, worker_job *job);
/* Ends a job that is not in the queue, and takes it out of the running ones. */
void round_end_job(worker *w, worker_job *job, judgeq_status status, const judgeq_error *error);
/* Ends those that were cancelled; a read step; a token for all that answer. */
void round_sweep(worker *w, bool all);
void round_read(worker *w);
void round_decode(worker *w);
/* Writes the stats, and then tells clients that their jobs have ended. */
void round_publish(worker *w);

/* A session's progress callback, with the worker as its data. */
bool round_go_on(void *data, int64_t done, int64_t total);

/* ---- worker.c ---------------------------------------------------------------------------------------------------- */

/* Takes a job out of the queue. */
void queue_remove(worker *w, worker_job *job);

#endif
