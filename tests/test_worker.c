/* The worker of a server: what many clients get at once is what each gets alone, in the memory that was set; whoever
 * leaves is gone; what cannot be done is refused. Answers are compared with those of sessions that run alone. */
#include "check.h"
#include "server/worker.h"
#include "tiny_judge.h"
#include "tiny_model.h"
#include "tiny_session.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_ALL = 3000, N_SOFT = 4, BUDGET = 32, LONG = 2000, MANY = 1 << 28, TEXT = 40000 };

static const double SOON = 120; /* seconds: far more than anything here takes */

static judgeq_model *model;
static judgeq_judge *judge;
static int32_t token[N_ALL]; /* from token[endless] on, 40 of them have an answer of LONG tokens */
static size_t endless;

/* ---- help -------------------------------------------------------------------------------------------------------- */

static worker_params defaults(void) {
    return (worker_params){.model = model,
                           .judge = judge,
                           .policy = "judge",
                           .choices = {.rows = BUDGET, .n_threads = 1},
                           .kv_bytes = MANY,
                           .n_queue = 64};
}

static worker *start(worker_params params) {
    worker *w = NULL;
    CHECK(worker_new(&params, &w, error));
    return w;
}

static worker_request ask(size_t from, size_t n, int32_t n_answer) {
    return (worker_request){.tokens = token + from, .n_tokens = n, .n_answer = n_answer, .logprobs = -1};
}

static worker_request ask_endless(void) {
    worker_request request = ask(endless, 40, LONG);
    request.policy = "streaming";
    return request;
}

static worker_job *submit(worker *w, worker_request request) {
    judgeq_error error = {0};
    worker_job *job = NULL;
    if (worker_submit(w, &request, &job, &error) != WORKER_OK) fail_msg("%s", error.message);
    return job;
}

typedef struct outcome {
    char text[TEXT];
    size_t n_text;
    int64_t n_tokens;
    worker_result result;
} outcome;

