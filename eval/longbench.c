#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/text.h"
#include "base/visible.h"
#include "benchmark.h"

/* ---- the tasks (its pred.py and eval.py) --------------------------------------------------------------------------
 */

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

/* By the first n bytes of a name. */
static const struct longbench_task *find_task(const char *name, size_t n) {
    for (size_t i = 0; i < N_LONGBENCH; i++) {
        if (strlen(LONGBENCH[i].name) == n && strncmp(LONGBENCH[i].name, name, n) == 0) return &LONGBENCH[i];
    }
    return NULL;
}

/* LongBench-E's tasks are called "qasper_e", and are asked and scored as "qasper". */
static bool is_of_e(const char *name, size_t n) {
    return n > 2 && strncmp(name + n - 2, "_e", 2) == 0;
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static bool is_there(const char *path) {
    struct stat info;
    return stat(path, &info) == 0;
}

static bool is_folder(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static char *join(const char *folder, const char *name) {
    text_buffer t = {0};
    text_print(&t, "%s/%s", folder, name);
    return text_take(&t);
}

/* The folder that holds config/: of a folder this one or the one above, of a file its own or the one above that. The
 * caller's; NULL: none. */
static char *find_root(const char *path) {
    text_buffer t = {0};
    const char *slash = strrchr(path, '/');
    if (is_folder(path)) {
        text_print(&t, "%s", path);
    } else {
        text_print(&t, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    }
    for (int i = 0; i < 2 && !t.failed; i++) {
        char *config = join(t.bytes, "config/dataset2prompt.json");
        const bool there = config && is_there(config);
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
        status = error_memory(error, "a path");
    } else if (!json_is_object(*out)) {
        status = error_set(error, JUDGEQ_ERROR_FORMAT, "%s: %.200s", path, *out ? "is no object" : reason.text);
    }
    free(path);
    return status;
}

/* What config/ says, and what is asked for. */
typedef struct source {
    json_t *prompts, *lengths;
    int32_t cut_to;
} source;

/* The task that the samples name; the file's name may say that they are of LongBench-E where they do not. */
static judgeq_status set_task(benchmark *b, const source *from, judgeq_error *error) {
    const char *slash = strrchr(b->path, '/'), *file = slash ? slash + 1 : b->path, *dot = strrchr(file, '.');
    const char *name = json_string_value(json_object_get(json_array_get(b->lines, 0), "dataset"));
    const size_t n_file = dot ? (size_t)(dot - file) : strlen(file), n_name = name ? strlen(name) : 0;
    const bool named_e = name && is_of_e(name, n_name);
    const struct longbench_task *task = name ? find_task(name, named_e ? n_name - 2 : n_name) : NULL;
    const char *template = task ? json_string_value(json_object_get(from->prompts, task->name)) : NULL;
    const json_t *length = task ? json_object_get(from->lengths, task->name) : NULL;
    if (!template || !json_is_integer(length)) {
        return error_set(error, JUDGEQ_ERROR_FORMAT,
                         "%s: dataset \"%.*s\": not one of LongBench's 21 tasks, alone or with _e, or config/ has no "
                         "prompt or length for it",
                         b->path, VISIBLE_FIT(name ? name : "", 60));
    }
    b->by_length = named_e || is_of_e(file, n_file);
    text_buffer whole = {0};
    text_print(&whole, "%s%s", task->name, b->by_length ? "_e" : "");
    b->name = text_take(&whole);
    b->template = strdup(template);
    b->metric = metric_find(task->metric);
    b->n_tokens = (int32_t)json_integer_value(length);
    b->chat = (task->flags & NO_CHAT) == 0;
    b->first_line = (task->flags & FIRST_LINE) != 0;
    b->cut_to = from->cut_to;
    return b->name && b->template ? JUDGEQ_OK : error_memory(error, "a benchmark");
}

static judgeq_status add_file(benchmarks *all, const char *path, const source *from, judgeq_error *error) {
    benchmark b = {.family = SAMPLE_LONGBENCH, .path = strdup(path)};
    judgeq_status status = benchmark_read_lines(&b, error);
    if (status == JUDGEQ_OK) status = set_task(&b, from, error);
    if (status == JUDGEQ_OK) return benchmarks_take(all, &b, error);
    benchmark_free(&b);
    return status;
}

/* Those of the tasks' files that are there, in the table's order, each with LongBench-E's after it. */
static judgeq_status add_folder(benchmarks *all, const char *root, const source *from, judgeq_error *error) {
    const size_t before = all->n;
    judgeq_status status = JUDGEQ_OK;
    for (size_t i = 0; status == JUDGEQ_OK && i < (size_t)2 * N_LONGBENCH; i++) {
        char *file = NULL;
        if (asprintf(&file, "%s/data/%s%s.jsonl", root, LONGBENCH[i / 2].name, i % 2 == 0 ? "" : "_e") < 0) {
            return error_memory(error, "a path");
        }
        if (is_there(file)) status = add_file(all, file, from, error);
        free(file);
    }
    if (status == JUDGEQ_OK && all->n == before) {
        status = error_set(error, JUDGEQ_ERROR_IO, "%s: data/ holds none of LongBench's files", root);
    }
    return status;
}

judgeq_status benchmarks_add_longbench(benchmarks *all, const char *path, int32_t cut_to, judgeq_error *error) {
    source from = {.cut_to = cut_to};
    char *root = find_root(path);
    judgeq_status status = JUDGEQ_OK;
    if (!is_there(path)) {
        status = error_set(error, JUDGEQ_ERROR_IO, "%s: %s", path, strerror(errno));
    } else if (!root) {
        status =
            error_set(error, JUDGEQ_ERROR_IO,
                      "%s: no config/dataset2prompt.json in it, beside it or beside its folder, where LongBench has "
                      "it",
                      path);
    }
    if (status == JUDGEQ_OK) status = read_config(root, "config/dataset2prompt.json", &from.prompts, error);
    if (status == JUDGEQ_OK) status = read_config(root, "config/dataset2maxlen.json", &from.lengths, error);
    if (status == JUDGEQ_OK) {
        status = is_folder(path) ? add_folder(all, root, &from, error) : add_file(all, path, &from, error);
    }
    json_decref(from.prompts);
    json_decref(from.lengths);
    free(root);
    return status;
}
