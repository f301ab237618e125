#include "run_options.h"
#include "answer_options.h"
#include "commands.h"
#include "device_options.h"
#include "values.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define wrong(...) usage_wrong("run", __VA_ARGS__)

/* ---- options ----------------------------------------------------------------------------------------------------- */

static int take_budget(const command_given *given, void *place) {
    options *o = place;
    float share;
    o->budget_given = true;
    const bool good = value_budget(given->value, &o->session.rows, &share);
    o->session.share = share;
    return good ? 0 : usage_wrong_budget(given->command, given->option, given->value);
}

static int take_stop(const command_given *given, void *place) {
    options *o = place;
    if (!*given->value) return usage_wrong(given->command, "--stop \"\": expected a text");
    if (o->n_stop == OPTIONS_STOPS_MOST) {
        return usage_wrong(given->command, "--stop can be given %d times", OPTIONS_STOPS_MOST);
    }
    o->stop[o->n_stop++] = given->value;
    return 0;
}

const command_option options_model[] = {
    {"model", 'm', INTO(options, model), .value = COMMAND_GGUF},
    {"judge", 0, INTO(options, judge), .value = COMMAND_GGUF},
    {"system", 0, INTO(options, system)},
    {"no-think", 0, INTO(options, no_think)},
    {"threads", 't', INTO(options, session.n_threads), .least = 1, .most = 1024},
    {"ctx", 0, INTO(options, session.n_ctx), .least = 1, .most = INT32_MAX},
    {"kv-type", 0, TAKEN_INTO(options, session.kv_type, command_take_kv_type), .value = COMMAND_KV_TYPE},
    {"seed", 0, INTO(options, sampler.seed), .most = UINT32_MAX},
    ROWS_OF(options, choices, choices_rows),
    {"json", 0, INTO(options, json)},
    {"quiet", 0, INTO(options, quiet)},
    {"help", 'h', INTO(options, help)},
    {0},
};

const command_option options_shared[] = {
    ROWS(options_model),
    {"prompt", 'p', INTO(options, prompt)},
    {"file", 'f', INTO(options, file), .value = COMMAND_FILE},
    {"chat", 0, INTO(options, chat)},
    {"raw", 0, INTO(options, raw)},
    {0},
};

const command_option options_evict[] = {
    {"policy", 0, INTO(options, policy), .value = COMMAND_POLICY},
    {"slack", 0, TAKEN_INTO(options, session.slack, command_take_slack)},
    {"unbounded", 0, INTO(options, session.unbounded)},
    {0},
};

const command_option options_budget[] = {
    {"budget", 0, TAKEN(take_budget)},
    {0},
};

const command_option options_answer[] = {
    ROWS(options_evict),
    {"plain-weights", 0, INTO(options, session.plain_weights)},
    {"tokens", 'n', INTO(options, n_tokens), .most = INT32_MAX},
    {"temp", 0, INTO(options, sampler.temperature), .to = 100},
    {"top-k", 0, INTO(options, sampler.top_k), .most = INT32_MAX},
    {"top-p", 0, INTO(options, sampler.top_p), .to = 1},
    {"min-p", 0, INTO(options, sampler.min_p), .to = 1},
    {"repeat-penalty", 0, INTO(options, sampler.repeat_penalty), .from = 0.01, .to = 100},
    {"presence-penalty", 0, INTO(options, sampler.presence_penalty), .from = -100, .to = 100},
    {"frequency-penalty", 0, INTO(options, sampler.frequency_penalty), .from = -100, .to = 100},
    {"penalty-window", 0, INTO(options, sampler.penalty_window), .least = 1, .most = JUDGEQ_PENALTY_WINDOW_MOST},
    {"grammar", 0, INTO(options, grammar), .value = COMMAND_FILE},
    {"json-schema", 0, INTO(options, json_schema), .value = COMMAND_FILE},
    {"chat-template", 0, INTO(options, chat_template), .value = COMMAND_FILE},
    {"stop", 0, TAKEN(take_stop), .adds_up = true},
    {"chunk", 0, INTO(options, session.chunk), .least = 1, .most = INT32_MAX / 2},
    ROWS_OF(options, devices, device_options_rows),
    {0},
};

