/* judgeq judge: makes judge files from arrays of soft tokens, and arrays from judge files. */
#include "app/find_model.h"
#include "base/error.h"
#include "base/file.h"
#include "command_line.h"
#include "commands.h"
#include "exit_status.h"
#include "judgeq.h"
#include "say.h"
#include "values.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char HELP[] =
    "Usage: judgeq judge import FILE -o JUDGE.gguf [-m MODEL] [--tensor NAME] [--origin TEXT]\n"
    "                              [--choices TEXT]\n"
    "       judgeq judge export JUDGE.gguf -o FILE.npy|FILE.safetensors\n"
    "\n"
    "A judge file holds soft tokens trained for one model (docs/judge-files.md).\n"
    "\n"
    "import: makes a judge file of an array [n_soft, n_embd].\n"
    "  FILE               .npy (F32, F16) or .safetensors (F32, F16, BF16), recognised by its content; or a judge file "
    "of\n"
    "                     format version 1, with -m the model file that it was made for: it then fits every\n"
    "                     quantisation\n"
    "  -o, --output FILE  the judge file to write; required\n"
    "  -m, --model FILE   the model that the soft tokens were trained for (default: the model that tools/deps.sh "
    "fetched)\n"
    "  --tensor NAME      the tensor in a .safetensors file (default: the only one)\n"
    "  --origin TEXT      how the soft tokens came to be (default: \"imported from FILE\")\n"
    "  --choices TEXT     how its scores are reduced and smoothed where a policy leaves it to the judge, as "
    "judge-later\n"
    "                     does: reduce=mean/mean,smooth=none, say (default: what FILE\n"
    "                     says, if it is a judge file; \"\" takes it out)\n"
    "\n"
    "export: writes a judge's soft tokens as F32.\n"
    "  JUDGE.gguf         the judge file\n"
    "  -o, --output FILE  ends in .npy or .safetensors; required\n"
    "\n"
    "  -h, --help         this text\n"
    "\n"
    "Files are replaced whole: a full disk leaves the old one.\n"
    "\n"
    "Examples:\n"
    "  judgeq judge import soft-kl.npy -o judge.gguf --origin \"trained in PyTorch, KL, 600 steps\"\n"
    "  judgeq judge export judge.gguf -o soft.npy\n";

typedef struct options {
    bool help;
    const char *input, *output, *model, *tensor, *origin, *choices;
} options;

#define wrong(...) usage_wrong("judge", __VA_ARGS__)

const command_option judge_rows[] = {{"output", 'o', INTO(options, output), .value = COMMAND_FILE},
                                     {"model", 'm', INTO(options, model), .value = COMMAND_GGUF},
                                     {"tensor", 0, INTO(options, tensor)},
                                     {"origin", 0, INTO(options, origin)},
                                     {"choices", 0, INTO(options, choices)},
                                     {"help", 'h', INTO(options, help)},
                                     {0}};

/* 0, or the exit status of wrong usage. */
static int parse(int argc, char **argv, options *o) {
    const int status = command_line_read("judge", judge_rows, argc, argv, o);
    if (status != 0 || o->help) return status;
    if (optind == argc) return wrong("which file? An input file is missing");
    o->input = argv[optind++];
    if (optind < argc) return wrong("one input file is enough, what is \"%s\"?", argv[optind]);
    if (!o->output) return wrong("-o FILE is missing");
    return 0;
}

static judgeq_status replace_texts(judgeq_judge **judge, const options *o, judgeq_error *error) {
    judgeq_judge_info info = *judgeq_judge_get_info(*judge);
    if (o->origin) info.origin = o->origin;
    if (o->choices) info.choices = o->choices;
    judgeq_judge *renamed;
    judgeq_status status = judgeq_judge_new(judgeq_judge_soft_tokens(*judge), &info, &renamed, error);
    if (status != JUDGEQ_OK) return status;
    judgeq_judge_free(*judge);
    *judge = renamed;
    return JUDGEQ_OK;
}

