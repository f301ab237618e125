#include "benchmark.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fail.h"
#include "files.h"
#include "python_list.h"
#include "text.h"

/* ---- LongBench's table (its pred.py and eval.py) ----------------------------------------------------------------- */

enum { NO_CHAT = 1, FIRST_LINE = 2 };

static const struct longbench_task {
    const char *name, *metric;
    unsigned flags;
} LONGBENCH[] = {
    {"narrativeqa", "f1", 0},
    {"qasper", "f1", 0},
    {"multifieldqa_en", "f1", 0},
    {"multifieldqa_zh", "f1_zh", 0},
    {"hotpotqa", "f1", 0},
    {"2wikimqa", "f1", 0},
    {"musique", "f1", 0},
    {"dureader", "rouge_l_zh", 0},
    {"gov_report", "rouge_l", 0},
    {"qmsum", "rouge_l", 0},
    {"multi_news", "rouge_l", 0},
    {"vcsum", "rouge_l_zh", 0},
    {"trec", "classification", NO_CHAT | FIRST_LINE},
    {"triviaqa", "f1", NO_CHAT | FIRST_LINE},
    {"samsum", "rouge_l", NO_CHAT | FIRST_LINE},
    {"lsht", "classification", NO_CHAT | FIRST_LINE},
    {"passage_count", "count", 0},
    {"passage_retrieval_en", "retrieval", 0},
    {"passage_retrieval_zh", "retrieval_zh", 0},
    {"lcc", "code", NO_CHAT},
    {"repobench-p", "code", NO_CHAT},
};
enum { N_LONGBENCH = sizeof LONGBENCH / sizeof LONGBENCH[0] };

