/* judgeq data: prompts from text and conversations, answered by the model itself -> a training set. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "commands.h"
#include "data_loop.h"
#include "data_sources.h"
#include "interrupt.h"
#include "progress.h"
#include "values.h"

static const char HELP[] =
    "Usage: judgeq data -o SET.jsonl [OPTIONS] SOURCE...\n"
    "\n"
    "Makes a training set for judgeq train: prompts, and the model's own responses to them with the full cache.\n"
    "\n"
    "SOURCE is a folder, whose files are taken with those of its folders, or a file:\n"
    "  .txt .md .markdown  UTF-8 text: cut into passages, each with an instruction before or after it\n"
    "  .jsonl              one conversation per line: OpenAI's \"messages\" or ShareGPT's \"conversations\"\n"
    "  .json               an array of such conversations. The turns up to the user's last one are the prompt\n"
    "What cannot be read is named, counted and left out. SOURCE:WEIGHT draws from a source that much more often than\n"
    "from one of weight 1, which is the weight of the others then.\n"
    "\n"
    "  -o, --output FILE   the training set (docs/training.md); required\n"
    "  -m, --model FILE    GGUF model that answers (default: the model that tools/deps.sh fetched)\n"
    "  -n, --examples N    most examples (default: all prompts there are)\n"
    "\n"
    "Prompts:\n"
    "      --min N         fewest tokens of a prompt (default: 300)\n"
    "      --max N         most tokens of a prompt (default: 900)\n"
    "      --retrieval S   share of the passages in which facts are hidden and asked for (default: 0.5)\n"
    "      --seed N        of lengths, instructions, facts, order and sampling (default: 0)\n"
    "\n"
    "Responses:\n"
    "      --tokens N      most tokens of a response (default: 128)\n"
    "      --temp T        temperature they are sampled at (default: 0, greedy)\n"
    "      --top-p P       sample from the likeliest tokens that make up this share (default: 1)\n"
    "\n"
    "Running:\n"
    "      --resume        continue an interrupted set; needs the same options and sources\n"
    "  -t, --threads N     threads that compute (default: one per core, or one where other programs run)\n"
    "      --quiet         no progress and no summary on standard error\n"
    "  -h, --help          this text\n"
    "\n"
    "Examples:\n"
    "  judgeq data -o set.jsonl -n 500 ~/documents:3 chats.jsonl\n"
    "  judgeq train --data set.jsonl -o judge.gguf\n";

typedef struct options {
    bool help, resume, quiet;
    const char *model, *output;
    int32_t n_examples; /* 0: all */
    int32_t n_tokens, n_threads;
    judgeq_sampler_params sampler;
    data_sources_params sources;
} options;

typedef struct maker {
    options options;
    char default_model[4096];
    judgeq_model *model;
    data_sources sources;
    FILE *file;
    size_t next;       /* prompt */
    size_t n_examples; /* in the file */
    size_t n_short, n_long, n_silent, n_wrong;
    progress progress;
    double started;
    size_t started_at; /* examples that were there */
} maker;

/* ---- options ----------------------------------------------------------------------------------------------------- */

static int take_integer(const char *name, int64_t low, int64_t high, int64_t *out) {
    return value_integer(optarg, low, high, out) ? 0 : usage_wrong_integer("data", name, optarg, low, high);
}

static int take_count(const char *what, int32_t low, int32_t *out) {
    int64_t value = 0;
    const int status = take_integer(what, low, 1 << 30, &value);
    if (status == 0) *out = (int32_t)value;
    return status;
}

static int take_number(const char *name, double low, double high, double *out) {
    return value_number(optarg, low, high, out) ? 0 : usage_wrong_number("data", name, optarg, low, high);
}

static int take_float(const char *name, double high, float *out) {
    double value = *out;
    const int status = take_number(name, 0, high, &value);
    *out = (float)value;
    return status;
}

static int take_seed(options *o) {
    int64_t value = 0;
    const int status = take_integer("--seed", 0, INT64_MAX, &value);
    o->sources.seed = (uint64_t)value;
    return status;
}

enum { TOKENS = 256, MIN, MAX, SEED, RETRIEVAL, TEMP, TOP_P, RESUME, QUIET };

