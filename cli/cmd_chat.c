/* judgeq chat: a conversation in a fixed amount of KV cache. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "answer_options.h"
#include "app/fallback.h"
#include "app/find_model.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/visible.h"
#include "chat.h"
#include "chat_input.h"
#include "commands.h"
#include "cores_note.h"
#include "exit_status.h"
#include "interrupt.h"
#include "say.h"

/* In parts: C promises string literals of 4095 characters only. */
static const char HELP_CONVERSATION[] =
    "Usage: judgeq chat [OPTIONS]\n"
    "\n"
    "Holds a conversation. The KV cache keeps a budget of rows, however long it gets: with every turn, the policy\n"
    "chooses again among all that the model still remembers.\n"
    "\n"
    "At a terminal, lines are edited, and kept in judgeq/history in $XDG_STATE_HOME or ~/.local/state. Otherwise "
    "every\n"
    "line of standard input is a turn, and standard output gets the answers. Both ways, a line that ends with \\ goes\n"
    "on in the next one, \"\"\" begins a turn of several lines that ends with \"\"\", and a line that begins with / is "
    "a\n"
    "command. Ctrl-C stops an answer and clears a line; on an empty line, twice, it ends the conversation, as Ctrl-D\n"
    "does.\n"
    "    Example: judgeq chat --system \"Answer in one sentence.\"\n"
    "    Example: judgeq chat --json --quiet < questions.txt\n"
    "\n"
    "Commands in a conversation\n"
    "  /budget [N]        show the budget, or keep N rows from now on; the conversation so far is then read again\n"
    "  /policy [NAME]     show the policy, or let another one choose; likewise\n"
    "  /kept              show the conversation, marked by what the model still has of it\n"
    "  /read FILE         read a document at once; the next turn begins with it\n"
    "  /save FILE         keep the conversation: FILE has the session, FILE.json what was said\n"
    "  /load FILE         go on with it, by the method that it was saved with, in place of the present one\n"
    "  /undo              take the last turn, with a document that it began with, and its answer back. Evicted rows\n"
    "                     cannot come back, so the next turn reads the conversation before them again, which takes\n"
    "                     the time of a prompt and no memory meanwhile\n"
    "  /reset             begin a new conversation\n"
    "  /help, /quit       list the commands; end\n"
    "\n";
static const char HELP_MODEL[] =
    "Model\n"
    "  -m, --model FILE   GGUF model: llama, mistral, qwen2, qwen3, smollm3 (default: the model that tools/deps.sh "
    "fetched)\n"
    "      --system TEXT  a system message at the beginning (default: the chat template's own, if any)\n"
    "      --chat-template FILE|NAME\n"
    "                     a chat template, Jinja, in place of the model's own: a file; chatml; or the name of another\n"
    "                     one in the model's file (tool_use)\n"
    "      --no-think     tell the template that the model shall answer without thinking first (default: as the\n"
    "                     template has it)\n"
    "  -t, --threads N    threads that compute (default: one per core, or one where other programs run)\n"
    "      --ctx N        most tokens of the conversation (default: what the model was trained for)\n"
    "      --unbounded    a conversation of any length: before positions pass --ctx, the rows kept are given "
    "positions\n"
    "                     from 0 on\n"
    "      --kv-type T    numbers in the KV cache: f16, f32, q8_0 or q4_0 (default: f16)\n"
    "      --device NAME,.., --ngl N, --rpc HOST:PORT,.., --rpc-timeout S\n"
    "                     other devices than the CPU, as for judgeq run\n"
    "      --chunk N      rows that are computed at once when a turn is read (default: chosen by its length)\n"
    "      --plain-weights\n"
    "                     libllama's arithmetic, as for judgeq run\n"
    "    Example: judgeq chat -m qwen2.5-0.5b-instruct-q4_k_m.gguf --unbounded\n"
    "\n"
    "Eviction\n"
    "      --budget N     rows to keep per layer and KV head (default: 1024, or half of the context if that is less:\n"
    "                     several turns fit in full before anything is evicted)\n"
    "      --policy NAME  which rows to keep; judgeq policies lists the names (default: judge-later, or what judgeq "
    "run has\n"
    "                     without one). full keeps all rows, whatever the budget\n"
    "      --judge FILE   the judge, for policies with soft tokens (default: as for judgeq run)\n"
    "      --slack N|none rows that an answer may add to each head before the policy chooses again (default: a "
    "quarter\n"
    "                     of the budget, 32 at least). none: it chooses with every turn only\n"
    "      --probe X, --reduce X, --smooth X, --allocate X, --keep X, --remember X\n"
    "                     replace a choice of the policy (default: the policy's own); docs/policies has the values\n"
    "    Example: judgeq chat --budget 256 --policy snapkv\n"
    "\n";