/* Only what judge-later leaves to the judge. */
static judgeq_status check_choices(const char *choices, judgeq_error *error) {
    static const char *const keys[] = {"reduce=", "smooth="};
    char *text = NULL;
    judgeq_policy *policy = NULL;
    for (const char *part = choices; part; part = strchr(part, ',') ? strchr(part, ',') + 1 : NULL) {
        bool known = false;
        for (int i = 0; i < 2; i++) {
            const size_t n = strlen(keys[i]);
            known = known || (strncmp(part, keys[i], n) == 0 && strncmp(part + n, "judge", 5) != 0);
        }
        if (!known) {
            return error_set(
                error, JUDGEQ_ERROR_ARGUMENT,
                "--choices \"%.60s\": expected reduce and smooth, for example reduce=mean/mean,smooth=none", choices);
        }
    }
    if (asprintf(&text, "probe=soft,%s", choices) < 0) return error_memory(error, "a policy");
    const judgeq_status status = judgeq_policy_parse(text, &policy, error);
    judgeq_policy_free(policy);
    free(text);
    return status;
}

static judgeq_status import(const options *o, judgeq_judge **judge, judgeq_error *error) {
    char room[4096];
    const char *path = NULL;
    judgeq_model *model = NULL;
    judgeq_status status = o->choices && *o->choices ? check_choices(o->choices, error) : JUDGEQ_OK;
    if (status == JUDGEQ_OK) status = file_check_output(o->output, error);
    if (status == JUDGEQ_OK) status = find_model(o->model, room, sizeof room, &path, error);
    if (status == JUDGEQ_OK) status = judgeq_model_load(path, &model, error);
    if (status == JUDGEQ_OK) status = judgeq_judge_import(o->input, o->tensor, model, judge, error);
    if (status == JUDGEQ_OK && (o->origin || o->choices)) status = replace_texts(judge, o, error);
    if (status == JUDGEQ_OK) status = judgeq_judge_save(*judge, o->output, error);
    judgeq_model_free(model);
    return status;
}

static int run_import(const options *o) {
    judgeq_judge *judge = NULL;
    judgeq_error error;
    judgeq_status status = import(o, &judge, &error);
    if (status == JUDGEQ_OK) {
        const judgeq_judge_info *info = judgeq_judge_get_info(judge);
        char layers[48] = "";
        if (info->n_depth > 1) snprintf(layers, sizeof layers, ", in each of %d layers,", info->n_depth);
        say("%s: %d soft tokens of %d elements%s for \"%s\"", o->output, info->n_soft, info->n_embd, layers,
            info->model_name);
    }
    judgeq_judge_free(judge);
    return exit_with(status, &error);
}

static int run_export(const options *o) {
    if (o->model || o->tensor || o->origin || o->choices) return wrong("export takes no option but -o");
    judgeq_judge *judge = NULL;
    judgeq_error error;
    judgeq_status status = file_check_output(o->output, &error);
    if (status == JUDGEQ_OK) status = judgeq_judge_load(o->input, NULL, &judge, &error);
    if (status == JUDGEQ_OK) status = judgeq_judge_export(judge, o->output, &error);
    judgeq_judge_free(judge);
    return exit_with(status, &error);
}

static int print_help(void) {
    fputs(HELP, stdout);
    return fflush(stdout) == 0 ? 0 : 1;
}

int cmd_judge(int argc, char **argv) {
    if (argc < 2) return wrong("what to do? import or export");
    if (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0) return print_help();
    bool importing = strcmp(argv[1], "import") == 0;
    if (!importing && strcmp(argv[1], "export") != 0) return wrong("import and export are known, not \"%s\"", argv[1]);
    options o = {0};
    int usage = parse(argc - 1, argv + 1, &o);
    if (usage) return usage;
    if (o.help) return print_help();
    return importing ? run_import(&o) : run_export(&o);
}
