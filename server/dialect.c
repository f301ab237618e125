#include "dialect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/context.h"
#include "chat_plan.h"
#include "chat_prompt.h"
#include "dialect_input.h"
#include "openai.h"

/* ---- what the plan reads in an answer ---------------------------------------------------------------------------- */

/* Of all of it, or of what there is so far; NULL where that cannot be read. */
static judgeq_reply *read_reply(const exchange *e, const exchange_answer *a, bool partial) {
    char ids[64];
    judgeq_reply *reply = NULL;
    snprintf(ids, sizeof ids, "%s_%zu_", e->id + strlen(e->shape->id), a->index);
    const char *text = a->text.bytes ? a->text.bytes : "";
    judgeq_chat_plan_parse(shared_plan_get(e->ask.plan), text, a->text.length, partial, ids, &reply, NULL);
    return reply;
}

/* One that was cut off, or is not in the format, is read as far as it goes. */
static judgeq_reply *read_whole(const exchange *e, const exchange_answer *a) {
    judgeq_reply *reply = read_reply(e, a, false);
    return reply ? reply : read_reply(e, a, true);
}

/* ---- blocks ------------------------------------------------------------------------------------------------------ */

/* Whoever is told something of blocks; NULL where nobody is, as the answer is given as a whole. */
static const dialect *listener(const exchange *e) {
    return e->ask.stream ? (const dialect *)e->shape : NULL;
}

static void tell(exchange *e, exchange_answer *a, chat_block *b) {
    const dialect *d = listener(e);
    if (!b->told && d && d->open) d->open(e, a, b);
    b->told = true;
}

static void close_last(exchange *e, exchange_answer *a) {
    const dialect *d = listener(e);
    chat_block *last = a->chat.n > 0 ? &a->chat.block[a->chat.n - 1] : NULL;
    if (!last || last->closed) return;
    tell(e, a, last);
    last->closed = true;
    if (d && d->close) d->close(e, a, last);
}

/* The block that goes on, or a new one; NULL without memory. */
static chat_block *block_of(exchange *e, exchange_answer *a, chat_kind kind, size_t call) {
    chat_block *last = chat_blocks_last(&a->chat, kind, call);
    if (last && !last->closed) return last;
    close_last(e, a);
    return chat_blocks_add(&a->chat, kind, call);
}

static void add(exchange *e, exchange_answer *a, chat_block *b, const char *text, size_t n) {
    const dialect *d = listener(e);
    if (!b || n == 0) return;
    tell(e, a, b);
    text_add(&b->text, text, n);
    a->chat.failed = a->chat.failed || b->text.failed;
    if (d && d->add) d->add(e, a, b, text, n);
}

/* A call is told with its first argument: name and id may come in parts before. */
static void set_text(exchange_answer *a, char **to, const char *text) {
    if (!text || !text[0]) return;
    free(*to);
    *to = strdup(text);
    a->chat.failed = a->chat.failed || !*to;
}

static void add_delta(exchange *e, exchange_answer *a, const judgeq_reply_delta *d) {
    if (d->reasoning[0]) add(e, a, block_of(e, a, CHAT_THOUGHTS, 0), d->reasoning, strlen(d->reasoning));
    if (d->content[0]) add(e, a, block_of(e, a, CHAT_TEXT, 0), d->content, strlen(d->content));
    if (!d->has_call) return;
    chat_block *call = block_of(e, a, CHAT_CALL, d->call);
    if (!call) return;
    set_text(a, &call->id, d->id);
    set_text(a, &call->name, d->name);
    if (d->arguments) add(e, a, call, d->arguments, strlen(d->arguments));
}

/* What `reply` has more than the one before, which it replaces. Where it is no continuation of that, what comes next
 * shows what it means. */
static void advance(exchange *e, exchange_answer *a, judgeq_reply *reply) {
    judgeq_reply_delta *deltas = NULL;
    size_t n = 0;
    if (!reply || judgeq_reply_deltas(a->chat.reply, reply, &deltas, &n, NULL) != JUDGEQ_OK) {
        judgeq_reply_free(reply);
        return;
    }
    for (size_t i = 0; i < n; i++) add_delta(e, a, &deltas[i]);
    judgeq_free(deltas);
    judgeq_reply_free(a->chat.reply);
    a->chat.reply = reply;
}

static void fail_without_memory(exchange *e, const exchange_answer *a) {
    const judgeq_error error = {JUDGEQ_ERROR_MEMORY, "out of memory for an answer"};
    if (a->chat.failed) reply_failed(&e->fault, error.code, &error);
}

void dialect_more(exchange *e, exchange_answer *a, const char *text, size_t n, const json_t *logprobs) {
    (void)logprobs;
    if (e->ask.parsed) {
        advance(e, a, read_reply(e, a, true));
    } else {
        add(e, a, block_of(e, a, CHAT_TEXT, 0), text, n);
    }
    fail_without_memory(e, a);
}

