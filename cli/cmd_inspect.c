/* judgeq inspect: what is in a model file or a judge file. Everything becomes one JSON object first; without --json it
 * is printed as a line per field. */
#include "app/finite.h"
#include "base/visible.h"
#include "command_line.h"
#include "commands.h"
#include "device_options.h"
#include "exit_status.h"
#include "judgeq.h"
#include "say.h"
#include "values.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char HELP[] =
    "Usage: judgeq inspect [FILE] [--json]\n"
    "       judgeq inspect --devices [--rpc HOST:PORT,..] [--rpc-timeout S] [--json]\n"
    "       judgeq inspect --kept [-f FILE] [-p TEXT] [OPTIONS]\n"
    "\n"
    "Says what is in a model (GGUF) or a judge file (docs/judge-files.md); the content decides which it is.\n"
    "The warnings of a model are what libllama finds doubtful in its vocabulary.\n"
    "\n"
    "  FILE        the file (default: the model that tools/deps.sh fetched)\n"
    "  --json      one JSON object instead of a line per field; null: unknown\n"
    "  --devices   list the devices that ggml can compute on here\n"
    "  --rpc HOST:PORT,..\n"
    "              and those that judgeq rpc-server lends on other machines\n"
    "  --rpc-timeout S\n"
    "              seconds to wait for an answer of theirs (default: 10)\n"
    "  --kept      show which tokens of a text a policy keeps; judgeq inspect --kept --help tells how\n"
    "  -h, --help  this text\n"
    "\n"
    "Example:\n"
    "  judgeq inspect judge.gguf\n";

#define KV_BYTES 2 /* of one number in the default KV cache, F16 */

/* ---- JSON values ------------------------------------------------------------------------------------------------- */

/* Texts come from files: where one is not UTF-8, its bytes outside ASCII become "?". NULL or "" becomes null. */
static json_t *json_text(const char *text) {
    if (!text || !text[0]) return json_null();
    json_t *value = json_string(text);
    if (value) return value;
    char *copy = strdup(text);
    for (char *c = copy; c && *c; c++)
        if (!isascii((unsigned char)*c)) *c = '?';
    value = copy ? json_string(copy) : NULL;
    free(copy);
    return value;
}

static json_t *file_bytes(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 ? json_integer(status.st_size) : json_null();
}

/* ---- judge ------------------------------------------------------------------------------------------------------- */

static bool add_norms(json_t *object, const judgeq_judge *judge) {
    const judgeq_judge_info *info = judgeq_judge_get_info(judge);
    const float *soft = judgeq_judge_soft_tokens(judge);
    double least = INFINITY, most = 0, sum = 0;
    const int32_t n_row = info->n_depth * info->n_soft;
    for (int32_t i = 0; i < n_row; i++) {
        double squares = 0;
        for (int32_t j = 0; j < info->n_embd; j++) {
            double value = (double)soft[(size_t)i * (size_t)info->n_embd + (size_t)j];
            squares += value * value;
        }
        double norm = sqrt(squares);
        least = fmin(least, norm);
        most = fmax(most, norm);
        sum += norm;
    }
    return json_object_set_new(object, "norm_min", json_finite(least)) == 0 &&
           json_object_set_new(object, "norm_mean", json_finite(sum / n_row)) == 0 &&
           json_object_set_new(object, "norm_max", json_finite(most)) == 0;
}

/* Of each layer, to two places; null where they are unknown. */
static bool add_shares(json_t *object, const judgeq_judge_info *info) {
    json_t *shares = info->n_layer_share > 0 ? json_array() : json_null();
    for (int32_t i = 0; shares && i < info->n_layer_share; i++) {
        json_array_append_new(shares, json_finite(round((double)info->layer_share[i] * 100) / 100));
    }
    return json_object_set_new(object, "layer_shares", shares) == 0;
}

static json_t *judge_object(const char *path, const judgeq_judge *judge) {
    const judgeq_judge_info *info = judgeq_judge_get_info(judge);
    json_t *object =
        json_pack("{s:s, s:o, s:o, s:i, s:i, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "kind", "judge",
                  "file", json_text(path), "file_bytes", file_bytes(path), "n_depth", (int)info->n_depth, "n_soft",
                  (int)info->n_soft, "n_embd", (int)info->n_embd, "model_name", json_text(info->model_name),
                  "weight_type", *info->weight_type ? json_text(info->weight_type) : json_null(), "fingerprint",
                  json_text(info->fingerprint), "origin", json_text(info->origin), "loss", json_text(info->loss),
                  "choices", *info->choices ? json_text(info->choices) : json_null(), "steps",
                  info->steps > 0 ? json_integer(info->steps) : json_null(), "data_hash", json_text(info->data_hash),
                  "heldout_loss", json_finite((double)info->heldout_loss), "heldout_hit_rate",
                  json_finite((double)info->heldout_hit_rate));
    if (object && add_norms(object, judge) && add_shares(object, info)) return object;
    json_decref(object);
    return NULL;
}

