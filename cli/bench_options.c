#include "bench_options.h"

#include <getopt.h>
#include <string.h>

#include "commands.h"
#include "cores_note.h"
#include "device_options.h"
#include "values.h"

#define wrong(...) usage_wrong("bench", __VA_ARGS__)

/* A list of judgeq_kv_type. */
static int take_kv_types(const command_given *given, void *place) {
    command_list *list = place;
    char part[16];
    bool good = true;
    list->n = 0;
    for (const char *at = given->value; good && at;) {
        judgeq_kv_type type;
        at = command_next_part(at, part, sizeof part);
        good = list->n < COMMAND_LIST_MOST && value_kv_type(part, &type);
        if (good) list->value[list->n++] = (int32_t)type;
    }
    return good ? 0 : usage_wrong_kv_type("bench", "--kv-types", part);
}

static int take_output(const command_given *given, void *place) {
    bench_options *o = place;
    const char *dot = strrchr(given->value, '.');
    if (!dot || (strcmp(dot, ".csv") != 0 && strcmp(dot, ".svg") != 0 && strcmp(dot, ".png") != 0)) {
        return wrong("-o \"%s\": expected a file that ends in .csv, .svg or .png", given->value);
    }
    if (o->n_output == BENCH_OUTPUTS_MOST) return wrong("-o takes %d files", BENCH_OUTPUTS_MOST);
    o->output[o->n_output++] = given->value;
    return 0;
}

const command_option bench_rows[] = {
    {"model", 'm', INTO(bench_options, model), .value = COMMAND_GGUF},
    {"judge", 0, INTO(bench_options, judge), .value = COMMAND_GGUF},
    {"lengths", 0, TAKEN_INTO(bench_options, length, command_take_list), .least = 1, .most = 1 << 22},
    {"policies", 0, INTO(bench_options, policies), .value = COMMAND_POLICIES},
    {"budgets", 0, INTO(bench_options, budgets)},
    {"kv-types", 0, TAKEN_INTO(bench_options, kv_type, take_kv_types), .value = COMMAND_KV_TYPES},
    {"threads", 't', TAKEN_INTO(bench_options, n_threads, command_take_list), .most = 1024},
    {"batches", 0, TAKEN_INTO(bench_options, n_batch, command_take_list), .least = 1, .most = 1024},
    {"expand", 0, TAKEN_INTO(bench_options, expand_bytes, command_take_mib), .most = 1 << 24},
    {"chunk", 0, INTO(bench_options, n_chunk), .least = 1, .most = 1 << 20},
    {"plain-weights", 0, INTO(bench_options, plain_weights)},
    {"tokens", 'n', INTO(bench_options, n_tokens), .most = 65536},
    {"repeat", 0, INTO(bench_options, n_repeat), .least = 1, .most = 1000},
    {"warm-up", 0, INTO(bench_options, n_warm_up), .most = 1000},
    {"seed", 0, INTO(bench_options, seed), .most = INT64_MAX},
    {"output", 'o', TAKEN(take_output), .value = COMMAND_FILE, .adds_up = true},
    {"compare", 0, INTO(bench_options, compare), .value = COMMAND_FILE},
    ROWS_OF(bench_options, devices, device_options_rows),
    {"json", 0, INTO(bench_options, json)},
    {"quiet", 0, INTO(bench_options, quiet)},
    {"help", 'h', INTO(bench_options, help)},
    {0},
};

/* No more threads than cores, which would make some of the numbers the same. */
static void cap_threads(bench_options *o) {
    command_list all = o->n_threads;
    o->n_threads.n = 0;
    for (size_t i = 0; i < all.n; i++) {
        const int32_t cores = judgeq_cores(), n = all.value[i] < cores ? all.value[i] : cores;
        cores_note(all.value[i], o->quiet);
        size_t same = 0;
        while (same < o->n_threads.n && o->n_threads.value[same] != n) same++;
        if (same == o->n_threads.n) o->n_threads.value[o->n_threads.n++] = n;
    }
}

int bench_options_read(int argc, char **argv, bench_options *o) {
    *o = (bench_options){.devices = device_options_default(),
                         .budgets = "256",
                         .length = {{512, 2048}, 2},
                         .kv_type = {{JUDGEQ_KV_F16}, 1},
                         .n_threads = {{judgeq_cores()}, 1},
                         .n_batch = {{1}, 1},
                         .n_tokens = 32,
                         .n_repeat = 5,
                         .n_warm_up = 1,
                         .seed = 1};
    const int status = command_line_read("bench", bench_rows, argc, argv, o);
    if (status != 0 || o->help) return status;
    cap_threads(o);
    return optind < argc ? wrong("unexpected argument \"%s\"", argv[optind]) : 0;
}