static int take(options *o, int option, const char *given) {
    switch (option) {
    case 'm':
        o->model = optarg;
        return 0;
    case 'o':
        o->output = optarg;
        return 0;
    case 'n':
        return take_count("-n", 1, &o->n_examples);
    case 't':
        return take_count("-t", 0, &o->n_threads);
    case TOKENS:
        return take_count("--tokens", 2, &o->n_tokens);
    case MIN:
        return take_count("--min", 1, &o->sources.min_tokens);
    case MAX:
        return take_count("--max", 1, &o->sources.max_tokens);
    case SEED:
        return take_seed(o);
    case RETRIEVAL:
        return take_number("--retrieval", 0, 1, &o->sources.retrieval);
    case TEMP:
        return take_float("--temp", 100, &o->sampler.temperature);
    case TOP_P:
        return take_float("--top-p", 1, &o->sampler.top_p);
    case RESUME:
        o->resume = true;
        return 0;
    case QUIET:
        o->quiet = true;
        return 0;
    case 'h':
        o->help = true;
        return 0;
    case ':':
        return usage_wrong("data", "a value is missing after \"%s\"", given);
    default:
        return usage_wrong("data", "unknown option \"%s\"", given);
    }
}

static int read_options(int argc, char **argv, options *o) {
    static const struct option names[] = {{"output", required_argument, NULL, 'o'},
                                          {"model", required_argument, NULL, 'm'},
                                          {"examples", required_argument, NULL, 'n'},
                                          {"threads", required_argument, NULL, 't'},
                                          {"tokens", required_argument, NULL, TOKENS},
                                          {"min", required_argument, NULL, MIN},
                                          {"max", required_argument, NULL, MAX},
                                          {"seed", required_argument, NULL, SEED},
                                          {"retrieval", required_argument, NULL, RETRIEVAL},
                                          {"temp", required_argument, NULL, TEMP},
                                          {"top-p", required_argument, NULL, TOP_P},
                                          {"resume", no_argument, NULL, RESUME},
                                          {"quiet", no_argument, NULL, QUIET},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    *o = (options){.n_tokens = 128,
                   .sampler = {.temperature = 0, .top_p = 1},
                   .sources = {.min_tokens = 300, .max_tokens = 900, .retrieval = 0.5}};
    opterr = 0;
    optind = 1;
    for (int option; (option = getopt_long(argc, argv, ":m:o:n:t:h", names, NULL)) != -1;) {
        const int status = take(o, option, argv[optind - 1]);
        if (status != 0) return status;
    }
    o->sources.source = argv + optind;
    o->sources.n_source = argc - optind;
    if (o->help) return 0;
    if (!o->output) return usage_wrong("data", "-o SET.jsonl is missing");
    if (o->sources.n_source == 0) return usage_wrong("data", "which sources? Folders or files are missing");
    if (o->sources.min_tokens > o->sources.max_tokens) return usage_wrong("data", "--min is more than --max");
    return 0;
}

/* ---- the file ---------------------------------------------------------------------------------------------------- */

static judgeq_status failed(judgeq_error *error, judgeq_status status, const char *path, const char *what) {
    error->code = status;
    snprintf(error->message, sizeof error->message, "%.300s: %.180s", path, what);
    return status;
}

static judgeq_status put(maker *m, json_t *line, judgeq_error *error) {
    char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;
    json_decref(line);
    if (!text) return failed(error, JUDGEQ_ERROR_MEMORY, m->options.output, "no memory for a line");
    const bool written = fprintf(m->file, "%s\n", text) > 0 && fflush(m->file) == 0;
    free(text);
    return written ? JUDGEQ_OK : failed(error, JUDGEQ_ERROR_IO, m->options.output, strerror(errno));
}

/* Says everything that the examples depend on, so that a run can be resumed and a judge be traced. */
static json_t *make_header(const maker *m) {
    const judgeq_model_info *model = judgeq_model_get_info(m->model);
    char hash[17];
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)data_sources_hash(&m->sources));
    const options *o = &m->options;
    return json_pack("{s:i, s:s, s:s, s:s, s:I, s:i, s:i, s:f, s:i, s:f, s:f}", "judgeq_data", 1, "model_fingerprint",
                     model->fingerprint, "model_name", model->name, "prompts_hash", hash, "seed",
                     (json_int_t)o->sources.seed, "min_tokens", o->sources.min_tokens, "max_tokens",
                     o->sources.max_tokens, "retrieval", o->sources.retrieval, "response_tokens", o->n_tokens,
                     "temperature", (double)o->sampler.temperature, "top_p", (double)o->sampler.top_p);
}

