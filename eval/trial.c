#include "trial.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "app/finite.h"
#include "app/session_choices.h"
#include "asking.h"
#include "base/error.h"
#include "divergence.h"
#include "fidelity.h"
#include "question.h"

/* A sample under way. Arms that would keep the whole prompt share the full cache's session and answer. */
typedef struct trial {
    const trial_setup *setup;
    const sample *sample;
    reading reading;
    judgeq_engine *engine;         /* of all sessions */
    judgeq_session **session;      /* [n_session]; the first is the full cache's */
    judgeq_session_params *params; /* [n_session], of which they were made */
    answer *answer;                /* [n_session], to the prompt; */
    outcome *outcome;              /* [n_session], and to all that was asked */
    divergence *divergence;        /* [n_session], of a text that goes on; or NULL */
    size_t n_session;
    size_t *of_arm; /* [n_arm]: its session */
    fidelity_target target;
    double *hit_rate, *mass_kept; /* [n_layer, n_head_kv] of the arm at hand */
} trial;

/* ---- reading and answering --------------------------------------------------------------------------------------- */

static judgeq_session_params params_of(const trial_setup *b, const arm *a, judgeq_engine *engine) {
    const session_choices choices = {.rows = a->rows,
                                     .share = a->share,
                                     .n_threads = b->n_threads,
                                     .kv_type = a->kv_type,
                                     .seed = b->seed,
                                     .slack = b->slack};
    judgeq_session_params params = session_choices_params(&choices, a->parsed, b->judge, b->progress, b->progress_data);
    params.engine = engine;
    return params;
}

static judgeq_status open_sessions(trial *t, judgeq_error *error) {
    const arms *a = t->setup->arms;
    const int32_t n_prompt = (int32_t)reading_context(&t->reading);
    t->session = calloc(a->n_arm, sizeof(judgeq_session *));
    t->of_arm = calloc(a->n_arm, sizeof *t->of_arm);
    t->params = calloc(a->n_arm, sizeof *t->params);
    t->answer = calloc(a->n_arm, sizeof *t->answer);
    t->outcome = calloc(a->n_arm, sizeof *t->outcome);
    if (!t->session || !t->of_arm || !t->params || !t->answer || !t->outcome) return error_memory(error, "sessions");
    judgeq_status status = judgeq_engine_new(t->setup->model, t->setup->n_threads, &t->engine, error);
    for (size_t i = 0; status == JUDGEQ_OK && i < a->n_arm; i++) {
        if (i > 0 && arm_is_full(a, i, n_prompt)) continue;
        t->of_arm[i] = t->n_session;
        t->params[t->n_session] = params_of(t->setup, &a->arm[i], t->engine);
        status = judgeq_session_new(t->setup->model, &t->params[t->n_session], &t->session[t->n_session], error);
        if (status == JUDGEQ_OK) t->n_session++;
    }
    return status;
}

/* The answer to the prompt, and to all turns after it. */
static judgeq_status answer_all(trial *t, judgeq_error *error) {
    const size_t n_step = t->setup->one_by_one ? 1 : t->n_session;
    judgeq_status status = judgeq_session_watch(t->session[0], error);
    for (size_t i = 0; i < t->n_session; i++) t->answer[i].session = t->session[i];
    for (size_t i = 0; status == JUDGEQ_OK && i < t->n_session; i += n_step) {
        answers a = {.model = t->setup->model,
                     .sample = t->sample,
                     .reading = &t->reading,
                     .n_tokens = trial_answer_tokens(t->setup, t->sample),
                     .reads_on = t->setup->slack != JUDGEQ_SLACK_NONE,
                     .progress = t->setup->progress,
                     .progress_data = t->setup->progress_data,
                     .answer = &t->answer[i],
                     .n_answer = n_step};
        status = answers_decode(&a, error);
    }
    for (size_t i = 0; status == JUDGEQ_OK && i < t->n_session; i++) {
        status = outcome_add(&t->outcome[i], t->sample, t->sample->references, &t->answer[i], error);
    }
    return status;
}

