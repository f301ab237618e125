/* A turn of a conversation: read, answered, told. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "chat.h"
#include "exit_status.h"
#include "interrupt.h"
#include "response_out.h"
#include "run_report.h"
#include "say.h"

/* ---- reading ----------------------------------------------------------------------------------------------------- */

judgeq_status chat_read(chat *c, size_t n_tokens, judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    bool done = n_tokens == 0;
    progress_begin(&c->progress, (int64_t)n_tokens, c->options.quiet);
    while (status == JUDGEQ_OK && !done) status = conversation_ask_step(&c->talk, &done, error);
    progress_end(&c->progress);
    if (status != JUDGEQ_ERROR_CANCELLED) return status;
    return error_set(error, JUDGEQ_ERROR_CANCELLED, "stopped while reading: the conversation is what it was");
}

/* ---- failures ---------------------------------------------------------------------------------------------------- */

static void advise(const chat *c) {
    if (c->options.session.unbounded) {
        say("a smaller text would fit");
    } else {
        say("the context of this conversation is too short for it: a smaller text, /undo or /reset make room, and "
            "judgeq chat --unbounded has no end");
    }
}

/* What cannot be got over: no memory, no device, nowhere to write to, or a request to end. */
static bool is_the_end(const chat *c, judgeq_status status) {
    if (status == JUDGEQ_ERROR_CANCELLED) return !c->editor || !interrupt_take();
    return status == JUDGEQ_ERROR_MEMORY || status == JUDGEQ_ERROR_BACKEND || ferror(stdout);
}

void chat_failed(chat *c, judgeq_status status, const judgeq_error *error) {
    say("%s", error->message);
    if (status == JUDGEQ_ERROR_LIMIT) advise(c);
    const int code = exit_status(status);
    c->ended = is_the_end(c, status);
    if (c->status == 0 && (c->ended || !c->editor)) c->status = code;
}

/* ---- what is told ------------------------------------------------------------------------------------------------ */

int64_t chat_rows_held(const chat *c) {
    const judgeq_model_info *info = judgeq_model_get_info(c->model);
    const int64_t n_head = (int64_t)info->n_layer * info->n_head_kv;
    int64_t rows = 0;
    for (int32_t l = 0; l < info->n_layer; l++) {
        for (int32_t h = 0; h < info->n_head_kv; h++) {
            size_t n;
            (void)judgeq_session_positions(c->talk.session, l, h, &n);
            rows += (int64_t)n;
        }
    }
    return (rows + n_head / 2) / n_head;
}

/* Counts and times of the turn; what is held is what is held. */
static judgeq_stats since(const judgeq_stats *before, const judgeq_stats *now) {
    judgeq_stats turn = *now;
    turn.n_prompt -= before->n_prompt;
    turn.n_decoded -= before->n_decoded;
    turn.prefill_s -= before->prefill_s;
    turn.embed_s -= before->embed_s;
    turn.blocks_s -= before->blocks_s;
    turn.score_s -= before->score_s;
    turn.compact_s -= before->compact_s;
    turn.lookahead_s -= before->lookahead_s;
    turn.decode_s -= before->decode_s;
    turn.rejudge_s -= before->rejudge_s;
    return turn;
}

static const char *end_text(const generation *g) {
    switch (g->end) {
    case GENERATION_LENGTH:
        return "; cut short by -n";
    case GENERATION_CONTEXT:
        return "; ended because the context is full: /undo or /reset make room, and --unbounded has no end";
    case GENERATION_CANCELLED:
        return "; stopped";
    default:
        return "";
    }
}

static void say_status(const chat *c, const judgeq_stats *turn, const generation *g) {
    char seen[32], rows[32], held[32], n_read[32], n_written[32];
    progress_count(seen, sizeof seen, turn->n_position);
    progress_count(rows, sizeof rows, chat_rows_held(c));
    say("%s tokens seen, %s rows held, %s; read %s at %.0f/s, wrote %s at %.1f/s; chose again %lld time%s%s", seen,
        rows, report_megabytes(held, sizeof held, turn->kv_bytes_held),
        progress_count(n_read, sizeof n_read, turn->n_prompt), report_per_second(turn->n_prompt, turn->prefill_s),
        progress_count(n_written, sizeof n_written, (int64_t)g->n_token),
        report_per_second(turn->n_decoded, turn->decode_s), (long long)turn->n_rejudged,
        turn->n_rejudged == 1 ? "" : "s", end_text(g));
}

