#include "kept.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/fallback.h"
#include "app/find_model.h"
#include "base/error.h"
#include "base/utf8.h"
#include "cores_note.h"
#include "exit_status.h"
#include "interrupt.h"
#include "progress.h"
#include "prompt_text.h"
#include "say.h"

/* ---- the prompt -------------------------------------------------------------------------------------------------- */

judgeq_status kept_read_texts(kept *k, judgeq_error *error) {
    k->text_end = calloc(k->n_token, sizeof *k->text_end);
    if (!k->text_end) return error_memory(error, "the tokens' texts");
    return text_stream_add_all(&k->text, k->model, k->token, k->n_token, k->text_end, error);
}

/* ---- the sessions ------------------------------------------------------------------------------------------------ */

enum { LEAST_BUDGET = 32 }; /* of those that are chosen: window methods always keep 32 rows */

/* Without a budget given: for a page with a slider 32, 64, ... below the prompt's length, else a tenth of it. */
static size_t choose_budgets(const kept_options *o, size_t n_token, kept_budget *budget) {
    if (o->n_budget > 0) {
        memcpy(budget, o->budget, o->n_budget * sizeof *budget);
        return o->n_budget;
    }
    size_t n = 0;
    for (int32_t rows = LEAST_BUDGET; o->html && (size_t)rows < n_token && n < KEPT_BUDGETS_MOST; rows *= 2) {
        budget[n].rows = rows;
        budget[n].fraction = 0;
        snprintf(budget[n++].text, sizeof budget->text, "%d", rows);
    }
    if (n == 0) budget[n++] = (kept_budget){.text = "10%", .fraction = 0.1f};
    return n;
}

/* The first session's progress counts. */
static judgeq_status make_cut(kept *k, const kept_options *o, const judgeq_policy *policy, progress *bar,
                              const kept_budget *budget, judgeq_error *error) {
    session_choices chosen = o->run.session;
    chosen.rows = budget->rows;
    chosen.share = budget->fraction;
    chosen.seed = o->run.sampler.seed;
    const judgeq_session_params params = session_choices_params(&chosen, policy, k->found.judge, progress_report, bar);
    kept_cut *cut = &k->cut[k->n_cut];
    cut->budget = *budget;
    cut->policy_text = strdup(judgeq_policy_text(policy));
    if (!cut->policy_text) return error_memory(error, "a policy");
    k->n_cut++; /* from here on kept_free sees to it */
    return judgeq_session_new(k->model, &params, &cut->session, error);
}

static judgeq_status make_cuts(kept *k, const kept_options *o, judgeq_policy *const *policy, progress *bar,
                               judgeq_error *error) {
    kept_budget budget[KEPT_BUDGETS_MOST];
    const size_t n_budget = choose_budgets(o, k->n_token, budget);
    k->cut = calloc((size_t)KEPT_POLICIES_MOST * KEPT_BUDGETS_MOST, sizeof *k->cut);
    judgeq_status status = k->cut ? JUDGEQ_OK : error_memory(error, "the sessions");
    for (size_t i = 0; i < o->n_policy; i++) {
        for (size_t b = 0; status == JUDGEQ_OK && b < n_budget; b++) {
            k->cut[k->n_cut].policy = k->fallback ? k->fallback : o->policy[i];
            status = make_cut(k, o, policy[i], bar, &budget[b], error);
        }
    }
    return status;
}

static judgeq_status prefill(kept *k, judgeq_error *error) {
    judgeq_session **all = calloc(k->n_cut, sizeof(judgeq_session *));
    if (!all) return error_memory(error, "the sessions");
    for (size_t i = 0; i < k->n_cut; i++) all[i] = k->cut[i].session;
    judgeq_status status = judgeq_session_prefill_all(all, k->n_cut, k->token, k->n_token, error);
    free(all);
    for (size_t i = 0; status == JUDGEQ_OK && i < k->n_cut; i++) {
        judgeq_stats stats;
        judgeq_session_get_stats(k->cut[i].session, &stats);
        k->cut[i].rows = stats.budget == 0 ? (int32_t)k->n_token : stats.budget; /* 0: policy full */
    }
    if (status == JUDGEQ_ERROR_CANCELLED) {
        status = error_set(error, JUDGEQ_ERROR_CANCELLED, "interrupted while reading the prompt");
    }
    return status;
}

static judgeq_status load_judge(kept *k, const kept_options *o, judgeq_policy **policy, judgeq_error *error) {
    const judge_search search = {.model = k->model,
                                 .model_path = k->model_path,
                                 .named = o->run.judge,
                                 .by_default = o->by_default && !choices_have_probe(&o->run.choices),
                                 .notes = say_notes(o->run.quiet)};
    const judgeq_status status = find_judge(&search, policy, o->n_policy, &k->found, error);
    if (status != JUDGEQ_OK || !k->found.fallback) return status;
    return fallback_take(o->policy[0], &k->fallback, &policy[0], error);
}

static judgeq_status check_view(const kept *k, const kept_options *o, judgeq_error *error) {
    const judgeq_model_info *info = judgeq_model_get_info(k->model);
    if (o->layer < info->n_layer && o->head < info->n_head_kv) return JUDGEQ_OK;
    return error_set(error, JUDGEQ_ERROR_ARGUMENT,
                     "--layer and --head count from 0, and the model has %d layers with %d KV heads", info->n_layer,
                     info->n_head_kv);
}

