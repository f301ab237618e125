/* task: tasks of our own. Everything about a sample follows from the task, the length, the seed and the index, so a run
 * with more samples extends one with fewer. */
#ifndef JUDGEQ_EVAL_TASK_H
#define JUDGEQ_EVAL_TASK_H

#include "haystack.h"
#include "sample.h"

typedef struct task task;

/* In the order of docs/evaluation.md; NULL past the last. */
const task *task_at(size_t index);
const task *task_find(const char *name);
const char *task_name(const task *task);
const char *task_summary(const task *task); /* one line */
int32_t task_tokens(const task *task);      /* of an answer, at most */
int32_t task_answers(const task *task);     /* that one sample asks for */
bool task_is_own(const task *task);         /* one of the fixed set "own", whose means can be compared for ever */

bool task_is_unknown(const task *task); /* one of "unknown": what is asked is not known when rows are dropped */

/* Tokens of a sample's prompt, and of all that is read after it up to an answer; below 0 with *error set on failure. */
typedef int64_t (*task_count)(void *data, const sample *sample, judgeq_error *error);

typedef struct task_request {
    const task *task;
    sample_family family; /* OWN or GRID */
    int32_t length;       /* most tokens of the prompt; it comes as close as whole sentences allow */
    double depth;         /* of the needle; NaN: spread evenly over 0.05 .. 0.95 by the index */
    uint64_t seed;
    int32_t index;
    const haystack_source *source; /* or NULL: generated prose */
    const char *text;              /* of the task continuation; or NULL */
    task_count count;
    void *count_data;
} task_request;

/* "needle_text/1024/1/3", "grid/needle_text/1024/0.5/1/3"; the caller's: free(). NULL without memory. */
char *task_key(const task *task, sample_family family, int32_t length, double depth, uint64_t seed, int32_t index);

/* The question with as little text as there can be, whatever `length` is. */
judgeq_status task_make_shortest(const task_request *request, sample *out, judgeq_error *error);
/* Fails with LIMIT where that one's tokens are more than `length`. */
judgeq_status task_check_shortest(const task_request *request, int64_t n_token, judgeq_error *error);
/* Fails with LIMIT where the question alone is longer than `length`. */
judgeq_status task_make(const task_request *request, sample *out, judgeq_error *error);

#endif