void dialect_end(exchange *e, exchange_answer *a) {
    if (e->ask.parsed) {
        advance(e, a, read_whole(e, a));
    } else if (!e->ask.stream && a->text.length > 0) {
        add(e, a, block_of(e, a, CHAT_TEXT, 0), a->text.bytes, a->text.length);
    }
    close_last(e, a);
    fail_without_memory(e, a);
}

bool dialect_calls_tools(const exchange_answer *a) {
    return a->chat.n_calls > 0 && strcmp(exchange_finish(a), "stop") == 0;
}

/* ---- the request ------------------------------------------------------------------------------------------------- */

json_t *dialect_common_fields(const fields *given) {
    static const char *const names[] = {"temperature",
                                        "top_p",
                                        "top_k",
                                        "min_p",
                                        "seed",
                                        "stream",
                                        "repeat_penalty",
                                        "presence_penalty",
                                        "frequency_penalty",
                                        "logit_bias",
                                        "parallel_tool_calls",
                                        "chat_template_kwargs",
                                        "grammar",
                                        "judgeq"};
    json_t *common = json_object();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        json_t *value = fields_get(given, names[i]);
        if (value) json_object_set(common, names[i], value);
    }
    return common;
}

static bool copy_tokens(const judgeq_chat_plan_info *info, exchange_prompt *prompt, reply_fault *fault) {
    prompt->tokens = malloc(info->n_tokens * sizeof *prompt->tokens + 1);
    if (!prompt->tokens) return reply_no_memory(fault);
    if (info->n_tokens > 0) memcpy(prompt->tokens, info->tokens, info->n_tokens * sizeof *prompt->tokens);
    prompt->n = info->n_tokens;
    return true;
}

static bool read_prompt(const service *s, const fields *f, chat_messages *m, bool closed, ask *a,
                        exchange_prompt *prompt) {
    m->goes_on = m->goes_on && !closed;
    if (m->goes_on && chat_plan_needed(f)) {
        return fields_wrong(f, "messages",
                            "an answer that is gone on with, at the end, goes neither with tools nor "
                            "with a format or a grammar");
    }
    if (m->goes_on) {
        if (!chat_messages_tokens(s, m, &prompt->tokens, &prompt->n, f->fault)) return false;
    } else {
        const judgeq_chat_plan_info *info = chat_plan_make(s, f, m, closed, a);
        if (!info || !copy_tokens(info, prompt, f->fault)) return false;
    }
    return true;
}

static bool read_after_document(const service *s, const fields *f, chat_messages *m, bool closed, ask *a,
                                exchange_prompt *prompt) {
    return chat_messages_put_document(m, f->fault) && read_prompt(s, f, m, closed, a, prompt) &&
           chat_messages_cut_document(s, m, prompt->tokens, &prompt->n, f->fault);
}

/* ---- after turns that were read before --------------------------------------------------------------------------- */

/* False, and a fault, where it cannot be said: turns that were taken for a document would be read as nothing was meant.
 */
static bool find_turns(const service *s, const ask *a, bool *turns, reply_fault *fault) {
    const judgeq_error gone = {JUDGEQ_ERROR_IO, "judgeq.context: the file cannot be read any more"};
    context_info info = {.status = gone.code, .error = gone};
    *turns = false;
    if (!a->context) return true;
    contexts_get(s->contexts, context_file_name(a->file), &info);
    *turns = strcmp(info.snapshot.label, CONTEXT_TURNS) == 0;
    reply_failed(fault, info.status, &info.error);
    reply_hide_folder(fault, a->context);
    return info.status == JUDGEQ_OK;
}

/* The inner form's request with other messages: those of `first`, and where `all`, its own after them. */
static json_t *with_messages(const fields *f, const json_t *first, bool all) {
    json_t *request = json_copy((json_t *)f->object), *messages = json_copy((json_t *)first);
    if (all) json_array_extend(messages, json_object_get(f->object, "messages"));
    json_object_set_new(request, "messages", messages);
    return request;
}

static bool read_messages(const service *s, json_t *request, bool closed, reply_fault *fault, ask *a,
                          exchange_prompt *prompt) {
    const fields f = {.object = request, .within = "", .fault = fault};
    chat_messages messages;
    chat_messages_read(s, &f, &messages);
    const bool good = fault->status == 0 && read_prompt(s, &f, &messages, closed, a, prompt);
    chat_messages_free(&messages);
    json_decref(request);
    return good;
}

/* What the template makes of the messages after turns that stand for those of the context. *fits: the turns are the
 * beginning of the whole, so that the rest can be cut off. */
static bool read_after(const service *s, const fields *f, const json_t *turns, bool closed, ask *a,
                       exchange_prompt *prompt, bool *fits) {
    ask only = {.n_answer = 0};
    exchange_prompt before = {0};
    const bool good = read_messages(s, with_messages(f, turns, false), true, f->fault, &only, &before) &&
                      read_messages(s, with_messages(f, turns, true), closed, f->fault, a, prompt);
    *fits = good && before.n < prompt->n && memcmp(before.tokens, prompt->tokens, before.n * sizeof(int32_t)) == 0;
    if (*fits) {
        prompt->n -= before.n;
        memmove(prompt->tokens, prompt->tokens + before.n, prompt->n * sizeof(int32_t));
    }
    judgeq_free(before.tokens);
    ask_free(&only);
    return good;
}