/* Takes news until the job has ended, and lets go of it. */
static void collect(worker_job *job, outcome *out) {
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

static void wait_for_state(worker_job *job, worker_state state) {
    worker_news news;
    do {
        if (!worker_job_wait(job, SOON, &news)) fail_msg("nothing comes");
    } while (news.state < state);
}

static worker_stats stats_of(worker *w) {
    worker_stats stats;
    worker_get_stats(w, &stats);
    return stats;
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

/* The answer to what the session has read; decodes it. */
static void answer(judgeq_session *session, judgeq_sampler_params sampling, int32_t n, outcome *out) {
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

static judgeq_session *alone(const char *policy, int32_t budget) {
    return tiny_session(model, policy, (judgeq_session_params){.judge = judge, .budget = budget, .n_threads = 1});
}

static void answer_alone(const worker_request *request, outcome *out) {
    judgeq_session *session =
        alone(request->policy ? request->policy : "judge", request->rows ? request->rows : BUDGET);
    CHECK(judgeq_session_read(session, request->tokens, request->n_tokens, error));
    answer(session, request->sampler, request->n_answer, out);
    judgeq_session_free(session);
}

static void expect_same(const outcome *a, const outcome *b, const char *what) {
    if (b->result.status != JUDGEQ_OK) fail_msg("%s: %s", what, b->result.error.message);
    if (a->result.n_answer != b->result.n_answer || strcmp(a->text, b->text) != 0) {
        fail_msg("%s: %d tokens, alone %d:\n%s\nalone:\n%s", what, (int)b->result.n_answer, (int)a->result.n_answer,
                 b->text, a->text);
    }
}

/* ---- many at once ------------------------------------------------------------------------------------------------ */

enum { CLIENTS = 4, JOBS = 7 };

/* The job number i of a client: all kinds of policies, lengths and samplers. */
static worker_request any_request(int client, int i) {
    static const char *const policies[] = {"judge", "snapkv", "full", "h2o", "judge-laq", "streaming", "adakv"};
    const int k = client * JOBS + i;
    worker_request request = ask((size_t)(97 * k), (size_t)(20 + 61 * k % 500), 10 + 7 * k % 60);
    request.policy = k % 5 == 0 ? NULL : policies[k % 7];
    request.rows = k % 5 == 0 ? 0 : 16 + 8 * (k % 9);
    request.sampler = (judgeq_sampler_params){.temperature = k % 3 == 0 ? 0.8F : 0, .top_p = 1, .seed = (uint32_t)k};
    return request;
}

typedef struct client {
    worker *w;
    int number;
    outcome outcome[JOBS];
} client;

static void *be_client(void *data) {
    client *c = data;
    worker_job *job[JOBS];
    for (int i = 0; i < JOBS; i++) job[i] = submit(c->w, any_request(c->number, i));
    for (int i = 0; i < JOBS; i++) collect(job[i], &c->outcome[i]);
    return NULL;
}

/* The KV bytes that the largest of these jobs can need. */
static size_t largest_need(void) {
    size_t most = 0;
    for (int k = 0; k < CLIENTS * JOBS; k++) {
        const worker_request request = any_request(k / JOBS, k % JOBS);
        judgeq_policy *policy = NULL;
        judgeq_need need;
        CHECK(judgeq_policy_parse(request.policy ? request.policy : "judge", &policy, error));
        const judgeq_session_params params = {
            .policy = policy, .judge = judge, .budget = request.rows ? request.rows : BUDGET};
        CHECK(judgeq_session_need(model, &params, 0, (int64_t)request.n_tokens, request.n_answer, &need, error));
        const size_t bytes = need.read_bytes > need.decode_bytes ? need.read_bytes : need.decode_bytes;
        most = bytes > most ? bytes : most;
        judgeq_policy_free(policy);
    }
    return most;
}

static void expect_as_alone(worker_params params) {
    worker *w = start(params);
    pthread_t thread[CLIENTS];
    client *clients = calloc(CLIENTS, sizeof *clients);
    outcome *expected = malloc(sizeof *expected);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i].w = w;
        clients[i].number = i;
        assert_int_equal(pthread_create(&thread[i], NULL, be_client, &clients[i]), 0);
    }
    for (int i = 0; i < CLIENTS; i++) pthread_join(thread[i], NULL);
    for (int k = 0; k < CLIENTS * JOBS; k++) {
        const worker_request request = any_request(k / JOBS, k % JOBS);
        char what[64];
        snprintf(what, sizeof what, "job %d, policy %s", k, request.policy ? request.policy : "judge");
        answer_alone(&request, expected);
        const outcome *out = &clients[k / JOBS].outcome[k % JOBS];
        expect_same(expected, out, what);
        assert_int_equal(out->n_tokens, out->result.n_answer);
        assert_int_equal(out->result.n_prompt, request.n_tokens);
        assert_true(out->result.n_rows > 0 && out->result.kv_bytes > 0);
    }
    const worker_stats stats = stats_of(w);
    assert_int_equal(stats.n_accepted, CLIENTS * JOBS);
    assert_int_equal(stats.n_ended, CLIENTS * JOBS);
    assert_int_equal(stats.n_failed + stats.n_cancelled + stats.n_reading + stats.n_answering + stats.n_waiting, 0);
    assert_true(stats.kv_bytes_most <= params.kv_bytes);
    assert_int_equal(stats.kv_bytes, stats.kv_bytes_idle);
    assert_int_equal(stats.kv_bytes_reserved, 0);
    free(expected);
    free(clients);
    worker_free(w);
}

static void test_many_as_alone(void **state) {
    (void)state;
    expect_as_alone(defaults());
}

/* In the memory of the largest job alone, and of a bit more. */
static void test_many_in_little_memory(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        worker_params params = defaults();
        params.kv_bytes = largest_need() * (size_t)(4 + i) / 4;
        expect_as_alone(params);
    }
}

/* ---- who leaves -------------------------------------------------------------------------------------------------- */

static void expect_cancelled(worker_job *job) {
    outcome out;
    collect(job, &out);
    assert_int_equal(out.result.status, JUDGEQ_ERROR_CANCELLED);
    assert_int_equal(out.result.end, GENERATION_CANCELLED);
}

/* While it answers, reads and waits. */
static void test_cancel(void **state) {
    (void)state;
    worker_params params = defaults();
    params.n_running = 1;
    worker *w = start(params);
    worker_job *answering = submit(w, ask_endless()), *reading = submit(w, ask(1, 2900, 5)),
               *waiting = submit(w, ask(2, 50, 5));
    wait_for_state(answering, WORKER_ANSWERING);
    worker_job_cancel(waiting);
    expect_cancelled(waiting);
    worker_job_cancel(answering);
    expect_cancelled(answering);
    assert_int_equal(stats_of(w).n_idle, 1); /* somebody who stopped an answer may go on */
    wait_for_state(reading, WORKER_READING);
    worker_job_cancel(reading);
    expect_cancelled(reading);
    const worker_stats stats = stats_of(w);
    assert_int_equal(stats.n_cancelled, 3);
    assert_int_equal(stats.n_idle, 1); /* of half a read nothing is left */
    assert_int_equal(stats.kv_bytes, stats.kv_bytes_idle);
    assert_int_equal(stats.kv_bytes_reserved, 0);
    worker_free(w);
}