const command_option run_rows[] = {
    ROWS(options_shared),
    ROWS(options_answer),
    ROWS(options_budget),
    {"context", 0, INTO(options, context), .value = COMMAND_FILE},
    {"defer", 0, INTO(options, session.defer)},
    {"logprobs", 0, INTO(options, logprobs), .most = OPTIONS_LOGPROBS_MOST},
    {0},
};

/* ---- the whole --------------------------------------------------------------------------------------------------- */

int options_check_shared(const options *o, const char *command) {
    if (o->chat && o->raw) return usage_wrong(command, "--chat and --raw exclude each other");
    if (o->system && o->raw) return usage_wrong(command, "--system is a message of --chat, --raw has none");
    if (o->no_think && o->raw) return usage_wrong(command, "--no-think is for --chat, --raw has no template");
    return 0;
}

/* A context was read with a policy, a budget and a beginning of its own. */
static int check_context(const options *o) {
    static const char why[] = "--context brings its own document, policy, budget and context length:";
    if (!o->context) return 0;
    if (o->file) return wrong("%s -f does not go with it", why);
    if (!o->prompt) return wrong("--context needs a question: -p TEXT");
    if (o->system) return wrong("%s --system does not go with it", why);
    if (o->chat_template) return wrong("%s --chat-template does not go with it", why);
    if (o->policy || o->budget_given || choices_given(&o->choices))
        return wrong("%s give no policy and no budget", why);
    if (o->session.slack != 0 || o->session.unbounded || o->session.n_ctx > 0 || o->session.defer ||
        o->session.plain_weights || o->session.kv_type != JUDGEQ_KV_F16) {
        return wrong("%s --slack, --unbounded, --ctx, --kv-type, --defer and --plain-weights do not go with it", why);
    }
    return 0;
}

static int check_together(const options *o) {
    if (o->logprobs >= 0 && !o->json) return wrong("--logprobs is a part of the JSON output: add --json");
    if (!o->session.defer) return 0;
    if (o->sampler.temperature > 0) {
        return wrong("--defer keeps tokens that were decoded greedily: it goes with --temp 0 only");
    }
    if (o->logprobs >= 0) {
        return wrong("--defer keeps tokens whose probabilities are gone: it does not go with --logprobs");
    }
    return 0;
}

const char *options_preset(const options *o, const char *preset) {
    return o->budget_given || choices_given(&o->choices) ? preset : "full";
}

int options_write_policy(options *o, const char *command, const char *preset) {
    const char *name = o->policy ? o->policy : preset;
    char *more = NULL;
    int status = choices_text(&o->choices, command, &more);
    if (status == 0 && asprintf(&o->policy_text, "%s%s", name, more) < 0) {
        o->policy_text = NULL;
        status = usage_wrong(command, "no memory for the policy");
    }
    free(more);
    return status;
}

options options_default(void) {
    return (options){
        .n_tokens = 256,
        .sampler = {.temperature = 0, .top_k = 40, .top_p = 0.95f, .min_p = 0.05f, .seed = 0, .repeat_penalty = 1},
        .devices = device_options_default(),
        .logprobs = -1};
}

int options_read(int argc, char **argv, options *o) {
    *o = options_default();
    int status = command_line_read("run", run_rows, argc, argv, o);
    if (status != 0 || o->help) return status;
    if (optind < argc) {
        return wrong("what is \"%s\"? A prompt goes after -p, a file after -f, and a text of several words in quotes",
                     argv[optind]);
    }
    status = options_check_shared(o, "run");
    if (status == 0) status = answer_options_check(o, "run");
    if (status == 0) status = check_together(o);
    if (status == 0) status = check_context(o);
    if (status != 0) return status;
    return options_write_policy(o, "run", options_preset(o, "judge"));
}

void options_free(options *o) {
    free(o->policy_text);
    free(o->grammar_text);
    free(o->template_text);
}
