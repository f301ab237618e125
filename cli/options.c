#include "options.h"
#include "values.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PROBE = 256, /* the choices of a policy: five in a row */
    REDUCE,
    SMOOTH,
    ALLOCATE,
    KEEP,
    JUDGE,
    POLICY,
    BUDGET,
    DEFER,
    SYSTEM,
    CHAT,
    RAW,
    TEMPERATURE,
    TOP_K,
    TOP_P,
    MIN_P,
    SEED,
    STOP,
    CONTEXT,
    CHUNK,
    PLAIN_WEIGHTS,
    KV_TYPE,
    LOGPROBS,
    JSON,
    QUIET
};

enum { N_CHOICES = KEEP - PROBE + 1 };

/* Keys of a policy, and names of the options PROBE to KEEP. */
static const char *const CHOICES[N_CHOICES] = {"probe", "reduce", "smooth", "allocate", "keep"};

static const char SHORT_NAMES[] = ":m:p:f:n:t:h";

static const struct option NAMES[] = {
    {"model", required_argument, NULL, 'm'},
    {"judge", required_argument, NULL, JUDGE},
    {"policy", required_argument, NULL, POLICY},
    {"probe", required_argument, NULL, PROBE},
    {"reduce", required_argument, NULL, REDUCE},
    {"smooth", required_argument, NULL, SMOOTH},
    {"allocate", required_argument, NULL, ALLOCATE},
    {"keep", required_argument, NULL, KEEP},
    {"budget", required_argument, NULL, BUDGET},
    {"defer", no_argument, NULL, DEFER},
    {"prompt", required_argument, NULL, 'p'},
    {"file", required_argument, NULL, 'f'},
    {"system", required_argument, NULL, SYSTEM},
    {"chat", no_argument, NULL, CHAT},
    {"raw", no_argument, NULL, RAW},
    {"tokens", required_argument, NULL, 'n'},
    {"temp", required_argument, NULL, TEMPERATURE},
    {"top-k", required_argument, NULL, TOP_K},
    {"top-p", required_argument, NULL, TOP_P},
    {"min-p", required_argument, NULL, MIN_P},
    {"seed", required_argument, NULL, SEED},
    {"stop", required_argument, NULL, STOP},
    {"threads", required_argument, NULL, 't'},
    {"ctx", required_argument, NULL, CONTEXT},
    {"chunk", required_argument, NULL, CHUNK},
    {"plain-weights", no_argument, NULL, PLAIN_WEIGHTS},
    {"kv-type", required_argument, NULL, KV_TYPE},
    DEVICES_OPTIONS,
    {"logprobs", required_argument, NULL, LOGPROBS},
    {"json", no_argument, NULL, JSON},
    {"quiet", no_argument, NULL, QUIET},
    {"help", no_argument, NULL, 'h'},
    {0},
};

#define wrong(...) usage_wrong("run", __VA_ARGS__)

/* ---- values ------------------------------------------------------------------------------------------------------ */

static int take_integer(const char *name, int32_t low, int32_t high, int32_t *out) {
    return value_take_int32("run", name, optarg, low, high, out);
}

static int take_number(const char *name, double low, double high, float *out) {
    double value = *out;
    const int status = value_take_number("run", name, optarg, low, high, &value);
    *out = (float)value;
    return status;
}

static int take_seed(options *o) {
    int64_t value = 0;
    const int status = value_take_integer("run", "--seed", optarg, 0, UINT32_MAX, &value);
    o->sampler.seed = (uint32_t)value;
    return status;
}

static int take_budget(options *o) {
    o->budget_given = true;
    if (value_budget(optarg, &o->budget, &o->budget_fraction)) return 0;
    return usage_wrong_budget("run", "--budget", optarg);
}

static int take_stop(options *o) {
    if (!*optarg) return wrong("--stop \"\": expected a text");
    if (o->n_stop == OPTIONS_STOPS_MOST) return wrong("--stop can be given %d times", OPTIONS_STOPS_MOST);
    o->stop[o->n_stop++] = optarg;
    return 0;
}

static int take_format(options *o, options_format format) {
    if (o->format != OPTIONS_AUTO && o->format != format) return wrong("--chat and --raw exclude each other");
    o->format = format;
    return 0;
}

