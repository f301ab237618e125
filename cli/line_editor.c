#include "line_editor.h"

#include <errno.h>
#include <fcntl.h>
#include <histedit.h>
#include <limits.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>

#include "base/file.h"
#include "interrupt.h"
#include "say.h"

enum { HISTORY_MOST = 1000, FILE_MOST = 1 << 20 }; /* entries; bytes, from which on the file is written anew */

struct line_editor {
    EditLine *edit;
    History *history;
    FILE *out;
    const char *prompt;
    bool was_empty;      /* when Ctrl-C was pressed */
    char path[PATH_MAX]; /* of the history's file; "" for none */
};

/* ---- the history's file ------------------------------------------------------------------------------------------ */

/* The folder, with those above it. */
static bool make_folder(char *path) {
    for (char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
        *at = '\0';
        const bool made = mkdir(path, 0700) == 0 || errno == EEXIST;
        *at = '/';
        if (!made) return false;
    }
    return true;
}

/* False where nobody's folder is known. */
static bool find_path(char path[PATH_MAX]) {
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int n = -1;
    if (state && *state == '/')
        n = snprintf(path, PATH_MAX, "%s/judgeq/history", state);
    else if (home && *home == '/')
        n = snprintf(path, PATH_MAX, "%s/.local/state/judgeq/history", home);
    return n > 0 && n < PATH_MAX;
}

/* Writes what was loaded, the latest entries, in place of a file that has grown large. */
static void shorten(const line_editor *e) {
    HistEvent event;
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);
    if (!memory) return;
    history(e->history, &event, H_SAVE_FP, memory);
    if (fclose(memory) == 0 && text) (void)file_write_atomic(e->path, text, size, NULL);
    free(text);
}

/* A file that is there and no history is left alone. */
static void load(line_editor *e, bool quiet) {
    HistEvent event;
    struct stat info;
    if (!find_path(e->path)) return;
    const bool there = stat(e->path, &info) == 0 && info.st_size > 0;
    if (there && (!S_ISREG(info.st_mode) || history(e->history, &event, H_LOAD, e->path) < 0)) {
        if (!quiet) say("%s: cannot be read as a history, so there is none", e->path);
        e->path[0] = '\0';
    } else if (there && info.st_size > FILE_MOST) {
        shorten(e);
    } else if (!make_folder(e->path)) {
        if (!quiet) say("%s: %s: the history is not kept", e->path, strerror(errno));
        e->path[0] = '\0';
    }
}

