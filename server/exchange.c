#include "exchange.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "tokens.h"

/* ---- life -------------------------------------------------------------------------------------------------------- */

void exchange_prompts_free(exchange_prompt *prompts, size_t n) {
    for (size_t i = 0; prompts && i < n; i++) {
        judgeq_free(prompts[i].tokens);
        free(prompts[i].echo);
    }
    free(prompts);
}

static void exchange_free(void *data) {
    exchange *e = data;
    for (size_t i = 0; i < e->n_answer; i++) {
        worker_job_release(e->answer[i].job); /* nobody rings the bell from here on */
        text_free(&e->answer[i].text);
        json_decref(e->answer[i].logprobs);
        chat_blocks_free(&e->answer[i].chat);
    }
    if (e->event >= 0) close(e->event);
    exchange_prompts_free(e->prompt, e->n_prompt);
    ask_free(&e->ask);
    text_free(&e->out);
    free(e);
}

/* ---- jobs -------------------------------------------------------------------------------------------------------- */

/* In the worker's thread. */
static void ring(void *data) {
    const uint64_t one = 1;
    const ssize_t n = write(((exchange *)data)->event, &one, sizeof one);
    (void)n; /* full: it rings already */
}

/* Of a prompt that is too long: its tokens, with those of the context that it follows, and those that have room. */
static void find_lengths(const exchange *e, size_t n_own, int64_t *n_prompt, int64_t *n_ctx) {
    judgeq_snapshot_info info;
    *n_prompt = (int64_t)n_own;
    *n_ctx = e->service->n_ctx;
    if (!e->ask.context || judgeq_snapshot_read(e->ask.context, &info, NULL, NULL) != JUDGEQ_OK) return;
    *n_prompt += info.n_tokens;
    *n_ctx = info.unbounded ? SESSION_ANY_LENGTH : info.n_ctx;
}

static bool not_taken(exchange *e, worker_status status, const judgeq_error *error, size_t n_own) {
    int64_t n_prompt = 0, n_ctx = 0;
    if (status == WORKER_TOO_LONG) find_lengths(e, n_own, &n_prompt, &n_ctx);
    reply_not_taken(&e->fault, status, error, n_prompt, n_ctx);
    reply_hide_folder(&e->fault, e->ask.context);
    return false;
}

static bool submit(exchange *e, size_t prompt, int32_t index) {
    exchange_answer *a = &e->answer[e->n_answer];
    const exchange_prompt *p = &e->prompt[prompt];
    judgeq_error error = {0};
    worker_request request = ask_request(&e->ask, p->tokens, p->n, index);
    request.notify = ring;
    request.data = e;
    const worker_status status = worker_submit(e->service->worker, &request, &a->job, &error);
    if (status != WORKER_OK) return not_taken(e, status, &error, p->n);
    a->index = e->n_answer++;
    a->prompt = prompt;
    if (p->echo) text_add(&a->text, p->echo, strlen(p->echo));
    return true;
}

static bool submit_all(exchange *e) {
    if (e->n_prompt * (size_t)e->ask.n > EXCHANGE_ANSWERS_MOST) {
        return reply_wrong(&e->fault, "n", "%zu prompts with %d answers each: up to %d answers at once", e->n_prompt,
                           e->ask.n, EXCHANGE_ANSWERS_MOST);
    }
    for (size_t i = 0; i < e->n_prompt; i++) {
        for (int32_t k = 0; k < e->ask.n; k++) {
            if (!submit(e, i, k)) return false;
        }
    }
    return true;
}

/* ---- news -------------------------------------------------------------------------------------------------------- */

/* news->text becomes the text as clients read it. */
static void keep(exchange *e, exchange_answer *a, worker_news *news) {
    const size_t before = a->text.length;
    text_add_without_zeros(&a->text, news->text, news->n_text);
    if (a->text.failed) {
        const judgeq_error error = {JUDGEQ_ERROR_MEMORY, "out of memory for an answer"};
        reply_failed(&e->fault, error.code, &error);
    }
    news->text = a->text.bytes ? a->text.bytes + before : "";
    news->n_text = a->text.length - before;
    if (news->logprobs) {
        if (!a->logprobs) a->logprobs = json_array();
        json_array_extend(a->logprobs, (json_t *)news->logprobs);
    }
    a->news = *news;
    a->news.text = NULL;
    a->news.logprobs = NULL;
}