/* The answers to questions that come after everything is read. */
static judgeq_status ask_all(trial *t, judgeq_error *error) {
    asking a = {.model = t->setup->model,
                .sample = t->sample,
                .reading = &t->reading,
                .n_tokens = trial_answer_tokens(t->setup, t->sample),
                .n_step = t->setup->one_by_one ? 1 : t->n_session,
                .progress = t->setup->progress,
                .progress_data = t->setup->progress_data,
                .session = t->session,
                .params = t->params,
                .outcome = t->outcome,
                .n = t->n_session};
    judgeq_status status = asking_read_parts(&a, error);
    if (status == JUDGEQ_OK) status = judgeq_session_watch(t->session[0], error);
    return status == JUDGEQ_OK ? asking_run(&a, error) : status;
}

/* The text goes on: how likely every policy finds it, and how far it is from the full cache. */
static judgeq_status continue_all(trial *t, judgeq_error *error) {
    const reading_tokens *c = &t->reading.continuation;
    const size_t most = (size_t)trial_answer_tokens(t->setup, t->sample), n = c->n_token < most ? c->n_token : most;
    t->divergence = calloc(t->n_session, sizeof *t->divergence);
    if (!t->divergence) return error_memory(error, "results");
    judgeq_status status = judgeq_session_watch(t->session[0], error);
    if (status == JUDGEQ_OK) {
        status = divergence_measure(t->setup->model, t->session, t->n_session, c->token, n, t->setup->progress,
                                    t->setup->progress_data, t->divergence, error);
    }
    for (size_t i = 0; status == JUDGEQ_OK && i < t->n_session; i++) {
        outcome_note(&t->outcome[i], t->session[i], n - 1);
    }
    return status;
}

static judgeq_status read_and_answer(trial *t, judgeq_error *error) {
    const reading_tokens *prompt = &t->reading.prompt;
    const judgeq_status status =
        judgeq_session_prefill_all(t->session, t->n_session, prompt->token, prompt->n_token, error);
    if (status != JUDGEQ_OK) return status;
    if (t->sample->continues) return continue_all(t, error);
    return t->sample->asked ? ask_all(t, error) : answer_all(t, error);
}

/* ---- the line ---------------------------------------------------------------------------------------------------- */

/* Four digits are more than a mean over a few thousand rows has. */
static double rounded(double value) {
    return round(value * 1e4) / 1e4;
}

static double mean(const double *value, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += value[i];
    return sum / (double)n;
}

/* Means over the KV heads of each layer. */
static json_t *per_layer(const trial *t, const double *value) {
    json_t *array = json_array();
    const size_t n_head = (size_t)t->target.n_head_kv;
    for (int32_t l = 0; l < t->target.n_layer; l++) {
        json_array_append_new(array, json_real(rounded(mean(value + (size_t)l * n_head, n_head))));
    }
    return array;
}

static json_t *per_head(const trial *t, const double *value) {
    json_t *array = json_array();
    for (int32_t l = 0; l < t->target.n_layer; l++) {
        json_t *heads = json_array();
        for (int32_t h = 0; h < t->target.n_head_kv; h++) {
            json_array_append_new(heads, json_real(rounded(value[l * t->target.n_head_kv + h])));
        }
        json_array_append_new(array, heads);
    }
    return array;
}

/* Hit rate and mass kept join the arm's result. */
static void add_fidelity(trial *t, const judgeq_session *session, int32_t rows, json_t *result) {
    if (!t->target.mass) {
        json_object_set_new(result, "hit_rate", json_null());
        json_object_set_new(result, "mass_kept", json_null());
        json_object_set_new(result, "layers", json_null());
        return;
    }
    const size_t n = (size_t)t->target.n_layer * (size_t)t->target.n_head_kv;
    fidelity_measure(&t->target, session, rows, t->hit_rate, t->mass_kept);
    json_object_set_new(result, "hit_rate", json_real(mean(t->hit_rate, n)));
    json_object_set_new(result, "mass_kept", json_real(mean(t->mass_kept, n)));
    json_object_set_new(
        result, "layers",
        json_pack("{s:o, s:o}", "hit_rate", per_layer(t, t->hit_rate), "mass_kept", per_layer(t, t->mass_kept)));
    if (!t->setup->heads) return;
    json_object_set_new(
        result, "heads",
        json_pack("{s:o, s:o}", "hit_rate", per_head(t, t->hit_rate), "mass_kept", per_head(t, t->mass_kept)));
}

