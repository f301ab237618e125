/* metrics: GET /metrics, in the text format of Prometheus. */
#include "base/clock.h"
#include "base/text.h"
#include "service.h"

static void gauge(text_buffer *out, const char *name, const char *help, double value) {
    text_print(out, "# HELP judgeq_%s %s\n# TYPE judgeq_%s gauge\njudgeq_%s %.17g\n", name, help, name, name, value);
}

static void counter(text_buffer *out, const char *name, const char *help, double value) {
    text_print(out, "# HELP judgeq_%s_total %s\n# TYPE judgeq_%s_total counter\njudgeq_%s_total %.17g\n", name, help,
               name, name, value);
}

static void add_now(text_buffer *out, const worker_stats *w) {
    gauge(out, "jobs_waiting", "Requests that wait.", w->n_waiting);
    gauge(out, "jobs_reading", "Requests whose prompt is read.", w->n_reading);
    gauge(out, "jobs_answering", "Requests that are answered.", w->n_answering);
    gauge(out, "sessions_idle", "Conversations that are kept for their next turn.", w->n_idle);
    gauge(out, "kv_bytes", "Bytes of KV cache that are allocated.", (double)w->kv_bytes);
    gauge(out, "kv_bytes_reserved", "Bytes of KV cache that running requests can need.", (double)w->kv_bytes_reserved);
    gauge(out, "kv_bytes_idle", "Bytes of KV cache of idle conversations.", (double)w->kv_bytes_idle);
    gauge(out, "kv_bytes_most", "The most bytes of KV cache so far.", (double)w->kv_bytes_most);
    gauge(out, "rows_held", "Rows of KV cache that are held.", (double)w->n_rows);
    gauge(out, "step_seconds_most", "The longest time between two tokens of an answer.", w->step_most_s);
}

static void add_since(text_buffer *out, const worker_stats *w) {
    counter(out, "jobs_accepted", "Requests that were taken.", (double)w->n_accepted);
    counter(out, "jobs_refused", "Requests that were not taken.", (double)w->n_refused);
    counter(out, "jobs_ended", "Requests that have ended.", (double)w->n_ended);
    counter(out, "jobs_cancelled", "Of these, that were cancelled.", (double)w->n_cancelled);
    counter(out, "jobs_failed", "Of these, that failed.", (double)w->n_failed);
    counter(out, "prompt_tokens_read", "Tokens of prompts that were read.", (double)w->n_read);
    counter(out, "prompt_tokens_cached", "Tokens of prompts that had been read before.", (double)w->n_cached);
    counter(out, "answer_tokens", "Tokens of answers.", (double)w->n_answered);
    counter(out, "rejudged", "Times that a policy has chosen again while it answered.", (double)w->n_rejudged);
    counter(out, "sessions_forgotten", "Idle conversations that had to leave.", (double)w->n_forgotten);
    counter(out, "decode_steps", "Tokens of all answers together.", (double)w->n_steps);
    counter(out, "read_seconds", "Time that reading took.", w->read_s);
    counter(out, "answer_seconds", "Time that answering took.", w->answer_s);
}

static void add_http(text_buffer *out, const http_counts *h) {
    gauge(out, "http_connections", "Open connections.", h->n_connections);
    text_print(out, "# HELP judgeq_http_requests_total HTTP requests, by what became of them.\n"
                    "# TYPE judgeq_http_requests_total counter\n");
    const struct {
        const char *name;
        int64_t n;
    } kinds[] = {{"good", h->n_good}, {"wrong", h->n_wrong}, {"failed", h->n_failed}, {"left", h->n_left}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        text_print(out, "judgeq_http_requests_total{outcome=\"%s\"} %lld\n", kinds[i].name, (long long)kinds[i].n);
    }
}

void info_metrics(http_request *request) {
    const service *s = http_data(request);
    worker_stats stats;
    http_counts counts;
    text_buffer out = {0};
    worker_get_stats(s->worker, &stats);
    http_get_counts(http_server(request), &counts);
    gauge(&out, "up_seconds", "Seconds since the server began.", clock_seconds() - s->started);
    gauge(&out, "kv_bytes_allowed", "Bytes of KV cache that are never exceeded; 0: any number.", (double)s->kv_bytes);
    add_now(&out, &stats);
    add_since(&out, &stats);
    add_http(&out, &counts);
    if (out.failed) text_free(&out);
    http_reply(request, 200, "text/plain; version=0.0.4; charset=utf-8", out.bytes, out.length);
}