/* ---- model ------------------------------------------------------------------------------------------------------- */

static bool add_metadata(json_t *object, const judgeq_model_info *info) {
    json_t *fields = json_pack("{s:I, s:s, s:o, s:s, s:o, s:b}", "n_keys", (json_int_t)info->n_keys, "rope_kind",
                               info->rope_halves ? "halves" : "adjacent pairs", "rope_base",
                               json_finite((double)info->rope_base), "rope_scaling", info->rope_scaling, "rope_factor",
                               json_finite((double)info->rope_factor), "chat_template", (int)info->chat_template);
    bool ok = fields && json_object_update(object, fields) == 0;
    json_decref(fields);
    return ok;
}

/* The array, or NULL where memory ran out. */
static json_t *append(json_t *array, const char *text) {
    if (json_array_append_new(array, json_text(text)) == 0) return array;
    json_decref(array);
    return NULL;
}

static json_t *warnings(const judgeq_model *model) {
    json_t *array = json_array();
    const char *warning;
    for (size_t i = 0; array && (warning = judgeq_model_warning_at(model, i)) != NULL; i++) {
        array = append(array, warning);
    }
    return array;
}

static json_t *unknown_keys(const judgeq_model_info *info) {
    json_t *array = json_array();
    for (size_t i = 0; array && i < info->n_unknown_keys; i++) array = append(array, info->unknown_keys[i]);
    return array;
}

/* Whether the chat template can be used, and if there is one that cannot, why. */
static bool add_chat(json_t *object, const judgeq_model *model) {
    const judgeq_message message = {"user", "x"};
    judgeq_error error = {0};
    char *text = NULL;
    const judgeq_status status = judgeq_chat_text(model, &message, 1, NULL, &text, &error);
    const bool renders = status == JUDGEQ_OK;
    judgeq_free(text);
    if (status == JUDGEQ_ERROR_MEMORY) return false;
    if (json_object_set_new(object, "chat_renders", json_boolean(renders)) != 0) return false;
    if (renders || !json_is_true(json_object_get(object, "chat_template"))) return true;
    return json_object_set_new(object, "chat_problem", json_text(error.message)) == 0;
}

static json_t *model_object(const char *path, const judgeq_model *model) {
    const judgeq_model_info *info = judgeq_model_get_info(model);
    json_int_t kv_bytes = 2 * (json_int_t)info->n_layer * info->n_head_kv * info->head_dim * KV_BYTES;
    json_t *object = json_pack(
        "{s:s, s:o, s:i, s:I, s:o, s:o, s:o, s:o, s:i, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:o, s:o, s:I, s:I, "
        "s:I, "
        "s:I, "
        "s:o}",
        "kind", "model", "file", json_text(path), "n_files", (int)info->n_files, "file_bytes",
        (json_int_t)info->file_bytes, "architecture", json_text(info->architecture), "name", json_text(info->name),
        "fingerprint", json_text(info->fingerprint), "file_fingerprint", json_text(info->file_fingerprint), "n_layer",
        (int)info->n_layer, "block", info->block, "n_embd", (int)info->n_embd, "n_head", (int)info->n_head, "n_head_kv",
        (int)info->n_head_kv, "head_dim", (int)info->head_dim, "n_ff", (int)info->n_ff, "n_vocab", (int)info->n_vocab,
        "n_ctx_train", (int)info->n_ctx_train, "weight_type", json_text(info->weight_type), "weight_types",
        json_text(info->weight_types), "weight_bytes", (json_int_t)info->weight_bytes, "kv_bytes_per_token", kv_bytes,
        "kv_bytes_full", kv_bytes * info->n_ctx_train, "n_tensors", (json_int_t)info->n_tensors, "unknown_keys",
        unknown_keys(info));
    bool ok = object && add_metadata(object, info) && add_chat(object, model) &&
              json_object_set_new(object, "warnings", warnings(model)) == 0;
    if (ok) return object;
    json_decref(object);
    return NULL;
}

/* ---- printing ---------------------------------------------------------------------------------------------------- */

static const struct {
    const char *key, *label;
} labels[] = {
    {"file_bytes", "file size"},
    {"n_files", "files"},
    {"n_depth", "layers with vectors"},
    {"n_soft", "soft tokens"},
    {"n_embd", "embedding"},
    {"model_name", "model"},
    {"n_layer", "layers"},
    {"block", "each layer"},
    {"n_head", "query heads"},
    {"n_head_kv", "KV heads"},
    {"head_dim", "head dimension"},
    {"n_ff", "feed forward"},
    {"n_vocab", "vocabulary"},
    {"n_ctx_train", "context"},
    {"kv_bytes_per_token", "KV per token (f16)"},
    {"kv_bytes_full", "KV of full context"},
    {"chat_renders", "template renders"},
    {"chat_problem", "template problem"},
    {"n_tensors", "tensors"},
    {"n_keys", "metadata keys"},
    {"heldout_loss", "held-out loss"},
    {"heldout_hit_rate", "held-out hit rate"},
    {"choices", "its own choices"},
    {"norm_min", "smallest L2 norm"},
    {"norm_mean", "mean L2 norm"},
    {"norm_max", "largest L2 norm"},
};