static json_t *arm_result(trial *t, size_t index) {
    const arm *a = &t->setup->arms->arm[index];
    const size_t s = t->of_arm[index];
    const outcome *o = &t->outcome[s];
    const int32_t rows = arm_rows(a, (int32_t)reading_context(&t->reading));
    json_t *result = json_pack(
        "{s:s, s:s, s:s, s:s?, s:i, s:o, s:o, s:I, s:I, s:I, s:f}", "policy", a->policy, "policy_text",
        arm_policy_text(a), "kv_type", judgeq_kv_type_name(a->kv_type), "budget", a->budget, "rows", (int)rows, "score",
        json_finite(outcome_score(o)), "answer", json_stringn(o->said.length > 0 ? o->said.bytes : "", o->said.length),
        "completion_tokens", (json_int_t)o->n_token, "kv_bytes_held", (json_int_t)(o->bytes_held / o->n_answer),
        "kv_bytes_peak", (json_int_t)o->bytes_peak, "decode_s", o->decode_s);
    if (!result) return NULL;
    if (t->sample->asked) json_object_set(result, "scores", o->scores);
    json_object_set_new(result, "decode_tokens_per_s",
                        json_finite(t->setup->one_by_one ? (double)o->n_decoded / o->decode_s : NAN));
    add_fidelity(t, t->session[s], rows, result);
    const divergence *d = t->divergence ? &t->divergence[s] : NULL;
    json_object_set_new(result, "kl", d ? json_finite(d->kl) : json_null());
    json_object_set_new(result, "perplexity", d ? json_finite(d->perplexity) : json_null());
    if (d) json_object_set_new(result, "nll", json_finite(log(d->perplexity)));
    return result;
}

/* Bytes of a full cache at the end of the longest answer. */
static size_t full_bytes(const trial *t) {
    size_t most = 0;
    for (size_t i = 0; i < t->n_session; i++) {
        if (t->outcome[i].bytes_full > most) most = t->outcome[i].bytes_full;
    }
    return most;
}

/* The shared prefill: the full cache has nothing of its own to add to it. */
static double prefill_seconds(const trial *t) {
    judgeq_stats stats;
    judgeq_session_get_stats(t->session[0], &stats);
    return stats.prefill_s;
}

/* kl and perplexity join the results. After everything else: the sessions read the full cache's answer for it. */
static judgeq_status add_divergence(trial *t, json_t *results, judgeq_error *error) {
    divergence *d = calloc(t->n_session, sizeof *d);
    if (!d) return error_memory(error, "results");
    const judgeq_status status =
        divergence_measure(t->setup->model, t->session, t->n_session, t->answer[0].token, t->answer[0].n_first,
                           t->setup->progress, t->setup->progress_data, d, error);
    for (size_t i = 0; status == JUDGEQ_OK && i < json_array_size(results); i++) {
        json_t *result = json_array_get(results, i);
        json_object_set_new(result, "kl", json_finite(d[t->of_arm[i]].kl));
        json_object_set_new(result, "perplexity", json_finite(d[t->of_arm[i]].perplexity));
    }
    free(d);
    return status;
}

static void add_tokens(json_t *array, const reading_tokens *from) {
    for (size_t i = 0; i < from->n_token; i++) json_array_append_new(array, json_integer(from->token[i]));
}

/* What is read before anything is asked. */
static json_t *prompt_array(const reading *r) {
    json_t *array = json_array();
    add_tokens(array, &r->prompt);
    for (size_t i = 0; i < r->n_part; i++) add_tokens(array, &r->part[i]);
    return array;
}

/* The texts that are read after the messages. */
static void add_later_texts(json_t *line, const sample *s) {
    json_object_set(line, "parts", s->parts);
    json_object_set(line, "given", s->given);
    json_object_set(line, "follow_ups", s->follow_ups);
}