static int take(options *o, int option) {
    switch (option) {
    case 'm':
        o->model = optarg;
        return 0;
    case JUDGE:
        o->judge = optarg;
        return 0;
    case POLICY:
        o->policy = optarg;
        return 0;
    case BUDGET:
        return take_budget(o);
    case PLAIN_WEIGHTS:
        o->plain_weights = true;
        return 0;
    case DEFER:
        o->defer = true;
        return 0;
    case 'p':
        o->prompt = optarg;
        return 0;
    case 'f':
        o->file = optarg;
        return 0;
    case SYSTEM:
        o->system = optarg;
        return 0;
    case CHAT:
        return take_format(o, OPTIONS_CHAT);
    case RAW:
        return take_format(o, OPTIONS_RAW);
    case 'n':
        return take_integer("-n", 0, INT32_MAX, &o->n_tokens);
    case TEMPERATURE:
        return take_number("--temp", 0, 100, &o->sampler.temperature);
    case TOP_K:
        return take_integer("--top-k", 0, INT32_MAX, &o->sampler.top_k);
    case TOP_P:
        return take_number("--top-p", 0, 1, &o->sampler.top_p);
    case MIN_P:
        return take_number("--min-p", 0, 1, &o->sampler.min_p);
    case SEED:
        return take_seed(o);
    case STOP:
        return take_stop(o);
    case 't':
        return take_integer("-t", 1, 1024, &o->n_threads);
    case CONTEXT:
        return take_integer("--ctx", 1, INT32_MAX, &o->n_ctx);
    case CHUNK:
        return take_integer("--chunk", 1, INT32_MAX / 2, &o->chunk);
    case KV_TYPE:
        return value_take_kv_type("run", optarg, &o->kv_type);
    case DEVICES_NAMES:
    case DEVICES_OFFLOAD:
    case DEVICES_RPC:
        return devices_take(&o->devices, "run", option);
    case LOGPROBS:
        return take_integer("--logprobs", 0, OPTIONS_LOGPROBS_MOST, &o->logprobs);
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

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static int check_together(const options *o) {
    if (o->system && o->format == OPTIONS_RAW) return wrong("--system is a message of --chat, --raw has none");
    if (o->logprobs >= 0 && !o->json) return wrong("--logprobs is a part of the JSON output: add --json");
    if (!o->defer) return 0;
    if (o->sampler.temperature > 0) {
        return wrong("--defer keeps tokens that were decoded greedily: it goes with --temp 0 only");
    }
    if (o->logprobs >= 0) {
        return wrong("--defer keeps tokens whose probabilities are gone: it does not go with --logprobs");
    }
    return 0;
}

/* The policy as given, or judge where the options speak of eviction, with the choices behind it. The text is as long
 * as the options it is made of. */
static int write_policy(options *o, char *const choice[]) {
    bool evicts = o->budget_given;
    for (int i = 0; i < N_CHOICES; i++) evicts = evicts || choice[i];
    const char *name = o->policy ? o->policy : evicts ? "judge" : "full";
    size_t length = strlen(name) + 1;
    for (int i = 0; i < N_CHOICES; i++) length += choice[i] ? strlen(choice[i]) + 16 : 0;
    o->policy_text = malloc(length);
    if (!o->policy_text) return wrong("no memory for the policy");
    size_t used = (size_t)snprintf(o->policy_text, length, "%s", name);
    for (int i = 0; i < N_CHOICES; i++) {
        if (!choice[i]) continue;
        if (strchr(choice[i], ',')) {
            return wrong("--%s \"%s\": expected one value, without a comma", CHOICES[i], choice[i]);
        }
        used += (size_t)snprintf(o->policy_text + used, length - used, ",%s=%s", CHOICES[i], choice[i]);
    }
    return 0;
}

int options_read(int argc, char **argv, options *o) {
    *o = (options){.n_tokens = 256,
                   .sampler = {.temperature = 0, .top_k = 40, .top_p = 0.95f, .min_p = 0.05f, .seed = 0},
                   .kv_type = JUDGEQ_KV_F16,
                   .devices = {.n_offload = -1},
                   .logprobs = -1};
    char *choice[N_CHOICES] = {NULL};
    opterr = 0;
    optind = 1;
    int option, status = 0;
    while (status == 0 && (option = getopt_long(argc, argv, SHORT_NAMES, NAMES, NULL)) != -1) {
        status = usage_option("run", option, argv[optind - 1]);
        if (status != 0) return status;
        if (option == 'n' && strcmp(argv[optind - 1], "-ngl") == 0) { /* as llama.cpp writes it */
            if (optind == argc) return wrong("-ngl needs a value");
            optarg = argv[optind++];
            option = DEVICES_OFFLOAD;
        }
        if (option >= PROBE && option <= KEEP)
            choice[option - PROBE] = optarg;
        else
            status = take(o, option);
    }
    if (status != 0 || o->help) return status;
    if (optind < argc) {
        return wrong("what is \"%s\"? A prompt goes behind -p, a file behind -f, and a text of several words in quotes",
                     argv[optind]);
    }
    status = check_together(o);
    return status != 0 ? status : write_policy(o, choice);
}

void options_free(options *o) {
    free(o->policy_text);
}