static const char HELP_ANSWERS[] =
    "Answers\n"
    "  -n, --tokens N     most tokens of an answer (default: 1024)\n"
    "      --stop TEXT    end an answer before this text, or before the control token that it is; up to 16 "
    "times\n" ANSWER_OPTIONS_HELP(
        "answer") "      --seed N       of the draw, and of the policy random (default: 0)\n"
                  "    Example: judgeq chat --temp 0.7 --seed 3\n"
                  "\n"
                  "Output\n"
                  "      --json         one JSON object per answer, a line each, instead of the text as it comes: the "
                  "keys of "
                  "judgeq\n"
                  "                     run, counted for this turn, and tokens_seen, rows_held\n"
                  "      --quiet        no progress, notes and status lines on standard error\n"
                  "  -v, --verbose      libllama's and ggml's log lines on standard error (default: none)\n"
                  "  -h, --help         this text\n"
                  "    Exit status without a terminal: that of the first turn or command that failed. All later ones "
                  "are answered.\n";

/* ---- the method -------------------------------------------------------------------------------------------------- */

judgeq_session_params chat_session_params(chat *c, const chat_method *method, int32_t rows) {
    session_choices chosen = c->options.session;
    chosen.rows = rows;
    chosen.seed = c->options.sampler.seed;
    judgeq_session_params params =
        session_choices_params(&chosen, method->policy, method->found.judge, progress_report, &c->progress);
    params.engine = c->engine;
    return params;
}

judgeq_status chat_method_find(chat *c, const char *text, bool by_default, chat_method *method, judgeq_error *error) {
    const judge_search search = {.model = c->model,
                                 .model_path = c->model_path,
                                 .named = c->options.judge,
                                 .by_default = by_default,
                                 .notes = say_notes(c->options.quiet)};
    *method = (chat_method){0};
    judgeq_status status = judgeq_policy_parse(text, &method->policy, error);
    if (status == JUDGEQ_OK) status = find_judge(&search, &method->policy, 1, &method->found, error);
    if (status == JUDGEQ_OK && method->found.fallback) {
        status = fallback_take(text, &method->fallback, &method->policy, error);
    }
    if (status != JUDGEQ_OK) chat_method_free(method);
    return status;
}

void chat_method_free(chat_method *method) {
    judge_found_free(&method->found);
    judgeq_policy_free(method->policy);
    free(method->fallback);
    *method = (chat_method){0};
}

/* ---- beginning --------------------------------------------------------------------------------------------------- */

static judgeq_status load(chat *c, judgeq_error *error) {
    const options *o = &c->options;
    judgeq_status status = find_model(o->model, c->default_model, sizeof c->default_model, &c->model_path, error);
    if (status == JUDGEQ_OK) status = devices_load_model(&o->devices, c->model_path, &c->model, error);
    if (status != JUDGEQ_OK) return status;
    find_model_notes(c->model, c->model_path, say_notes(o->quiet));
    return chat_method_find(c, o->policy_text, !o->policy && !choices_have_probe(&o->choices), &c->method, error);
}

static judgeq_status begin_conversation(chat *c, judgeq_error *error) {
    options *o = &c->options;
    const conversation_params params = {.system = o->system,
                                        .template_text = o->template_text,
                                        .no_think = o->no_think,
                                        .n_ctx = session_choices_length(&o->session),
                                        .notes = say_notes(o->quiet)};
    if (o->session.rows == 0) o->session.rows = chat_options_rows(o, c->model);
    cores_note(o->session.n_threads, o->quiet);
    judgeq_status status = judgeq_engine_new(c->model, o->session.n_threads, &c->engine, error);
    if (status == JUDGEQ_OK) status = answer_options_sampler(o, c->model, &c->sampler, error);
    if (status == JUDGEQ_OK) status = conversation_init(&c->talk, c->model, &params, error);
    if (status != JUDGEQ_OK) return status;
    const judgeq_session_params session = chat_session_params(c, &c->method, o->session.rows);
    return conversation_use(&c->talk, &session, error);
}

