#include "gnuplot.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/visible.h"

extern char **environ;

/* The child's standard streams: files without a name, so that neither side ever waits for the other. */
typedef struct streams {
    FILE *script, *picture, *words;
} streams;

static void streams_close(streams *s) {
    if (s->script) fclose(s->script);
    if (s->picture) fclose(s->picture);
    if (s->words) fclose(s->words);
}

static judgeq_status streams_open(streams *s, const char *script, size_t length, judgeq_error *error) {
    *s = (streams){.script = tmpfile(), .picture = tmpfile(), .words = tmpfile()};
    const bool open = s->script && s->picture && s->words;
    if (open && fwrite(script, 1, length, s->script) == length && fflush(s->script) == 0) {
        rewind(s->script); /* moves the descriptor that the child gets */
        return JUDGEQ_OK;
    }
    const judgeq_status status =
        error_set(error, JUDGEQ_ERROR_IO, "no temporary file for gnuplot: %s", strerror(errno));
    streams_close(s);
    return status;
}

/* All of a file, terminated; NULL with errno set. The caller's. */
static char *read_all(FILE *file, size_t *length) {
    *length = 0;
    if (fseek(file, 0, SEEK_END) != 0) return NULL;
    const long size = ftell(file);
    char *bytes = size >= 0 ? malloc((size_t)size + 1) : NULL;
    if (!bytes) return NULL;
    rewind(file);
    *length = fread(bytes, 1, (size_t)size, file);
    bytes[*length] = '\0';
    return bytes;
}

static int spawn(const streams *s, pid_t *child) {
    char name[] = "gnuplot", no_start_up_files[] = "-d";
    char *const arguments[] = {name, no_start_up_files, NULL};
    posix_spawn_file_actions_t actions;
    int reason = posix_spawn_file_actions_init(&actions);
    if (reason != 0) return reason;
    reason = posix_spawn_file_actions_adddup2(&actions, fileno(s->script), STDIN_FILENO);
    if (reason == 0) reason = posix_spawn_file_actions_adddup2(&actions, fileno(s->picture), STDOUT_FILENO);
    if (reason == 0) reason = posix_spawn_file_actions_adddup2(&actions, fileno(s->words), STDERR_FILENO);
    if (reason == 0) reason = posix_spawnp(child, name, &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    return reason;
}

/* Runs the child to its end. */
static judgeq_status run(const streams *s, judgeq_error *error) {
    pid_t child;
    const int reason = spawn(s, &child);
    if (reason == ENOENT) {
        return error_set(error, JUDGEQ_ERROR_UNSUPPORTED,
                         "gnuplot is not installed; it draws the pictures: apt-get install gnuplot-nox");
    }
    if (reason != 0) return error_set(error, JUDGEQ_ERROR_BACKEND, "cannot run gnuplot: %s", strerror(reason));
    int ended = 0;
    while (waitpid(child, &ended, 0) < 0) {
        if (errno != EINTR) return error_set(error, JUDGEQ_ERROR_BACKEND, "lost gnuplot: %s", strerror(errno));
    }
    if (WIFEXITED(ended) && WEXITSTATUS(ended) == 0) return JUDGEQ_OK;
    size_t length;
    char *words = read_all(s->words, &length);
    const judgeq_status status =
        error_set(error, JUDGEQ_ERROR_BACKEND, "gnuplot failed (%s %d): %.*s", WIFSIGNALED(ended) ? "signal" : "status",
                  WIFSIGNALED(ended) ? WTERMSIG(ended) : WEXITSTATUS(ended),
                  VISIBLE_FIT(words && *words ? words : "it said nothing", 300));
    free(words);
    return status;
}

judgeq_status gnuplot_draw(const char *script, size_t length, char **picture, size_t *size, judgeq_error *error) {
    streams s;
    *picture = NULL;
    judgeq_status status = streams_open(&s, script, length, error);
    if (status != JUDGEQ_OK) return status;
    status = run(&s, error);
    if (status == JUDGEQ_OK) {
        *picture = read_all(s.picture, size);
        if (!*picture) status = error_set(error, JUDGEQ_ERROR_MEMORY, "no memory for a picture");
    }
    streams_close(&s);
    if (status != JUDGEQ_OK || *size > 0) return status;
    free(*picture);
    *picture = NULL;
    return error_set(error, JUDGEQ_ERROR_BACKEND, "gnuplot drew nothing");
}
