/* openai_completions: POST /v1/completions, with a text or tokens as the prompt. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/utf8.h"
#include "chat_prompt.h"
#include "exchange.h"
#include "openai.h"
#include "tokens.h"

/* ---- answers ----------------------------------------------------------------------------------------------------- */

/* The older form: an array per kind. *offset: characters before these tokens. */
static json_t *logprobs_of(const json_t *list, size_t *offset) {
    json_t *tokens = json_array(), *likely = json_array(), *tops = json_array(), *offsets = json_array(), *token, *top;
    size_t i, k;
    json_array_foreach((json_t *)list, i, token) {
        const json_t *text = json_object_get(token, "token");
        json_t *others = json_object();
        json_array_foreach(json_object_get(token, "top_logprobs"), k, top) {
            json_object_set(others, json_string_value(json_object_get(top, "token")), json_object_get(top, "logprob"));
        }
        json_array_append(tokens, (json_t *)text);
        json_array_append(likely, json_object_get(token, "logprob"));
        json_array_append_new(tops, others);
        json_array_append_new(offsets, json_integer((json_int_t)*offset));
        const char *bytes = json_string_value(text);
        for (size_t at = 0; at < json_string_length(text); at++) *offset += ((unsigned char)bytes[at] & 0xc0) != 0x80;
    }
    return json_pack("{s:o, s:o, s:o, s:o}", "tokens", tokens, "token_logprobs", likely, "top_logprobs", tops,
                     "text_offset", offsets);
}

static json_t *choice_of(const exchange_answer *a, const char *text, size_t n, json_t *logprobs, const char *finish) {
    return json_pack("{s:i, s:s%, s:o, s:s?}", "index", (int)a->index, "text", text, n, "logprobs",
                     logprobs ? logprobs : json_null(), "finish_reason", finish);
}

static void send(exchange *e, const exchange_answer *a, json_t *choice, bool ended) {
    json_t *chunk = openai_chunk(e, "text_completion", choice);
    if (chunk && ended) json_object_set_new(chunk, "judgeq", exchange_kept(e, a));
    exchange_send(e, chunk);
}

/* `a` has these tokens already. */
static size_t offset_before(const exchange_answer *a, const json_t *logprobs) {
    size_t offset = 0;
    const size_t n = json_array_size(a->logprobs) - json_array_size(logprobs);
    for (size_t i = 0; i < n; i++) {
        const json_t *text = json_object_get(json_array_get(a->logprobs, i), "token");
        const char *bytes = json_string_value(text);
        for (size_t at = 0; at < json_string_length(text); at++) offset += ((unsigned char)bytes[at] & 0xc0) != 0x80;
    }
    return offset;
}

static void more(exchange *e, exchange_answer *a, const char *text, size_t n, const json_t *logprobs) {
    size_t offset = logprobs ? offset_before(a, logprobs) : 0;
    send(e, a, choice_of(a, text, n, logprobs ? logprobs_of(logprobs, &offset) : NULL, NULL), false);
}

static void end(exchange *e, exchange_answer *a) {
    send(e, a, choice_of(a, "", 0, NULL, exchange_finish(a)), true);
}

static void last(exchange *e) {
    openai_stream_end(e, "text_completion");
}

static json_t *whole(exchange *e) {
    json_t *choices = json_array();
    for (size_t i = 0; i < e->n_answer; i++) {
        const exchange_answer *a = &e->answer[i];
        size_t offset = 0;
        json_t *logprobs = a->logprobs ? logprobs_of(a->logprobs, &offset) : NULL;
        json_t *choice = choice_of(a, a->text.bytes ? a->text.bytes : "", a->text.length, logprobs, exchange_finish(a));
        openai_add_choice(e, choices, choice, a);
    }
    return openai_answer(e, "text_completion", choices);
}

static const exchange_shape SHAPE = {
    .id = "cmpl-", .more = more, .end = end, .last = last, .fail = openai_stream_fail, .whole = whole};

/* ---- the prompts ------------------------------------------------------------------------------------------------- */

