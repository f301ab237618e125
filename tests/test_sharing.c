/* One model, shared by threads: each has sessions of its own, tokenises and loads files, and gets what it would get
 * alone. The thread sanitizer (preset thread) sees here what threads share without agreement. */
#include "judgeq.h"
#include "tiny_judge.h"
#include "tiny_model.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

enum { N_THREAD = 4, N_PROMPT = 150, N_DECODE = 12, N_SOFT = 4, BUDGET = 40, LONG_RUN = 20000 };

static const char *const policies[] = {"full", "snapkv", "h2o", "judge", "laq", "adakv,probe=window:4,keep=none"};
enum { N_POLICY = sizeof policies / sizeof *policies };

/* What the threads share, and what each of them must find. */
typedef struct world {
    char path[512];
    judgeq_model *model;
    judgeq_judge *judge;
    int32_t prompt[N_PROMPT], answer[N_POLICY][N_DECODE];
    char *text; /* of one word that does not end, which is tokenised on a stack of its own, and others */
    int32_t *token;
    size_t n_token;
} world;

typedef struct worker {
    pthread_t thread;
    const world *w;
    int first;          /* each begins with another policy */
    int n_other;        /* tokens that are others than alone */
    judgeq_error error; /* cmocka's assertions are for the main thread only */
} worker;

/* ---- work -------------------------------------------------------------------------------------------------------- */

static judgeq_status answer(const world *w, const char *name, int32_t *out, judgeq_error *error) {
    judgeq_policy *policy = NULL;
    judgeq_session *session = NULL;
    judgeq_session_params params = judgeq_session_default_params();
    judgeq_status status = judgeq_policy_parse(name, &policy, error);
    params.policy = policy;
    params.judge = w->judge;
    params.budget = BUDGET;
    params.n_threads = 1;
    if (status == JUDGEQ_OK) status = judgeq_session_new(w->model, &params, &session, error);
    if (status == JUDGEQ_OK) status = judgeq_session_prefill(session, w->prompt, N_PROMPT, error);
    const int32_t n_vocab = judgeq_model_get_info(w->model)->n_vocab;
    for (int i = 0; status == JUDGEQ_OK && i < N_DECODE; i++) {
        const float *logits = judgeq_session_logits(session);
        out[i] = 0;
        for (int32_t t = 1; t < n_vocab; t++) out[i] = logits[t] > logits[out[i]] ? t : out[i];
        status = judgeq_session_decode(session, out[i], error);
    }
    judgeq_session_free(session);
    judgeq_policy_free(policy);
    return status;
}

static judgeq_status tokenise(const world *w, int32_t **token, size_t *n, judgeq_error *error) {
    return judgeq_tokenize_for(w->model, 0, w->text, strlen(w->text), JUDGEQ_TEXT_CONTROL, token, n, error);
}

/* A model and its vocabulary once more, while others use theirs. */
static judgeq_status load_again(const world *w, judgeq_error *error) {
    judgeq_model *model = NULL;
    const judgeq_status status = judgeq_model_load(w->path, &model, error);
    judgeq_model_free(model);
    return status;
}

static void *work(void *of) {
    worker *me = of;
    int32_t *token = NULL, found[N_DECODE];
    size_t n = 0;
    judgeq_status status = tokenise(me->w, &token, &n, &me->error);
    me->n_other += n != me->w->n_token || memcmp(token, me->w->token, n * sizeof *token) != 0;
    judgeq_free(token);
    for (int i = 0; status == JUDGEQ_OK && i < N_POLICY; i++) {
        const int p = (me->first + i) % N_POLICY;
        status = answer(me->w, policies[p], found, &me->error);
        for (int t = 0; t < N_DECODE; t++) me->n_other += found[t] != me->w->answer[p][t];
    }
    if (status == JUDGEQ_OK) load_again(me->w, &me->error);
    return NULL;
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

static void make_text(world *w) {
    static const char begin[] = "The iron heron <|im_start|> is on the ring. ";
    w->text = malloc(sizeof begin + LONG_RUN);
    assert_non_null(w->text);
    memcpy(w->text, begin, sizeof begin - 1);
    memset(w->text + sizeof begin - 1, 'a', LONG_RUN);
    w->text[sizeof begin - 1 + LONG_RUN] = '\0';
}

/* Everything once, in this thread alone. */
static void make_world(world *w, const char *name) {
    tiny_spec spec;
    judgeq_error error = {0};
    *w = (world){0};
    assert_true(tiny_spec_find(name, &spec));
    snprintf(w->path, sizeof w->path, "%s/%s.gguf", fixture_folder, name);
    assert_int_equal(tiny_model_write(&spec, w->path), 0);
    if (judgeq_model_load(w->path, &w->model, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    w->judge = tiny_judge(w->model, 1, N_SOFT);
    make_text(w);
    tiny_prompt(1, judgeq_model_get_info(w->model)->n_vocab, w->prompt, N_PROMPT);
    if (tokenise(w, &w->token, &w->n_token, &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    for (int p = 0; p < N_POLICY; p++) {
        if (answer(w, policies[p], w->answer[p], &error) != JUDGEQ_OK) fail_msg("%s: %s", policies[p], error.message);
    }
}

static void free_world(world *w) {
    judgeq_free(w->token);
    free(w->text);
    judgeq_judge_free(w->judge);
    judgeq_model_free(w->model);
}

static void test_threads_share_a_model(void **state) {
    (void)state;
    static const char *const names[] = {"llama", "bpe-smollm", "q8_0"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        world w;
        worker workers[N_THREAD] = {0};
        make_world(&w, names[i]);
        for (int t = 0; t < N_THREAD; t++) {
            workers[t] = (worker){.w = &w, .first = t};
            assert_int_equal(pthread_create(&workers[t].thread, NULL, work, &workers[t]), 0);
        }
        for (int t = 0; t < N_THREAD; t++) assert_int_equal(pthread_join(workers[t].thread, NULL), 0);
        for (int t = 0; t < N_THREAD; t++) {
            if (workers[t].error.code != JUDGEQ_OK) fail_msg("%s: %s", names[i], workers[t].error.message);
            if (workers[t].n_other > 0) fail_msg("%s: %d tokens differ in thread %d", names[i], workers[t].n_other, t);
        }
        free_world(&w);
    }
}

TESTS_MAIN(fixture_set_up, fixture_tear_down, cmocka_unit_test(test_threads_share_a_model))
