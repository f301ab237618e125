#include "eval_options.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "values.h"

#define wrong(...) usage_wrong("eval", __VA_ARGS__)

const command_option eval_rows[] = {
    {"model", 'm', INTO(eval_options, model), .value = COMMAND_GGUF},
    {"judge", 0, INTO(eval_options, judge), .value = COMMAND_GGUF},
    {"policies", 0, INTO(eval_options, policies), .value = COMMAND_POLICIES},
    ROWS_OF(eval_options, choices, choices_rows),
    {"budgets", 0, INTO(eval_options, budgets)},
    {"length", 0, TAKEN_INTO(eval_options, length, command_take_list), .least = 64, .most = 1 << 22},
    {"samples", 0, INTO(eval_options, n_samples), .least = 1, .most = 1000000},
    {"seed", 0, INTO(eval_options, seed), .most = UINT32_MAX},
    {"output", 'o', INTO(eval_options, output), .value = COMMAND_FOLDER},
    {"haystack", 0, INTO(eval_options, haystack), .value = COMMAND_FILE},
    {"text", 0, INTO(eval_options, text), .value = COMMAND_FILE},
    {"depths", 0, INTO(eval_options, n_depths), .least = 1, .most = 1000},
    {"cut", 0, INTO(eval_options, cut_to), .least = 64, .most = 1 << 22},
    {"tokens", 'n', INTO(eval_options, n_tokens), .least = 1, .most = 65536},
    {"chat", 0, INTO(eval_options, chat)},
    {"raw", 0, INTO(eval_options, raw)},
    {"no-think", 0, INTO(eval_options, no_think)},
    {"threads", 't', INTO(eval_options, n_threads), .least = 1, .most = 1024},
    {"kv-type", 0, TAKEN_INTO(eval_options, kv_type, command_take_kv_type), .value = COMMAND_KV_TYPE},
    {"expand", 0, TAKEN_INTO(eval_options, expand_bytes, command_take_mib), .most = 1 << 20},
    {"divergence", 0, INTO(eval_options, divergence)},
    {"heads", 0, INTO(eval_options, heads)},
    {"prompts", 0, INTO(eval_options, prompts)},
    {"slack", 0, TAKEN_INTO(eval_options, slack, command_take_slack)},
    {"one-by-one", 0, INTO(eval_options, one_by_one)},
    {"versus", 0, INTO(eval_options, versus), .value = COMMAND_POLICY},
    {"json", 0, INTO(eval_options, json)},
    {"quiet", 0, INTO(eval_options, quiet)},
    {"help", 'h', INTO(eval_options, help)},
    {0},
};

static int join_tasks(int argc, char **argv, eval_options *o) {
    size_t length = 1;
    for (int i = optind; i < argc; i++) length += strlen(argv[i]) + 1;
    o->tasks = calloc(length, 1);
    if (!o->tasks) return wrong("no memory for the tasks");
    for (char *at = o->tasks; optind < argc; optind++) {
        if (at > o->tasks) *at++ = '\n';
        const bool path = strchr(argv[optind], ':') != NULL;
        for (const char *c = argv[optind]; *c; c++) *at++ = *c == ',' && !path ? '\n' : *c;
    }
    return 0;
}

static int check_together(const eval_options *o) {
    if (o->chat && o->raw) return wrong("--chat and --raw exclude each other");
    if (o->no_think && o->raw) return wrong("--no-think is for the chat template, and --raw has none");
    if (o->divergence && o->slack != JUDGEQ_SLACK_NONE) {
        return wrong("--divergence goes back to the prompt's end, where --slack may have evicted: give one of them");
    }
    if (!*o->tasks) return wrong("which tasks? Name some, or own for all of ours");
    if (!o->output) return wrong("-o DIR is needed: the results go there, and an interrupted run continues from there");
    return 0;
}

int eval_options_read(int argc, char **argv, eval_options *o) {
    *o = (eval_options){.budgets = "64,128",
                        .length = {{1024}, 1},
                        .n_samples = 8,
                        .n_depths = 11,
                        .seed = 1,
                        .expand_bytes = (size_t)1 << 30,
                        .kv_type = JUDGEQ_KV_F16,
                        .slack = JUDGEQ_SLACK_NONE};
    int status = command_line_read("eval", eval_rows, argc, argv, o);
    if (status != 0 || o->help) return status;
    if (o->one_by_one) o->expand_bytes = 0; /* it pays where many decode together */
    status = join_tasks(argc, argv, o);
    if (status == 0) status = choices_text(&o->choices, "eval", &o->choices_text);
    return status != 0 ? status : check_together(o);
}

void eval_options_free(eval_options *o) {
    free(o->tasks);
    free(o->choices_text);
}