/* Goes behind the last whole line; a torn one, which a kill leaves, is cut off. */
static judgeq_status read_old_lines(maker *m, judgeq_error *error) {
    char *line = NULL;
    size_t room = 0;
    long end = 0;
    judgeq_status status = JUDGEQ_OK;
    for (size_t number = 0; status == JUDGEQ_OK; number++) {
        const ssize_t n = getline(&line, &room, m->file);
        if (n <= 0 || line[n - 1] != '\n') break;
        json_t *object = json_loads(line, 0, NULL), *header = number == 0 ? make_header(m) : NULL;
        const json_t *prompt = json_object_get(object, "prompt_number");
        if (number == 0 && !json_equal(object, header)) {
            status = failed(error, JUDGEQ_ERROR_MISMATCH, m->options.output,
                            "was begun with another model, other options or other sources, and cannot be resumed");
        } else if (number > 0 && !json_is_integer(prompt)) {
            status =
                failed(error, JUDGEQ_ERROR_FORMAT, m->options.output, "holds a line that judgeq data did not write");
        } else if (number > 0) {
            m->next = (size_t)json_integer_value(prompt) + 1;
            m->n_examples++;
        }
        json_decref(object);
        json_decref(header);
        end += n;
    }
    free(line);
    if (status != JUDGEQ_OK) return status;
    if (fseek(m->file, end, SEEK_SET) != 0 || ftruncate(fileno(m->file), end) != 0) {
        return failed(error, JUDGEQ_ERROR_IO, m->options.output, strerror(errno));
    }
    return end == 0 ? put(m, make_header(m), error) : JUDGEQ_OK;
}

static judgeq_status open_file(maker *m, judgeq_error *error) {
    const options *o = &m->options;
    m->file = fopen(o->output, o->resume ? "r+" : "wx");
    if (!m->file && errno == EEXIST) {
        return failed(error, JUDGEQ_ERROR_ARGUMENT, o->output,
                      "is there already: --resume continues it; or remove the file");
    }
    if (!m->file) return failed(error, JUDGEQ_ERROR_IO, o->output, strerror(errno));
    return o->resume ? read_old_lines(m, error) : put(m, make_header(m), error);
}

/* ---- examples ---------------------------------------------------------------------------------------------------- */

/* The user's and other messages one behind the other, for models without a chat template. */
static char *join(const judgeq_message *message, size_t n) {
    size_t length = 1;
    for (size_t i = 0; i < n; i++) length += strlen(message[i].content) + 2;
    char *text = malloc(length), *end = text;
    for (size_t i = 0; text && i < n; i++) end += sprintf(end, "%s%s", message[i].content, i + 1 < n ? "\n\n" : "");
    return text;
}

/* The prompt's tokens, in the model's chat template if it has one. */
static judgeq_status tokenize(const maker *m, const json_t *prompt, int32_t **tokens, size_t *n, judgeq_error *error) {
    const size_t n_message = json_array_size(prompt);
    judgeq_message *message = calloc(n_message + 1, sizeof *message);
    if (!message) return failed(error, JUDGEQ_ERROR_MEMORY, "prompt", "no memory");
    for (size_t i = 0; i < n_message; i++) {
        const json_t *at = json_array_get(prompt, i);
        message[i].role = json_string_value(json_object_get(at, "role"));
        message[i].content = json_string_value(json_object_get(at, "content"));
    }
    char *chat = NULL, *joined = NULL;
    judgeq_status status = judgeq_chat_text(m->model, message, n_message, &chat, error);
    if (status == JUDGEQ_ERROR_UNSUPPORTED) {
        joined = join(message, n_message);
        status = joined ? JUDGEQ_OK : failed(error, JUDGEQ_ERROR_MEMORY, "prompt", "no memory");
    }
    const char *text = joined ? joined : chat;
    if (status == JUDGEQ_OK) status = judgeq_tokenize(m->model, text, strlen(text), true, tokens, n, error);
    judgeq_free(chat);
    free(joined);
    free((void *)message);
    return status;
}

