/* The commands of a conversation: lines that begin with /. */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/conversation_file.h"
#include "base/error.h"
#include "base/nearest.h"
#include "chat.h"
#include "exit_status.h"
#include "kept_text.h"
#include "prompt_text.h"
#include "say.h"
#include "values.h"

typedef struct command {
    const char *name, *argument, *help; /* argument: NULL where there is none */
    void (*run)(chat *c, const char *argument);
} command;

static void told(const chat *c, const char *what) {
    if (!c->options.quiet) say("%s", what);
}

static void wrong(chat *c, const char *what) {
    say("%s", what);
    if (!c->editor && c->status == 0) c->status = EXIT_USAGE;
}

/* ---- what is kept ------------------------------------------------------------------------------------------------ */

static judgeq_status show_kept(const chat *c, judgeq_error *error) {
    kept_cut cut = {
        .policy = judgeq_policy_text(c->method.policy), .rows = (int32_t)chat_rows_held(c), .session = c->talk.session};
    kept k = {
        .model = c->model, .token = c->talk.token, .n_token = conversation_seen(&c->talk), .cut = &cut, .n_cut = 1};
    snprintf(cut.budget.text, sizeof cut.budget.text, "%d", c->options.session.rows);
    judgeq_status status = kept_read_texts(&k, error);
    if (status == JUDGEQ_OK && !kept_text_print(&k, kept_colours_of_stdout(), -1, -1)) {
        status = error_memory(error, "what is kept");
    }
    fflush(stdout);
    free(k.text_end);
    text_stream_free(&k.text);
    return status;
}

static void run_kept(chat *c, const char *argument) {
    (void)argument;
    judgeq_error error = {0};
    size_t n_tokens = 0;
    if (c->options.json) {
        wrong(c, "/kept shows a text, and --json leaves no place for it on standard output");
        return;
    }
    judgeq_status status = conversation_catch_up_begin(&c->talk, &n_tokens, &error);
    if (status == JUDGEQ_OK) status = chat_read(c, n_tokens, &error);
    if (status == JUDGEQ_OK && conversation_seen(&c->talk) == 0)
        told(c, "nothing was said yet");
    else if (status == JUDGEQ_OK)
        status = show_kept(c, &error);
    if (status != JUDGEQ_OK) chat_failed(c, status, &error);
}

/* ---- the method -------------------------------------------------------------------------------------------------- */

/* What a change of the method costs. */
static void say_method(const chat *c) {
    char rows[32];
    if (c->options.quiet) return;
    say("policy %s, budget %s rows per layer and KV head%s", judgeq_policy_text(c->method.policy),
        progress_count(rows, sizeof rows, c->options.session.rows),
        c->talk.n_token > 0 && conversation_seen(&c->talk) == 0 ? "; the next turn reads the conversation so far again"
                                                                : "");
}

static void run_budget(chat *c, const char *argument) {
    int64_t rows = 0;
    judgeq_error error = {0};
    if (*argument && !value_integer(argument, 1, INT32_MAX / 2, &rows)) {
        wrong(c, "/budget N: expected a whole number of rows per layer and KV head, at least 1");
        return;
    }
    if (*argument) {
        const judgeq_session_params params = chat_session_params(c, &c->method, (int32_t)rows);
        const judgeq_status status = conversation_use(&c->talk, &params, &error);
        if (status == JUDGEQ_OK) c->options.session.rows = (int32_t)rows;
        if (status != JUDGEQ_OK) chat_failed(c, status, &error);
        if (status != JUDGEQ_OK) return;
    }
    say_method(c);
}

static void run_policy(chat *c, const char *argument) {
    judgeq_error error = {0};
    chat_method method = {0};
    if (*argument) {
        judgeq_status status = chat_method_find(c, argument, false, &method, &error);
        if (status == JUDGEQ_OK) {
            const judgeq_session_params params = chat_session_params(c, &method, c->options.session.rows);
            status = conversation_use(&c->talk, &params, &error);
        }
        if (status != JUDGEQ_OK) {
            chat_method_free(&method);
            chat_failed(c, status, &error);
            return;
        }
        chat_method_free(&c->method);
        c->method = method;
    }
    say_method(c);
}

