#include "ask.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* ---- the answer -------------------------------------------------------------------------------------------------- */

static void read_stops(const fields *f, ask *a) {
    const json_t *stop = fields_get(f, "stop");
    if (!stop) return;
    const size_t n = json_is_array(stop) ? json_array_size(stop) : 1;
    if (n > ASK_STOPS_MOST) {
        fields_wrong(f, "stop", "up to %d texts", ASK_STOPS_MOST);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const json_t *text = json_is_array(stop) ? json_array_get(stop, i) : stop;
        if (!json_is_string(text) || json_string_length(text) == 0) {
            fields_wrong(f, "stop", "expected a text, or an array of texts, none of them empty");
            return;
        }
        a->stop[a->n_stop++] = json_string_value(text);
    }
}

/* Any whole number will do; the sampler's has 32 bits. */
static void read_seed(const fields *f, ask *a) {
    const json_t *seed = fields_get(f, "seed");
    const bool whole = json_is_integer(seed);
    const json_int_t given = whole ? json_integer_value(seed) : -1; /* -1: any, as elsewhere */
    a->seeded = given != -1;
    if (seed && !whole) fields_wrong(f, "seed", "expected a whole number");
    if (a->seeded) {
        const uint64_t bits = (uint64_t)given;
        a->sampler.seed = (uint32_t)(bits ^ bits >> 32);
    } else if (getrandom(&a->sampler.seed, sizeof a->sampler.seed, GRND_NONBLOCK) < 0) {
        a->sampler.seed = 0;
    }
}

/* {"TOKEN": bias}. False: it is none. */
static bool read_bias(const service *s, const char *key, const json_t *value, judgeq_logit_bias *out) {
    char *end = NULL;
    const bool digits = *key >= '0' && *key <= '9';
    const long token = strtol(key, &end, 10);
    const double bias = json_number_value(value);
    const bool good = digits && *end == '\0' && token < judgeq_model_get_info(s->model)->n_vocab &&
                      json_is_number(value) && bias >= -100 && bias <= 100;
    *out = (judgeq_logit_bias){.token = good ? (int32_t)token : 0, .bias = (float)bias};
    return good;
}

static void read_biases(const service *s, const fields *f, ask *a) {
    const fields biases = fields_object(f, "logit_bias");
    const size_t n = json_object_size(biases.object);
    const char *key;
    json_t *value;
    if (n > ASK_BIASES_MOST) fields_wrong(f, "logit_bias", "up to %d tokens", ASK_BIASES_MOST);
    if (n == 0 || f->fault->status != 0) return;
    a->bias = calloc(n, sizeof *a->bias);
    if (!a->bias) {
        reply_no_memory(f->fault);
        return;
    }
    json_object_foreach((json_t *)biases.object, key, value) {
        if (read_bias(s, key, value, &a->bias[a->sampler.n_biases++])) continue;
        fields_wrong(f, "logit_bias",
                     "expected numbers from -100 to 100 by tokens of the vocabulary: {\"1234\": -100}");
        break;
    }
    a->sampler.biases = a->bias;
}

static void read_sampler(const service *s, const fields *f, ask *a) {
    a->sampler.model = s->model;
    fields_float(f, "temperature", 0, 100, &a->sampler.temperature);
    fields_float(f, "top_p", 0, 1, &a->sampler.top_p);
    fields_float(f, "min_p", 0, 1, &a->sampler.min_p);
    fields_int32(f, "top_k", -1, INT32_MAX, &a->sampler.top_k); /* -1: off, as elsewhere */
    if (a->sampler.top_k < 0) a->sampler.top_k = 0;
    read_seed(f, a);
    fields_float(f, "repeat_penalty", 0, 100, &a->sampler.repeat_penalty);
    fields_float(f, "repetition_penalty", 0, 100, &a->sampler.repeat_penalty);
    fields_float(f, "presence_penalty", -100, 100, &a->sampler.presence_penalty);
    fields_float(f, "frequency_penalty", -100, 100, &a->sampler.frequency_penalty);
    read_biases(s, f, a);
}

void ask_refuse(const fields *f, const char *name, const char *why) {
    const json_t *value = fields_get(f, name);
    if (!value || json_is_false(value)) return;
    if (json_is_number(value) && json_number_value(value) == 0) return;
    if (json_is_string(value) && json_string_length(value) == 0) return;
    if (json_is_array(value) && json_array_size(value) == 0) return;
    if (json_is_object(value) && json_object_size(value) == 0) return;
    fields_wrong(f, name, "%s", why);
}

/* ---- our own ----------------------------------------------------------------------------------------------------- */