/* A client that is gone does not even ask. */
static void test_release(void **state) {
    (void)state;
    worker *w = start(defaults());
    for (int i = 0; i < 8; i++) worker_job_release(submit(w, i % 2 == 0 ? ask_endless() : ask(5, 1500, 50)));
    outcome *out = malloc(sizeof *out), *expected = malloc(sizeof *expected);
    const worker_request request = ask(3, 70, 20);
    collect(submit(w, request), out);
    answer_alone(&request, expected);
    expect_same(expected, out, "after all were gone");
    worker_stop(w, 0);
    assert_int_equal(stats_of(w).n_ended, 9);
    free(expected);
    free(out);
    worker_free(w);
}

static void test_slow_reader(void **state) {
    (void)state;
    worker_params params = defaults();
    params.unread_bytes = 100;
    worker *w = start(params);
    worker_job *slow = submit(w, ask_endless());
    const worker_request request = ask(3, 70, 20);
    outcome *out = malloc(sizeof *out), *expected = malloc(sizeof *expected);
    collect(submit(w, request), out);
    answer_alone(&request, expected);
    expect_same(expected, out, "beside a slow reader");
    while (stats_of(w).n_ended < 2) continue;
    collect(slow, out);
    assert_int_equal(out->result.status, JUDGEQ_ERROR_CANCELLED);
    assert_non_null(strstr(out->result.error.message, "not been taken"));
    assert_true(out->n_text > 0 && out->n_text <= 100); /* what there was is still given out */
    free(expected);
    free(out);
    worker_free(w);
}

static void count_call(void *data) {
    atomic_fetch_add((atomic_int *)data, 1);
}

/* Once for all that was not taken. */
static void test_notify(void **state) {
    (void)state;
    atomic_int n_calls = 0;
    worker *w = start(defaults());
    worker_request request = ask(3, 70, 20);
    request.notify = count_call;
    request.data = &n_calls;
    worker_job *job = submit(w, request);
    while (stats_of(w).n_ended < 1) continue;
    worker_stop(w, SOON);
    assert_int_equal(n_calls, 1);
    outcome *out = malloc(sizeof *out);
    collect(job, out);
    assert_int_equal(out->n_tokens, out->result.n_answer);
    free(out);
    worker_free(w);
}

/* ---- what is refused --------------------------------------------------------------------------------------------- */

static void expect_refused(worker *w, worker_request request, worker_status status, const char *why) {
    judgeq_error error = {0};
    worker_job *job = NULL;
    assert_int_equal(worker_submit(w, &request, &job, &error), status);
    assert_null(job);
    if (!strstr(error.message, why)) fail_msg("'%s' without '%s'", error.message, why);
}

static void test_queue_full(void **state) {
    (void)state;
    worker_params params = defaults();
    params.n_running = 1;
    params.n_queue = 2;
    worker *w = start(params);
    worker_job *job[3];
    job[0] = submit(w, ask_endless());
    wait_for_state(job[0], WORKER_ANSWERING);
    for (int i = 1; i < 3; i++) job[i] = submit(w, ask(3, 50, 5));
    expect_refused(w, ask(3, 50, 5), WORKER_BUSY, "2 jobs are waiting");
    assert_int_equal(stats_of(w).n_waiting, 2);
    assert_int_equal(stats_of(w).n_refused, 1);
    worker_job_cancel(job[0]);
    expect_cancelled(job[0]);
    outcome *out = malloc(sizeof *out);
    for (int i = 1; i < 3; i++) {
        collect(job[i], out);
        assert_int_equal(out->result.status, JUDGEQ_OK);
    }
    free(out);
    worker_free(w);
}

