#include "quiet.h"

#include <ctype.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "llama.h"

#include "judgeq.h"

/* Where lines go; a thread of ggml's may log while the application sets another function. */
static struct {
    pthread_mutex_t lock;
    judgeq_log log;
    void *data;
} target = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* A line comes in pieces; each thread has one that is not complete. */
typedef struct pending_line {
    enum ggml_log_level level;
    size_t n;
    char text[1024];
} pending_line;

static _Thread_local pending_line pending;
static _Thread_local quiet_record *kept;

/* ---- lines ------------------------------------------------------------------------------------------------------- */

/* What libllama writes after the name of its function. */
static const char *after_function(const char *line) {
    size_t n = 0;
    while (isalnum((unsigned char)line[n]) || line[n] == '_') n++;
    if (n == 0 || line[n] != ':' || (line[n + 1] != ' ' && line[n + 1] != '\0')) return line;
    return line + n + 1 + (line[n + 1] == ' ');
}

/* Lines that say nothing, but frame others, are left out. */
static bool is_frame(const char *text) {
    return text[strspn(text, "* ")] == '\0';
}

static void keep(quiet_record *record, enum ggml_log_level level, const char *line) {
    const char *text = after_function(line);
    if (is_frame(text)) return;
    if (level == GGML_LOG_LEVEL_ERROR && !record->error[0]) {
        snprintf(record->error, sizeof record->error, "%s", text);
    } else if (level == GGML_LOG_LEVEL_WARN && record->n_warning < QUIET_LINES) {
        snprintf(record->warning[record->n_warning++], sizeof record->warning[0], "%s", text);
    } else if (level == GGML_LOG_LEVEL_WARN) {
        record->n_more++;
    }
}

static void end_line(pending_line *line) {
    pthread_mutex_lock(&target.lock);
    const judgeq_log log = target.log;
    void *data = target.data;
    pthread_mutex_unlock(&target.lock);
    while (line->n > 0 && line->text[line->n - 1] == ' ') line->n--;
    line->text[line->n] = '\0';
    line->n = 0;
    if (kept) keep(kept, line->level, line->text);
    if (log) log(data, (judgeq_log_level)line->level, line->text);
}

static void take(enum ggml_log_level level, const char *text, void *data) {
    (void)data;
    pending_line *line = &pending;
    if (level != GGML_LOG_LEVEL_CONT) line->level = level;
    for (; *text; text++) {
        if (*text != '\n' && line->n < sizeof line->text - 1) line->text[line->n++] = *text;
        if (*text == '\n') end_line(line);
    }
}

/* ---- public ------------------------------------------------------------------------------------------------------ */

static void take_over(void) {
    llama_log_set(take, NULL); /* sets ggml's logger too */
}

void quiet_ggml_log(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, take_over);
}

void quiet_inform(const char *format, ...) {
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    quiet_ggml_log();
    take(GGML_LOG_LEVEL_INFO, line, NULL);
    take(GGML_LOG_LEVEL_CONT, "\n", NULL);
}

void quiet_keep(quiet_record *record) {
    kept = record;
}

void judgeq_set_log(judgeq_log log, void *data) {
    quiet_ggml_log();
    pthread_mutex_lock(&target.lock);
    target.log = log;
    target.data = data;
    pthread_mutex_unlock(&target.lock);
}
