/* count_work MODEL: the three kinds of work whose instructions test_instructions.py counts under callgrind, each in a
 * function of its own: reading a prompt with the full policy, the same with a judge that scores and evicts, and
 * decoding after that. One thread; everything follows from the seed. */
#include <stdio.h>
#include <stdlib.h>

#include "judgeq.h"
#include "tiny_model.h"

enum { N_PROMPT = 160, N_DECODE = 8, BUDGET = 64, N_SOFT = 8 };

static int32_t tokens[N_PROMPT];

static int fail(const char *what) {
    fprintf(stderr, "count_work: %s\n", what);
    return 1;
}

static judgeq_judge *make_judge(const judgeq_model *model) {
    const judgeq_model_info *info = judgeq_model_get_info(model);
    const judgeq_judge_info about = {.n_depth = 1,
                                     .n_soft = N_SOFT,
                                     .n_embd = info->n_embd,
                                     .fingerprint = info->fingerprint,
                                     .model_name = "",
                                     .origin = "count_work",
                                     .loss = "",
                                     .data_hash = ""};
    const size_t n = (size_t)N_SOFT * (size_t)info->n_embd;
    float *soft = malloc(n * sizeof *soft);
    judgeq_judge *judge = NULL;
    for (size_t i = 0; soft && i < n; i++) soft[i] = (float)(i * 37 % 101) / 101 - 0.5f;
    if (soft) judgeq_judge_new(soft, &about, &judge, NULL);
    free(soft);
    return judge;
}

static judgeq_session *make_session(const judgeq_model *model, const judgeq_judge *judge, const char *policy) {
    judgeq_session_params params = judgeq_session_default_params();
    judgeq_policy *parsed = NULL;
    judgeq_session *session = NULL;
    if (judgeq_policy_parse(policy, &parsed, NULL) != JUDGEQ_OK) return NULL;
    params.policy = parsed;
    params.judge = judge;
    params.budget = BUDGET;
    params.n_threads = 1;
    judgeq_session_new(model, &params, &session, NULL);
    judgeq_policy_free(parsed);
    return session;
}

/* What callgrind counts must be a function by its name. */
#define COUNTED __attribute__((noinline, noclone)) static

COUNTED judgeq_status counted_read(judgeq_session *session) {
    return judgeq_session_prefill(session, tokens, N_PROMPT, NULL);
}

COUNTED judgeq_status counted_decode(judgeq_session *session) {
    judgeq_status status = JUDGEQ_OK;
    for (int i = 0; status == JUDGEQ_OK && i < N_DECODE; i++) status = judgeq_session_decode(session, tokens[i], NULL);
    return status;
}

static int work(const judgeq_model *model, const judgeq_judge *judge) {
    judgeq_session *full = make_session(model, judge, "full"), *small = make_session(model, judge, "judge");
    int status = full && small ? 0 : fail("no sessions");
    if (status == 0 && counted_read(full) != JUDGEQ_OK) status = fail("cannot read the prompt");
    if (status == 0 && counted_read(small) != JUDGEQ_OK) status = fail("cannot read the prompt and evict");
    if (status == 0 && counted_decode(small) != JUDGEQ_OK) status = fail("cannot decode");
    judgeq_session_free(full);
    judgeq_session_free(small);
    return status;
}

int main(int argc, char **argv) {
    if (argc != 2) return fail("MODEL, please");
    judgeq_model *model = NULL;
    judgeq_error error = {0};
    if (judgeq_model_load(argv[1], &model, &error) != JUDGEQ_OK) return fail(error.message);
    tiny_prompt(1, judgeq_model_get_info(model)->n_vocab, tokens, N_PROMPT);
    judgeq_judge *judge = make_judge(model);
    const int status = judge ? work(model, judge) : fail("no judge");
    judgeq_judge_free(judge);
    judgeq_model_free(model);
    return status;
}