static void print_label(const char *key) {
    char text[64];
    snprintf(text, sizeof text, "%s", key);
    for (char *c = text; *c; c++)
        if (*c == '_') *c = ' ';
    for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++)
        if (strcmp(labels[i].key, key) == 0) snprintf(text, sizeof text, "%s", labels[i].label);
    printf("%-20s", text);
}

static void print_bytes(double bytes) {
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    for (; bytes >= 1024 && unit + 1 < sizeof units / sizeof units[0]; unit++) bytes /= 1024;
    printf(unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
}

/* One below the other; numbers in one line. */
static void print_array(const json_t *texts) {
    if (json_array_size(texts) == 0) fputs("none", stdout);
    for (size_t i = 0; i < json_array_size(texts); i++) {
        const json_t *text = json_array_get(texts, i);
        if (json_is_number(text)) {
            printf(i > 0 ? " %.2f" : "%.2f", json_number_value(text));
            continue;
        }
        if (i > 0) printf("\n%-20s", "");
        visible_write(stdout, json_string_value(text), json_string_length(text), "");
    }
}

static void print_object(json_t *object) {
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value) {
        print_label(key);
        if (json_is_string(value))
            visible_write(stdout, json_string_value(value), json_string_length(value), "");
        else if (json_is_array(value))
            print_array(value);
        else if (json_is_integer(value) && strstr(key, "bytes"))
            print_bytes((double)json_integer_value(value));
        else if (json_is_integer(value))
            printf("%lld", (long long)json_integer_value(value));
        else if (json_is_real(value))
            printf("%g", json_real_value(value));
        else
            fputs(json_is_true(value) ? "yes" : json_is_false(value) ? "no" : "unknown", stdout);
        putchar('\n');
    }
}

static int print(json_t *object, bool json) {
    if (!object) {
        say("out of memory");
        return 1;
    }
    bool ok = true;
    if (json)
        ok = say_json(object, JSON_INDENT(2) | JSON_REAL_PRECISION(7));
    else
        print_object(object);
    json_decref(object);
    if (ok && fflush(stdout) == 0 && !ferror(stdout)) return 0;
    say("cannot write to standard output: %s", strerror(errno));
    return 1;
}

/* ---- command ----------------------------------------------------------------------------------------------------- */

static int inspect(const char *path, bool json) {
    judgeq_error error;
    judgeq_judge *judge;
    judgeq_status status = judgeq_judge_load(path, NULL, &judge, &error);
    if (status == JUDGEQ_OK) {
        int result = print(judge_object(path, judge), json);
        judgeq_judge_free(judge);
        return result;
    }
    judgeq_model *model = NULL;
    /* UNSUPPORTED: a sound GGUF file, but no judge */
    if (status == JUDGEQ_ERROR_UNSUPPORTED) status = judgeq_model_load(path, &model, &error);
    if (status != JUDGEQ_OK) return exit_with(status, &error);
    int result = print(model_object(path, model), json);
    judgeq_model_free(model);
    return result;
}

typedef struct inspect_options {
    bool help, json, list;
    devices devices;
} inspect_options;

const command_option inspect_rows[] = {
    {"json", 0, INTO(inspect_options, json)},
    {"devices", 0, INTO(inspect_options, list)},
    {"rpc", 0, INTO(inspect_options, devices.servers)},
    {"rpc-timeout", 0, INTO(inspect_options, devices.seconds), .least = 1, .most = JUDGEQ_RPC_SECONDS_MOST},
    {"help", 'h', INTO(inspect_options, help)},
    {0}};

int cmd_inspect(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--kept") == 0) return cmd_kept(argc, argv);
    }
    inspect_options o = {.devices = device_options_default()};
    const int usage = command_line_read("inspect", inspect_rows, argc, argv, &o);
    if (usage != 0) return usage;
    if (o.help) {
        fputs(HELP, stdout);
        return fflush(stdout) == 0 ? 0 : 1;
    }
    if (o.list) return device_options_print(&o.devices, o.json);
    if (argc - optind > 1) {
        return usage_wrong("inspect", "one file at a time, what is \"%s\"?", argv[optind + 1]);
    }
    char path[4096];
    if (optind < argc) return inspect(argv[optind], o.json);
    if (judgeq_default_model_path(path, sizeof path)) return inspect(path, o.json);
    return usage_wrong("inspect", "there is no home folder with a default model; name a file");
}
