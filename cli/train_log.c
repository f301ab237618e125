#include "train_log.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/finite.h"
#include "base/error.h"
#include "base/file.h"
#include "base/visible.h"

/* ---- lines ------------------------------------------------------------------------------------------------------- */

/* Takes the line. */
static bool put(train_log *log, json_t *line) {
    char *text = line ? json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(line);
    if (!text) {
        errno = ENOMEM;
        return false;
    }
    char *whole = NULL;
    const int n = asprintf(&whole, "%s\n", text);
    free(text);
    if (n < 0) return false;
    const bool written = file_append(fileno(log->file), whole, (size_t)n);
    const int reason = errno;
    free(whole);
    errno = reason;
    return written;
}

bool train_log_step(train_log *log, const judgeq_training_step *s) {
    return put(log, json_pack("{s:I, s:i, s:o, s:o, s:o, s:i, s:i}", "step", (json_int_t)s->step, "epoch", s->epoch,
                              "loss", json_finite(s->loss), "gradient", json_finite(s->gradient), "rate",
                              json_finite(s->rate), "examples", s->n_examples, "skipped", s->n_skipped));
}

bool train_log_measures(train_log *log, int64_t step, const judgeq_measures *m) {
    json_t *hits = json_object(), *mass = json_object();
    for (int b = 0; b < JUDGEQ_MEASURE_BUDGETS && m->budget[b] > 0; b++) {
        char budget[16];
        snprintf(budget, sizeof budget, "%d", m->budget[b]);
        json_object_set_new(hits, budget, json_finite(m->hit_rate[b]));
        json_object_set_new(mass, budget, json_finite(m->mass_kept[b]));
    }
    log->measured = step;
    return put(log, json_pack("{s:I, s:{s:i, s:o, s:o, s:o}}", "step", (json_int_t)step, "heldout", "examples",
                              m->n_examples, "loss", json_finite(m->loss), "hit_rate", hits, "mass_kept", mass));
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
static judgeq_status trim(train_log *log, const char *path, int64_t step, judgeq_error *error) {
    FILE *from = fopen(path, "r");
    if (!from && errno == ENOENT) return JUDGEQ_OK;
    char *lines = NULL;
    size_t size = 0;
    FILE *to = from ? open_memstream(&lines, &size) : NULL;
    bool copied = to && copy_lines(log, from, to, step);
    if (to && (fclose(to) != 0 || !lines)) copied = false;
    const int reason = errno;
    if (from) fclose(from);
    errno = reason;
    const judgeq_status status = copied ? file_write_atomic(path, lines, size, error)
                                        : error_file(error, JUDGEQ_ERROR_IO, path, strerror(errno));
    free(lines);
    return status;
}

judgeq_status train_log_open(train_log *log, const char *path, bool resume, int64_t step, judgeq_error *error) {
    *log = (train_log){.path = path, .measured = -1};
    const judgeq_status status = resume ? trim(log, path, step, error) : JUDGEQ_OK;
    if (status != JUDGEQ_OK) return status;
    log->file = fopen(path, resume ? "a" : "w");
    return log->file ? JUDGEQ_OK : error_file(error, JUDGEQ_ERROR_IO, path, strerror(errno));
}

bool train_log_close(train_log *log) {
    const bool closed = !log->file || fclose(log->file) == 0;
    log->file = NULL;
    return closed;
}