/* The file, at its end. */
static FILE *open_history(const line_editor *e) {
    const int descriptor = open(e->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (descriptor < 0) return NULL;
    (void)fchmod(descriptor, 0600); /* one that another program has made may be open to all */
    FILE *file = fdopen(descriptor, "a");
    if (!file) close(descriptor);
    if (file) fseek(file, 0, SEEK_END); /* libedit writes a first line where the file is at its beginning */
    return file;
}

void line_editor_remember(line_editor *e, const char *text) {
    HistEvent event;
    if (history(e->history, &event, H_ENTER, text) < 0 || !*e->path) return;
    History *alone = history_init();
    FILE *file = alone ? open_history(e) : NULL;
    if (file) {
        history(alone, &event, H_SETSIZE, 1);
        history(alone, &event, H_ENTER, text);
        history(alone, &event, H_SAVE_FP, file);
        fclose(file);
    }
    if (alone) history_end(alone);
}

/* ---- keys -------------------------------------------------------------------------------------------------------- */

static volatile sig_atomic_t screen_changed; /* its size; or the program was stopped, and goes on */

static void note_change(int number) {
    (void)number;
    screen_changed = 1;
}

static void draw_again(EditLine *edit) {
    screen_changed = 0;
    el_set(edit, EL_PREP_TERM, 1);
    el_resize(edit);
    el_set(edit, EL_REFRESH);
}

/* Signals come only while it waits, so that none is missed. False where the program was interrupted. */
static bool wait_for_key(EditLine *edit) {
    sigset_t blocked, before;
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    bool ready = false;
    sigemptyset(&blocked);
    for (const int *number = (const int[]){SIGINT, SIGTERM, SIGWINCH, SIGCONT, 0}; *number; number++) {
        sigaddset(&blocked, *number);
    }
    sigprocmask(SIG_BLOCK, &blocked, &before);
    while (!ready && !interrupt_seen()) {
        if (screen_changed) draw_again(edit);
        ready = ppoll(&in, 1, NULL, &before) >= 0 || errno != EINTR;
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    return ready;
}

/* libedit forgets the line when its reading fails. */
static void note_typed(EditLine *edit) {
    line_editor *e = NULL;
    const LineInfo *line = el_line(edit);
    el_get(edit, EL_CLIENTDATA, &e);
    e->was_empty = line->lastchar == line->buffer;
}

/* For libedit: the next character; 0 at the end of the input, -1 after an interruption. */
static int get_character(EditLine *edit, wchar_t *character) {
    mbstate_t state = {0};
    for (;;) {
        char byte;
        if (!wait_for_key(edit)) {
            note_typed(edit);
            return -1;
        }
        const ssize_t n = read(STDIN_FILENO, &byte, 1);
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (n <= 0) return (int)n;
        const size_t taken = mbrtowc(character, &byte, 1, &state);
        if (taken == (size_t)-2) continue;
        if (taken == (size_t)-1) *character = 0xfffd;
        return 1;
    }
}

/* ---- lines ------------------------------------------------------------------------------------------------------- */

static char *prompt_of(EditLine *edit) {
    line_editor *e = NULL;
    el_get(edit, EL_CLIENTDATA, &e);
    return (char *)e->prompt;
}

/* Texts are UTF-8, whatever the environment says. */
static void set_locale(void) {
    setlocale(LC_CTYPE, "");
    if (MB_CUR_MAX == 1) setlocale(LC_CTYPE, "C.UTF-8");
}

static void watch_screen(void) {
    /* As for interrupts: a write that is broken off would lose its text. */
    struct sigaction action = {.sa_handler = note_change, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGWINCH, &action, NULL);
    sigaction(SIGCONT, &action, NULL);
}

static void set_up(line_editor *e, bool quiet) {
    HistEvent event;
    history(e->history, &event, H_SETSIZE, HISTORY_MOST);
    history(e->history, &event, H_SETUNIQUE, 1);
    load(e, quiet);
    el_set(e->edit, EL_CLIENTDATA, e);
    el_set(e->edit, EL_PROMPT, prompt_of);
    el_set(e->edit, EL_EDITOR, "emacs");
    el_set(e->edit, EL_HIST, history, e->history);
    el_set(e->edit, EL_GETCFN, get_character);
    el_set(e->edit, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_source(e->edit, NULL); /* the user's own keys: ~/.editrc */
    watch_screen();
}

line_editor *line_editor_new(bool quiet) {
    line_editor *e = calloc(1, sizeof *e);
    if (e) {
        set_locale();
        e->out = isatty(STDOUT_FILENO) ? stdout : stderr;
        e->history = history_init();
        e->edit = el_init("judgeq", stdin, e->out, stderr);
    }
    if (e && e->history && e->edit) {
        set_up(e, quiet);
        return e;
    }
    say("no memory for an editor of lines");
    line_editor_free(e);
    return NULL;
}

void line_editor_free(line_editor *e) {
    if (!e) return;
    if (e->edit) el_end(e->edit);
    if (e->history) history_end(e->history);
    free(e);
}

line_status line_editor_get(line_editor *e, const char *prompt, char **line, bool *was_empty) {
    int n = 0;
    *line = NULL;
    e->prompt = prompt;
    screen_changed = 0;
    el_set(e->edit, EL_PREP_TERM, 1); /* before the prompt: what is typed at once is a key already */
    el_resize(e->edit);
    const char *text = el_gets(e->edit, &n);
    if (!text) {
        fputs("\n", e->out);
        fflush(e->out);
    }
    if (!text && interrupt_seen()) {
        *was_empty = e->was_empty;
        return interrupt_take() ? LINE_INTERRUPTED : LINE_END;
    }
    if (!text) return LINE_END;
    *line = strdup(text);
    if (*line && n > 0 && (*line)[strlen(*line) - 1] == '\n') (*line)[strlen(*line) - 1] = '\0';
    return *line ? LINE_READ : LINE_FAILED;
}