/* A wrong policy costs no time: a model can take a while to load. */
static judgeq_status check_policy(const options *o, judgeq_error *error) {
    judgeq_policy *policy = NULL;
    const judgeq_status status = judgeq_policy_parse(o->policy_text, &policy, error);
    judgeq_policy_free(policy);
    return status;
}

static judgeq_status prepare(chat *c, judgeq_error *error) {
    const double start = clock_seconds();
    judgeq_status status = check_policy(&c->options, error);
    if (status == JUDGEQ_OK) status = answer_options_read(&c->options, error);
    if (status == JUDGEQ_OK) status = load(c, error);
    if (status == JUDGEQ_OK) status = answer_options_template(&c->options, c->model, error);
    if (status == JUDGEQ_OK) status = begin_conversation(c, error);
    c->load_s = clock_seconds() - start;
    return status;
}

/* ---- the conversation -------------------------------------------------------------------------------------------- */

static void greet(const chat *c) {
    const char *name = judgeq_model_get_info(c->model)->name;
    char rows[32];
    if (!c->editor || c->options.quiet) return;
    say("%s, policy %s, budget %s rows; /help lists the commands, Ctrl-D ends", *name ? name : c->model_path,
        c->method.fallback ? c->method.fallback : c->options.policy_text,
        progress_count(rows, sizeof rows, c->options.session.rows));
}

/* Ctrl-C on an empty line, a second time. */
static void leave(chat *c, bool again) {
    if (again) {
        c->ended = true;
        c->status = 130;
    } else if (!c->options.quiet) {
        say("Ctrl-C again, or Ctrl-D, ends the conversation");
    }
}

static void fail(chat *c) {
    say("cannot read standard input: %s", strerror(errno));
    if (c->status == 0) c->status = EXIT_FAILURE;
}

static void converse(chat *c) {
    bool leaving = false;
    while (!c->ended) {
        char *text = NULL;
        const chat_said said = chat_input_next(c->editor, &text);
        if (said == CHAT_END || said == CHAT_FAILED) c->ended = true;
        if (said == CHAT_FAILED) fail(c);
        if (said == CHAT_TURN) chat_turn(c, text);
        if (said == CHAT_COMMAND) chat_command(c, text);
        if (said == CHAT_LEAVE) leave(c, leaving);
        leaving = said == CHAT_LEAVE;
        free(text);
    }
    if (interrupt_seen()) c->status = interrupt_status();
}

static bool has_terminal(void) {
    return isatty(STDIN_FILENO) && (isatty(STDOUT_FILENO) || isatty(STDERR_FILENO));
}

static int run(chat *c) {
    judgeq_error error = {0};
    const judgeq_status status = prepare(c, &error);
    if (status != JUDGEQ_OK) return exit_with(status, &error);
    if (has_terminal()) {
        c->editor = line_editor_new(c->options.quiet);
        if (!c->editor) return EXIT_FAILURE;
        interrupt_keep();
    } else {
        interrupt_catch();
    }
    greet(c);
    converse(c);
    return c->status;
}

static void chat_free(chat *c) {
    line_editor_free(c->editor);
    conversation_free(&c->talk);
    judgeq_engine_free(c->engine);
    judgeq_sampler_free(c->sampler);
    chat_method_free(&c->method);
    judgeq_model_free(c->model);
    options_free(&c->options);
}

int cmd_chat(int argc, char **argv) {
    chat *c = calloc(1, sizeof *c);
    if (!c) {
        say("no memory");
        return EXIT_FAILURE;
    }
    int status = chat_options_read(argc, argv, &c->options);
    if (status == 0 && c->options.help) {
        printf("%s%s%s", HELP_CONVERSATION, HELP_MODEL, HELP_ANSWERS);
    } else if (status == 0) {
        status = run(c);
    }
    chat_free(c);
    free(c);
    return status;
}
