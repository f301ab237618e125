#include "plan_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/visible.h"

enum { TEMPLATE_MOST = 128 }; /* tokens that a chat template adds to a message, if they need not be counted */

/* ---- tasks of our own -------------------------------------------------------------------------------------------- */

static int64_t count_tokens(void *data, const sample *s, judgeq_error *error) {
    const trial_setup *setup = data;
    return reading_count(setup->model, &setup->style, s, error);
}

/* The sample itself: where --length is close to what the model can read, its exact tokens count. */
static judgeq_status check_exactly(const plan *p, size_t index, const trial_setup *setup, judgeq_error *error) {
    trial_setup counted = *setup;
    sample s = {0};
    reading r = {0};
    char name[96];
    snprintf(name, sizeof name, "task %.*s with --length %d", VISIBLE_FIT(p->item[index].name, 40),
             p->item[index].length);
    judgeq_status status = plan_sample(p, index, count_tokens, &counted, &s, error);
    if (status == JUDGEQ_OK) status = reading_make(setup->model, &setup->style, &s, &r, error);
    if (status == JUDGEQ_OK) status = reading_check(setup->model, &r, trial_answer_tokens(setup, &s), name, error);
    reading_free(&r);
    sample_free(&s);
    return status;
}

static judgeq_status check_own(const plan *p, size_t index, const trial_setup *setup, judgeq_error *error) {
    const int32_t length = p->item[index].length;
    const task_request request = plan_task_request(p, index);
    sample s = {0};
    reading r = {0};
    size_t longest = 0;
    judgeq_status status = task_make_shortest(&request, &s, error);
    if (status == JUDGEQ_OK) status = reading_make(setup->model, &setup->style, &s, &r, error);
    if (status == JUDGEQ_OK) status = task_check_shortest(&request, (int64_t)reading_first(&r), error);
    if (status == JUDGEQ_OK) longest = (size_t)length + reading_later(&r, trial_answer_tokens(setup, &s));
    reading_free(&r);
    sample_free(&s);
    const bool fits = longest <= (size_t)judgeq_model_get_info(setup->model)->n_ctx_train;
    return status == JUDGEQ_OK && !fits ? check_exactly(p, index, setup, error) : status;
}

/* ---- lines of files ---------------------------------------------------------------------------------------------- */

/* No token stands for less than a byte: most prompts need not be cut into tokens to know that they fit. */
static bool surely_fits(const trial_setup *setup, const sample *s) {
    size_t n = strlen(json_string_value(json_array_get(s->messages, 0)));
    if (s->cut_to > 0 && n > (size_t)s->cut_to) n = (size_t)s->cut_to;
    n += (s->answer_prefix ? strlen(s->answer_prefix) : 0) + TEMPLATE_MOST + (size_t)trial_answer_tokens(setup, s);
    return n <= (size_t)judgeq_model_get_info(setup->model)->n_ctx_train;
}

static judgeq_status check_line(const plan *p, size_t index, const trial_setup *setup, judgeq_error *error) {
    sample s = {0};
    reading r = {0};
    judgeq_status status = plan_sample(p, index, NULL, NULL, &s, error);
    if (status == JUDGEQ_OK && !surely_fits(setup, &s)) {
        const benchmark *from = &p->benchmarks.benchmark[p->item[index].benchmark];
        char *name = benchmark_place(from, (size_t)p->item[index].index);
        status = name ? reading_make(setup->model, &setup->style, &s, &r, error) : error_memory(error, "a plan");
        if (status == JUDGEQ_OK) status = reading_check(setup->model, &r, trial_answer_tokens(setup, &s), name, error);
        free(name);
    }
    reading_free(&r);
    sample_free(&s);
    return status;
}

/* ---- all --------------------------------------------------------------------------------------------------------- */

static judgeq_status check_one(plan *p, size_t index, const trial_setup *setup, bool *stays, judgeq_error *error) {
    judgeq_error reason = {0};
    const bool own = p->item[index].task != NULL;
    const judgeq_status status = own ? check_own(p, index, setup, &reason) : check_line(p, index, setup, &reason);
    *stays = status == JUDGEQ_OK;
    if (*stays) return JUDGEQ_OK;
    if (own || !plan_leaves_out(status)) return error_set(error, status, "%s", reason.message);
    return plan_note(p, index, reason.message, error);
}

judgeq_status plan_check(plan *p, const trial_setup *setup, judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    size_t kept = 0;
    for (size_t i = 0; i < p->n_item; i++) {
        bool stays = true; /* whatever comes after a failure stays, to be freed */
        if (status == JUDGEQ_OK) status = check_one(p, i, setup, &stays, error);
        if (stays || status != JUDGEQ_OK) {
            p->item[kept++] = p->item[i];
        } else {
            free(p->item[i].key);
        }
    }
    p->n_item = kept;
    if (status != JUDGEQ_OK || kept > 0) return status;
    const json_t *first = json_array_get(p->left_out, 0);
    return error_set(error, JUDGEQ_ERROR_FORMAT, "no sample can be asked: %s%s",
                     json_string_value(json_object_get(first, "reason")),
                     json_array_size(p->left_out) > 1 ? ", and so on for the others" : "");
}