static void finish(exchange *e, exchange_answer *a) {
    a->result = worker_job_result(a->job);
    e->n_ended++;
    if (a->result->status == JUDGEQ_OK) return;
    reply_failed(&e->fault, a->result->status, &a->result->error);
    reply_hide_folder(&e->fault, e->ask.context);
}

static void begin(exchange *e, exchange_answer *a) {
    if (a->begun) return;
    a->begun = true;
    if (e->shape->begin) e->shape->begin(e, a);
    const char *echo = e->prompt[a->prompt].echo;
    if (echo) e->shape->more(e, a, echo, strlen(echo), NULL);
}

static void tell(exchange *e, exchange_answer *a, const worker_news *news) {
    const bool any = news->n_text > 0 || news->logprobs;
    if (news->state != WORKER_WAITING) begin(e, a);
    if (any) e->shape->more(e, a, news->text, news->n_text, news->logprobs);
    if (a->result && a->result->status == JUDGEQ_OK) e->shape->end(e, a);
}

/* All that is new, of all answers. */
static void take_news(exchange *e) {
    uint64_t rings;
    const ssize_t read_n = read(e->event, &rings, sizeof rings);
    (void)read_n;
    for (size_t i = 0; i < e->n_answer; i++) {
        exchange_answer *a = &e->answer[i];
        worker_news news;
        if (a->result || !worker_job_wait(a->job, 0, &news)) continue;
        keep(e, a, &news);
        if (news.state == WORKER_ENDED) finish(e, a);
        if (e->ask.stream) tell(e, a, &news);
    }
}

/* ---- a stream ---------------------------------------------------------------------------------------------------- */

void exchange_send(exchange *e, json_t *event) {
    char *text = event ? json_dumps(event, JSON_COMPACT | JSON_REAL_PRECISION(REPLY_DIGITS)) : NULL;
    json_decref(event);
    if (text)
        text_print(&e->out, e->shape->lines ? "%s\n" : "data: %s\n\n", text);
    else
        e->out.failed = true;
    free(text);
}

void exchange_send_typed(exchange *e, json_t *event) {
    const char *type = json_string_value(json_object_get(event, "type"));
    if (type) text_print(&e->out, "event: %s\n", type);
    exchange_send(e, event);
}

/* A comment, which clients leave out: so a connection with nothing to say is not taken for a dead one. */
static void ping(exchange *e) {
    const exchange_answer *a = &e->answer[0];
    if ((a->begun || e->shape->lines) && e->shape->ping) {
        e->shape->ping(e);
    } else if (a->news.state == WORKER_WAITING) {
        text_print(&e->out, ": waiting, %d before it\n\n", a->news.n_ahead);
    } else if (a->news.state == WORKER_READING) {
        text_print(&e->out, ": read %lld of %lld tokens\n\n", (long long)a->news.n_done, (long long)a->news.n_to_read);
    } else {
        text_print(&e->out, ": ping\n\n");
    }
}

static void end_stream(exchange *e) {
    e->done = true;
    if (e->fault.status != 0)
        e->shape->fail(e);
    else
        e->shape->last(e);
}

static bool next(void *data, const char **bytes, size_t *n, bool *broken) {
    exchange *e = data;
    text_clear(&e->out);
    while (e->out.length == 0 && !e->done && !e->out.failed) {
        const double left = e->told_at + e->service->ping_s - clock_seconds();
        const http_waited waited = http_wait(e->request, e->event, left > 0 ? left : 0);
        *broken = waited == HTTP_GONE;
        if (*broken) return false;
        if (waited == HTTP_READY) take_news(e);
        if (e->out.length == 0 && left <= 0) ping(e); /* there may be news, of a read, that are no events */
        if (e->n_ended == e->n_answer || e->fault.status != 0) end_stream(e);
    }
    e->told_at = clock_seconds();
    *broken = e->out.failed;
    *bytes = e->out.bytes;
    *n = e->out.length;
    return !e->out.failed && e->out.length > 0;
}

/* ---- a whole answer ---------------------------------------------------------------------------------------------- */

/* False where the client has left. */
static bool collect(exchange *e) {
    while (e->n_ended < e->n_answer && e->fault.status == 0) {
        const http_waited waited = http_wait(e->request, e->event, e->service->ping_s);
        if (waited == HTTP_GONE) return false;
        if (waited == HTTP_READY) take_news(e);
    }
    return true;
}

static void answer(exchange *e) {
    if (!collect(e)) return;
    json_t *whole = e->fault.status == 0 ? e->shape->whole(e) : NULL;
    if (e->fault.status == 0) {
        reply_json(e->request, 200, whole);
        return;
    }
    json_decref(whole);
    reply_error(e->request, &e->fault);
}

