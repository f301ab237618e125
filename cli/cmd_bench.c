/* judgeq bench: how long it takes, how much memory it needs, and how close that is to what the machine can do. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/fallback.h"
#include "app/find_judge.h"
#include "app/find_model.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "bench_cells.h"
#include "bench_chart.h"
#include "bench_compare.h"
#include "bench_options.h"
#include "bench_report.h"
#include "chance.h"
#include "commands.h"
#include "exit_status.h"
#include "interrupt.h"
#include "processor.h"
#include "progress.h"
#include "say.h"

/* In parts: C promises string literals of 4095 characters only. */
static const char HELP_CELLS[] =
    "Usage: judgeq bench [OPTIONS]\n"
    "\n"
    "Measures the time to the first token and what it is made of, the speed of decoding, and memory, for every\n"
    "combination of what is given. All combinations take turns, one repetition of each after the other, so that a\n"
    "machine that slows down does so for all of them. The prompts are random tokens.\n"
    "\n"
    "What is combined\n"
    "      --lengths N,..    tokens of a prompt; may be longer than what the model was trained for (default: "
    "512,2048)\n"
    "      --policies P,..   names or texts of policies, as judgeq policies lists them; with ; between them where one\n"
    "                        holds a comma. The full cache is always there (default: judge; for a\n"
    "                        model without a judge snapkv with a window of 16)\n"
    "      --budgets N,..    rows to keep per layer and KV head, or shares of the prompt such as 5% (default: 256)\n"
    "      --kv-types T,..   numbers in the KV cache: f16, f32, q8_0 or q4_0 (default: f16)\n"
    "  -t, --threads N,..    threads that compute; 0: chosen while it runs (default: one per core)\n"
    "      --batches N,..    sequences that decode together; they share one reading of the prompt (default: 1)\n"
    "    Example: judgeq bench --lengths 1024,4096 --policies snapkv,judge --budgets 128,5% -t 1,2\n"
    "\n"
    "Model\n"
    "  -m, --model FILE      GGUF model (default: the model that tools/deps.sh fetched)\n"
    "      --judge FILE      the judge, for policies with soft tokens (default: as in judgeq run)\n"
    "      --device NAME,.., --ngl N, --rpc HOST:PORT,.., --rpc-timeout S\n"
    "                        devices that hold layers, as in judgeq run (default: the CPU)\n"
    "      --chunk N         prompt rows that are computed at once (default: chosen by the prompt's length)\n"
    "      --plain-weights   libllama's arithmetic (default: copies of a layer's weights as floats for long prompts)\n"
    "      --expand MIB      memory for 16-bit copies of all weights, made before anything is measured: they read "
    "prompts where\n"
    "                        these have no F32 copies of their own,\n"
    "                        and decode batches of 8 and more, or 24 with kernels for few rows (default: 0)\n"
    "\n";
static const char HELP_MEASURING[] =
    "Measuring\n"
    "  -n, --tokens N        tokens to decode after the prompt, in each sequence (default: 32)\n"
    "      --repeat N        repetitions; the results are their medians and ranges (default: 5)\n"
    "      --warm-up N       repetitions before them that do not count (default: 1)\n"
    "      --seed N          of the prompts, and of the policy random (default: 1)\n"
    "\n"
    "Output\n"
    "  -o, --output FILE     the results as a table for scripts (.csv), or as a picture (.svg, .png; needs gnuplot); "
    "can\n"
    "                        be given several times\n"
    "      --json            one JSON object instead of the table\n"
    "      --compare FILE    an earlier --json: for each combination that both have, how many times as fast it is now\n"
    "      --quiet           no progress on standard error\n"
    "  -h, --help            this text\n"
    "    Example: judgeq bench --lengths 512,1024,2048,4096 -o bench.csv -o bench.svg\n"
    "    Example: judgeq bench --json > before.json; judgeq bench --compare before.json\n"
    "\n"
    "The table\n"
    "  first token    seconds from the prompt to the first token, and the shares of it: embed (looking embeddings "
    "up),\n"
    "                 blocks (the prompt through the model), score (soft tokens, scores, selection), compact "
    "(gathering\n"
    "                 the rows that are kept), ahead (tokens that a lookahead decodes)\n"
    "  of limit       what a decoded token must read at least (the weights once for a batch, the rows held) per "
    "second,\n"
    "                 as a share of the speed at which as many threads read memory, which is measured in every turn\n"
    "  KV, KV peak    MiB of the rows held at the end, and the most that was allocated at any time, for all sequences\n"
    "  resident       MiB that the process used at its peak, with the pages of the model that it touched\n";