static judgeq_status write_line(trial *t, json_t **line, judgeq_error *error) {
    const sample *s = t->sample;
    const size_t n = (size_t)judgeq_model_get_info(t->setup->model)->n_layer *
                     (size_t)judgeq_model_get_info(t->setup->model)->n_head_kv;
    json_t *results = json_array();
    t->hit_rate = calloc(n, sizeof *t->hit_rate);
    t->mass_kept = calloc(n, sizeof *t->mass_kept);
    judgeq_status status = t->hit_rate && t->mass_kept && results ? JUDGEQ_OK : error_memory(error, "results");
    for (size_t i = 0; status == JUDGEQ_OK && i < t->setup->arms->n_arm; i++) {
        json_t *result = arm_result(t, i);
        if (!result || json_array_append_new(results, result) != 0) status = error_memory(error, "results");
    }
    if (status == JUDGEQ_OK) {
        char *question = question_of(s);
        *line = json_pack(
            "{s:s, s:s, s:s, s:s, s:o, s:s?, s:o, s:I, s:i, s:I, s:I, s:f, s:s, s:O, s:O}", "key", s->key, "task",
            s->task, "family", sample_family_name(s->family), "metric", s->continues ? "nll" : metric_name(s->metric),
            "length", s->length > 0 ? json_integer(s->length) : json_null(), "length_group", s->length_group, "depth",
            json_finite(s->depth), "seed", (json_int_t)s->seed, "index", (int)s->index, "prompt_tokens",
            (json_int_t)reading_context(&t->reading), "kv_bytes_full", (json_int_t)full_bytes(t), "prefill_s",
            prefill_seconds(t), "question", question, "references", s->references, "results", results);
        free(question);
        if (!*line) status = error_memory(error, "results");
    }
    if (status == JUDGEQ_OK && t->setup->prompts) {
        json_object_set_new(*line, "prompt", prompt_array(&t->reading));
        json_object_set(*line, "messages", s->messages);
        if (s->asked) add_later_texts(*line, s);
    }
    if (status == JUDGEQ_OK && t->setup->divergence && !s->asked && !s->continues)
        status = add_divergence(t, results, error);
    json_decref(results);
    return status;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static void trial_free(trial *t) {
    for (size_t i = 0; i < t->n_session; i++) {
        answer_free(&t->answer[i]);
        outcome_free(&t->outcome[i]);
        judgeq_session_free(t->session[i]);
    }
    judgeq_engine_free(t->engine);
    free((void *)t->session);
    free(t->params);
    free(t->answer);
    free(t->outcome);
    free(t->divergence);
    free(t->of_arm);
    free(t->hit_rate);
    free(t->mass_kept);
    fidelity_target_free(&t->target);
    reading_free(&t->reading);
}

int32_t trial_answer_tokens(const trial_setup *b, const sample *s) {
    return b->n_tokens > 0 ? b->n_tokens : s->n_tokens;
}

judgeq_status trial_check(const trial_setup *b, int32_t n_prompt, judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    for (size_t i = 0; status == JUDGEQ_OK && i < b->arms->n_arm; i++) {
        judgeq_session *session = NULL;
        arm a = b->arms->arm[i];
        if (a.share > 0 && n_prompt > 0) a.rows = arm_rows(&a, n_prompt);
        const judgeq_session_params params = params_of(b, &a, NULL);
        status = judgeq_session_new(b->model, &params, &session, error);
        judgeq_session_free(session);
    }
    return status;
}

judgeq_status trial_run(const trial_setup *b, const sample *s, json_t **line, judgeq_error *error) {
    trial t = {.setup = b, .sample = s};
    *line = NULL;
    judgeq_status status = reading_make(b->model, &b->style, s, &t.reading, error);
    if (status == JUDGEQ_OK) status = reading_check(b->model, &t.reading, trial_answer_tokens(b, s), s->key, error);
    if (status == JUDGEQ_OK) status = open_sessions(&t, error);
    if (status == JUDGEQ_OK) status = read_and_answer(&t, error);
    if (status == JUDGEQ_OK) {
        status = fidelity_target_make(b->model, t.session[0], (int32_t)reading_context(&t.reading), &t.target, error);
    }
    if (status == JUDGEQ_OK) status = write_line(&t, line, error);
    trial_free(&t);
    return status;
}
