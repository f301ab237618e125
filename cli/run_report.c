#include "run_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "progress.h"
#include "say.h"

double report_per_second(int64_t n, double seconds) {
    return n > 0 && seconds > 0 ? (double)n / seconds : 0;
}

const char *report_megabytes(char *text, size_t size, size_t bytes) {
    const double mebibytes = (double)bytes / (1 << 20);
    snprintf(text, size, mebibytes < 10 ? "%.2f MiB" : mebibytes < 1000 ? "%.1f MiB" : "%.0f MiB", mebibytes);
    return text;
}

void report_summary(const report_source *source, const judgeq_stats *stats, const generation *response) {
    char n_read[32], n_written[32], full[32], held[32], peak[32];
    say("read %s tokens at %.0f/s, wrote %s at %.1f/s; KV %s of %s, peak %s%s",
        progress_count(n_read, sizeof n_read, stats->n_prompt - source->n_context),
        report_per_second(stats->n_prompt - source->n_context, stats->prefill_s),
        progress_count(n_written, sizeof n_written, (int64_t)response->n_token),
        report_per_second(stats->n_decoded, stats->decode_s), report_megabytes(held, sizeof held, stats->kv_bytes_held),
        report_megabytes(full, sizeof full, stats->kv_bytes_full),
        report_megabytes(peak, sizeof peak, stats->kv_bytes_peak),
        response->end == GENERATION_CONTEXT  ? "; ended because the context is full"
        : response->end == GENERATION_LENGTH ? "; cut short by -n"
                                             : "");
}

/* null where there is nothing to divide. */
static json_t *rate(int64_t n, double seconds) {
    return n > 0 && seconds > 0 ? json_real((double)n / seconds) : json_null();
}

/* Text from the command line, which need not be UTF-8. */
static json_t *any_text(const char *text) {
    if (!text) return json_null();
    size_t length = 0;
    char *valid = utf8_repaired(text, strlen(text), &length);
    json_t *value = valid ? json_stringn(valid, length) : NULL;
    free(valid);
    return value;
}

static json_t *token_array(const generation *response) {
    json_t *array = json_array();
    for (size_t i = 0; array && i < response->n_token; i++) {
        json_array_append_new(array, json_integer(response->token[i]));
    }
    return array;
}

/* As OpenAI's API names it, which has no name for the last. */
static const char *finish_reason(generation_end end) {
    return end == GENERATION_STOP ? "stop" : end == GENERATION_CANCELLED ? "interrupted" : "length";
}

static json_t *response_object(const report_source *source, const judgeq_stats *stats, const generation *response) {
    const text_stream *text = &response->text;
    return json_pack("{s:o, s:o, s:I, s:I, s:I, s:s}", "text", json_stringn(text->text ? text->text : "", text->length),
                     "tokens", token_array(response), "prompt_tokens", (json_int_t)stats->n_prompt, "context_tokens",
                     (json_int_t)source->n_context, "completion_tokens", (json_int_t)response->n_token, "finish_reason",
                     finish_reason(response->end));
}

static json_t *cache_object(const report_source *source, const judgeq_stats *stats) {
    return json_pack("{s:o, s:o, s:s, s:o, s:I, s:I, s:I, s:I}", "model", any_text(source->model_path), "judge",
                     any_text(source->judge_path), "policy", judgeq_policy_text(source->policy), "budget",
                     stats->budget > 0 ? json_integer(stats->budget) : json_null(), "kv_bytes_full",
                     (json_int_t)stats->kv_bytes_full, "kv_bytes_held", (json_int_t)stats->kv_bytes_held,
                     "kv_bytes_peak", (json_int_t)stats->kv_bytes_peak, "n_rejudged", (json_int_t)stats->n_rejudged);
}

static json_t *time_object(const report_source *source, const judgeq_stats *stats, const generation *response) {
    return json_pack("{s:o, s:o, s:o, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "ttft_s",
                     response->ttft_s >= 0 ? json_real(response->ttft_s) : json_null(), "prefill_tokens_per_s",
                     rate(stats->n_prompt - source->n_context, stats->prefill_s), "decode_tokens_per_s",
                     rate(stats->n_decoded, stats->decode_s), "load_s", source->load_s, "prefill_s", stats->prefill_s,
                     "embed_s", stats->embed_s, "blocks_s", stats->blocks_s, "score_s", stats->score_s, "compact_s",
                     stats->compact_s, "lookahead_s", stats->lookahead_s, "decode_s", stats->decode_s, "rejudge_s",
                     stats->rejudge_s);
}

json_t *report_object(const report_source *source, const judgeq_stats *stats, const generation *response) {
    json_t *object = response_object(source, stats, response), *cache = cache_object(source, stats);
    json_t *times = time_object(source, stats, response);
    bool done = object && json_object_update(object, cache) == 0 && json_object_update(object, times) == 0;
    if (done && response->logprobs) {
        done = json_object_set_new(object, "logprobs", json_pack("{s:O}", "content", response->logprobs)) == 0;
    }
    json_decref(times);
    json_decref(cache);
    if (done) return object;
    json_decref(object);
    return NULL;
}

bool report_json(const report_source *source, const judgeq_stats *stats, const generation *response) {
    json_t *object = report_object(source, stats, response);
    const bool done = object && say_json(object, JSON_REAL_PRECISION(9)) && fflush(stdout) == 0;
    json_decref(object);
    return done;
}

/* ---- documents --------------------------------------------------------------------------------------------------- */

void report_ingest(const report_document *document) {
    const judgeq_snapshot_info *info = &document->info;
    char n_read[32], held[32], size[32];
    say("read %s tokens at %.0f/s, kept %s of KV; %s has %s. Ask: judgeq run --context %s -p \"...\"",
        progress_count(n_read, sizeof n_read, info->n_read), report_per_second(info->n_read, document->read_s),
        report_megabytes(held, sizeof held, info->kv_bytes), document->path,
        report_megabytes(size, sizeof size, info->file_bytes), document->path);
}

bool report_ingest_json(const report_document *document) {
    const judgeq_snapshot_info *info = &document->info;
    json_t *object =
        json_pack("{s:o, s:o, s:o, s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:f, s:o}", "file", any_text(document->path),
                  "model", any_text(document->model_path), "judge", any_text(document->judge_path), "policy",
                  info->policy, "budget", info->budget > 0 ? json_integer(info->budget) : json_null(), "tokens",
                  (json_int_t)info->n_read, "rows", (json_int_t)info->n_rows, "kv_bytes", (json_int_t)info->kv_bytes,
                  "kv_bytes_peak", (json_int_t)document->kv_bytes_peak, "file_bytes", (json_int_t)info->file_bytes,
                  "read_s", document->read_s, "tokens_per_s", rate(info->n_read, document->read_s));
    const bool done = object && say_json(object, JSON_REAL_PRECISION(9)) && fflush(stdout) == 0;
    json_decref(object);
    return done;
}