static void show(maker *m) {
    const size_t all = json_array_size(m->sources.prompts), wanted = (size_t)m->options.n_examples;
    const double now = progress_clock();
    double share = (double)m->next / (double)all;
    if (wanted > 0 && wanted < all) share = (double)m->n_examples / (double)wanted;
    if (m->options.quiet || !m->progress.terminal || now - m->progress.last < 0.1) return;
    m->progress.last = now;
    char before[64], after[64], left[32] = "?";
    const double begun = wanted > 0 && wanted < all ? (double)m->started_at / (double)wanted : 0;
    if (share > begun) progress_time(left, sizeof left, (now - m->started) / (share - begun) * (1 - share));
    snprintf(before, sizeof before, "%zu examples", m->n_examples);
    snprintf(after, sizeof after, "%s left", left);
    progress_draw(before, after, share < 1 ? share : 1);
}

static bool go_on(void *data, int64_t done, int64_t total) {
    (void)done;
    (void)total;
    if (interrupt_seen()) return false;
    show(data);
    return true;
}

static judgeq_status cancelled(judgeq_error *error) {
    return failed(error, JUDGEQ_ERROR_CANCELLED, "interrupted", "--resume continues");
}

/* The response to prompt m->next: its token ids, with the one that ends it. */
static judgeq_status respond(maker *m, judgeq_session *session, json_t *response, judgeq_error *error) {
    judgeq_sampler_params params = m->options.sampler;
    params.seed = (uint32_t)(m->options.sources.seed * 0x9e3779b1u + m->next); /* a resumed run draws the same */
    judgeq_sampler *sampler = NULL;
    judgeq_status status = judgeq_sampler_new(&params, &sampler, error);
    const int32_t n_vocab = judgeq_model_get_info(m->model)->n_vocab;
    for (int32_t i = 0; status == JUDGEQ_OK && i < m->options.n_tokens; i++) {
        const int32_t token = judgeq_sampler_sample(sampler, judgeq_session_logits(session), n_vocab);
        if (token < 0 || json_array_append_new(response, json_integer(token)) != 0) {
            status = failed(error, JUDGEQ_ERROR_MEMORY, "response", "no memory");
        } else if (judgeq_token_ends(m->model, token) || data_cut_loop(response) || i + 1 == m->options.n_tokens) {
            break;
        } else if (!go_on(m, 0, 0)) {
            status = cancelled(error);
        } else {
            status = judgeq_session_decode(session, token, error);
        }
    }
    judgeq_sampler_free(sampler);
    return status;
}

static judgeq_status answer(maker *m, const int32_t *tokens, size_t n, json_t *response, judgeq_error *error) {
    judgeq_session_params params = judgeq_session_default_params();
    params.n_threads = m->options.n_threads;
    params.progress = go_on;
    params.progress_data = m;
    judgeq_session *session = NULL;
    judgeq_status status = judgeq_session_new(m->model, &params, &session, error);
    if (status == JUDGEQ_OK) status = judgeq_session_prefill(session, tokens, n, error);
    if (status == JUDGEQ_ERROR_CANCELLED) status = cancelled(error);
    if (status == JUDGEQ_OK) status = respond(m, session, response, error);
    judgeq_session_free(session);
    return status;
}

static char *response_text(const maker *m, const json_t *response) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out) return NULL;
    for (size_t i = 0; i < json_array_size(response); i++) {
        char piece[512];
        const int32_t token = (int32_t)json_integer_value(json_array_get(response, i));
        const int32_t n = judgeq_token_text(m->model, token, piece, sizeof piece);
        if (n > 0) fwrite(piece, 1, (size_t)n, out);
    }
    fclose(out);
    return text;
}

static judgeq_status write_example(maker *m, const int32_t *tokens, size_t n, judgeq_error *error) {
    json_t *response = json_array(), *prompt = json_array();
    bool made = response && prompt;
    for (size_t i = 0; made && i < n; i++) made = json_array_append_new(prompt, json_integer(tokens[i])) == 0;
    judgeq_status status =
        made ? answer(m, tokens, n, response, error) : failed(error, JUDGEQ_ERROR_MEMORY, "example", "no memory");
    char *text = status == JUDGEQ_OK ? response_text(m, response) : NULL;
    if (status == JUDGEQ_OK && !text) status = failed(error, JUDGEQ_ERROR_MEMORY, "response", "no memory");
    if (status == JUDGEQ_OK && json_array_size(response) < 2) {
        m->n_silent++;
    } else if (status == JUDGEQ_OK && !data_sources_answered(json_array_get(m->sources.prompts, m->next), text)) {
        m->n_wrong++;
    } else if (status == JUDGEQ_OK) {
        json_t *line =
            json_pack("{s:I, s:O, s:O}", "prompt_number", (json_int_t)m->next, "prompt", prompt, "response", response);
        status = put(m, line, error);
        if (status == JUDGEQ_OK) m->n_examples++;
    }
    free(text);
    json_decref(prompt);
    json_decref(response);
    return status;
}