static judgeq_status print_json(const chat *c, const judgeq_stats *turn, const generation *g, judgeq_error *error) {
    const report_source source = {.model_path = c->model_path,
                                  .judge_path = c->method.found.path,
                                  .policy = c->method.policy,
                                  .load_s = c->load_s};
    json_t *object = report_object(&source, turn, g);
    if (!object) return error_memory(error, "an answer in JSON");
    json_object_set_new(object, "tokens_seen", json_integer(turn->n_position));
    json_object_set_new(object, "rows_held", json_integer(chat_rows_held(c)));
    const bool written = say_json(object, JSON_REAL_PRECISION(9)) && fflush(stdout) == 0;
    json_decref(object);
    return written ? JUDGEQ_OK
                   : error_set(error, JUDGEQ_ERROR_IO, "cannot write to standard output: %s", strerror(errno));
}

static judgeq_status tell(const chat *c, const judgeq_stats *before, const generation *g, judgeq_error *error) {
    judgeq_stats now;
    judgeq_session_get_stats(c->talk.session, &now);
    const judgeq_stats turn = since(before, &now);
    const judgeq_status status = c->options.json ? print_json(c, &turn, g, error) : JUDGEQ_OK;
    if (!c->options.quiet) say_status(c, &turn, g);
    return status;
}

/* ---- the answer -------------------------------------------------------------------------------------------------- */

static bool go_on(void *data) {
    (void)data;
    return !interrupt_seen();
}

static judgeq_status begin(chat *c, double started, response_out *out, generation *g, judgeq_error *error) {
    const options *o = &c->options;
    const generation_params params = {.sampler = c->sampler,
                                      .stop = o->stop,
                                      .n_stop = o->n_stop,
                                      .n_tokens = o->n_tokens,
                                      .n_ctx = session_choices_length(&o->session),
                                      .n_before = conversation_seen(&c->talk),
                                      .logprobs = -1,
                                      .started = started,
                                      .put = response_out_put,
                                      .go_on = go_on,
                                      .data = out};
    *out = (response_out){.file = o->json ? NULL : stdout, .terminal = isatty(STDOUT_FILENO)};
    return generation_init(g, c->model, &params, error);
}

static judgeq_status decode(judgeq_session *session, generation *g, judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    for (int32_t token = 0; status == JUDGEQ_OK;) {
        status = generation_next(g, judgeq_session_logits(session), &token, error);
        if (status != JUDGEQ_OK || token < 0) break;
        status = judgeq_session_decode(session, token, error);
    }
    return status;
}

/* A later failure counts where there was none before it. */
static void also(judgeq_status *status, judgeq_error *error, judgeq_status later, const judgeq_error *why) {
    if (*status != JUDGEQ_OK || later == JUDGEQ_OK) return;
    *status = later;
    *error = *why;
}

/* Writes the answer as it comes, and keeps it, whatever became of it: what came before a failure is good. */
static judgeq_status answer(chat *c, double started, const judgeq_stats *before, judgeq_error *error) {
    response_out out;
    generation g;
    judgeq_error why = {0};
    judgeq_status status = begin(c, started, &out, &g, error);
    if (status == JUDGEQ_OK) status = judgeq_sampler_restart(c->sampler, error);
    if (status == JUDGEQ_OK) status = decode(c->talk.session, &g, error);
    const bool failed = status != JUDGEQ_OK;
    also(&status, error, generation_finish(&g, &why), &why);
    also(&status, error, response_out_end(&out, &why), &why);
    if (status == JUDGEQ_OK) status = tell(c, before, &g, error);
    also(&status, error, conversation_answer(&c->talk, &g, failed, &why), &why);
    generation_free(&g);
    return status;
}

/* A script ends where it is interrupted; at a terminal, Ctrl-C stops the answer. */
static void note_interruption(chat *c) {
    if (!interrupt_seen() || (c->editor && interrupt_take())) return;
    c->ended = true;
    c->status = interrupt_status();
}

void chat_turn(chat *c, const char *text) {
    const double started = clock_seconds();
    const judgeq_session *session = c->talk.session;
    judgeq_stats before;
    judgeq_error error = {0};
    size_t n_tokens = 0;
    judgeq_session_get_stats(session, &before);
    judgeq_status status = conversation_ask_begin(&c->talk, text, &n_tokens, &error);
    if (session != c->talk.session) before = (judgeq_stats){0};
    if (status == JUDGEQ_OK) status = chat_read(c, n_tokens, &error);
    if (status == JUDGEQ_OK) status = answer(c, started, &before, &error);
    if (status != JUDGEQ_OK) chat_failed(c, status, &error);
    note_interruption(c);
}