/* 256, "256" or "10%". */
static void read_budget(const fields *f, ask *a) {
    const json_t *value = fields_get(f, "budget");
    if (!value) return;
    if (json_is_string(value)) {
        const char *text = json_string_value(value);
        char *end = NULL;
        const double number = strtod(text, &end);
        const bool digits = text[0] >= '0' && text[0] <= '9';
        if (digits && strcmp(end, "%") == 0 && number > 0 && number <= 100) a->share = number / 100;
        if (digits && *end == '\0' && number >= 1 && number <= INT32_MAX / 2 && number == floor(number)) {
            a->rows = (int32_t)number;
        }
    } else if (json_is_integer(value) && json_integer_value(value) >= 1 && json_integer_value(value) <= INT32_MAX / 2) {
        a->rows = (int32_t)json_integer_value(value);
    }
    if (a->rows == 0 && a->share == 0) {
        fields_wrong(f, "budget", "expected rows, a whole number from 1, or a share of the prompt, \"10%%\"");
    }
}

static void read_context(const service *s, const fields *f, ask *a) {
    const char *name = NULL;
    fields_text(f, "context", &name);
    if (!name) return;
    if (!s->contexts) {
        fields_wrong(f, "context", "this server has no contexts: judgeq serve --context-dir DIR gives it some");
    } else if (!contexts_is_name(name)) { /* not a path: nothing outside of the folder can be reached by it */
        fields_wrong(f, "context", "expected the name of a file, of letters, digits, \".\", \"_\" and \"-\"");
    } else if (a->policy || a->rows != 0 || a->share != 0) {
        fields_wrong(f, "context", "brings its own policy and budget: give neither");
    } else if (!(a->file = contexts_use(s->contexts, name))) {
        fields_wrong(
            f, "context",
            "no file of this name is in --context-dir; judgeq ingest makes one, and so does POST /v1/contexts. Of a "
            "compaction that is gone, send the items that it was made of");
    } else {
        a->context = context_file_path(a->file);
    }
}

static void refuse_others(const fields *own) {
    static const char *const known[] = {"policy", "budget", "context", "kept"};
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)own->object, name, value) {
        size_t i = 0;
        while (i < sizeof known / sizeof *known && strcmp(name, known[i]) != 0) i++;
        if (i == sizeof known / sizeof *known) fields_wrong(own, name, "there are policy, budget, context and kept");
    }
}

static void read_own(const service *s, const fields *f, ask *a) {
    fields own = fields_object(f, "judgeq");
    if (!own.object) return;
    own.within = "judgeq.";
    refuse_others(&own);
    fields_text(&own, "policy", &a->policy);
    read_budget(&own, a);
    read_context(s, &own, a);
    fields_bool(&own, "kept", &a->kept);
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

void ask_read(const service *s, const fields *f, ask *out) {
    *out = (ask){.n = 1, .sampler = s->sampler, .n_answer = s->n_answer, .logprobs = -1};
    fields_int32(f, "n", 1, ASK_ANSWERS_MOST, &out->n);
    fields_bool(f, "stream", &out->stream);
    const fields stream = fields_object(f, "stream_options");
    fields_bool(&stream, "include_usage", &out->include_usage);
    read_sampler(s, f, out);
    read_stops(f, out);
    fields_int32(f, "max_tokens", 0, INT32_MAX, &out->n_answer);
    fields_int32(f, "max_completion_tokens", 0, INT32_MAX, &out->n_answer);
    if (out->n_answer > s->n_ctx) out->n_answer = s->n_ctx; /* where it ends */
    read_own(s, f, out);
}

void ask_keep(ask *a, json_t *given, json_t *body) {
    a->given = json_incref(given);
    a->body = json_incref(body);
}

void ask_free(ask *a) {
    json_decref(a->given);
    json_decref(a->body);
    a->given = a->body = NULL;
    free(a->bias);
    a->bias = NULL;
    contexts_release(a->file);
    contexts_release(a->made);
    a->file = a->made = NULL;
    a->context = NULL;
    shared_plan_release(a->plan);
    a->plan = NULL;
}

void ask_budget(const service *s, const ask *a, int32_t *rows, double *share) {
    const char *policy = a->policy ? a->policy : s->policy;
    const bool given = a->rows != 0 || a->share != 0, none = policy && strcmp(policy, "full") == 0;
    *rows = none ? 0 : given ? a->rows : s->rows;
    *share = none ? 0 : given ? a->share : s->share;
}

worker_request ask_request(const ask *a, const int32_t *tokens, size_t n, int32_t index) {
    worker_request request = {.tokens = tokens,
                              .n_tokens = n,
                              .context = a->context,
                              .policy = a->policy,
                              .rows = a->rows,
                              .share = a->share,
                              .sampler = a->sampler,
                              .plan = a->plan,
                              .n_answer = a->n_answer,
                              .stop = a->stop,
                              .n_stop = a->n_stop,
                              .save = a->save,
                              .forget = a->save != NULL,
                              .logprobs = a->logprobs,
                              .kept = a->kept};
    request.sampler.seed += (uint32_t)index; /* so that the answers differ */
    return request;
}
