/* tiny_worker: jobs of a worker with a tiny model, and the same jobs alone. */
#ifndef JUDGEQ_TESTS_TINY_WORKER_H
#define JUDGEQ_TESTS_TINY_WORKER_H

#include "server/worker.h"
#include "tiny_session.h"

enum { N_ALL = 3000, N_SOFT = 4, BUDGET = 32, ENDLESS = 20000, MANY = 1 << 28, TEXT = 200000 };

/* Seconds: far more than anything here takes. */
#define SOON 120.0

extern judgeq_model *model;
extern judgeq_judge *judge;
extern int32_t token[N_ALL];

/* The group's: a model that talks, and a judge of N_SOFT tokens. */
int worker_set_up(void **state);
int worker_tear_down(void **state);

/* Policy judge, BUDGET rows, MANY bytes, one thread. */
worker_params defaults(void);
worker *start(worker_params params);

/* The prompt token[from] ... with n tokens, greedy. */
worker_request ask(size_t from, size_t n, int32_t n_answer);
/* A prompt whose answer goes on for longer than any test looks at it. */
worker_request ask_endless(void);
worker_job *submit(worker *w, worker_request request);

typedef struct outcome {
    char text[TEXT];
    size_t n_text;
    int64_t n_tokens;
    worker_result result;
} outcome;

/* Takes news until the job has ended, and lets go of it. */
void collect(worker_job *job, outcome *out);
void expect_cancelled(worker_job *job);
void expect_refused(worker *w, worker_request request, worker_status status, const char *why);
void wait_for_state(worker_job *job, worker_state state);
worker_stats stats_of(worker *w);

/* A session of its own. */
judgeq_session *alone(const char *policy, int32_t budget);
/* The answer to what the session has read; decodes it. */
void answer(judgeq_session *session, judgeq_sampler_params sampling, int32_t n, outcome *out);
void answer_alone(const worker_request *request, outcome *out);
/* b is a worker's. */
void expect_same(const outcome *a, const outcome *b, const char *what);

#endif