/* Templates ask for turns that alternate, and the context's last message may be anybody's: an answer that comes next
 * follows what stands for a user's message, and all else first what stands for one and an answer. Some write an answer
 * at the end in another way than one that is followed by more. */
static void make_turns(const fields *f, json_t *turns[2]) {
    const json_t *next = json_array_get(json_object_get(f->object, "messages"), 0);
    const char *role = input_text_at(next, "role");
    const bool answered = role && strcmp(role, "assistant") == 0;
    turns[answered ? 0 : 1] = json_pack("[{s:s, s:s}]", "role", "user", "content", "k");
    turns[answered ? 1 : 0] =
        json_pack("[{s:s, s:s}, {s:s, s:s}]", "role", "user", "content", "k", "role", "assistant", "content", "k");
}

static bool read_after_turns(const service *s, const fields *f, bool closed, ask *a, exchange_prompt *prompt) {
    json_t *turns[2];
    const ask before = *a;
    reply_fault fault[2] = {{0}, {0}}; /* of the template, perhaps, which then takes the other */
    bool fits = false, rendered = false;
    make_turns(f, turns);
    for (size_t i = 0; i < 2 && !fits; i++) {
        const fields tried = {.object = f->object, .within = f->within, .fault = &fault[i]};
        if (i > 0) {
            shared_plan_release(a->plan);
            judgeq_free(prompt->tokens);
            *prompt = (exchange_prompt){0};
            *a = before;
        }
        rendered = read_after(s, &tried, turns[i], closed, a, prompt, &fits) || rendered;
    }
    for (size_t i = 0; i < 2; i++) json_decref(turns[i]);
    if (!fits && !rendered) *f->fault = fault[0];
    if (!fits && rendered) {
        reply_wrong(f->fault, "messages", "the chat template does not let a conversation that was compacted go on");
    }
    return fits;
}

void dialect_read_logprobs(const fields *f, ask *a) {
    bool wanted = false;
    int32_t n = 0;
    fields_bool(f, "logprobs", &wanted);
    fields_int32(f, "top_logprobs", 0, ASK_TOP_LOGPROBS_MOST, &n);
    if (n > 0 && !wanted) fields_wrong(f, "top_logprobs", "goes with \"logprobs\": true only");
    if (wanted) a->logprobs = n;
}

/* Of the inner form. */
static bool read_inner(const service *s, const fields *f, bool closed, ask *a, exchange_prompt *prompt) {
    chat_messages messages;
    dialect_read_logprobs(f, a);
    bool turns = false;
    if (f->fault->status != 0 || !find_turns(s, a, &turns, f->fault)) return false;
    if (turns) return read_after_turns(s, f, closed, a, prompt);
    chat_messages_read(s, f, &messages);
    const bool good = f->fault->status == 0 && (a->context ? read_after_document(s, f, &messages, closed, a, prompt)
                                                           : read_prompt(s, f, &messages, closed, a, prompt));
    chat_messages_free(&messages);
    return good && f->fault->status == 0;
}

void dialect_rename_fault(const dialect *d, reply_fault *fault) {
    for (size_t i = 0; i < d->n_names; i++) {
        const char *inner = d->names[i].inner, *outer = d->names[i].outer;
        const size_t n = strlen(inner);
        if (strcmp(fault->param, inner) != 0) continue;
        snprintf(fault->param, sizeof fault->param, "%s", outer);
        if (strncmp(fault->message, inner, n) != 0 || fault->message[n] != ':') return;
        reply_fault renamed = *fault;
        snprintf(renamed.message, sizeof renamed.message, "%s%.*s", outer, 500, fault->message + n);
        *fault = renamed;
        return;
    }
}

bool dialect_read(const service *s, const dialect *d, json_t *body, ask *a, exchange_prompt *prompt,
                  reply_fault *fault) {
    const fields given = {.object = body, .within = "", .fault = fault};
    json_t *inner = d->inner ? d->inner(&given) : json_incref(body);
    const fields f = {.object = inner, .within = "", .fault = fault};
    if (!inner) return fault->status != 0 ? false : reply_no_memory(fault);
    ask_read(s, &f, a);
    ask_keep(a, body, inner);
    const bool good = read_inner(s, &f, d->closed, a, prompt);
    json_decref(inner);
    if (!good) dialect_rename_fault(d, fault);
    return good;
}

void dialect_run_body(http_request *request, const dialect *d, json_t *body, reply_fault *fault) {
    ask a = {0};
    exchange_prompt *prompt = calloc(1, sizeof *prompt);
    const bool good = prompt && body && dialect_read(http_data(request), d, body, &a, prompt, fault);
    json_decref(body);
    exchange_run(request, &d->shape, good, &a, prompt, 1, fault);
}

void dialect_run(http_request *request, const dialect *d) {
    reply_fault fault = {0};
    json_t *body = openai_body(request, &fault);
    dialect_run_body(request, d, body, &fault);
}
