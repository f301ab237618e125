/* What a worker reads only once: conversations, found by their tokens; prompts that wait together; contexts. What they
 * answer is what sessions answer that run alone. */
#include "tiny_judge.h"
#include "tiny_worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    size_t n_before = 0, n_prompt = 0;
    for (size_t i = 0; i < 4; i++) {
        char what[32];
        snprintf(what, sizeof what, "turn %zu", i);
        n_before = main_talk->n;
        n_prompt = n_before + TURN;
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
    /* the last turn again: its own session cannot go back before its choice, the one of the turn before is there */
    worker_request again = {.tokens = main_talk->tokens, .n_answer = 1, .logprobs = -1, .forget = true};
    again.n_tokens = n_prompt;
    collect(submit(w, again), out);
    assert_int_equal(out->result.n_cached, n_before);
    worker_slot slots[16];
    const size_t n = worker_get_slots(w, slots, 16);
    assert_int_equal(n, 8);
    for (size_t i = 0; i < n; i++) {
        assert_true(slots[i].idle && slots[i].n_rows > 0 && slots[i].budget == BUDGET);
        assert_string_equal(slots[i].policy, "probe=soft,reduce=max/max,smooth=avg:7,allocate=judge:0.2,keep=recent:8");
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
    assert_int_equal(stats_of(w).n_idle, 6);     /* with two prompts */
    free(expected);
    free(out);
    worker_free(w);
}

/* The same prompt again, and an answer that comes back in other tokens, though the policy has chosen again since. */
static void test_prompt_again(void **state) {
    (void)state;
    static const char *const policies[] = {"judge", "snapkv", "full"};
    for (size_t p = 0; p < sizeof policies / sizeof *policies; p++) {
        worker *w = start(defaults());
        outcome *out = malloc(sizeof *out), *expected = malloc(sizeof *expected);
        worker_request request = ask(30, 300, 100);
        request.policy = policies[p];
        request.rows = 40;
        for (uint32_t i = 0; i < 2; i++) {
            request.sampler = (judgeq_sampler_params){.temperature = 1, .top_p = 1, .seed = 5 + i};
            collect(submit(w, request), out);
            answer_alone(&request, expected);
            expect_same(expected, out, policies[p]);
        }
        assert_int_equal(out->result.n_cached, p < 2 ? 300 : 299);
        if (p < 2) assert_true(out->result.n_rejudged > 0);
        judgeq_session *session = alone(policies[p], 40);
        CHECK(judgeq_session_read(session, token + 30, 300, error));
        CHECK(judgeq_session_read(session, token + 330, 50, error));
        request = ask(30, 350, 20);
        request.policy = policies[p];
        request.rows = 40;
        answer(session, request.sampler, 20, expected);
        collect(submit(w, request), out);
        expect_same(expected, out, policies[p]);
        assert_int_equal(out->result.n_cached, 300);
        judgeq_session_free(session);
        free(expected);
        free(out);
        worker_free(w);
    }
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

/* Reads a prompt, and writes what is saved of it to a file. */
static void save(worker *w, worker_request request, const char *path) {
    worker_job *job = submit(w, request);
    worker_news news;
    size_t n = 0;
    judgeq_snapshot_info info;
    request.save = "label";
    while (worker_job_wait(job, SOON, &news) && news.state != WORKER_ENDED) continue;
    assert_null(worker_job_take_saved(job, &n)); /* nobody asked for it */
    worker_job_release(job);
    job = submit(w, request);
    assert_null(worker_job_take_saved(job, &n)); /* not yet */
    while (worker_job_wait(job, SOON, &news) && news.state != WORKER_ENDED) continue;
    assert_int_equal(worker_job_result(job)->status, JUDGEQ_OK);
    assert_int_equal(worker_job_result(job)->n_answer, 0);
    assert_int_equal(worker_job_result(job)->n_cached, 0); /* a session that was not made for it is not gone on from */
    void *bytes = worker_job_take_saved(job, &n);
    assert_non_null(bytes);
    assert_int_equal(fixture_write(path, bytes, n), 0);
    free(bytes);
    worker_job_release(job);
    CHECK(judgeq_snapshot_read(path, &info, NULL, error));
    assert_string_equal(info.label, "label");
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
    request.policy = "snapkv";
    request.rows = 64;
    save(w, request, saved);
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

TESTS_MAIN(worker_set_up, worker_tear_down, cmocka_unit_test(test_conversation),
           cmocka_unit_test(test_what_can_be_shared), cmocka_unit_test(test_prompt_again),
           cmocka_unit_test(test_least_recently_used), cmocka_unit_test(test_idle_makes_room),
           cmocka_unit_test(test_identical), cmocka_unit_test(test_leader_leaves), cmocka_unit_test(test_context),
           cmocka_unit_test(test_logprobs_and_stops), cmocka_unit_test(test_other_judge))