static void test_never_fits(void **state) {
    (void)state;
    worker_params params = defaults();
    params.kv_bytes = 300000;
    worker *w = start(params);
    worker_request request = ask(0, 2000, 5);
    request.policy = "full";
    expect_refused(w, request, WORKER_TOO_LARGE, "there are 300000: reading 2000 tokens with policy 'full'");
    request.policy = "nonsense";
    expect_refused(w, request, WORKER_INVALID, "nonsense");
    request = ask(0, 0, 5);
    expect_refused(w, request, WORKER_INVALID, "empty");
    request = ask(0, 10, -1);
    expect_refused(w, request, WORKER_INVALID, "-1 tokens");
    request = ask(0, 10, 1);
    request.rows = -3;
    expect_refused(w, request, WORKER_INVALID, "budget -3");
    request = ask(0, 10, 1);
    request.sampler.temperature = -1;
    expect_refused(w, request, WORKER_INVALID, "temperature");
    request = ask(0, 10, 1);
    request.stop = (const char *const[]){"a", ""};
    request.n_stop = 2;
    expect_refused(w, request, WORKER_INVALID, "stop text 2");
    request = ask(0, 10, 1);
    request.tokens = (const int32_t[]){1, 2, 3, 4, 5, -7, 7, 8, 9, 10};
    expect_refused(w, request, WORKER_INVALID, "token -7");
    request = ask(0, 10, 1);
    request.context = "/nowhere/context.gguf";
    expect_refused(w, request, WORKER_INVALID, "/nowhere/context.gguf");
    params.choices.n_ctx = 100;
    worker *small = start(params);
    expect_refused(small, ask(0, 101, 1), WORKER_TOO_LONG, "101 tokens, the context holds 100");
    worker_free(small);
    worker_free(w);
    judgeq_error error = {0};
    const worker_params wrong[] = {{.model = model, .n_queue = 1},
                                   {.model = model, .kv_bytes = 1},
                                   {.model = model, .kv_bytes = 1, .n_queue = 1, .policy = "what"},
                                   {.model = model, .kv_bytes = 1, .n_queue = 1, .policy = "judge"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(worker_new(&wrong[i], &w, &error), JUDGEQ_ERROR_ARGUMENT);
        assert_null(w);
    }
}

/* ---- conversations ----------------------------------------------------------------------------------------------- */

enum { TURN = 60, N_ANSWER = 30 };

typedef struct talk {
    int32_t tokens[2000];
    size_t n;
} talk;

static void say(talk *t, size_t from, size_t n) {
    memcpy(t->tokens + t->n, token + from, n * sizeof *token);
    t->n += n;
}

/* One turn, alone and by the worker; what was said goes into the talk, as a client would send it next. */
static void take_turn(worker *w, talk *t, judgeq_session *session, size_t from, const char *what, outcome *out) {
    outcome *expected = malloc(sizeof *expected);
    size_t n_before;
    say(t, from, TURN);
    (void)judgeq_session_tokens(session, &n_before);
    CHECK(judgeq_session_read(session, t->tokens + n_before, t->n - n_before, error));
    answer(session, (judgeq_sampler_params){.temperature = 0}, N_ANSWER, expected);
    worker_request request = {.tokens = t->tokens, .n_tokens = t->n, .n_answer = N_ANSWER, .logprobs = -1};
    collect(submit(w, request), out);
    expect_same(expected, out, what);
    assert_int_equal(out->result.n_cached, n_before);
    const int32_t *now = judgeq_session_tokens(session, &t->n);
    memcpy(t->tokens, now, t->n * sizeof *now);
    free(expected);
}

/* Only what is new is read, though another request comes between the turns that begins with the same tokens. */
static void test_conversation(void **state) {
    (void)state;
    worker *w = start(defaults());
    outcome *out = malloc(sizeof *out);
    talk *main_talk = calloc(1, sizeof *main_talk);
    judgeq_session *session = alone("judge", BUDGET);
    for (size_t i = 0; i < 4; i++) {
        char what[32];
        snprintf(what, sizeof what, "turn %zu", i);
        take_turn(w, main_talk, session, 100 * i, what, out);
        talk *side = malloc(sizeof *side);
        *side = *main_talk;
        say(side, 2000, 20);
        worker_request request = {.tokens = side->tokens, .n_tokens = side->n, .n_answer = 8, .logprobs = -1};
        collect(submit(w, request), out);
        assert_int_equal(out->result.status, JUDGEQ_OK);
        assert_int_equal(out->result.n_cached, main_talk->n);
        free(side);
    }
    const worker_stats stats = stats_of(w);
    assert_int_equal(stats.n_read, 4 * (TURN + 20));
    worker_slot slots[16];
    const size_t n = worker_get_slots(w, slots, 16);
    assert_int_equal(n, 8);
    for (size_t i = 0; i < n; i++) {
        assert_true(slots[i].idle && slots[i].n_rows > 0 && slots[i].budget == BUDGET);
        assert_string_equal(slots[i].policy, "probe=soft,reduce=max/max,smooth=avg:7,allocate=ada:0.2,keep=recent:8");
    }
    judgeq_session_free(session);
    free(main_talk);
    free(out);
    worker_free(w);
}

/* Another policy or budget starts anew; policy full goes on from any token. */
static void test_what_can_be_shared(void **state) {
    (void)state;
    worker *w = start(defaults());
    outcome *out = malloc(sizeof *out), *expected = malloc(sizeof *expected);
    worker_request request = ask(0, 200, 5);
    collect(submit(w, request), out);
    request.rows = BUDGET + 1;
    collect(submit(w, request), out);
    assert_int_equal(out->result.n_cached, 0);
    request.policy = "full";
    collect(submit(w, request), out);
    assert_int_equal(out->result.n_cached, 0);
    int32_t other[150];
    memcpy(other, token, sizeof other);
    other[120] = 3;
    request.tokens = other;
    request.n_tokens = 150;
    request.n_answer = 30;
    collect(submit(w, request), out);
    assert_int_equal(out->result.n_cached, 120);
    answer_alone(&request, expected);
    expect_same(expected, out, "cut");
    request.n_tokens = 121;
    request.forget = true;
    collect(submit(w, request), out);
    assert_int_equal(out->result.n_cached, 120); /* one token has to be read */
    assert_int_equal(stats_of(w).n_idle, 4);
    free(expected);
    free(out);
    worker_free(w);
}

/* Those that were not used for longest leave. */
static void test_least_recently_used(void **state) {
    (void)state;
    worker_params params = defaults();
    params.policy = "streaming"; /* all sessions are as large */
    worker *w = start(params);
    outcome *out = malloc(sizeof *out);
    collect(submit(w, ask(0, 300, 0)), out);
    params.cache_bytes = 5 * stats_of(w).kv_bytes_idle / 2; /* two of them, but not three */
    worker_free(w);
    w = start(params);
    static const struct {
        size_t from, n;
        int64_t n_cached;
    } steps[] = {{0, 300, 0},   {400, 300, 0},  {0, 310, 300}, {800, 300, 0}, /* 400 leaves, the older 0 before it */
                 {400, 310, 0}, {800, 310, 300}};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        collect(submit(w, ask(steps[i].from, steps[i].n, 0)), out);
        if (out->result.n_cached != steps[i].n_cached) {
            fail_msg("step %zu: %d tokens, not %d", i, (int)out->result.n_cached, (int)steps[i].n_cached);
        }
        assert_true(stats_of(w).kv_bytes_idle <= params.cache_bytes);
    }
    assert_true(stats_of(w).n_forgotten > 0);
    free(out);
    worker_free(w);
}