typedef struct bench {
    bench_options options;
    arms arms;
    char default_model[4096];
    const char *model_path;
    judgeq_model *model;
    judge_found found;
    int32_t *tokens; /* of the longest prompt */
    bench_cells cells;
    bench_setup setup;
    progress progress;
    double work, done; /* roughly tokens that pass through the model */
    double cell_work;  /* of the cell under way */
    char doing[96];
} bench;

/* ---- progress ---------------------------------------------------------------------------------------------------- */

/* A decoded token costs about as much as so many rows of a prompt. */
static double work_of(const bench_cell *cell, int32_t n_tokens) {
    enum { ROWS_PER_TOKEN = 4 };
    return (double)cell->length + (double)ROWS_PER_TOKEN * n_tokens * cell->n_batch;
}

/* A judgeq_progress; without units of work, it only asks for Ctrl-C. */
static bool show(void *data, int64_t done, int64_t total) {
    bench *b = data;
    if (interrupt_seen()) return false;
    const double now = clock_seconds(), every = b->progress.terminal ? 0.2 : 10;
    if (b->options.quiet || total <= 0 || now - b->progress.last < every) return true;
    b->progress.last = now;
    const double share = (b->done + b->cell_work * (double)done / (double)total) / b->work;
    char after[64], left[32] = "?";
    if (share > 0) progress_time(left, sizeof left, (now - b->progress.start) * (1 / share - 1));
    snprintf(after, sizeof after, "%s left", left);
    if (b->progress.terminal) {
        progress_draw(b->doing, after, share);
    } else {
        say("%s: %s", b->doing, after);
    }
    return true;
}

static void announce(bench *b, int32_t repeat, size_t i) {
    const bench_options *o = &b->options;
    char turn[32] = "warm-up";
    if (repeat >= 0) snprintf(turn, sizeof turn, "turn %d/%d", repeat + 1, o->n_repeat);
    snprintf(b->doing, sizeof b->doing, "%s, %zu/%zu: %d tokens, %.24s", turn, i + 1, b->cells.n_cell,
             b->cells.cell[i].length, b->cells.cell[i].arm->policy);
    b->cell_work = work_of(&b->cells.cell[i], o->n_tokens);
}

/* ---- set-up ------------------------------------------------------------------------------------------------------ */

/* A KV type after a policy, as judgeq eval takes it, would be a second word on what --kv-types says. */
static judgeq_status parse_arms(bench *b, const char *policies, judgeq_error *error) {
    const judgeq_kv_type first = (judgeq_kv_type)b->options.kv_type.value[0];
    judgeq_status status = arms_parse(policies, "", b->options.budgets, first, &b->arms, error);
    for (size_t i = 0; status == JUDGEQ_OK && i < b->arms.n_arm; i++) {
        if (b->arms.arm[i].kv_type == first) continue;
        status = error_set(error, JUDGEQ_ERROR_ARGUMENT, "KV types are given by --kv-types, and not after a policy");
    }
    return status;
}

static judgeq_status make_tokens(bench *b, judgeq_error *error) {
    size_t most = 1;
    for (size_t i = 0; i < b->options.length.n; i++) {
        const size_t length = (size_t)b->options.length.value[i];
        most = length > most ? length : most;
    }
    b->tokens = malloc(most * sizeof *b->tokens);
    if (!b->tokens) return error_memory(error, "the prompt");
    const size_t n_vocab = (size_t)judgeq_model_get_info(b->model)->n_vocab;
    chance draw = chance_from("bench", b->options.seed, 0);
    for (size_t i = 0; i < most; i++) b->tokens[i] = (int32_t)chance_below(&draw, n_vocab);
    return JUDGEQ_OK;
}

static judgeq_status load_judge(bench *b, judgeq_error *error) {
    const bench_options *o = &b->options;
    const judge_search search = {.model = b->model,
                                 .model_path = b->model_path,
                                 .named = o->judge,
                                 .by_default = !o->policies,
                                 .notes = say_notes(o->quiet)};
    const judgeq_status status = find_judge(&search, b->arms.parsed, b->arms.n_policy, &b->found, error);
    if (status != JUDGEQ_OK || !b->found.fallback) return status;
    arms_free(&b->arms);
    return parse_arms(b, FALLBACK_POLICY, error);
}

