#include "train_log.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- lines ------------------------------------------------------------------------------------------------------- */

/* JSON has no NaN. */
static json_t *number(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

/* Takes the line. */
static bool put(train_log *log, json_t *line) {
    char *text = line ? json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(line);
    if (!text) {
        errno = ENOMEM;
        return false;
    }
    const bool written = fprintf(log->file, "%s\n", text) > 0 && fflush(log->file) == 0;
    free(text);
    return written;
}

bool train_log_step(train_log *log, const judgeq_training_step *s) {
    return put(log, json_pack("{s:I, s:i, s:o, s:o, s:o, s:i, s:i}", "step", (json_int_t)s->step, "epoch", s->epoch,
                              "loss", number(s->loss), "gradient", number(s->gradient), "rate", number(s->rate),
                              "examples", s->n_examples, "skipped", s->n_skipped));
}

bool train_log_measures(train_log *log, int64_t step, const judgeq_measures *m) {
    json_t *hits = json_object(), *mass = json_object();
    for (int b = 0; b < JUDGEQ_MEASURE_BUDGETS && m->budget[b] > 0; b++) {
        char budget[16];
        snprintf(budget, sizeof budget, "%d", m->budget[b]);
        json_object_set_new(hits, budget, number(m->hit_rate[b]));
        json_object_set_new(mass, budget, number(m->mass_kept[b]));
    }
    log->measured = step;
    return put(log, json_pack("{s:I, s:{s:i, s:o, s:o, s:o}}", "step", (json_int_t)step, "heldout", "examples",
                              m->n_examples, "loss", number(m->loss), "hit_rate", hits, "mass_kept", mass));
}

bool train_log_notice(train_log *log, int64_t step, const char *message) {
    return put(log, json_pack("{s:I, s:s}", "step", (json_int_t)step, "notice", message));
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

/* A line of steps up to `step`; notes a measurement. Broken lines (a kill may leave one) are dropped. */
static bool belongs(train_log *log, const char *line, int64_t step) {
    json_t *object = json_loads(line, 0, NULL);
    const json_t *at = json_object_get(object, "step");
    const bool kept = json_is_integer(at) && json_integer_value(at) <= step;
    if (kept && json_object_get(object, "heldout")) log->measured = json_integer_value(at);
    json_decref(object);
    return kept;
}

static bool copy_lines(train_log *log, FILE *from, FILE *to, int64_t step) {
    char *line = NULL;
    size_t room = 0;
    bool written = true;
    while (written && getline(&line, &room, from) > 0) {
        if (belongs(log, line, step)) written = fputs(line, to) >= 0;
    }
    free(line);
    return written && !ferror(from);
}

/* The lines up to `step` in a new file under the same name; the old one stays until the new one is whole. */
static bool trim(train_log *log, const char *path, int64_t step) {
    FILE *from = fopen(path, "r");
    if (!from) return errno == ENOENT;
    char temporary[4096];
    const int length = snprintf(temporary, sizeof temporary, "%s.tmp", path);
    FILE *to = length < (int)sizeof temporary ? fopen(temporary, "w") : NULL;
    bool done = to && copy_lines(log, from, to, step);
    if (to && fclose(to) != 0) done = false;
    fclose(from);
    if (done) done = rename(temporary, path) == 0;
    return done;
}

bool train_log_open(train_log *log, const char *path, bool resume, int64_t step) {
    *log = (train_log){.path = path, .measured = -1};
    if (resume && !trim(log, path, step)) return false;
    log->file = fopen(path, resume ? "a" : "w");
    return log->file != NULL;
}

bool train_log_close(train_log *log) {
    const bool closed = !log->file || fclose(log->file) == 0;
    log->file = NULL;
    return closed;
}