/* Idle sessions leave for jobs. */
static void test_idle_makes_room(void **state) {
    (void)state;
    worker_params params = defaults();
    params.policy = "full";
    params.kv_bytes = 600000;
    worker *w = start(params);
    outcome *out = malloc(sizeof *out);
    for (size_t i = 0; i < 8; i++) {
        collect(submit(w, ask(100 * i, 400, 5)), out);
        assert_int_equal(out->result.status, JUDGEQ_OK);
        assert_true(stats_of(w).kv_bytes_most <= params.kv_bytes);
    }
    assert_true(stats_of(w).n_forgotten > 0);
    free(out);
    worker_free(w);
}

/* Prompts that wait together are read once. */
static void test_identical(void **state) {
    (void)state;
    worker_params params = defaults();
    params.n_running = 4;
    worker *w = start(params);
    worker_job *blocking[4], *job[3];
    outcome *out = malloc(sizeof *out), *expected = malloc(sizeof *expected);
    for (int i = 0; i < 4; i++) {
        blocking[i] = submit(w, ask_endless());
        wait_for_state(blocking[i], WORKER_ANSWERING);
    }
    while (stats_of(w).n_answering < 4) continue;
    const int64_t n_read = stats_of(w).n_read;
    worker_request request = ask(7, 500, 25);
    for (uint32_t i = 0; i < 3; i++) {
        request.sampler = (judgeq_sampler_params){.temperature = 0.9F, .top_p = 1, .seed = i};
        job[i] = submit(w, request);
    }
    for (int i = 0; i < 4; i++) worker_job_release(blocking[i]);
    for (uint32_t i = 0; i < 3; i++) {
        request.sampler.seed = i;
        collect(job[i], out);
        answer_alone(&request, expected);
        expect_same(expected, out, "one of three");
        assert_int_equal(out->result.n_cached, i == 0 ? 0 : 500);
    }
    assert_int_equal(stats_of(w).n_read - n_read, 500);
    free(expected);
    free(out);
    worker_free(w);
}

