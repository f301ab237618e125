#include "train_options.h"
#include "commands.h"
#include "values.h"

#include <getopt.h>
#include <string.h>

#define wrong(...) usage_wrong("train", __VA_ARGS__)

static int take_init(const command_given *given, void *place) {
    train_options *o = place;
    const char *value = given->value;
    o->start_text = o->start_judge = NULL;
    if (strcmp(value, "vocabulary") == 0) return 0;
    if (strncmp(value, "text:", 5) == 0 && value[5]) {
        o->start_text = value + 5;
        return 0;
    }
    if (strncmp(value, "judge:", 6) == 0 && value[6]) {
        o->start_judge = value + 6;
        return 0;
    }
    return wrong("--init \"%s\": expected vocabulary, text:TEXT or judge:FILE", value);
}

/* Rows, 0 after the last. */
static int take_budgets(const command_given *given, void *place) {
    command_list list;
    const int status = command_take_list(given, &list);
    if (status != 0) return status;
    if (list.n > JUDGEQ_MEASURE_BUDGETS)
        return wrong("--measure-budgets \"%s\": expected %d budgets at most", given->value, JUDGEQ_MEASURE_BUDGETS);
    for (size_t i = 0; i < JUDGEQ_MEASURE_BUDGETS; i++) ((int32_t *)place)[i] = i < list.n ? list.value[i] : 0;
    return 0;
}

/* In the order of judgeq_loss and judgeq_target. */
static const char *const LOSSES[] = {"kl", "mse", NULL}, *const TARGETS[] = {"mean", "max", "copied", NULL};

enum { MANY = 1000000 };

const command_option train_rows[] = {
    {"model", 'm', INTO(train_options, model), .value = COMMAND_GGUF},
    {"data", 0, INTO(train_options, data), .value = COMMAND_FILE},
    {"output", 'o', INTO(train_options, output), .value = COMMAND_GGUF},
    {"log", 0, INTO(train_options, log), .value = COMMAND_FILE},
    {"resume", 0, INTO(train_options, resume)},
    {"checkpoint-every", 0, INTO(train_options, checkpoint_every), .most = 86400},
    /* the judge */
    {"n-soft", 0, INTO(train_options, params.n_soft), .least = 1, .most = 4096},
    {"deep", 0, INTO(train_options, params.deep)},
    {"init", 0, TAKEN(take_init)},
    {"seed", 0, INTO(train_options, params.seed), .most = INT64_MAX},
    /* training */
    {"loss", 0, TAKEN_INTO(train_options, params.loss, command_take_choice), .choices = LOSSES},
    {"target", 0, TAKEN_INTO(train_options, params.target, command_take_choice), .choices = TARGETS},
    {"weigh-values", 0, INTO(train_options, params.weigh_values)},
    {"epochs", 0, INTO(train_options, params.n_epochs), .least = 0, .most = MANY},
    {"lr", 0, INTO(train_options, params.rate), .from = 1e-12, .to = 1e6},
    {"warm-up", 0, INTO(train_options, params.n_warm_up), .most = INT32_MAX},
    {"accumulate", 0, INTO(train_options, params.n_accumulate), .least = 1, .most = MANY},
    {"clip", 0, INTO(train_options, params.clip), .to = 1e30},
    /* measuring */
    {"heldout", 0, INTO(train_options, params.heldout), .to = 0.5},
    {"measure-every", 0, INTO(train_options, measure_every), .most = INT32_MAX},
    {"measure-budgets", 0, TAKEN_INTO(train_options, params.measure_budget, take_budgets), .least = 1,
     .most = INT32_MAX},
    /* computing */
    {"threads", 't', INTO(train_options, params.n_threads), .most = 1024},
    {"kv-type", 0, TAKEN_INTO(train_options, params.kv_type, command_take_kv_type), .value = COMMAND_KV_TYPE},
    {"cache", 0, TAKEN_INTO(train_options, cache_bytes, command_take_mib), .most = INT32_MAX},
    {"scratch", 0, TAKEN_INTO(train_options, params.scratch_bytes, command_take_mib), .most = INT32_MAX},
    {"quiet", 0, INTO(train_options, quiet)},
    {"help", 'h', INTO(train_options, help)},
    /* what is made of the sources, and how it is used */
    {"online", 0, INTO(train_options, online)},
    {"replay", 0, INTO(train_options, params.n_replay), .least = 1, .most = MANY},
    {"ring", 0, INTO(train_options, params.n_ring), .least = 1, .most = MANY},
    {"save-data", 0, INTO(train_options, sources.output), .value = COMMAND_FILE},
    ROWS_OF(train_options, sources, data_options_rows),
    {0},
};

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
    if (o->params.n_epochs == 0)
        return wrong("--epochs 0 measures on the examples of --data: it does not go with --online");
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
    const int status = command_line_read("train", train_rows, argc, argv, out);
    if (status != 0 || out->help) return status;
    if (!out->output) return wrong("-o JUDGE.gguf is missing");
    out->sources.sources.source = argv + optind;
    out->sources.sources.n_source = argc - optind;
    return out->online ? check_online(out) : check_data(out);
}
