/* plan: the list of samples that a command asks for, in an order in which an interrupted run has seen all tasks. */
#ifndef JUDGEQ_EVAL_PLAN_H
#define JUDGEQ_EVAL_PLAN_H

#include "benchmark.h"
#include "haystack.h"
#include "task.h"

typedef struct plan_item {
    char *key;
    const char *name; /* of the task */
    const task *task; /* NULL: a line of a benchmark */
    size_t benchmark;
    sample_family family;
    int32_t length, index;
    int32_t n_prompt, n_answer; /* tokens: of the prompt, about; of all answers, at most */
    double depth;               /* NaN: by the index */
} plan_item;

typedef struct plan_request {
    const char *tasks;     /* a line each; "own", "unknown": those of task_is_...; "grid": the needle grid */
    const int32_t *length; /* [n_length] */
    size_t n_length;
    int32_t n_samples; /* of each task and length; of each depth in the grid */
    int32_t n_depths;  /* of the grid */
    uint64_t seed;
    int32_t cut_to; /* of LongBench's prompts, in tokens */
    const haystack_source *haystack;
    const char *text; /* of the task continuation; or NULL */
} plan_request;

typedef struct plan {
    plan_request request;
    plan_item *item; /* [n_item] */
    size_t n_item, capacity;
    json_t *tasks;    /* array of what was asked for */
    json_t *left_out; /* array of {"key", "task", "reason"}: samples of files that cannot be asked */
    benchmarks benchmarks;
} plan;

/* Keeps request->haystack and text, which must outlive it. Fails with ARGUMENT for an unknown task. */
judgeq_status plan_make(const plan_request *request, plan *out, judgeq_error *error);
void plan_free(plan *plan);

judgeq_status plan_sample(const plan *plan, size_t index, task_count count, void *count_data, sample *out,
                          judgeq_error *error);

/* Of an item that is a task of our own; without a count. */
task_request plan_task_request(const plan *plan, size_t index);

/* True for failures of one sample of a file, after which the others can still be asked. */
bool plan_leaves_out(judgeq_status status);
/* Notes in left_out that the item is not asked. */
judgeq_status plan_note(plan *plan, size_t index, const char *reason, judgeq_error *error);

#endif