static judgeq_status prepare(bench *b, judgeq_error *error) {
    const bench_options *o = &b->options;
    judgeq_status status = parse_arms(b, o->policies ? o->policies : "judge", error);
    if (status == JUDGEQ_OK && o->compare) status = bench_compare_read(o->compare, &b->setup.then, error);
    for (size_t i = 0; status == JUDGEQ_OK && i < o->n_output; i++) status = file_check_output(o->output[i], error);
    if (status == JUDGEQ_OK) {
        status = find_model(o->model, b->default_model, sizeof b->default_model, &b->model_path, error);
    }
    if (status == JUDGEQ_OK) status = devices_load_model(&o->devices, b->model_path, &b->model, error);
    if (status == JUDGEQ_OK) find_model_notes(b->model, b->model_path, say_notes(o->quiet));
    if (status == JUDGEQ_OK && o->expand_bytes > 0) {
        size_t n_bytes;
        status = judgeq_model_expand(b->model, o->expand_bytes, o->n_threads.value[0], &n_bytes, error);
    }
    if (status == JUDGEQ_OK) status = load_judge(b, error);
    if (status == JUDGEQ_OK) status = make_tokens(b, error);
    if (status == JUDGEQ_OK) status = bench_cells_make(o, &b->arms, &b->cells, error);
    if (status == JUDGEQ_OK) status = judgeq_kernels(&b->setup.kernels, error);
    processor_name(b->setup.processor, sizeof b->setup.processor);
    b->setup.model = b->model;
    b->setup.judge = b->found.judge;
    b->setup.options = o;
    b->setup.tokens = b->tokens;
    b->setup.progress = show;
    b->setup.progress_data = b;
    return status;
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

/* Every cell once. */
static judgeq_status run_turn(bench *b, int32_t repeat, judgeq_error *error) {
    judgeq_status status = bench_memory_run(&b->cells, repeat, error);
    for (size_t i = 0; status == JUDGEQ_OK && i < b->cells.n_cell; i++) {
        announce(b, repeat, i);
        status = bench_cell_run(&b->setup, &b->cells, &b->cells.cell[i], repeat, error);
        b->done += b->cell_work;
    }
    return status;
}

static judgeq_status run_turns(bench *b, judgeq_error *error) {
    const bench_options *o = &b->options;
    for (size_t i = 0; i < b->cells.n_cell; i++) {
        b->work += (o->n_warm_up + o->n_repeat) * work_of(&b->cells.cell[i], o->n_tokens);
    }
    progress_begin(&b->progress, 0, o->quiet);
    interrupt_catch();
    judgeq_status status = JUDGEQ_OK;
    for (int32_t r = -o->n_warm_up; status == JUDGEQ_OK && r < o->n_repeat; r++) status = run_turn(b, r, error);
    progress_end(&b->progress);
    if (status == JUDGEQ_ERROR_CANCELLED) status = error_set(error, JUDGEQ_ERROR_CANCELLED, "interrupted");
    bench_cells_finish(&b->cells);
    return status;
}

static judgeq_status write_files(const bench *b, judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    for (size_t i = 0; status == JUDGEQ_OK && i < b->options.n_output; i++) {
        const char *path = b->options.output[i];
        const bool table = strcmp(strrchr(path, '.'), ".csv") == 0;
        status = table ? bench_write_csv(&b->cells, path, error) : bench_chart_write(&b->cells, path, error);
    }
    return status;
}

static judgeq_status print(const bench *b, judgeq_error *error) {
    if (!b->options.json) {
        const bool printed = bench_print(&b->setup, &b->cells, stdout);
        return printed ? JUDGEQ_OK : error_set(error, JUDGEQ_ERROR_IO, "cannot write to standard output");
    }
    json_t *object = bench_json(&b->setup, &b->cells);
    if (!object) return error_memory(error, "the results");
    const bool printed = say_json(object, JSON_COMPACT | JSON_REAL_PRECISION(9));
    json_decref(object);
    return printed ? JUDGEQ_OK : error_set(error, JUDGEQ_ERROR_IO, "cannot write to standard output");
}

static judgeq_status run_all(bench *b, judgeq_error *error) {
    judgeq_status status = prepare(b, error);
    if (status == JUDGEQ_OK) status = run_turns(b, error);
    if (status == JUDGEQ_OK) status = print(b, error);
    return status == JUDGEQ_OK ? write_files(b, error) : status;
}

static void bench_free(bench *b) {
    bench_cells_free(&b->cells);
    free(b->tokens);
    judgeq_free(b->setup.kernels);
    json_decref(b->setup.then);
    judge_found_free(&b->found);
    judgeq_model_free(b->model);
    arms_free(&b->arms);
    free(b);
}

int cmd_bench(int argc, char **argv) {
    bench *b = calloc(1, sizeof *b);
    if (!b) {
        say("no memory");
        return 1;
    }
    int status = bench_options_read(argc, argv, &b->options);
    if (status == 0 && b->options.help) {
        printf("%s%s", HELP_CELLS, HELP_MEASURING);
    } else if (status == 0) {
        judgeq_error error = {0};
        status = exit_with(run_all(b, &error), &error);
    }
    bench_free(b);
    return status;
}