static bool read_prompt(const service *s, const fields *f, const json_t *prompt, bool follows, exchange_prompt *out) {
    if (json_is_string(prompt)) return chat_prompt_raw(s, prompt, follows, &out->tokens, &out->n, f->fault);
    out->tokens = tokens_of_json(s->model, prompt, &out->n);
    if (out->tokens) return true;
    return fields_wrong(f, "prompt", "expected a text, tokens of the vocabulary, or an array of these");
}

static bool add_echo(const service *s, exchange_prompt *prompt, const json_t *given) {
    if (json_is_string(given)) {
        prompt->echo = strdup(json_string_value(given));
    } else {
        prompt->echo = tokens_text(s->model, prompt->tokens, prompt->n);
    }
    return prompt->echo != NULL;
}

static void read_prompts(const service *s, const fields *f, const ask *a, exchange_prompt **prompts, size_t *n) {
    const json_t *given = fields_get(f, "prompt");
    bool echo = false;
    fields_bool(f, "echo", &echo);
    if (echo && a->logprobs >= 0) fields_wrong(f, "echo", "does not go with logprobs");
    const json_t *first = json_array_get(given, 0);
    const bool several = json_is_string(first) || json_is_array(first);
    if (!given) fields_wrong(f, "prompt", "is missing");
    *n = several ? json_array_size(given) : 1;
    if (*n > EXCHANGE_ANSWERS_MOST) fields_wrong(f, "prompt", "up to %d prompts at once", EXCHANGE_ANSWERS_MOST);
    if (f->fault->status != 0) {
        *n = 0;
        return;
    }
    *prompts = calloc(*n, sizeof **prompts);
    if (!*prompts) *n = 0;
    for (size_t i = 0; i < *n && f->fault->status == 0; i++) {
        const json_t *one = several ? json_array_get(given, i) : given;
        if (!read_prompt(s, f, one, a->context != NULL, &(*prompts)[i])) return;
        if (echo && !add_echo(s, &(*prompts)[i], one)) reply_no_memory(f->fault);
    }
}

bool openai_completions_read(const service *s, json_t *body, ask *a, exchange_prompt **prompts, size_t *n,
                             reply_fault *fault) {
    const fields f = {.object = body, .within = "", .fault = fault};
    int32_t best_of = 0;
    *prompts = NULL;
    *n = 0;
    ask_read(s, &f, a);
    ask_keep(a, body, body);
    const json_t *logprobs = fields_get(&f, "logprobs");
    if (json_is_true(logprobs))
        a->logprobs = 0; /* as in the chat's API */
    else if (logprobs && !json_is_false(logprobs)) {
        fields_int32(&f, "logprobs", 0, ASK_TOP_LOGPROBS_MOST, &a->logprobs);
    }
    fields_int32(&f, "best_of", 1, ASK_ANSWERS_MOST, &best_of);
    if (best_of > a->n) fields_wrong(&f, "best_of", "is not done: give n");
    ask_refuse(&f, "suffix", "is not done: the model writes what follows a prompt only");
    ask_refuse(&f, "grammar", "is not done here: ask for it in the chat's API");
    const char *form = json_string_value(json_object_get(fields_get(&f, "response_format"), "type"));
    if (!form || strcmp(form, "text") != 0) {
        ask_refuse(&f, "response_format", "is not done here: ask for it in the chat's API");
    }
    read_prompts(s, &f, a, prompts, n);
    if (!*prompts && fault->status == 0) reply_no_memory(fault);
    return fault->status == 0;
}

void openai_completions(http_request *request) {
    const service *s = http_data(request);
    reply_fault fault = {0};
    ask a = {0};
    exchange_prompt *prompts = NULL;
    size_t n = 0;
    json_t *body = openai_body(request, &fault);
    const bool good = body && openai_completions_read(s, body, &a, &prompts, &n, &fault);
    json_decref(body);
    exchange_run(request, &SHAPE, good, &a, prompts, n, &fault);
}
