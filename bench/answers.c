/* answers: one prompt, many policies and budgets, one prefill. The worker of bench/needle.py.
 *
 *   answers MODEL JUDGE THREADS < prompts > answers
 *
 * A line in: {"text": the user's message, "tokens": most tokens to decode, "runs": [{"policy": ..., "budget": ...}]}.
 * A line out: {"prompt_tokens": n, "runs": [{"text", "policy" (in full), "kv_bytes_held", "kv_bytes_peak"}]}, or
 * {"error"}.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "judgeq.h"

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

/* Greedy, until the response ends or n tokens are there. */
static json_t *answer(const world *w, judgeq_session *session, const json_t *run, int n, judgeq_error *error) {
    const judgeq_sampler_params greedy = {.temperature = 0};
    judgeq_sampler *sampler = NULL;
    if (judgeq_sampler_new(&greedy, &sampler, error) != JUDGEQ_OK) return NULL;
    char *text = calloc((size_t)n + 1, PIECE);
    size_t length = 0;
    judgeq_status status = text ? JUDGEQ_OK : JUDGEQ_ERROR_MEMORY;
    for (int i = 0; status == JUDGEQ_OK && i < n; i++) {
        const int32_t token =
            judgeq_sampler_sample(sampler, judgeq_session_logits(session), judgeq_model_get_info(w->model)->n_vocab);
        if (judgeq_token_ends(w->model, token)) break;
        const int32_t piece = judgeq_token_text(w->model, token, text + length, PIECE);
        if (piece > 0) length += (size_t)piece;
        if (i + 1 < n) status = judgeq_session_decode(session, token, error);
    }
    judgeq_sampler_free(sampler);
    json_t *result = NULL;
    if (status == JUDGEQ_OK) {
        judgeq_stats stats;
        judgeq_session_get_stats(session, &stats);
        json_t *string = json_stringn(text, length); /* NULL where an answer ends within a character */
        result = json_pack("{s:o, s:O, s:I, s:I}", "text", string ? string : json_string(""), "policy",
                           json_object_get(run, "policy"), "kv_bytes_held", (json_int_t)stats.kv_bytes_held,
                           "kv_bytes_peak", (json_int_t)stats.kv_bytes_peak);
    }
    free(text);
    return result;
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
    if (status == JUDGEQ_OK) return json_pack("{s:I, s:o}", "prompt_tokens", (json_int_t)n_tokens, "runs", answers);
    json_decref(answers);
    return error_object(error.message);
}

static json_t *serve(const world *w, const json_t *line) {
    const char *content = json_string_value(json_object_get(line, "text"));
    if (!content || json_array_size(json_object_get(line, "runs")) > MOST_RUNS) return error_object("bad line");
    const judgeq_message message = {"user", content};
    judgeq_error error = {0};
    char *text = NULL;
    int32_t *tokens = NULL;
    size_t n_tokens = 0;
    judgeq_status status = judgeq_chat_text(w->model, &message, 1, &text, &error);
    if (status == JUDGEQ_OK) status = judgeq_tokenize(w->model, text, strlen(text), true, &tokens, &n_tokens, &error);
    json_t *result = status == JUDGEQ_OK ? answer_all(w, line, tokens, n_tokens) : error_object(error.message);
    judgeq_free(text);
    judgeq_free(tokens);
    return result;
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: answers MODEL JUDGE THREADS\n");
        return 2;
    }
    world w = {.n_threads = (int32_t)strtol(argv[3], NULL, 10)};
    judgeq_error error = {0};
    if (judgeq_model_load(argv[1], &w.model, &error) != JUDGEQ_OK ||
        judgeq_judge_load(argv[2], w.model, &w.judge, &error) != JUDGEQ_OK) {
        fprintf(stderr, "answers: %s\n", error.message);
        return 1;
    }
    json_t *line;
    while ((line = json_loadf(stdin, JSON_DISABLE_EOF_CHECK, NULL))) {
        json_t *result = serve(&w, line);
        json_dumpf(result, stdout, JSON_COMPACT);
        putchar('\n');
        fflush(stdout);
        json_decref(result);
        json_decref(line);
    }
    judgeq_judge_free(w.judge);
    judgeq_model_free(w.model);
    return 0;
}
