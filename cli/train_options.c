#include "train_options.h"
#include "values.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

enum {
    DATA = 256,
    ONLINE,
    SAVE_DATA,
    RING,
    REPLAY,
    LOSS,
    N_SOFT,
    DEEP,
    WEIGH_VALUES,
    TARGET,
    INIT,
    EPOCHS,
    RATE,
    WARM_UP,
    ACCUMULATE,
    CLIP,
    HELDOUT,
    SEED,
    MEASURE_EVERY,
    MEASURE_BUDGETS,
    CHECKPOINT_EVERY,
    LOG,
    RESUME,
    KV_TYPE,
    CACHE,
    SCRATCH,
    QUIET
};

static const struct option NAMES[] = {
    {"model", required_argument, NULL, 'm'},
    {"data", required_argument, NULL, DATA},
    DATA_OPTION_NAMES,
    {"online", no_argument, NULL, ONLINE},
    {"save-data", required_argument, NULL, SAVE_DATA},
    {"ring", required_argument, NULL, RING},
    {"replay", required_argument, NULL, REPLAY},
    {"output", required_argument, NULL, 'o'},
    {"loss", required_argument, NULL, LOSS},
    {"n-soft", required_argument, NULL, N_SOFT},
    {"deep", no_argument, NULL, DEEP},
    {"weigh-values", no_argument, NULL, WEIGH_VALUES},
    {"target", required_argument, NULL, TARGET},
    {"init", required_argument, NULL, INIT},
    {"epochs", required_argument, NULL, EPOCHS},
    {"lr", required_argument, NULL, RATE},
    {"warm-up", required_argument, NULL, WARM_UP},
    {"accumulate", required_argument, NULL, ACCUMULATE},
    {"clip", required_argument, NULL, CLIP},
    {"heldout", required_argument, NULL, HELDOUT},
    {"seed", required_argument, NULL, SEED},
    {"measure-every", required_argument, NULL, MEASURE_EVERY},
    {"measure-budgets", required_argument, NULL, MEASURE_BUDGETS},
    {"checkpoint-every", required_argument, NULL, CHECKPOINT_EVERY},
    {"log", required_argument, NULL, LOG},
    {"resume", no_argument, NULL, RESUME},
    {"threads", required_argument, NULL, 't'},
    {"kv-type", required_argument, NULL, KV_TYPE},
    {"cache", required_argument, NULL, CACHE},
    {"scratch", required_argument, NULL, SCRATCH},
    {"quiet", no_argument, NULL, QUIET},
    {"help", no_argument, NULL, 'h'},
    {0},
};

#define wrong(...) usage_wrong("train", __VA_ARGS__)

static int take_integer(const char *name, int64_t low, int64_t high, int64_t *out) {
    return value_take_integer("train", name, optarg, low, high, out);
}

static int take_int32(const char *name, int32_t low, int32_t high, int32_t *out) {
    return value_take_int32("train", name, optarg, low, high, out);
}

static int take_number(const char *name, double low, double high, double *out) {
    return value_take_number("train", name, optarg, low, high, out);
}

static int take_init(train_options *o) {
    o->start_text = o->start_judge = NULL;
    if (strcmp(optarg, "vocabulary") == 0) return 0;
    if (strncmp(optarg, "text:", 5) == 0 && optarg[5]) {
        o->start_text = optarg + 5;
        return 0;
    }
    if (strncmp(optarg, "judge:", 6) == 0 && optarg[6]) {
        o->start_judge = optarg + 6;
        return 0;
    }
    return wrong("--init \"%s\": expected vocabulary, text:TEXT or judge:FILE", optarg);
}

static int take_loss(train_options *o) {
    if (strcmp(optarg, "kl") != 0 && strcmp(optarg, "mse") != 0) {
        return wrong("--loss \"%s\": expected kl or mse", optarg);
    }
    o->params.loss = strcmp(optarg, "mse") == 0 ? JUDGEQ_LOSS_MSE : JUDGEQ_LOSS_KL;
    return 0;
}

static int take_target(train_options *o) {
    if (strcmp(optarg, "mean") != 0 && strcmp(optarg, "max") != 0) {
        return wrong("--target \"%s\": expected mean or max", optarg);
    }
    o->params.target = strcmp(optarg, "max") == 0 ? JUDGEQ_TARGET_MAX : JUDGEQ_TARGET_MEAN;
    return 0;
}

static int take_seed(train_options *o) {
    int64_t value = 0;
    const int status = take_integer("--seed", 0, INT64_MAX, &value);
    if (status == 0) o->params.seed = (uint64_t)value;
    return status;
}

/* "64,128" */
static int take_budgets(int32_t budget[JUDGEQ_MEASURE_BUDGETS]) {
    size_t n = 0;
    char one[16];
    for (const char *at = optarg, *end; at; at = *end ? end + 1 : NULL) {
        int64_t rows = 0;
        end = at + strcspn(at, ",");
        snprintf(one, sizeof one, "%.*s", (int)(end - at), at);
        if (n == JUDGEQ_MEASURE_BUDGETS || !value_integer(one, 1, INT32_MAX, &rows)) {
            return wrong("--measure-budgets \"%s\": expected 1 to %d numbers of rows, with commas between them", optarg,
                         JUDGEQ_MEASURE_BUDGETS);
        }
        budget[n++] = (int32_t)rows;
    }
    while (n < JUDGEQ_MEASURE_BUDGETS) budget[n++] = 0;
    return 0;
}

