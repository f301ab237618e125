/* trial: one sample under all policies and budgets, from one prefill, as one line of samples.jsonl. */
#ifndef JUDGEQ_EVAL_TRIAL_H
#define JUDGEQ_EVAL_TRIAL_H

#include "arms.h"
#include "reading.h"

typedef struct trial_setup {
    const judgeq_model *model;
    const judgeq_judge *judge; /* or NULL */
    const arms *arms;
    reading_style style;
    int32_t n_tokens; /* of each answer, at most; 0: what the sample says */
    int32_t n_threads;
    uint64_t seed;   /* of the policy random */
    bool divergence; /* measure kl and perplexity too */
    bool heads;      /* hit rate and mass of every KV head too */
    bool prompts;    /* the prompt's text and tokens too */
    int32_t slack;   /* of sessions; JUDGEQ_SLACK_NONE: a policy chooses once, and later turns are decoded */
    bool one_by_one; /* decode the answers one after the other: a speed for each */
    judgeq_progress progress;
    void *progress_data;
} trial_setup;

/* Of each answer, at most. */
int32_t trial_answer_tokens(const trial_setup *b, const sample *s);
/* Fails where a policy cannot be run with one of the budgets, or without this judge. n_prompt: of which budgets are
 * shares; 0: not known. */
judgeq_status trial_check(const trial_setup *b, int32_t n_prompt, judgeq_error *error);
/* *line: the object that docs/evaluation.md describes; the caller's: json_decref. */
judgeq_status trial_run(const trial_setup *b, const sample *s, json_t **line, judgeq_error *error);

#endif
