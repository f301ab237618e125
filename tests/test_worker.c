/* The worker of a server: what many clients get at once is what each gets alone, in the memory that was set; whoever
 * leaves is gone; what cannot be done is refused. */
#include "tiny_worker.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- many at once ------------------------------------------------------------------------------------------------ */

enum { CLIENTS = 4, JOBS = 7 };

/* The job number i of a client: all kinds of policies, lengths and samplers. */
static worker_request any_request(int client, int i) {
    static const char *const policies[] = {"judge", "snapkv", "full", "h2o", "judge-laq", "streaming", "adakv"};
    const int k = client * JOBS + i;
    worker_request request = ask(97 * (size_t)k, 20 + 61 * (size_t)k % 500, 10 + 7 * k % 60);
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

/* What is reserved for a job while it reads, and while it answers: all that it can need. */
static void test_reserved(void **state) {
    (void)state;
    worker *w = start(defaults());
    judgeq_policy *policy = NULL;
    judgeq_need need;
    CHECK(judgeq_policy_parse("streaming", &policy, error));
    const judgeq_session_params params = {.policy = policy, .budget = BUDGET};
    CHECK(judgeq_session_need(model, &params, 0, 40, ENDLESS, &need, error));
    assert_true(need.decode_bytes > need.held_bytes);
    judgeq_policy_free(policy);
    worker_job *job = submit(w, ask_endless());
    worker_stats stats;
    do {
        stats = stats_of(w);
    } while (stats.n_answering < 1);
    assert_int_equal(stats.kv_bytes_reserved, need.decode_bytes);
    worker_job_release(job);
    worker_free(w);
}

/* ---- who leaves -------------------------------------------------------------------------------------------------- */

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

TESTS_MAIN(worker_set_up, worker_tear_down, cmocka_unit_test(test_many_as_alone),
           cmocka_unit_test(test_many_in_little_memory), cmocka_unit_test(test_reserved), cmocka_unit_test(test_cancel),
           cmocka_unit_test(test_release), cmocka_unit_test(test_slow_reader), cmocka_unit_test(test_notify),
           cmocka_unit_test(test_queue_full), cmocka_unit_test(test_never_fits), cmocka_unit_test(test_stop_at_once),
           cmocka_unit_test(test_stop_when_done), cmocka_unit_test(test_freed))
