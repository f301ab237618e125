/* answers: one prompt, many policies and budgets, one prefill. The worker of bench/needle.py.
 *
 *   answers [-m MODEL] [-j JUDGE] [-t THREADS] < prompts > answers
 *
 * A line in: {"text": the user's message, "tokens": most tokens to write, "runs": [{"policy": ..., "budget": N or
 * null}]}. A line out: {"runs": [an object per run, with the keys of `judgeq run --json`]}, or {"error": message}. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "judgeq.h"
#include "text.h"
#include "unicode.h"

enum { MOST_RUNS = 256, PIECE = 256 };

typedef struct world {
    judgeq_model *model;
    judgeq_judge *judge;
    int32_t n_threads;
} world;

static json_t *error_object(const char *message) {
    return json_pack("{s:s}", "error", message);
}

static judgeq_status open_session(const world *w, const json_t *run, judgeq_session **session, judgeq_error *error) {
    judgeq_policy *policy = NULL;
    const char *text = json_string_value(json_object_get(run, "policy"));
    judgeq_status status = judgeq_policy_parse(text ? text : "", &policy, error);
    if (status != JUDGEQ_OK) return status;
    judgeq_session_params params = judgeq_session_default_params();
    params.policy = policy;
    params.judge = w->judge;
    params.budget = (int32_t)json_integer_value(json_object_get(run, "budget"));
    params.n_threads = w->n_threads;
    status = judgeq_session_new(w->model, &params, session, error);
    judgeq_policy_free(policy);
    return status;
}

/* The response, greedy, until it ends or n tokens are there; the caller's. NULL with *error set. */
static json_t *respond(const world *w, judgeq_session *session, int n, int *n_tokens, judgeq_error *error) {
    const judgeq_sampler_params greedy = {.temperature = 0};
    const int32_t n_vocab = judgeq_model_get_info(w->model)->n_vocab;
    judgeq_sampler *sampler = NULL;
    judgeq_status status = judgeq_sampler_new(&greedy, &sampler, error);
    text_buffer text = {0};
    for (*n_tokens = 0; status == JUDGEQ_OK && *n_tokens < n; ++*n_tokens) {
        const int32_t token = judgeq_sampler_sample(sampler, judgeq_session_logits(session), n_vocab);
        if (judgeq_token_ends(w->model, token)) break;
        char piece[PIECE];
        const int32_t length = judgeq_token_text(w->model, token, piece, PIECE);
        if (length > 0) text_add(&text, piece, (size_t)length);
        if (*n_tokens + 1 < n) status = judgeq_session_decode(session, token, error);
    }
    judgeq_sampler_free(sampler);
    size_t length;
    char *valid = status == JUDGEQ_OK ? unicode_valid(text.bytes ? text.bytes : "", text.length, &length) : NULL;
    json_t *string = valid ? json_stringn(valid, length) : NULL;
    free(valid);
    text_free(&text);
    return string;
}

static json_t *answer(const world *w, judgeq_session *session, const json_t *run, int n, judgeq_error *error) {
    int n_tokens;
    json_t *text = respond(w, session, n, &n_tokens, error);
    if (!text) return NULL;
    judgeq_stats stats;
    judgeq_session_get_stats(session, &stats);
    json_t *speed = stats.n_decoded ? json_real((double)stats.n_decoded / stats.decode_s) : json_null();
    return json_pack("{s:o, s:O, s:O, s:I, s:i, s:I, s:I, s:I, s:o, s:f, s:f}", "text", text, "policy",
                     json_object_get(run, "policy"), "budget", json_object_get(run, "budget"), "prompt_tokens",
                     (json_int_t)stats.n_prompt, "completion_tokens", n_tokens, "kv_bytes_full",
                     (json_int_t)stats.kv_bytes_full, "kv_bytes_held", (json_int_t)stats.kv_bytes_held, "kv_bytes_peak",
                     (json_int_t)stats.kv_bytes_peak, "decode_tokens_per_s", speed, "score_s", stats.score_s,
                     "blocks_s", stats.blocks_s);
}

static json_t *answer_all(const world *w, const json_t *line, const int32_t *tokens, size_t n_tokens) {
    const json_t *runs = json_object_get(line, "runs");
    const size_t n = json_array_size(runs);
    judgeq_session *session[MOST_RUNS] = {0};
    judgeq_error error = {0};
    json_t *answers = json_array();
    judgeq_status status = JUDGEQ_OK;
    for (size_t i = 0; status == JUDGEQ_OK && i < n; i++) {
        status = open_session(w, json_array_get(runs, i), &session[i], &error);
    }
    if (status == JUDGEQ_OK) status = judgeq_session_prefill_all(session, n, tokens, n_tokens, &error);
    for (size_t i = 0; status == JUDGEQ_OK && i < n; i++) {
        json_t *one = answer(w, session[i], json_array_get(runs, i),
                             (int)json_integer_value(json_object_get(line, "tokens")), &error);
        if (one) {
            json_array_append_new(answers, one);
        } else {
            status = error.code;
        }
    }
    for (size_t i = 0; i < n; i++) judgeq_session_free(session[i]);
    if (status == JUDGEQ_OK) return json_pack("{s:o}", "runs", answers);
    json_decref(answers);
    return error_object(error.message);
}

static json_t *serve(const world *w, const json_t *line) {
    const char *content = json_string_value(json_object_get(line, "text"));
    if (!content || json_array_size(json_object_get(line, "runs")) > MOST_RUNS) return error_object("bad line");
    const judgeq_message message = {"user", content};
    judgeq_error error = {0};
    int32_t *tokens = NULL;
    size_t n_tokens = 0;
    const judgeq_status status = judgeq_chat_tokens(w->model, &message, 1, NULL, &tokens, &n_tokens, &error);
    json_t *result = status == JUDGEQ_OK ? answer_all(w, line, tokens, n_tokens) : error_object(error.message);
    judgeq_free(tokens);
    return result;
}

static bool open_world(world *w, const char *model, const char *judge, judgeq_error *error) {
    char path[4096];
    if (!model && judgeq_default_model_path(path, sizeof path)) model = path;
    if (judgeq_model_load(model ? model : "", &w->model, error) != JUDGEQ_OK) return false;
    return !judge || judgeq_judge_load(judge, w->model, &w->judge, error) == JUDGEQ_OK;
}

int main(int argc, char **argv) {
    world w = {0};
    const char *model = NULL, *judge = NULL;
    for (int option; (option = getopt(argc, argv, "m:j:t:")) != -1;) {
        if (option == 'm') model = optarg;
        if (option == 'j') judge = optarg;
        if (option == 't') w.n_threads = (int32_t)strtol(optarg, NULL, 10);
        if (option == '?') return 2;
    }
    judgeq_error error = {0};
    const bool opened = open_world(&w, model, judge, &error);
    if (!opened) fprintf(stderr, "answers: %s\n", error.message);
    json_t *line;
    while (opened && (line = json_loadf(stdin, JSON_DISABLE_EOF_CHECK, NULL))) {
        json_t *result = serve(&w, line);
        json_dumpf(result, stdout, JSON_COMPACT);
        putchar('\n');
        fflush(stdout);
        json_decref(result);
        json_decref(line);
    }
    judgeq_judge_free(w.judge);
    judgeq_model_free(w.model);
    return opened ? 0 : 1;
}