/* The one that reads leaves: another one reads. */
static void test_leader_leaves(void **state) {
    (void)state;
    worker *w = start(defaults());
    outcome *out = malloc(sizeof *out), *expected = malloc(sizeof *expected);
    const worker_request request = ask(7, 2500, 10);
    worker_job *job[3];
    for (int i = 0; i < 3; i++) job[i] = submit(w, request);
    wait_for_state(job[0], WORKER_READING);
    worker_job_release(job[0]);
    answer_alone(&request, expected);
    for (int i = 1; i < 3; i++) {
        collect(job[i], out);
        expect_same(expected, out, "left behind");
    }
    free(expected);
    free(out);
    worker_free(w);
}

/* Read once, saved, and asked several times, by other workers too. */
static void test_context(void **state) {
    (void)state;
    const char *path = path_in("context.gguf");
    char saved[600];
    snprintf(saved, sizeof saved, "%s", path);
    worker *w = start(defaults());
    outcome *out = malloc(sizeof *out), *expected = malloc(sizeof *expected);
    worker_request request = ask(0, 700, 0);
    request.save = saved;
    request.policy = "snapkv";
    request.rows = 64;
    collect(submit(w, request), out);
    assert_int_equal(out->result.status, JUDGEQ_OK);
    assert_int_equal(out->result.n_answer, 0);
    worker_free(w);
    w = start(defaults());
    for (size_t i = 0; i < 3; i++) {
        const judgeq_session_params params = {.n_threads = 1};
        judgeq_session *session = NULL;
        CHECK(judgeq_session_load(model, &params, saved, &session, error));
        CHECK(judgeq_session_read(session, token + 1000 + 100 * i, 30, error));
        answer(session, (judgeq_sampler_params){.temperature = 0}, 20, expected);
        judgeq_session_free(session);
        request = ask(1000 + 100 * i, 30, 20);
        request.context = saved;
        collect(submit(w, request), out);
        expect_same(expected, out, "a question to a context");
        assert_int_equal(out->result.n_cached, 700);
        assert_int_equal(out->result.n_prompt, 730);
    }
    free(expected);
    free(out);
    worker_free(w);
}

static void test_logprobs_and_stops(void **state) {
    (void)state;
    worker *w = start(defaults());
    worker_request request = ask_endless();
    request.n_answer = 12;
    request.logprobs = 2;
    worker_job *job = submit(w, request);
    worker_news news;
    size_t n = 0;
    do {
        assert_true(worker_job_wait(job, SOON, &news));
        assert_int_equal(json_array_size(news.logprobs), news.n_tokens);
        for (size_t i = 0; i < json_array_size(news.logprobs); i++) {
            const json_t *top = json_object_get(json_array_get(news.logprobs, i), "top_logprobs");
            assert_int_equal(json_array_size(top), 2);
        }
        n += (size_t)news.n_tokens;
    } while (news.state != WORKER_ENDED);
    assert_int_equal(n, 12);
    assert_int_equal(worker_job_result(job)->end, GENERATION_LENGTH);
    assert_true(worker_job_wait(job, 0, &news)); /* again and again */
    worker_job_release(job);
    outcome *all = malloc(sizeof *all), *out = malloc(sizeof *out);
    request.n_answer = 60;
    request.logprobs = -1;
    collect(submit(w, request), all);
    const char stop[2] = {all->text[all->n_text / 2], '\0'};
    if ((unsigned char)stop[0] < 0x80) { /* in the middle of the answer, or earlier */
        request.stop = (const char *const[]){"no such text", stop};
        request.n_stop = 2;
        collect(submit(w, request), out);
        assert_int_equal(out->result.end, GENERATION_STOP);
        assert_int_equal(out->result.stop, 1);
        assert_int_equal(out->n_text, strcspn(all->text, stop));
    }
    free(out);
    free(all);
    worker_free(w);
}