/* Tokens of an answer by a part of the task's name, as RULER's scripts set them. */
static int32_t ruler_tokens(const char *name) {
    static const struct {
        const char *part;
        int32_t n_tokens;
    } tokens[] = {{"niah", 128}, {"vt", 30}, {"cwe", 120}, {"fwe", 50}, {"qa", 32}};
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
        if (strstr(name, tokens[i].part)) return tokens[i].n_tokens;
    }
    return 128;
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static bool is_folder(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static char *join(const char *folder, const char *name) {
    text_buffer t = {0};
    text_print(&t, "%s/%s", folder, name);
    return text_take(&t);
}

/* Every line an object that holds the texts `field` and `other`; the array is the caller's. */
static judgeq_status read_lines(const char *path, const char *field, const char *other, json_t **out,
                                judgeq_error *error) {
    char *bytes = NULL;
    *out = json_array();
    judgeq_status status = *out ? files_read_text(path, &bytes, error) : eval_fail_memory(error, path);
    size_t number = 0;
    for (char *line, *rest = bytes; status == JUDGEQ_OK && (line = strsep(&rest, "\n"));) {
        json_error_t reason;
        number++;
        if (!*line) continue;
        json_t *object = json_loads(line, 0, &reason);
        if (!object) {
            status = eval_fail(error, JUDGEQ_ERROR_FORMAT, "%s:%zu: not JSON: %.200s", path, number, reason.text);
        } else if (!json_is_string(json_object_get(object, field)) || !json_object_get(object, other)) {
            status =
                eval_fail(error, JUDGEQ_ERROR_FORMAT, "%s:%zu: has no \"%s\" or no \"%s\"", path, number, field, other);
        }
        if (status == JUDGEQ_OK) json_array_append(*out, object);
        json_decref(object);
    }
    free(bytes);
    if (status == JUDGEQ_OK && json_array_size(*out) == 0) {
        status = eval_fail(error, JUDGEQ_ERROR_FORMAT, "%s: holds no sample", path);
    }
    return status;
}

/* A file's name without its folder and ending; the folder's name for "validation" and "test". The caller's. */
static char *name_of(const char *path) {
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *dot = strrchr(base, '.');
    const size_t n = dot ? (size_t)(dot - base) : strlen(base);
    const bool generic = strncmp(base, "validation", n) == 0 || strncmp(base, "test", n) == 0;
    if (!generic || !slash) return strndup(base, n);
    const char *folder = slash;
    while (folder > path && folder[-1] != '/') folder--;
    return strndup(folder, (size_t)(slash - folder));
}

static int is_visible(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

static judgeq_status add(benchmarks *all, benchmark b, judgeq_error *error) {
    benchmark *larger = realloc(all->benchmark, (all->n + 1) * sizeof *larger);
    if (!larger) return eval_fail_memory(error, "a benchmark");
    all->benchmark = larger;
    all->benchmark[all->n++] = b;
    return JUDGEQ_OK;
}

static void benchmark_free(benchmark *b) {
    free(b->name);
    free(b->template);
    json_decref(b->lines);
}

void benchmarks_free(benchmarks *all) {
    for (size_t i = 0; i < all->n; i++) benchmark_free(&all->benchmark[i]);
    free(all->benchmark);
    *all = (benchmarks){0};
}

/* ---- RULER ------------------------------------------------------------------------------------------------------- */

static judgeq_status add_ruler_file(benchmarks *all, const char *path, judgeq_error *error) {
    benchmark b = {.family = SAMPLE_RULER, .name = name_of(path), .chat = true};
    judgeq_status status =
        b.name ? read_lines(path, "input", "outputs", &b.lines, error) : eval_fail_memory(error, "a benchmark");
    if (status == JUDGEQ_OK) {
        b.n_tokens = ruler_tokens(b.name);
        b.metric = metric_find(strncmp(b.name, "qa", 2) == 0 ? "any" : "all");
        status = add(all, b, error);
    }
    if (status != JUDGEQ_OK) benchmark_free(&b);
    return status;
}

judgeq_status benchmarks_add_ruler(benchmarks *all, const char *path, judgeq_error *error) {
    if (!is_folder(path)) return add_ruler_file(all, path, error);
    struct dirent **entry = NULL;
    const int n = scandir(path, &entry, is_visible, alphasort);
    const size_t before = all->n;
    judgeq_status status = n < 0 ? eval_fail(error, JUDGEQ_ERROR_IO, "%s: %s", path, strerror(errno)) : JUDGEQ_OK;
    for (int i = 0; i < n; i++) {
        char *file = NULL;
        if (status == JUDGEQ_OK && asprintf(&file, "%s/%s/validation.jsonl", path, entry[i]->d_name) < 0) {
            file = NULL;
            status = eval_fail_memory(error, "a path");
        }
        struct stat info;
        if (file && stat(file, &info) == 0) status = add_ruler_file(all, file, error);
        free(file);
        free(entry[i]);
    }
    free((void *)entry);
    if (status == JUDGEQ_OK && all->n == before) {
        status = eval_fail(error, JUDGEQ_ERROR_IO, "%s: holds no TASK/validation.jsonl, as RULER writes them", path);
    }
    return status;
}

/* ---- LongBench --------------------------------------------------------------------------------------------------- */

static const struct longbench_task *longbench_task(const char *name) {
    for (size_t i = 0; i < N_LONGBENCH; i++) {
        if (strcmp(LONGBENCH[i].name, name) == 0) return &LONGBENCH[i];
    }
    return NULL;
}

/* The folder that holds config/ of a file: its own, or the one above. The caller's; NULL: none. */
static char *find_root(const char *file) {
    text_buffer t = {0};
    const char *slash = strrchr(file, '/');
    text_print(&t, "%.*s", slash ? (int)(slash - file) : 1, slash ? file : ".");
    for (int i = 0; i < 2 && !t.failed; i++) {
        char *config = join(t.bytes, "config/dataset2prompt.json");
        struct stat info;
        const bool there = config && stat(config, &info) == 0;
        free(config);
        if (there) return text_take(&t);
        text_print(&t, "/..");
    }
    text_free(&t);
    return NULL;
}

/* One of the configuration's two objects. */
static judgeq_status read_config(const char *root, const char *name, json_t **out, judgeq_error *error) {
    json_error_t reason;
    char *path = join(root, name);
    *out = path ? json_load_file(path, 0, &reason) : NULL;
    judgeq_status status = JUDGEQ_OK;
    if (!path) {
        status = eval_fail_memory(error, "a path");
    } else if (!json_is_object(*out)) {
        status = eval_fail(error, JUDGEQ_ERROR_FORMAT, "%s: %.200s", path, *out ? "is no object" : reason.text);
    }
    free(path);
    return status;
}

static judgeq_status add_longbench_file(benchmarks *all, const char *path, const json_t *prompts, const json_t *lengths,
                                        int32_t cut_to, judgeq_error *error) {
    benchmark b = {.family = SAMPLE_LONGBENCH, .cut_to = cut_to};
    judgeq_status status = read_lines(path, "context", "answers", &b.lines, error);
    const json_t *first = json_array_get(b.lines, 0);
    const char *name = json_string_value(json_object_get(first, "dataset"));
    const struct longbench_task *task = name ? longbench_task(name) : NULL;
    const char *template = name ? json_string_value(json_object_get(prompts, name)) : NULL;
    const json_t *length = name ? json_object_get(lengths, name) : NULL;
    if (status == JUDGEQ_OK && (!task || !template || !json_is_integer(length))) {
        status = eval_fail(error, JUDGEQ_ERROR_FORMAT,
                           "%s: dataset \"%.60s\": not one of LongBench's 21 tasks, or config/ has no prompt or length "
                           "for it",
                           path, name ? name : "");
    }
    if (status == JUDGEQ_OK) {
        b.name = strdup(name);
        b.template = strdup(template);
        b.metric = metric_find(task->metric);
        b.n_tokens = (int32_t)json_integer_value(length);
        b.chat = (task->flags & NO_CHAT) == 0;
        b.first_line = (task->flags & FIRST_LINE) != 0;
        status = b.name && b.template ? add(all, b, error) : eval_fail_memory(error, "a benchmark");
    }
    if (status != JUDGEQ_OK) benchmark_free(&b);
    return status;
}

/* Those of the 21 files that are there, in the table's order. */
static judgeq_status add_longbench_folder(benchmarks *all, const char *root, const json_t *prompts,
                                          const json_t *lengths, int32_t cut_to, judgeq_error *error) {
    const size_t before = all->n;
    judgeq_status status = JUDGEQ_OK;
    for (size_t i = 0; status == JUDGEQ_OK && i < N_LONGBENCH; i++) {
        char *file = NULL;
        if (asprintf(&file, "%s/data/%s.jsonl", root, LONGBENCH[i].name) < 0) {
            return eval_fail_memory(error, "a path");
        }
        struct stat info;
        if (stat(file, &info) == 0) status = add_longbench_file(all, file, prompts, lengths, cut_to, error);
        free(file);
    }
    if (status == JUDGEQ_OK && all->n == before) {
        status = eval_fail(error, JUDGEQ_ERROR_IO, "%s: data/ holds none of LongBench's files", root);
    }
    return status;
}

judgeq_status benchmarks_add_longbench(benchmarks *all, const char *path, int32_t cut_to, judgeq_error *error) {
    json_t *prompts = NULL, *lengths = NULL;
    const bool folder = is_folder(path);
    char *root = folder ? strdup(path) : find_root(path);
    judgeq_status status = JUDGEQ_OK;
    if (!root) {
        status =
            eval_fail(error, JUDGEQ_ERROR_IO,
                      "%s: no config/dataset2prompt.json beside it or beside its folder, where LongBench has it", path);
    }
    if (status == JUDGEQ_OK) status = read_config(root, "config/dataset2prompt.json", &prompts, error);
    if (status == JUDGEQ_OK) status = read_config(root, "config/dataset2maxlen.json", &lengths, error);
    if (status == JUDGEQ_OK && folder) status = add_longbench_folder(all, root, prompts, lengths, cut_to, error);
    if (status == JUDGEQ_OK && !folder) status = add_longbench_file(all, path, prompts, lengths, cut_to, error);
    json_decref(prompts);
    json_decref(lengths);
    free(root);
    return status;
}

/* ---- samples ----------------------------------------------------------------------------------------------------- */

char *benchmark_key(const benchmark *b, size_t index) {
    char *line = json_dumps(json_array_get(b->lines, index), JSON_COMPACT | JSON_SORT_KEYS);
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (const char *c = line; c && *c; c++) hash = (hash ^ (unsigned char)*c) * 0x100000001b3u;
    text_buffer key = {0};
    text_print(&key, "%s/%s/%zu-%08x", sample_family_name(b->family), b->name, index, (unsigned)(hash >> 32));
    key.failed = key.failed || !line;
    free(line);
    return text_take(&key);
}

/* A template with {fields}, as Python's str.format fills it; {{ and }} are braces. The caller's; NULL without memory.
 */
static char *fill(const char *template, const json_t *line) {
    text_buffer t = {0};
    for (const char *at = template; *at;) {
        const char *close = *at == '{' ? strchr(at, '}') : NULL;
        if (at[0] == at[1] && (*at == '{' || *at == '}')) {
            text_add(&t, at, 1);
            at += 2;
        } else if (close) {
            char name[64] = "";
            if ((size_t)(close - at) <= sizeof name) memcpy(name, at + 1, (size_t)(close - at - 1));
            const char *value = json_string_value(json_object_get(line, name));
            text_print(&t, "%s", value ? value : "");
            at = close + 1;
        } else {
            text_add(&t, at++, 1);
        }
    }
    return text_take(&t);
}

/* An array of texts, a text, or a list as Python prints it; the caller's. NULL: none of these, or empty. */
static json_t *texts_of(const json_t *value) {
    json_t *texts = NULL;
    if (json_is_array(value)) texts = json_deep_copy(value);
    if (json_is_string(value)) {
        texts = python_list_parse(json_string_value(value));
        if (!texts) texts = json_pack("[O]", value);
    }
    bool good = json_array_size(texts) > 0;
    for (size_t i = 0; i < json_array_size(texts); i++) good = good && json_is_string(json_array_get(texts, i));
    if (good) return texts;
    json_decref(texts);
    return NULL;
}

static judgeq_status fill_sample(const benchmark *b, const json_t *line, sample *out, judgeq_error *error) {
    const bool ruler = b->family == SAMPLE_RULER;
    const char *prefix = ruler ? json_string_value(json_object_get(line, "answer_prefix")) : NULL;
    const char *input = json_string_value(json_object_get(line, "input"));
    char *prompt = b->template ? fill(b->template, line) : strdup(input);
    if (prefix) out->answer_prefix = strdup(prefix);
    if (ruler && !prefix) out->chat = false; /* RULER's generator has written the whole prompt, template and all */
    if (prompt) out->messages = json_pack("[s]", prompt);
    free(prompt);
    out->follow_ups = json_array();
    out->references = texts_of(json_object_get(line, ruler ? "outputs" : "answers"));
    out->classes = texts_of(json_object_get(line, "all_classes"));
    if (!out->references) {
        return eval_fail(error, JUDGEQ_ERROR_FORMAT, "%s: \"%s\" is no list of texts", out->key,
                         ruler ? "outputs" : "answers");
    }
    const bool filled = out->messages && out->follow_ups && (!prefix || out->answer_prefix);
    return filled ? JUDGEQ_OK : eval_fail_memory(error, "a sample");
}

int32_t benchmark_prompt_tokens(const benchmark *b, size_t index) {
    enum { BYTES_PER_TOKEN = 4 };
    const json_t *line = json_array_get(b->lines, index);
    const size_t n =
        (json_string_length(json_object_get(line, "input")) + json_string_length(json_object_get(line, "context"))) /
        BYTES_PER_TOKEN;
    const size_t most = b->cut_to > 0 ? (size_t)b->cut_to : INT32_MAX;
    return (int32_t)(n < most ? n : most);
}

judgeq_status benchmark_sample(const benchmark *b, size_t index, sample *out, judgeq_error *error) {
    *out = (sample){.key = benchmark_key(b, index),
                    .task = strdup(b->name),
                    .family = b->family,
                    .metric = b->metric,
                    .depth = NAN,
                    .index = (int32_t)index,
                    .chat = b->chat,
                    .first_line = b->first_line,
                    .n_tokens = b->n_tokens,
                    .cut_to = b->cut_to};
    judgeq_status status = out->key && out->task ? fill_sample(b, json_array_get(b->lines, index), out, error)
                                                 : eval_fail_memory(error, "a sample");
    if (status != JUDGEQ_OK) sample_free(out);
    return status;
}
