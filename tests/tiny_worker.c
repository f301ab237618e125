#include "tiny_worker.h"
#include "tiny_judge.h"
#include "tiny_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

judgeq_model *model;
judgeq_judge *judge;
int32_t token[N_ALL];
static size_t endless; /* from this token on, 40 have an answer of LONG tokens at least */

enum { LONG = 2000 };

/* ---- jobs -------------------------------------------------------------------------------------------------------- */

worker_params defaults(void) {
    return (worker_params){.model = model,
                           .judge = judge,
                           .policy = "judge",
                           .choices = {.rows = BUDGET, .n_threads = 1},
                           .kv_bytes = MANY,
                           .n_queue = 64};
}

worker *start(worker_params params) {
    worker *w = NULL;
    CHECK(worker_new(&params, &w, error));
    return w;
}

worker_request ask(size_t from, size_t n, int32_t n_answer) {
    return (worker_request){.tokens = token + from, .n_tokens = n, .n_answer = n_answer, .logprobs = -1};
}

worker_request ask_endless(void) {
    worker_request request = ask(endless, 40, ENDLESS);
    request.policy = "streaming";
    return request;
}

worker_job *submit(worker *w, worker_request request) {
    judgeq_error error = {0};
    worker_job *job = NULL;
    if (worker_submit(w, &request, &job, &error) != WORKER_OK) fail_msg("%s", error.message);
    return job;
}

void collect(worker_job *job, outcome *out) {
    worker_news news;
    out->n_text = 0;
    out->n_tokens = 0;
    do {
        if (!worker_job_wait(job, SOON, &news)) fail_msg("job %d: nothing comes", (int)worker_job_id(job));
        assert_true(out->n_text + news.n_text < sizeof out->text);
        if (news.n_text > 0) memcpy(out->text + out->n_text, news.text, news.n_text);
        out->n_text += news.n_text;
        out->n_tokens += news.n_tokens;
    } while (news.state != WORKER_ENDED);
    out->text[out->n_text] = '\0';
    out->result = *worker_job_result(job);
    worker_job_release(job);
}

void wait_for_state(worker_job *job, worker_state state) {
    worker_news news;
    do {
        if (!worker_job_wait(job, SOON, &news)) fail_msg("nothing comes");
    } while (news.state < state);
}

worker_stats stats_of(worker *w) {
    worker_stats stats;
    worker_get_stats(w, &stats);
    return stats;
}

void expect_cancelled(worker_job *job) {
    outcome out;
    collect(job, &out);
    assert_int_equal(out.result.status, JUDGEQ_ERROR_CANCELLED);
    assert_int_equal(out.result.end, GENERATION_CANCELLED);
}

void expect_refused(worker *w, worker_request request, worker_status status, const char *why) {
    judgeq_error error = {0};
    worker_job *job = NULL;
    assert_int_equal(worker_submit(w, &request, &job, &error), status);
    assert_null(job);
    if (!strstr(error.message, why)) fail_msg("'%s' without '%s'", error.message, why);
}

/* ---- alone ------------------------------------------------------------------------------------------------------- */

static judgeq_status put(void *data, const char *bytes, size_t n, judgeq_error *error) {
    (void)error;
    outcome *out = data;
    assert_true(out->n_text + n < sizeof out->text);
    memcpy(out->text + out->n_text, bytes, n);
    out->n_text += n;
    return JUDGEQ_OK;
}

void answer(judgeq_session *session, judgeq_sampler_params sampling, int32_t n, outcome *out) {
    judgeq_sampler *sampler = NULL;
    CHECK(judgeq_sampler_new(&sampling, &sampler, error));
    size_t n_before;
    (void)judgeq_session_tokens(session, &n_before);
    generation_params params = {
        .sampler = sampler, .n_tokens = n, .n_before = n_before, .logprobs = -1, .put = put, .data = out};
    generation g;
    out->n_text = 0;
    CHECK(generation_init(&g, model, &params, error));
    for (int32_t next = 0; g.end == GENERATION_OPEN;) {
        CHECK(generation_next(&g, judgeq_session_logits(session), &next, error));
        if (next >= 0) CHECK(judgeq_session_decode(session, next, error));
    }
    CHECK(generation_finish(&g, error));
    out->text[out->n_text] = '\0';
    out->result.n_answer = (int64_t)g.n_token;
    generation_free(&g);
    judgeq_sampler_free(sampler);
}

judgeq_session *alone(const char *policy, int32_t budget) {
    return tiny_session(model, policy, (judgeq_session_params){.judge = judge, .budget = budget, .n_threads = 1});
}

void answer_alone(const worker_request *request, outcome *out) {
    judgeq_session *session =
        alone(request->policy ? request->policy : "judge", request->rows ? request->rows : BUDGET);
    CHECK(judgeq_session_read(session, request->tokens, request->n_tokens, error));
    answer(session, request->sampler, request->n_answer, out);
    judgeq_session_free(session);
}

void expect_same(const outcome *a, const outcome *b, const char *what) {
    if (b->result.status != JUDGEQ_OK) fail_msg("%s: %s", what, b->result.error.message);
    if (a->result.n_answer != b->result.n_answer || strcmp(a->text, b->text) != 0) {
        fail_msg("%s: %d tokens, alone %d:\n%s\nalone:\n%s", what, (int)b->result.n_answer, (int)a->result.n_answer,
                 b->text, a->text);
    }
}

/* ---- set-up ------------------------------------------------------------------------------------------------------ */

/* A prompt whose answer the model does not end. */
static void find_endless(void) {
    outcome *out = malloc(sizeof *out);
    for (endless = 0; endless + 40 < N_ALL; endless += 40) {
        worker_request request = ask_endless();
        request.n_answer = LONG;
        answer_alone(&request, out);
        if (out->result.n_answer == LONG) break;
    }
    free(out);
}

int worker_set_up(void **state) {
    tiny_spec spec;
    if (!tiny_spec_find("qwen2", &spec) || fixture_set_up(state) != 0) return -1;
    spec.n_ctx = 32768;
    spec.seed += 1000; /* a model that talks */
    if (tiny_model_write(&spec, fixture_model) != 0 || judgeq_model_load(fixture_model, &model, NULL) != JUDGEQ_OK) {
        return -1;
    }
    judge = tiny_judge(model, 1, N_SOFT);
    tiny_prompt(5, judgeq_model_get_info(model)->n_vocab, token, N_ALL);
    if (!judge) return -1;
    find_endless();
    return endless + 40 < N_ALL ? 0 : -1;
}

int worker_tear_down(void **state) {
    judgeq_judge_free(judge);
    judgeq_model_free(model);
    return fixture_tear_down(state);
}
