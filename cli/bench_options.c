#include "bench_options.h"

#include <getopt.h>
#include <string.h>
#include <unistd.h>

#include "values.h"

enum {
    LENGTHS = 256,
    POLICIES,
    BUDGETS,
    JUDGE,
    KV_TYPES,
    BATCHES,
    REPEAT,
    WARM_UP,
    CHUNK,
    EXPAND,
    SEED,
    PLAIN_WEIGHTS,
    JSON,
    QUIET
};

static const char SHORT_NAMES[] = ":m:o:n:t:h";

static const struct option NAMES[] = {
    {"model", required_argument, NULL, 'm'},
    {"judge", required_argument, NULL, JUDGE},
    {"lengths", required_argument, NULL, LENGTHS},
    {"policies", required_argument, NULL, POLICIES},
    {"budgets", required_argument, NULL, BUDGETS},
    {"kv-types", required_argument, NULL, KV_TYPES},
    {"threads", required_argument, NULL, 't'},
    {"batches", required_argument, NULL, BATCHES},
    {"expand", required_argument, NULL, EXPAND},
    {"chunk", required_argument, NULL, CHUNK},
    {"plain-weights", no_argument, NULL, PLAIN_WEIGHTS},
    {"tokens", required_argument, NULL, 'n'},
    {"repeat", required_argument, NULL, REPEAT},
    {"warm-up", required_argument, NULL, WARM_UP},
    {"seed", required_argument, NULL, SEED},
    {"output", required_argument, NULL, 'o'},
    DEVICES_OPTIONS,
    {"json", no_argument, NULL, JSON},
    {"quiet", no_argument, NULL, QUIET},
    {"help", no_argument, NULL, 'h'},
    {0},
};

#define wrong(...) usage_wrong("bench", __VA_ARGS__)

static int take_integer(const char *name, int32_t low, int32_t high, int32_t *out) {
    return value_take_int32("bench", name, optarg, low, high, out);
}

/* Reads "512,2048" with `take`, which reads one of them into a place of the list. */
static int take_list(const char *name, bench_list *list,
                     int (*take)(const char *name, const char *text, int32_t *out)) {
    int status = 0;
    list->n = 0;
    for (char *part, *rest = optarg; status == 0 && (part = strtok_r(rest, ",", &rest));) {
        if (list->n == BENCH_LIST_MOST) return wrong("%s takes %d values", name, BENCH_LIST_MOST);
        status = take(name, part, &list->value[list->n++]);
    }
    return status == 0 && list->n == 0 ? wrong("%s \"\": expected one value or several, with commas between", name)
                                       : status;
}

static int take_length(const char *name, const char *text, int32_t *out) {
    return value_take_int32("bench", name, text, 1, 1 << 22, out);
}

static int take_threads(const char *name, const char *text, int32_t *out) {
    return value_take_int32("bench", name, text, 0, 1024, out);
}

static int take_batch(const char *name, const char *text, int32_t *out) {
    return value_take_int32("bench", name, text, 1, 1024, out);
}

static int take_kv_type(const char *name, const char *text, int32_t *out) {
    (void)name;
    judgeq_kv_type type = JUDGEQ_KV_F16;
    const int status = value_take_kv_type("bench", text, &type);
    *out = (int32_t)type;
    return status;
}

static int take_output(bench_options *o) {
    const char *dot = strrchr(optarg, '.');
    if (!dot || (strcmp(dot, ".csv") != 0 && strcmp(dot, ".svg") != 0 && strcmp(dot, ".png") != 0)) {
        return wrong("-o \"%s\": expected a file that ends in .csv, .svg or .png", optarg);
    }
    if (o->n_output == BENCH_OUTPUTS_MOST) return wrong("-o takes %d files", BENCH_OUTPUTS_MOST);
    o->output[o->n_output++] = optarg;
    return 0;
}

static int take_large(const char *name, int64_t high, uint64_t *out) {
    int64_t value = 0;
    const int status = value_take_integer("bench", name, optarg, 0, high, &value);
    *out = (uint64_t)value;
    return status;
}

static int take_expand(bench_options *o) {
    uint64_t mib = 0;
    const int status = take_large("--expand", 1 << 24, &mib);
    if (status == 0) o->expand_bytes = (size_t)mib << 20;
    return status;
}

static int take(bench_options *o, int option) {
    switch (option) {
    case 'm':
        o->model = optarg;
        return 0;
    case JUDGE:
        o->judge = optarg;
        return 0;
    case LENGTHS:
        return take_list("--lengths", &o->length, take_length);
    case POLICIES:
        o->policies = optarg;
        return 0;
    case BUDGETS:
        o->budgets = optarg;
        return 0;
    case KV_TYPES:
        return take_list("--kv-types", &o->kv_type, take_kv_type);
    case 't':
        return take_list("-t", &o->n_threads, take_threads);
    case BATCHES:
        return take_list("--batches", &o->n_batch, take_batch);
    case EXPAND:
        return take_expand(o);
    case CHUNK:
        return take_integer("--chunk", 1, 1 << 20, &o->n_chunk);
    case PLAIN_WEIGHTS:
        o->plain_weights = true;
        return 0;
    case 'n':
        return take_integer("-n", 0, 65536, &o->n_tokens);
    case REPEAT:
        return take_integer("--repeat", 1, 1000, &o->n_repeat);
    case WARM_UP:
        return take_integer("--warm-up", 0, 1000, &o->n_warm_up);
    case SEED:
        return take_large("--seed", INT64_MAX, &o->seed);
    case 'o':
        return take_output(o);
    case DEVICES_NAMES:
    case DEVICES_OFFLOAD:
    case DEVICES_RPC:
        return devices_take(&o->devices, "bench", option);
    case JSON:
        o->json = true;
        return 0;
    case QUIET:
        o->quiet = true;
        return 0;
    default:
        o->help = true;
        return 0;
    }
}

int32_t bench_cores(void) {
    const long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 1024 ? 1024 : n > 1 ? (int32_t)n : 1;
}

int bench_options_read(int argc, char **argv, bench_options *o) {
    *o = (bench_options){.devices = {.n_offload = -1},
                         .policies = "judge",
                         .budgets = "256",
                         .length = {{512, 2048}, 2},
                         .kv_type = {{JUDGEQ_KV_F16}, 1},
                         .n_threads = {{bench_cores()}, 1},
                         .n_batch = {{1}, 1},
                         .n_tokens = 32,
                         .n_repeat = 5,
                         .n_warm_up = 1,
                         .seed = 1};
    opterr = 0;
    optind = 1;
    int option, status = 0;
    while (status == 0 && (option = getopt_long(argc, argv, SHORT_NAMES, NAMES, NULL)) != -1) {
        status = usage_option("bench", option, argv[optind - 1]);
        if (status == 0) status = take(o, option);
    }
    if (status != 0 || o->help) return status;
    return optind < argc ? wrong("unexpected argument \"%s\"", argv[optind]) : 0;
}
