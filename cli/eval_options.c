#include "eval_options.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "values.h"

enum {
    JUDGE = 256,
    POLICIES,
    BUDGETS,
    LENGTH,
    SAMPLES,
    SEED,
    HAYSTACK,
    DEPTHS,
    CUT,
    CHAT,
    RAW,
    KV_TYPE,
    EXPAND,
    DIVERGENCE,
    HEADS,
    PROMPTS,
    VERSUS,
    JSON,
    QUIET
};

static const char SHORT_NAMES[] = ":m:o:n:t:h";

static const struct option NAMES[] = {
    {"model", required_argument, NULL, 'm'},
    {"judge", required_argument, NULL, JUDGE},
    {"policies", required_argument, NULL, POLICIES},
    {"budgets", required_argument, NULL, BUDGETS},
    {"length", required_argument, NULL, LENGTH},
    {"samples", required_argument, NULL, SAMPLES},
    {"seed", required_argument, NULL, SEED},
    {"output", required_argument, NULL, 'o'},
    {"haystack", required_argument, NULL, HAYSTACK},
    {"depths", required_argument, NULL, DEPTHS},
    {"cut", required_argument, NULL, CUT},
    {"tokens", required_argument, NULL, 'n'},
    {"chat", no_argument, NULL, CHAT},
    {"raw", no_argument, NULL, RAW},
    {"threads", required_argument, NULL, 't'},
    {"kv-type", required_argument, NULL, KV_TYPE},
    {"expand", required_argument, NULL, EXPAND},
    {"divergence", no_argument, NULL, DIVERGENCE},
    {"heads", no_argument, NULL, HEADS},
    {"prompts", no_argument, NULL, PROMPTS},
    {"versus", required_argument, NULL, VERSUS},
    {"json", no_argument, NULL, JSON},
    {"quiet", no_argument, NULL, QUIET},
    {"help", no_argument, NULL, 'h'},
    {0},
};

#define wrong(...) usage_wrong("eval", __VA_ARGS__)

static int take_integer(const char *name, int32_t low, int32_t high, int32_t *out) {
    return value_take_int32("eval", name, optarg, low, high, out);
}

/* "1024,2048" */
static int take_lengths(eval_options *o) {
    int status = 0;
    o->n_length = 0;
    for (char *part, *rest = optarg; status == 0 && (part = strtok_r(rest, ",", &rest));) {
        int64_t value;
        if (!value_integer(part, 64, 1 << 22, &value)) {
            status = usage_wrong_integer("eval", "--length", part, 64, 1 << 22);
        } else if (o->n_length == EVAL_LENGTHS_MOST) {
            status = wrong("--length takes %d lengths", EVAL_LENGTHS_MOST);
        } else {
            o->length[o->n_length++] = (int32_t)value;
        }
    }
    return status == 0 && o->n_length == 0 ? wrong("--length \"\": expected tokens, such as 1024,2048") : status;
}

static int take_seed(eval_options *o) {
    int64_t value = 0;
    const int status = value_take_integer("eval", "--seed", optarg, 0, UINT32_MAX, &value);
    o->seed = (uint32_t)value;
    return status;
}

static int take_format(eval_options *o, reading_format format) {
    if (o->format != READING_AUTO && o->format != format) return wrong("--chat and --raw exclude each other");
    o->format = format;
    return 0;
}

static int take(eval_options *o, int option) {
    switch (option) {
    case 'm':
        o->model = optarg;
        return 0;
    case JUDGE:
        o->judge = optarg;
        return 0;
    case POLICIES:
        o->policies = optarg;
        return 0;
    case BUDGETS:
        o->budgets = optarg;
        return 0;
    case LENGTH:
        return take_lengths(o);
    case SAMPLES:
        return take_integer("--samples", 1, 1000000, &o->n_samples);
    case SEED:
        return take_seed(o);
    case 'o':
        o->output = optarg;
        return 0;
    case HAYSTACK:
        o->haystack = optarg;
        return 0;
    case DEPTHS:
        return take_integer("--depths", 1, 1000, &o->n_depths);
    case CUT:
        return take_integer("--cut", 64, 1 << 22, &o->cut_to);
    case 'n':
        return take_integer("-n", 1, 65536, &o->n_tokens);
    case CHAT:
        return take_format(o, READING_CHAT);
    case RAW:
        return take_format(o, READING_RAW);
    case 't':
        return take_integer("-t", 1, 1024, &o->n_threads);
    case KV_TYPE:
        return value_take_kv_type("eval", optarg, &o->kv_type);
    case EXPAND:
        return take_integer("--expand", 0, 1 << 20, &o->expand_mib);
    case DIVERGENCE:
        o->divergence = true;
        return 0;
    case HEADS:
        o->heads = true;
        return 0;
    case PROMPTS:
        o->prompts = true;
        return 0;
    case VERSUS:
        o->versus = optarg;
        return 0;
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
    if (!*o->tasks) return wrong("which tasks? Name some, or own for all of ours");
    if (!o->output) return wrong("-o DIR is needed: the results go there, and an interrupted run continues from there");
    return 0;
}

int eval_options_read(int argc, char **argv, eval_options *o) {
    *o = (eval_options){.policies = "streaming,snapkv,judge,judge-laq",
                        .budgets = "64,128",
                        .length = {1024},
                        .n_length = 1,
                        .n_samples = 8,
                        .n_depths = 11,
                        .seed = 1,
                        .expand_mib = 1024,
                        .kv_type = JUDGEQ_KV_F16};
    opterr = 0;
    optind = 1;
    int option, status = 0;
    while (status == 0 && (option = getopt_long(argc, argv, SHORT_NAMES, NAMES, NULL)) != -1) {
        status = usage_option("eval", option, argv[optind - 1]);
        if (status == 0) status = take(o, option);
    }
    if (status != 0 || o->help) return status;
    status = join_tasks(argc, argv, o);
    return status != 0 ? status : check_together(o);
}

void eval_options_free(eval_options *o) {
    free(o->tasks);
}