/* Jobs that come later have the new judge; sessions of the former are not gone on from. */
static void test_other_judge(void **state) {
    (void)state;
    judgeq_judge *other = tiny_judge(model, 1, N_SOFT - 1), *former = judge;
    worker *w = start(defaults());
    outcome *out = malloc(sizeof *out), *expected = malloc(sizeof *expected);
    const worker_request request = ask(3, 200, 20), more = ask(3, 210, 20);
    collect(submit(w, request), out);
    worker_use_judge(w, other);
    judge = other;
    collect(submit(w, more), out);
    answer_alone(&more, expected);
    expect_same(expected, out, "another judge");
    assert_int_equal(out->result.n_cached, 0);
    worker_use_judge(w, NULL);
    expect_refused(w, request, WORKER_INVALID, "needs a judge");
    judge = former;
    worker_free(w);
    judgeq_judge_free(other);
    free(expected);
    free(out);
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

static void test_stop_at_once(void **state) {
    (void)state;
    worker_params params = defaults();
    params.n_running = 2;
    worker *w = start(params);
    worker_job *job[4];
    for (int i = 0; i < 4; i++) job[i] = submit(w, i == 1 ? ask(9, 2900, 5) : ask_endless());
    wait_for_state(job[0], WORKER_ANSWERING);
    worker_stop(w, 0);
    for (int i = 0; i < 4; i++) expect_cancelled(job[i]);
    expect_refused(w, ask(3, 50, 5), WORKER_STOPPING, "stopping");
    assert_int_equal(stats_of(w).n_waiting, 0);
    worker_stop(w, 1); /* does nothing */
    worker_free(w);
}

static void test_stop_when_done(void **state) {
    (void)state;
    worker *w = start(defaults());
    worker_job *job[3];
    outcome *out = malloc(sizeof *out);
    for (size_t i = 0; i < 3; i++) job[i] = submit(w, ask(50 * i, 300, 20));
    worker_stop(w, SOON);
    for (int i = 0; i < 3; i++) {
        collect(job[i], out);
        assert_int_equal(out->result.status, JUDGEQ_OK);
    }
    free(out);
    worker_free(w);
}

/* Jobs that nobody waits for, and none at all. */
static void test_freed(void **state) {
    (void)state;
    worker_free(NULL);
    worker *w = start(defaults());
    worker_free(w);
    w = start(defaults());
    worker_job *job = submit(w, ask_endless());
    wait_for_state(job, WORKER_READING);
    worker_free(w);
    expect_cancelled(job);
}

/* ---- set-up ------------------------------------------------------------------------------------------------------ */

/* A prompt whose answer the model does not end. */
static void find_endless(void) {
    outcome *out = malloc(sizeof *out);
    for (endless = 0; endless + 40 < N_ALL; endless += 40) {
        const worker_request request = ask_endless();
        answer_alone(&request, out);
        if (out->result.n_answer == LONG) break;
    }
    free(out);
}

static int set_up(void **state) {
    tiny_spec spec;
    if (!tiny_spec_find("qwen2", &spec) || fixture_set_up(state) != 0) return -1;
    spec.n_ctx = 4096;
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

static int tear_down(void **state) {
    judgeq_judge_free(judge);
    judgeq_model_free(model);
    return fixture_tear_down(state);
}

TESTS_MAIN(set_up, tear_down, cmocka_unit_test(test_many_as_alone), cmocka_unit_test(test_many_in_little_memory),
           cmocka_unit_test(test_cancel), cmocka_unit_test(test_release), cmocka_unit_test(test_slow_reader),
           cmocka_unit_test(test_notify), cmocka_unit_test(test_queue_full), cmocka_unit_test(test_never_fits),
           cmocka_unit_test(test_conversation), cmocka_unit_test(test_what_can_be_shared),
           cmocka_unit_test(test_least_recently_used), cmocka_unit_test(test_idle_makes_room),
           cmocka_unit_test(test_identical), cmocka_unit_test(test_leader_leaves), cmocka_unit_test(test_context),
           cmocka_unit_test(test_logprobs_and_stops), cmocka_unit_test(test_other_judge),
           cmocka_unit_test(test_stop_at_once), cmocka_unit_test(test_stop_when_done), cmocka_unit_test(test_freed))
