/* judgeq data: prompts from text and conversations, answered by the model itself -> a training set. */
#include <getopt.h>
#include <stdio.h>

#include "app/find_model.h"
#include "base/clock.h"
#include "base/file.h"
#include "commands.h"
#include "cores_note.h"
#include "data_maker.h"
#include "exit_status.h"
#include "interrupt.h"
#include "progress.h"
#include "say.h"
#include "values.h"

static const char HELP[] =
    "Usage: judgeq data -o SET.jsonl [OPTIONS] SOURCE...\n"
    "\n"
    "Makes a training set for judgeq train: prompts, and the model's own responses to them with the full cache.\n"
    "\n"
    "SOURCE is a folder, whose files are taken once each with those of its folders, or a file:\n"
    "  .txt .md .markdown  text in UTF-8, or in UTF-16 or UTF-32 with a byte order mark: cut into passages, each\n"
    "                      with an instruction before or after it\n"
    "  .json .jsonl        conversations, one per line or in an array: OpenAI's \"messages\", ShareGPT's\n"
    "                      \"conversations\" or Alpaca's \"instruction\". The turns up to the user's last one are the\n"
    "                      prompt\n"
    "What cannot be read is named, counted and left out. SOURCE:WEIGHT draws from a source that much more often than\n"
    "from one of weight 1, which is the weight of the others then.\n"
    "\n"
    "  -o, --output FILE   the training set (docs/training.md); required\n"
    "  -m, --model FILE    GGUF model that answers (default: the model that tools/deps.sh fetched)\n"
    "  -n, --examples N    most examples (default: all prompts there are)\n"
    "\n"
    "Prompts:\n"
    "      --min N         fewest tokens of a prompt (default: 300)\n"
    "      --max N         most tokens of a prompt (default: 900)\n"
    "      --retrieval S   share of the passages in which facts are hidden and asked for (default: 0.5)\n"
    "      --later S       share of these in which they are asked for afterwards, in turns: the prompt is the passage\n"
    "                      alone, for judges that do not know the question (default: 0)\n"
    "      --seed N        of lengths, instructions, facts, order and sampling (default: 0)\n"
    "\n"
    "Responses:\n"
    "      --tokens N      most tokens of a response (default: 128)\n"
    "      --temp T        temperature they are sampled at (default: 0, greedy)\n"
    "      --top-p P       sample from the likeliest tokens that make up this share (default: 1)\n"
    "      --no-think      tell the chat template that the model shall answer without thinking first\n"
    "\n"
    "Running:\n"
    "      --resume        continue an interrupted set; needs the same options and sources\n"
    "  -t, --threads N     threads that compute (default: one per core, or one where other programs run)\n"
    "      --quiet         no progress and no summary on standard error\n"
    "  -h, --help          this text\n"
    "\n"
    "Examples:\n"
    "  judgeq data -o set.jsonl -n 500 ~/documents:3 chats.jsonl\n"
    "  judgeq train --data set.jsonl -o judge.gguf\n";

typedef struct options {
    bool help;
    const char *model;
    data_options data;
} options;

/* ---- options ----------------------------------------------------------------------------------------------------- */

const command_option data_rows[] = {
    ROWS_OF(options, data, data_options_rows),
    {"output", 'o', INTO(options, data.output), .value = COMMAND_FILE},
    {"model", 'm', INTO(options, model), .value = COMMAND_GGUF},
    {"threads", 't', INTO(options, data.n_threads), .most = 1024},
    {"seed", 0, INTO(options, data.sources.seed), .most = INT64_MAX},
    {"resume", 0, INTO(options, data.resume)},
    {"quiet", 0, INTO(options, data.quiet)},
    {"help", 'h', INTO(options, help)},
    {0},
};

static int read_options(int argc, char **argv, options *o) {
    *o = (options){.data = data_options_default()};
    const int status = command_line_read("data", data_rows, argc, argv, o);
    o->data.sources.source = argv + optind;
    o->data.sources.n_source = argc - optind;
    if (status != 0 || o->help) return status;
    if (!o->data.output) return usage_wrong("data", "-o SET.jsonl is missing");
    return data_options_check(&o->data, "data");
}

/* ---- progress ---------------------------------------------------------------------------------------------------- */

typedef struct command {
    options options;
    data_maker maker;
    progress progress;
    double started;
    size_t started_at; /* examples that were there */
} command;

static void show(command *c) {
    const data_maker *m = &c->maker;
    const size_t all = json_array_size(m->sources.prompts), wanted = (size_t)m->options.n_examples;
    const double now = clock_seconds();
    double share = (double)m->next / (double)all;
    if (wanted > 0 && wanted < all) share = (double)m->n_examples / (double)wanted;
    if (c->options.data.quiet || !c->progress.terminal || now - c->progress.last < 0.1) return;
    c->progress.last = now;
    char before[64], after[64], left[32] = "?";
    const double begun = wanted > 0 && wanted < all ? (double)c->started_at / (double)wanted : 0;
    if (share > begun) progress_time(left, sizeof left, (now - c->started) / (share - begun) * (1 - share));
    snprintf(before, sizeof before, "%zu examples", m->n_examples);
    snprintf(after, sizeof after, "%s left", left);
    progress_draw(before, after, share < 1 ? share : 1);
}

static bool go_on(void *data) {
    if (interrupt_seen()) return false;
    show(data);
    return true;
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

static judgeq_status make_examples(command *c, judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    c->started = clock_seconds();
    c->started_at = c->maker.n_examples;
    while (status == JUDGEQ_OK && !data_maker_done(&c->maker)) status = data_maker_next(&c->maker, error);
    if (c->progress.last > 0) progress_end(&c->progress);
    return status;
}

static judgeq_status make_set(command *c, const judgeq_model *model, judgeq_error *error) {
    c->maker.go_on = go_on;
    c->maker.data = c;
    progress_begin(&c->progress, 0, c->options.data.quiet);
    judgeq_error closing = {0};
    judgeq_status status = data_maker_read(&c->maker, model, &c->options.data, error);
    interrupt_catch(); /* before, a signal ends the program: there is nothing to keep */
    if (status == JUDGEQ_OK) status = data_maker_open(&c->maker, error);
    if (status == JUDGEQ_OK) status = make_examples(c, error);
    if (status == JUDGEQ_OK) status = data_maker_refuse_empty(&c->maker, error);
    if (status == JUDGEQ_OK && !c->options.data.quiet) data_maker_summarise(&c->maker);
    const judgeq_status closed = data_maker_close(&c->maker, &closing);
    if (status != JUDGEQ_OK || closed == JUDGEQ_OK) return status;
    *error = closing;
    return closed;
}

int cmd_data(int argc, char **argv) {
    command c = {0};
    const int usage = read_options(argc, argv, &c.options);
    if (usage != 0) return usage;
    if (c.options.help) {
        fputs(HELP, stdout);
        return 0;
    }
    judgeq_error error = {0};
    judgeq_model *model = NULL;
    char room[4096];
    const char *path = NULL;
    cores_note(c.options.data.n_threads, c.options.data.quiet);
    judgeq_status status = file_check_output(c.options.data.output, &error);
    if (status == JUDGEQ_OK) status = find_model(c.options.model, room, sizeof room, &path, &error);
    if (status == JUDGEQ_OK) status = judgeq_model_load(path, &model, &error);
    if (status == JUDGEQ_OK) find_model_notes(model, path, say_notes(c.options.data.quiet));
    if (status == JUDGEQ_OK) status = make_set(&c, model, &error);
    judgeq_model_free(model);
    return exit_with(status, &error);
}
