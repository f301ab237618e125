#include "asking.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"

judgeq_status asking_read_parts(const asking *a, judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    for (size_t i = 0; i < a->reading->n_part; i++) {
        const reading_tokens *part = &a->reading->part[i];
        for (size_t s = 0; status == JUDGEQ_OK && s < a->n; s++) {
            status = judgeq_session_read(a->session[s], part->token, part->n_token, error);
        }
    }
    return status;
}

/* ---- the state to come back to ----------------------------------------------------------------------------------- */

enum { PATH = 4096 };

/* A folder with a file of every session that evicts. */
typedef struct copies {
    char folder[PATH];
    size_t n; /* sessions that were saved, or need no file */
} copies;

static bool keeps_all(const asking *a, size_t i) {
    return a->params[i].policy == NULL;
}

static void path_of(const copies *c, size_t i, char path[PATH + 32]) {
    snprintf(path, PATH + 32, "%s/%zu.kv", c->folder, i);
}

static judgeq_status make_folder(copies *c, judgeq_error *error) {
    const char *base = getenv("TMPDIR");
    snprintf(c->folder, PATH, "%s/judgeq-XXXXXX", base && *base ? base : "/tmp");
    if (mkdtemp(c->folder)) return JUDGEQ_OK;
    const judgeq_status status =
        error_set(error, JUDGEQ_ERROR_IO, "cannot make the folder %s for copies of sessions: %s; TMPDIR names another",
                  c->folder, strerror(errno));
    c->folder[0] = '\0';
    return status;
}

static judgeq_status save_all(const asking *a, copies *c, judgeq_error *error) {
    char path[PATH + 32];
    judgeq_status status = make_folder(c, error);
    for (; status == JUDGEQ_OK && c->n < a->n; c->n++) {
        path_of(c, c->n, path);
        if (!keeps_all(a, c->n)) status = judgeq_session_save(a->session[c->n], path, error);
    }
    return status;
}

static void remove_all(const asking *a, const copies *c) {
    char path[PATH + 32];
    if (!*c->folder) return;
    for (size_t i = 0; i < c->n; i++) {
        path_of(c, i, path);
        if (!keeps_all(a, i)) unlink(path);
    }
    rmdir(c->folder);
}

static judgeq_status restore(asking *a, const copies *c, size_t i, judgeq_error *error) {
    if (keeps_all(a, i)) return judgeq_session_cut(a->session[i], (int64_t)reading_context(a->reading), error);
    char path[PATH + 32];
    judgeq_session *before = NULL;
    path_of(c, i, path);
    const judgeq_status status = judgeq_session_load(a->model, &a->params[i], path, &before, error);
    if (status != JUDGEQ_OK) return status;
    judgeq_session_free(a->session[i]);
    a->session[i] = before;
    return JUDGEQ_OK;
}

static judgeq_status restore_all(asking *a, const copies *c, judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    for (size_t i = 0; status == JUDGEQ_OK && i < a->n; i++) status = restore(a, c, i, error);
    return status;
}

/* ---- questions --------------------------------------------------------------------------------------------------- */

static judgeq_status answer_all(const asking *a, answer *own, judgeq_error *error) {
    judgeq_status status = JUDGEQ_OK;
    for (size_t i = 0; status == JUDGEQ_OK && i < a->n; i += a->n_step) {
        answers step = {.model = a->model,
                        .sample = a->sample,
                        .reading = a->reading,
                        .n_tokens = a->n_tokens,
                        .reads_on = true,
                        .progress = a->progress,
                        .progress_data = a->progress_data,
                        .answer = &own[i],
                        .n_answer = a->n_step};
        status = answers_decode(&step, error);
    }
    return status;
}

static judgeq_status ask(asking *a, size_t question, judgeq_error *error) {
    const json_t *references = json_object_get(json_array_get(a->sample->asked, question), "references");
    answer *own = calloc(a->n, sizeof *own);
    if (!own) return error_memory(error, "answers");
    for (size_t i = 0; i < a->n; i++) {
        own[i] = (answer){.session = a->session[i], .queue = &a->reading->question[question]};
        outcome_begin(&a->outcome[i], a->session[i]);
    }
    judgeq_status status = answer_all(a, own, error);
    for (size_t i = 0; status == JUDGEQ_OK && i < a->n; i++) {
        status = outcome_add(&a->outcome[i], a->sample, references, &own[i], error);
    }
    for (size_t i = 0; i < a->n; i++) answer_free(&own[i]);
    free(own);
    return status;
}

judgeq_status asking_run(asking *a, judgeq_error *error) {
    copies c = {0};
    judgeq_status status = save_all(a, &c, error);
    for (size_t q = 0; status == JUDGEQ_OK && q < a->reading->n_question; q++) {
        status = ask(a, q, error);
        if (status == JUDGEQ_OK) status = restore_all(a, &c, error);
    }
    remove_all(a, &c);
    return status;
}