/* Prompt m->next, unless its length is not what was asked for. */
static judgeq_status take_prompt(maker *m, judgeq_error *error) {
    const options *o = &m->options;
    const size_t most = (size_t)judgeq_model_get_info(m->model)->n_ctx_train;
    int32_t *tokens = NULL;
    size_t n = 0;
    judgeq_status status = tokenize(m, json_array_get(m->sources.prompts, m->next), &tokens, &n, error);
    if (status == JUDGEQ_OK && n < (size_t)o->sources.min_tokens) {
        m->n_short++;
    } else if (status == JUDGEQ_OK && (n > (size_t)o->sources.max_tokens || n + (size_t)o->n_tokens > most)) {
        m->n_long++;
    } else if (status == JUDGEQ_OK) {
        status = write_example(m, tokens, n, error);
    }
    judgeq_free(tokens);
    return status;
}

static judgeq_status make_examples(maker *m, judgeq_error *error) {
    const size_t wanted = (size_t)m->options.n_examples, all = json_array_size(m->sources.prompts);
    judgeq_status status = JUDGEQ_OK;
    m->started = progress_clock();
    m->started_at = m->n_examples;
    progress_begin(&m->progress, 0, m->options.quiet);
    interrupt_catch();
    while (status == JUDGEQ_OK && m->next < all && (wanted == 0 || m->n_examples < wanted)) {
        status = interrupt_seen() ? cancelled(error) : take_prompt(m, error);
        m->next++;
    }
    if (m->progress.last > 0) progress_end(&m->progress);
    return status;
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

static void summarise(const maker *m) {
    if (m->options.quiet) return;
    fprintf(stderr,
            "judgeq: %zu examples in %s; of %zu prompts from %zu files, %zu were shorter than %d tokens, %zu longer "
            "than %d or than the model's context, %zu got no answer, %zu a wrong one; %zu files, lines or "
            "conversations were left out\n",
            m->n_examples, m->options.output, json_array_size(m->sources.prompts), m->sources.n_files, m->n_short,
            m->options.sources.min_tokens, m->n_long, m->options.sources.max_tokens, m->n_silent, m->n_wrong,
            m->sources.n_broken);
}

static judgeq_status make_set(maker *m, judgeq_error *error) {
    const options *o = &m->options;
    if (!o->model && !judgeq_default_model_path(m->default_model, sizeof m->default_model)) {
        return failed(error, JUDGEQ_ERROR_ARGUMENT, "model", "no home folder with a default model: -m FILE is needed");
    }
    judgeq_status status = judgeq_model_load(o->model ? o->model : m->default_model, &m->model, error);
    if (status != JUDGEQ_OK) return status;
    if (!data_sources_read(&m->sources, m->model, &o->sources)) {
        return failed(error, JUDGEQ_ERROR_MEMORY, "sources", "no memory");
    }
    if (json_array_size(m->sources.prompts) == 0) {
        return failed(error, JUDGEQ_ERROR_ARGUMENT, o->sources.source[0], "the sources hold no prompt");
    }
    status = open_file(m, error);
    if (status == JUDGEQ_OK) status = make_examples(m, error);
    if (m->file && fclose(m->file) != 0 && status == JUDGEQ_OK) {
        status = failed(error, JUDGEQ_ERROR_IO, o->output, strerror(errno));
    }
    if (status == JUDGEQ_OK) summarise(m);
    return status;
}

int cmd_data(int argc, char **argv) {
    maker m = {0};
    const int usage = read_options(argc, argv, &m.options);
    if (usage != 0) return usage;
    if (m.options.help) {
        fputs(HELP, stdout);
        return 0;
    }
    judgeq_error error = {0};
    const judgeq_status status = make_set(&m, &error);
    if (status != JUDGEQ_OK) fprintf(stderr, "judgeq: %s\n", error.message);
    data_sources_free(&m.sources);
    judgeq_model_free(m.model);
    return status == JUDGEQ_OK ? 0 : status == JUDGEQ_ERROR_ARGUMENT ? 2 : 1;
}