static judgeq_status make(kept *k, const kept_options *o, judgeq_policy **policy, judgeq_error *error) {
    judgeq_status status = find_model(o->run.model, k->default_model, sizeof k->default_model, &k->model_path, error);
    if (status == JUDGEQ_OK) status = judgeq_model_load(k->model_path, &k->model, error);
    if (status == JUDGEQ_OK) find_model_notes(k->model, k->model_path, say_notes(o->run.quiet));
    if (status == JUDGEQ_OK) status = check_view(k, o, error);
    if (status == JUDGEQ_OK) status = load_judge(k, o, policy, error);
    if (status == JUDGEQ_OK) {
        status = prompt_text_tokenize(k->model, &o->run, k->prompt, 0, &k->token, &k->n_token, error);
    }
    if (status == JUDGEQ_OK) status = kept_read_texts(k, error);
    if (status != JUDGEQ_OK) return status;
    progress bar;
    cores_note(o->run.session.n_threads, o->run.quiet);
    status = make_cuts(k, o, policy, &bar, error);
    if (status != JUDGEQ_OK) return status;
    progress_begin(&bar, (int64_t)k->n_token, o->run.quiet);
    interrupt_catch();
    status = prefill(k, error);
    progress_end(&bar);
    return status;
}

int kept_make(const kept_options *o, kept *out) {
    judgeq_policy *policy[KEPT_POLICIES_MOST] = {NULL};
    judgeq_error error = {0};
    judgeq_status status = JUDGEQ_OK;
    *out = (kept){0};
    for (size_t i = 0; status == JUDGEQ_OK && i < o->n_policy; i++) {
        status = judgeq_policy_parse(o->policy[i], &policy[i], &error);
    }
    const int usage = status == JUDGEQ_OK ? prompt_text_read(&o->run, "inspect", &out->prompt) : 0;
    if (status == JUDGEQ_OK && usage == 0) status = make(out, o, policy, &error);
    for (size_t i = 0; i < o->n_policy; i++) judgeq_policy_free(policy[i]);
    return usage != 0 ? usage : exit_with(status, &error);
}

void kept_free(kept *k) {
    for (size_t i = 0; i < k->n_cut; i++) {
        judgeq_session_free(k->cut[i].session);
        free(k->cut[i].policy_text);
    }
    free(k->cut);
    free(k->text_end);
    text_stream_free(&k->text);
    judgeq_free(k->token);
    free(k->prompt);
    judge_found_free(&k->found);
    free(k->fallback);
    judgeq_model_free(k->model);
}

/* ---- what was kept ----------------------------------------------------------------------------------------------- */

/* Ascending positions as [first, last, first, last, ...]: policies that smooth keep neighbours. */
static json_t *runs_json(const int32_t *position, size_t n) {
    json_t *runs = json_array();
    for (size_t i = 0; runs && i < n; i++) {
        size_t last = i;
        while (last + 1 < n && position[last + 1] == position[last] + 1) last++;
        json_array_append_new(runs, json_integer(position[i]));
        json_array_append_new(runs, json_integer(position[last]));
        i = last;
    }
    return runs;
}

/* Names come from files and the command line, and need not be UTF-8. NULL becomes null. */
static json_t *text_json(const char *text) {
    size_t length = 0;
    char *valid = text ? utf8_repaired(text, strlen(text), &length) : NULL;
    json_t *value = valid ? json_stringn(valid, length) : json_null();
    free(valid);
    return value;
}

static json_t *cut_json(const kept *k, const kept_cut *cut) {
    const judgeq_model_info *info = judgeq_model_get_info(k->model);
    judgeq_stats stats;
    judgeq_session_get_stats(cut->session, &stats);
    json_t *layers = json_array();
    for (int32_t l = 0; l < info->n_layer; l++) {
        json_t *heads = json_array();
        for (int32_t h = 0; h < info->n_head_kv; h++) {
            size_t n_row;
            const int32_t *position = judgeq_session_positions(cut->session, l, h, &n_row);
            json_array_append_new(heads, runs_json(position, n_row));
        }
        json_array_append_new(layers, heads);
    }
    return json_pack("{s:o, s:s, s:s, s:i, s:I, s:o}", "policy", text_json(cut->policy), "policy_text",
                     cut->policy_text, "budget", cut->budget.text, "rows", cut->rows, "kv_bytes_held",
                     (json_int_t)stats.kv_bytes_held, "kept", layers);
}

/* Control tokens have no bytes; a token without text may also hold a part of a character only. */
static json_t *token_json(const kept *k, size_t i) {
    const size_t begin = i > 0 ? k->text_end[i - 1] : 0;
    return json_pack("{s:i, s:o, s:b}", "id", k->token[i], "text",
                     json_stringn(k->text.text ? k->text.text + begin : "", k->text_end[i] - begin), "control",
                     (int)(judgeq_token_text(k->model, k->token[i], NULL, 0) == 0));
}

static json_t *tokens_json(const kept *k) {
    json_t *tokens = json_array();
    for (size_t i = 0; i < k->n_token; i++) json_array_append_new(tokens, token_json(k, i));
    return tokens;
}

json_t *kept_json(const kept *k) {
    const judgeq_model_info *info = judgeq_model_get_info(k->model);
    judgeq_stats stats;
    judgeq_session_get_stats(k->cut[0].session, &stats);
    json_t *cuts = json_array();
    for (size_t i = 0; i < k->n_cut; i++) json_array_append_new(cuts, cut_json(k, &k->cut[i]));
    return json_pack("{s:o, s:o, s:o, s:i, s:i, s:I, s:I, s:o, s:o}", "model", text_json(k->model_path), "model_name",
                     text_json(info->name), "judge", text_json(k->found.path), "n_layer", (int)info->n_layer,
                     "n_head_kv", (int)info->n_head_kv, "prompt_tokens", (json_int_t)k->n_token, "kv_bytes_full",
                     (json_int_t)stats.kv_bytes_full, "tokens", tokens_json(k), "cuts", cuts);
}
