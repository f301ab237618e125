#include "plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/visible.h"

static const char GRID[] = "grid", OWN[] = "own", UNKNOWN[] = "unknown", RULER[] = "ruler:", LONGBENCH[] = "longbench:";

static judgeq_status unknown_task(const char *name, judgeq_error *error) {
    text_buffer t = {0};
    for (size_t i = 0; task_at(i); i++) text_print(&t, "%s, ", task_name(task_at(i)));
    const judgeq_status status = error_set(error, JUDGEQ_ERROR_ARGUMENT,
                                           "unknown task \"%.*s\"; there are %sgrid, and the groups own and unknown",
                                           VISIBLE_FIT(name, 60), t.bytes ? t.bytes : "");
    text_free(&t);
    return status;
}

static judgeq_status add_item(plan *p, plan_item item, judgeq_error *error) {
    if (p->n_item == p->capacity) {
        const size_t capacity = p->capacity ? 2 * p->capacity : 64;
        plan_item *larger = realloc(p->item, capacity * sizeof *larger);
        if (!larger) return error_memory(error, "a plan");
        p->item = larger;
        p->capacity = capacity;
    }
    item.key = item.task ? task_key(item.task, item.family, item.length, item.depth, p->request.seed, item.index)
                         : benchmark_key(&p->benchmarks.benchmark[item.benchmark], (size_t)item.index);
    if (!item.key) return error_memory(error, "a plan");
    p->item[p->n_item++] = item;
    return JUDGEQ_OK;
}

/* One sample of a task at every length; of every depth in the grid. */
static judgeq_status add_samples(plan *p, const task *t, bool grid, int32_t index, judgeq_error *error) {
    const int32_t n_depths = grid ? p->request.n_depths : 1;
    judgeq_status status = JUDGEQ_OK;
    for (size_t l = 0; l < p->request.n_length; l++) {
        for (int32_t d = 0; status == JUDGEQ_OK && d < n_depths; d++) {
            const double depth = !grid ? NAN : n_depths == 1 ? 0.5 : (double)d / (n_depths - 1);
            status = add_item(p,
                              (plan_item){.task = t,
                                          .name = task_name(t),
                                          .family = grid ? SAMPLE_GRID : SAMPLE_OWN,
                                          .length = p->request.length[l],
                                          .index = index,
                                          .depth = depth,
                                          .n_prompt = p->request.length[l],
                                          .n_answer = task_answers(t) * task_tokens(t)},
                              error);
        }
    }
    return status;
}

static bool is_file(const char *name) {
    return strncmp(name, RULER, strlen(RULER)) == 0 || strncmp(name, LONGBENCH, strlen(LONGBENCH)) == 0;
}

/* The line `index` of every benchmark that has one. */
static judgeq_status add_lines(plan *p, int32_t index, judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    for (size_t b = 0; status == JUDGEQ_OK && b < p->benchmarks.n; b++) {
        const benchmark *from = &p->benchmarks.benchmark[b];
        if ((size_t)index >= json_array_size(from->lines)) continue;
        status = add_item(p,
                          (plan_item){.name = from->name,
                                      .benchmark = b,
                                      .family = from->family,
                                      .index = index,
                                      .depth = NAN,
                                      .n_prompt = benchmark_prompt_tokens(from, (size_t)index),
                                      .n_answer = from->n_tokens},
                          error);
    }
    return status;
}

static judgeq_status add_named(plan *p, const char *name, int32_t index, judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    if (is_file(name)) return status; /* add_lines */
    const bool own = strcmp(name, OWN) == 0, unknown = strcmp(name, UNKNOWN) == 0;
    for (size_t i = 0; status == JUDGEQ_OK && (own || unknown) && task_at(i); i++) {
        const bool is_of = own ? task_is_own(task_at(i)) : task_is_unknown(task_at(i));
        if (is_of) status = add_samples(p, task_at(i), false, index, error);
    }
    if (own || unknown) return status;
    if (strcmp(name, GRID) == 0) return add_samples(p, task_find("needle_text"), true, index, error);
    const task *t = task_find(name);
    return t ? add_samples(p, t, false, index, error) : unknown_task(name, error);
}

static judgeq_status take_names(plan *p, judgeq_error *error) {
    char *names = strdup(p->request.tasks), *rest = names;
    p->tasks = json_array();
    if (!names || !p->tasks) {
        free(names);
        return error_memory(error, "a plan");
    }
    judgeq_status status = JUDGEQ_OK;
    for (char *name; status == JUDGEQ_OK && (name = strtok_r(rest, "\n", &rest));) {
        json_array_append_new(p->tasks, json_string(name));
        if (strncmp(name, RULER, strlen(RULER)) == 0) {
            status = benchmarks_add_ruler(&p->benchmarks, name + strlen(RULER), error);
        } else if (is_file(name)) {
            status = benchmarks_add_longbench(&p->benchmarks, name + strlen(LONGBENCH), p->request.cut_to, error);
        }
    }
    free(names);
    return status;
}

judgeq_status plan_make(const plan_request *request, plan *out, judgeq_error *error) {
    *out = (plan){.request = *request, .left_out = json_array()};
    judgeq_status status = out->left_out ? take_names(out, error) : error_memory(error, "a plan");
    for (int32_t i = 0; status == JUDGEQ_OK && i < request->n_samples; i++) {
        for (size_t n = 0; status == JUDGEQ_OK && n < json_array_size(out->tasks); n++) {
            status = add_named(out, json_string_value(json_array_get(out->tasks, n)), i, error);
        }
        if (status == JUDGEQ_OK) status = add_lines(out, i, error);
    }
    if (status == JUDGEQ_OK && out->n_item == 0) status = unknown_task("", error);
    if (status != JUDGEQ_OK) plan_free(out);
    return status;
}

void plan_free(plan *p) {
    for (size_t i = 0; i < p->n_item; i++) free(p->item[i].key);
    free(p->item);
    benchmarks_free(&p->benchmarks);
    json_decref(p->tasks);
    json_decref(p->left_out);
    *p = (plan){0};
}

task_request plan_task_request(const plan *p, size_t index) {
    const plan_item *item = &p->item[index];
    return (task_request){.task = item->task,
                          .family = item->family,
                          .length = item->length,
                          .depth = item->depth,
                          .seed = p->request.seed,
                          .index = item->index,
                          .source = p->request.haystack,
                          .text = p->request.text};
}

judgeq_status plan_sample(const plan *p, size_t index, task_count count, void *count_data, sample *out,
                          judgeq_error *error) {
    const plan_item *item = &p->item[index];
    if (!item->task) {
        return benchmark_sample(&p->benchmarks.benchmark[item->benchmark], (size_t)item->index, out, error);
    }
    task_request request = plan_task_request(p, index);
    request.count = count;
    request.count_data = count_data;
    return task_make(&request, out, error);
}

bool plan_leaves_out(judgeq_status status) {
    return status == JUDGEQ_ERROR_FORMAT || status == JUDGEQ_ERROR_LIMIT || status == JUDGEQ_ERROR_ARGUMENT;
}

judgeq_status plan_note(plan *p, size_t index, const char *reason, judgeq_error *error) {
    const plan_item *item = &p->item[index];
    json_t *one = json_pack("{s:s, s:s, s:s}", "key", item->key, "task", item->name, "reason", reason);
    return json_array_append_new(p->left_out, one) == 0 ? JUDGEQ_OK : error_memory(error, "a plan");
}