static int take_mebibytes(const char *name, size_t *bytes) {
    int64_t value = 0;
    const int status = take_integer(name, 0, INT32_MAX, &value);
    if (status == 0) *bytes = (size_t)value << 20;
    return status;
}

/* What is made of the sources, and how it is used. */
static int take_online(train_options *o, int option) {
    switch (option) {
    case ONLINE:
        o->online = true;
        return 0;
    case SAVE_DATA:
        o->sources.output = optarg;
        return 0;
    case RING:
        return take_int32("--ring", 1, 1000000, &o->params.n_ring);
    case REPLAY:
        return take_int32("--replay", 1, 1000000, &o->params.n_replay);
    default:
        return data_options_take(&o->sources, "train", option, optarg);
    }
}

/* What changes the judge. */
static int take_parameter(train_options *o, int option) {
    judgeq_trainer_params *p = &o->params;
    switch (option) {
    case LOSS:
        return take_loss(o);
    case TARGET:
        return take_target(o);
    case DEEP:
        p->deep = true;
        return 0;
    case WEIGH_VALUES:
        p->weigh_values = true;
        return 0;
    case N_SOFT:
        return take_int32("--n-soft", 1, 4096, &p->n_soft);
    case INIT:
        return take_init(o);
    case EPOCHS:
        return take_int32("--epochs", 1, 1000000, &p->n_epochs);
    case RATE:
        return take_number("--lr", 1e-12, 1e6, &p->rate);
    case WARM_UP:
        return take_int32("--warm-up", 0, INT32_MAX, &p->n_warm_up);
    case ACCUMULATE:
        return take_int32("--accumulate", 1, 1000000, &p->n_accumulate);
    case CLIP:
        return take_number("--clip", 0, 1e30, &p->clip);
    case HELDOUT:
        return take_number("--heldout", 0, 0.5, &p->heldout);
    case KV_TYPE:
        return value_take_kv_type("train", optarg, &p->kv_type);
    case SEED:
        return take_seed(o);
    default:
        return take_online(o, option);
    }
}

static int take(train_options *o, int option, const char *given) {
    switch (option) {
    case 'm':
        o->model = optarg;
        return 0;
    case 'o':
        o->output = optarg;
        return 0;
    case DATA:
        o->data = optarg;
        return 0;
    case LOG:
        o->log = optarg;
        return 0;
    case RESUME:
        o->resume = true;
        return 0;
    case QUIET:
        o->quiet = true;
        return 0;
    case 'h':
        o->help = true;
        return 0;
    case 't':
        return take_int32("-t", 0, 1024, &o->params.n_threads);
    case MEASURE_EVERY:
        return take_int32("--measure-every", 0, INT32_MAX, &o->measure_every);
    case MEASURE_BUDGETS:
        return take_budgets(o->params.measure_budget);
    case CHECKPOINT_EVERY:
        return take_int32("--checkpoint-every", 0, 86400, &o->checkpoint_every);
    case CACHE:
        return take_mebibytes("--cache", &o->cache_bytes);
    case SCRATCH:
        return take_mebibytes("--scratch", &o->params.scratch_bytes);
    case ':':
        return wrong("a value is missing after %s", given);
    case '?':
        return wrong("unknown option \"%s\"", given);
    default:
        return take_parameter(o, option);
    }
}

static int check_data(const train_options *o) {
    if (o->sources.sources.n_source > 0) {
        return wrong("what is \"%s\"? The training set is named by --data; sources go with --online",
                     o->sources.sources.source[0]);
    }
    return o->data ? 0 : wrong("--data SET.jsonl is missing, or --online and sources");
}

/* The options that the training and its examples share. */
static int check_online(train_options *o) {
    if (o->data) return wrong("--online makes its examples of sources: --data does not go with it");
    if (o->sources.n_examples == 0) {
        return wrong("--online needs -n N, the number of examples: the rate falls to 0 with the last of them");
    }
    o->params.n_stream = o->sources.n_examples;
    o->sources.sources.seed = o->params.seed;
    o->sources.n_threads = o->params.n_threads;
    o->sources.kv_type = o->params.kv_type;
    o->sources.resume = o->resume;
    return data_options_check(&o->sources, "train");
}

int train_options_read(int argc, char **argv, train_options *out) {
    *out = (train_options){.sources = data_options_default(),
                           .params = judgeq_trainer_default_params(),
                           .checkpoint_every = 60,
                           .cache_bytes = (size_t)1 << 30};
    opterr = 0;
    optind = 1;
    for (int option; (option = getopt_long(argc, argv, ":m:o:n:t:h", NAMES, NULL)) != -1;) {
        const int status = take(out, option, argv[optind - 1]);
        if (status != 0) return status;
    }
    if (out->help) return 0;
    if (!out->output) return wrong("-o JUDGE.gguf is missing");
    out->sources.sources.source = argv + optind;
    out->sources.sources.n_source = argc - optind;
    return out->online ? check_online(out) : check_data(out);
}