/* ---- documents --------------------------------------------------------------------------------------------------- */

static void read_text(chat *c, const char *name, const char *text) {
    judgeq_error error = {0};
    size_t n_tokens = 0;
    char count[32];
    judgeq_status status = conversation_document_begin(&c->talk, text, &n_tokens, &error);
    if (status == JUDGEQ_OK) status = chat_read(c, n_tokens, &error);
    if (status != JUDGEQ_OK)
        chat_failed(c, status, &error);
    else if (!c->options.quiet)
        say("read %s tokens; your next turn begins with %s", progress_count(count, sizeof count, (int64_t)n_tokens),
            name);
}

static void run_read(chat *c, const char *argument) {
    char *text = NULL;
    size_t length = 0;
    if (!*argument || strcmp(argument, "-") == 0) {
        wrong(c, "/read FILE: which file?");
        return;
    }
    const int code = prompt_text_file(argument, c->options.quiet, &text, &length);
    if (code != 0) {
        if (!c->editor && c->status == 0) c->status = code;
    } else if (length == 0) {
        wrong(c, "the file is empty");
    } else {
        read_text(c, argument, text);
    }
    free(text);
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

/* Whether something is there that is no conversation, and would be lost. */
static bool would_destroy(const char *path) {
    char *other = NULL;
    if (access(path, F_OK) != 0) return false;
    if (asprintf(&other, "%s.json", path) < 0) return true;
    const bool alone = access(other, F_OK) != 0;
    free(other);
    return alone;
}

static void run_save(chat *c, const char *argument) {
    judgeq_error error = {0};
    size_t n_tokens = 0;
    if (!*argument) {
        wrong(c, "/save FILE: which file?");
    } else if (c->talk.n_token == 0) {
        wrong(c, "nothing was said yet");
    } else if (would_destroy(argument)) {
        wrong(c, "that file is there, and no conversation: another name?");
    } else {
        judgeq_status status = conversation_catch_up_begin(&c->talk, &n_tokens, &error);
        if (status == JUDGEQ_OK) status = chat_read(c, n_tokens, &error);
        if (status == JUDGEQ_OK) status = conversation_save(&c->talk, argument, &error);
        if (status != JUDGEQ_OK) chat_failed(c, status, &error);
        if (status == JUDGEQ_OK && !c->options.quiet) {
            say("saved in %s and %s.json; /load %s goes on from there, with the same model", argument, argument,
                argument);
        }
    }
}

/* What the file's session was made with. */
static session_choices choices_of(const judgeq_snapshot_info *info, session_choices chosen) {
    if (info->budget > 0) chosen.rows = info->budget;
    chosen.n_ctx = info->n_ctx;
    chosen.slack = info->slack;
    chosen.kv_type = info->kv_type;
    chosen.plain_weights = info->plain_weights;
    chosen.unbounded = info->unbounded;
    return chosen;
}

/* The method is the file's from here on. */
static judgeq_status load(chat *c, const char *path, judgeq_error *error) {
    const session_choices before = c->options.session;
    judgeq_snapshot_info info;
    chat_method method = {0};
    judgeq_status status = judgeq_snapshot_read(path, &info, NULL, error);
    if (status == JUDGEQ_OK) status = chat_method_find(c, info.policy, false, &method, error);
    if (status != JUDGEQ_OK) return status;
    c->options.session = choices_of(&info, before);
    const judgeq_session_params params = chat_session_params(c, &method, c->options.session.rows);
    status = conversation_load(&c->talk, &params, path, error);
    if (status != JUDGEQ_OK) {
        c->options.session = before;
        chat_method_free(&method);
        return status;
    }
    c->talk.params.n_ctx = session_choices_length(&c->options.session);
    chat_method_free(&c->method);
    c->method = method;
    return JUDGEQ_OK;
}

static void run_load(chat *c, const char *argument) {
    judgeq_error error = {0};
    char count[32];
    if (!*argument) {
        wrong(c, "/load FILE: which file?");
        return;
    }
    const judgeq_status status = load(c, argument, &error);
    if (status != JUDGEQ_OK) {
        chat_failed(c, status, &error);
        return;
    }
    if (!c->options.quiet) {
        say("a conversation of %s tokens", progress_count(count, sizeof count, (int64_t)c->talk.n_token));
    }
    say_method(c);
}

/* ---- back -------------------------------------------------------------------------------------------------------- */

static void run_undo(chat *c, const char *argument) {
    (void)argument;
    judgeq_error error = {0};
    const bool document = c->talk.document != NULL;
    const judgeq_status status = conversation_undo(&c->talk, &error);
    if (status != JUDGEQ_OK) {
        chat_failed(c, status, &error);
        return;
    }
    told(c,
         document
             ? "the document is gone; the next turn reads the conversation before it again"
             : "the last turn and its answer are gone, with a document that the turn began with; the next turn reads "
               "the conversation before them again");
}

static void run_reset(chat *c, const char *argument) {
    (void)argument;
    judgeq_error error = {0};
    const judgeq_status status = conversation_reset(&c->talk, &error);
    if (status != JUDGEQ_OK) chat_failed(c, status, &error);
    if (status == JUDGEQ_OK) told(c, "a new conversation");
}

static void run_quit(chat *c, const char *argument) {
    (void)argument;
    c->ended = true;
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

static void run_help(chat *c, const char *argument);

static const command COMMANDS[] = {
    {"/budget", "[N]", "show the budget, or keep N rows per layer and KV head from now on", run_budget},
    {"/policy", "[NAME]", "show the policy, or let another one choose the rows", run_policy},
    {"/kept", NULL, "show the conversation, marked by what the model still has of it", run_kept},
    {"/read", "FILE", "read a document, with which your next turn begins", run_read},
    {"/save", "FILE", "keep the conversation in FILE and FILE.json, as far as the model still has it", run_save},
    {"/load", "FILE", "go on with a conversation that was saved, in place of this one", run_load},
    {"/undo", NULL, "take the last turn, with a document that it began with, and its answer back", run_undo},
    {"/reset", NULL, "begin a new conversation", run_reset},
    {"/help", NULL, "show this", run_help},
    {"/quit", NULL, "end, as Ctrl-D does", run_quit},
};
enum { N_COMMANDS = sizeof COMMANDS / sizeof COMMANDS[0] };

static void run_help(chat *c, const char *argument) {
    (void)c;
    (void)argument;
    for (size_t i = 0; i < N_COMMANDS; i++) {
        const command *at = &COMMANDS[i];
        say_plain("  %-8s%-7s %s\n", at->name, at->argument ? at->argument : "", at->help);
    }
    say_plain(
        "A line that ends with \\ goes on in the next one. \"\"\" begins a turn of several lines, and \"\"\" at the "
        "end "
        "of a\nline ends it. Ctrl-C stops an answer, or clears the line; Ctrl-D ends.\n");
}

static const command *find(const char *name) {
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (strcmp(COMMANDS[i].name, name) == 0) return &COMMANDS[i];
    }
    return NULL;
}

static void refuse(chat *c, const char *name) {
    nearest near = {.word = name};
    for (size_t i = 0; i < N_COMMANDS; i++) nearest_try(&near, COMMANDS[i].name);
    char *what = NULL;
    const int length = near.name
                           ? asprintf(&what, "unknown command %s; did you mean %s? /help lists them", name, near.name)
                           : asprintf(&what,
                                      "unknown command %s; /help lists them, and \"\"\" before a text lets it "
                                      "begin with /",
                                      name);
    wrong(c, length >= 0 ? what : "unknown command");
    if (length >= 0) free(what);
}

void chat_command(chat *c, char *line) {
    char *end = line + strlen(line);
    while (end > line && isspace((unsigned char)end[-1])) *--end = '\0';
    char *argument = line + strcspn(line, " \t");
    while (isspace((unsigned char)*argument)) *argument++ = '\0';
    const command *found = find(line);
    if (!found)
        refuse(c, line);
    else if (*argument && !found->argument)
        wrong(c, "this command takes nothing after it; /help lists them");
    else
        found->run(c, argument);
}