void exchange_run(http_request *request, const exchange_shape *shape, bool good, const ask *ask_of,
                  exchange_prompt *prompts, size_t n_prompts, reply_fault *fault) {
    ask asked = *ask_of;
    exchange *e = good ? calloc(1, sizeof *e) : NULL;
    if (!good) {
        reply_no_memory(fault);
        reply_error(request, fault);
    }
    if (!e) {
        exchange_prompts_free(prompts, n_prompts);
        ask_free(&asked);
        return;
    }
    *e = (exchange){.request = request,
                    .service = http_data(request),
                    .shape = shape,
                    .ask = asked,
                    .prompt = prompts,
                    .n_prompt = n_prompts,
                    .created = (int64_t)time(NULL),
                    .told_at = clock_seconds(),
                    .event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    snprintf(e->id, sizeof e->id, "%s%016llx", shape->id, (unsigned long long)http_number(request));
    if (e->event < 0) {
        reply_failed(&e->fault, JUDGEQ_ERROR_MEMORY, &(judgeq_error){.message = "no more files can be opened"});
    }
    if (e->event < 0 || !submit_all(e)) {
        reply_error(request, &e->fault);
        exchange_free(e);
    } else if (e->ask.stream) {
        http_stream(request, shape->lines ? "application/x-ndjson" : "text/event-stream", next, exchange_free, e);
    } else {
        answer(e);
        exchange_free(e);
    }
}

/* ---- for shapes -------------------------------------------------------------------------------------------------- */

const char *exchange_finish(const exchange_answer *a) {
    return a->result && (a->result->end == GENERATION_LENGTH || a->result->end == GENERATION_CONTEXT) ? "length"
                                                                                                      : "stop";
}

json_t *exchange_usage(const exchange *e) {
    int64_t n_prompt = 0, n_cached = 0, n_answer = 0;
    for (size_t i = 0; i < e->n_answer; i++) {
        const exchange_answer *a = &e->answer[i];
        if (!a->result) continue;
        n_answer += a->result->n_answer;
        if (i % (size_t)e->ask.n != 0) continue;
        n_prompt += a->result->n_prompt;
        n_cached += a->result->n_cached;
    }
    const json_int_t n_total = n_prompt + n_answer;
    return json_pack("{s:I, s:I, s:I, s:{s:I}}", "prompt_tokens", (json_int_t)n_prompt, "completion_tokens",
                     (json_int_t)n_answer, "total_tokens", n_total, "prompt_tokens_details", "cached_tokens",
                     (json_int_t)n_cached);
}

static json_t *budget(const exchange *e) {
    int32_t rows;
    double share;
    ask_budget(e->service, &e->ask, &rows, &share);
    if (rows > 0) return json_integer(rows);
    return share > 0 ? json_sprintf("%g%%", 100 * share) : json_null();
}

/* What is still held of each token; NULL without memory. */
static json_t *held_json(const exchange *e, const held_tokens *h) {
    json_t *shares = json_array();
    for (size_t i = 0; i < h->n; i++) json_array_append_new(shares, json_real((double)h->share[i]));
    return json_pack("{s:o, s:o}", "pieces", tokens_pieces(e->service->model, h->token, h->n), "share", shares);
}

json_t *exchange_kept(const exchange *e, const exchange_answer *a) {
    const worker_result *r = a->result;
    const char *context = e->ask.context ? strrchr(e->ask.context, '/') + 1 : NULL;
    json_t *kept =
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f}", "tokens_seen", (json_int_t)r->n_seen, "rows_held",
                  (json_int_t)r->n_rows, "kv_bytes", (json_int_t)r->kv_bytes, "kv_bytes_full",
                  (json_int_t)r->kv_bytes_full, "kv_bytes_peak", (json_int_t)r->kv_bytes_peak, "rejudged",
                  (json_int_t)r->n_rejudged, "waited_s", r->waited_s, "read_s", r->read_s, "answer_s", r->answer_s);
    if (!kept) return NULL;
    if (context) { /* with its own policy and budget */
        json_object_set_new(kept, "context", json_string(context));
    } else {
        json_object_set_new(kept, "policy", json_string(e->ask.policy ? e->ask.policy : e->service->policy));
        json_object_set_new(kept, "budget", budget(e));
    }
    if (e->ask.kept && json_object_set_new(kept, "kept", held_json(e, &r->held)) != 0) {
        json_decref(kept);
        return NULL;
    }
    return kept;
}
