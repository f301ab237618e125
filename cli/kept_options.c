#include "kept_options.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "values.h"

enum { KEPT = 256, JUDGE, POLICY, BUDGET, SYSTEM, CHAT, RAW, CONTEXT, KV_TYPE, SEED, LAYER, HEAD, HTML, JSON, QUIET };

static const struct option NAMES[] = {
    {"kept", no_argument, NULL, KEPT},
    {"model", required_argument, NULL, 'm'},
    {"judge", required_argument, NULL, JUDGE},
    {"policy", required_argument, NULL, POLICY},
    {"budget", required_argument, NULL, BUDGET},
    {"prompt", required_argument, NULL, 'p'},
    {"file", required_argument, NULL, 'f'},
    {"system", required_argument, NULL, SYSTEM},
    {"chat", no_argument, NULL, CHAT},
    {"raw", no_argument, NULL, RAW},
    {"threads", required_argument, NULL, 't'},
    {"ctx", required_argument, NULL, CONTEXT},
    {"kv-type", required_argument, NULL, KV_TYPE},
    {"seed", required_argument, NULL, SEED},
    {"layer", required_argument, NULL, LAYER},
    {"head", required_argument, NULL, HEAD},
    {"html", required_argument, NULL, HTML},
    {"json", no_argument, NULL, JSON},
    {"quiet", no_argument, NULL, QUIET},
    {"help", no_argument, NULL, 'h'},
    {0},
};

#define wrong(...) usage_wrong("inspect", __VA_ARGS__)

static int take_integer(const char *name, int32_t low, int32_t high, int32_t *out) {
    return value_take_int32("inspect", name, optarg, low, high, out);
}

static int take_policy(kept_options *o) {
    if (o->n_policy == KEPT_POLICIES_MOST) return wrong("--policy can be given %d times", KEPT_POLICIES_MOST);
    o->policy[o->n_policy++] = optarg;
    return 0;
}

/* "64" or "64,128,5%" */
static int take_budgets(kept_options *o) {
    for (const char *at = optarg; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (o->n_budget == KEPT_BUDGETS_MOST) return wrong("--budget takes %d budgets", KEPT_BUDGETS_MOST);
        kept_budget *budget = &o->budget[o->n_budget++];
        snprintf(budget->text, sizeof budget->text, "%.*s", (int)strcspn(at, ","), at);
        if (strcspn(at, ",") >= sizeof budget->text || !value_budget(budget->text, &budget->rows, &budget->fraction)) {
            return usage_wrong_budget("inspect", "--budget", optarg);
        }
    }
    return 0;
}

static int take_format(options *o, options_format format) {
    if (o->format != OPTIONS_AUTO && o->format != format) return wrong("--chat and --raw exclude each other");
    o->format = format;
    return 0;
}

static int take_seed(options *o) {
    int64_t value = 0;
    const int status = value_take_integer("inspect", "--seed", optarg, 0, UINT32_MAX, &value);
    o->sampler.seed = (uint32_t)value;
    return status;
}

/* What judgeq run has as well. */
static int take_run(options *o, int option) {
    switch (option) {
    case 'm':
        o->model = optarg;
        return 0;
    case JUDGE:
        o->judge = optarg;
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
    case 't':
        return take_integer("-t", 1, 1024, &o->n_threads);
    case CONTEXT:
        return take_integer("--ctx", 1, INT32_MAX, &o->n_ctx);
    case KV_TYPE:
        return value_take_kv_type("inspect", optarg, &o->kv_type);
    case SEED:
        return take_seed(o);
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

static int take(kept_options *o, int option) {
    switch (option) {
    case KEPT:
        return 0;
    case POLICY:
        return take_policy(o);
    case BUDGET:
        return take_budgets(o);
    case LAYER:
        return take_integer("--layer", 0, INT32_MAX, &o->layer);
    case HEAD:
        return take_integer("--head", 0, INT32_MAX, &o->head);
    case HTML:
        o->html = optarg;
        return 0;
    default:
        return take_run(&o->run, option);
    }
}

int kept_options_read(int argc, char **argv, kept_options *o) {
    *o = (kept_options){.run = {.kv_type = JUDGEQ_KV_F16}, .layer = -1, .head = -1};
    opterr = 0;
    optind = 1;
    for (int option; (option = getopt_long(argc, argv, ":m:p:f:t:h", NAMES, NULL)) != -1;) {
        if (option == ':') return wrong("%s needs a value", argv[optind - 1]);
        if (option == '?') return wrong("unknown option \"%s\"", argv[optind - 1]);
        const int status = take(o, option);
        if (status != 0) return status;
    }
    if (o->run.help) return 0;
    if (optind < argc)
        return wrong("what is \"%s\"? With --kept, a model goes behind -m, a text behind -f", argv[optind]);
    if (!o->run.prompt && !o->run.file) return wrong("--kept needs a text: -f FILE, -p TEXT or both");
    if (o->run.system && o->run.format == OPTIONS_RAW) return wrong("--system is a message of --chat, --raw has none");
    if (o->n_policy == 0) o->policy[o->n_policy++] = "judge";
    return 0;
}
