#include "progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/visible.h"
#include "interrupt.h"
#include "say.h"

/* Seconds. A prompt that is read at once needs no bar. */
static const double QUIET_START = 0.3, BAR_EVERY = 0.1, LINE_EVERY = 2.0;

enum { BAR_LEAST = 8, BAR_MOST = 32, LINE_WIDTH = 80 }; /* characters */

const char *progress_count(char *text, size_t size, int64_t n) {
    char digits[32];
    const int length = snprintf(digits, sizeof digits, "%" PRId64, n);
    size_t used = 0;
    for (int i = 0; i < length && used + 2 < size; i++) {
        if (i > 0 && (length - i) % 3 == 0 && digits[i - 1] != '-') text[used++] = ',';
        text[used++] = digits[i];
    }
    if (size > 0) text[used] = '\0';
    return text;
}

static bool is_terminal(void) {
    const char *kind = getenv("TERM");
    return isatty(STDERR_FILENO) && kind && strcmp(kind, "dumb") != 0;
}

void progress_begin(progress *p, int64_t n_tokens, bool quiet) {
    *p = (progress){.n_tokens = n_tokens, .quiet = quiet, .terminal = is_terminal(), .start = clock_seconds()};
}

static int terminal_width(void) {
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : LINE_WIDTH;
}

void progress_time(char *text, size_t size, double seconds) {
    const long all = (long)(seconds + 0.5), hours = all / 3600, minutes = all / 60 % 60;
    if (hours > 0)
        snprintf(text, size, "%ld:%02ld:%02ld", hours, minutes, all % 60);
    else
        snprintf(text, size, "%ld:%02ld", minutes, all % 60);
}

/* "[####....]" of `width` characters; "" where that is too narrow to show anything. */
static void write_bar(char text[BAR_MOST + 1], int width, double share) {
    const int inside = (width < BAR_MOST ? width : BAR_MOST) - 2, filled = (int)(share * inside);
    text[0] = '\0';
    if (inside < BAR_LEAST) return;
    memset(text, '.', (size_t)inside + 2);
    memset(text + 1, '#', (size_t)filled);
    text[0] = '[';
    text[inside + 1] = ']';
    text[inside + 2] = '\0';
}

void progress_draw(const char *names, const char *numbers, double share) {
    char bar[BAR_MOST + 1], before[2 * LINE_WIDTH], after[2 * LINE_WIDTH];
    visible_copy(names, before, sizeof before);
    visible_copy(numbers, after, sizeof after);
    /* a full line would wrap, and stay */
    const int width = terminal_width() - 1, text = (int)(strlen(before) + strlen(after));
    write_bar(bar, width - text - 2, share);
    fputs("\r\033[K", stderr);
    if (*bar)
        fprintf(stderr, "%s %s %s", before, bar, after);
    else if (text + 2 <= width)
        fprintf(stderr, "%s: %s", before, after);
    else
        fprintf(stderr, "%.*s", width > 0 ? width : 0, after);
    fflush(stderr);
}

static void show(const progress *p, double share, double now) {
    const double elapsed = now - p->start, rate = elapsed > 0 ? share * (double)p->n_tokens / elapsed : 0;
    char count[32], speed[32], left[32] = "?", before[64], after[96];
    progress_count(count, sizeof count, p->n_tokens);
    progress_count(speed, sizeof speed, (int64_t)rate);
    if (share > 0) progress_time(left, sizeof left, elapsed * (1 - share) / share);
    snprintf(before, sizeof before, "reading %s tokens", count);
    snprintf(after, sizeof after, "%d %%, %s tokens/s, %s left", (int)(share * 100), speed, left);
    if (!p->terminal) {
        say("%s: %s", before, after);
        return;
    }
    progress_draw(before, after, share);
}

bool progress_report(void *data, int64_t done, int64_t total) {
    progress *p = data;
    if (interrupt_seen()) return false;
    if (p->quiet || total <= 0) return true;
    const double now = clock_seconds(), share = (double)done / (double)total;
    const double wait = p->last > 0 ? (p->terminal ? BAR_EVERY : LINE_EVERY) : (p->terminal ? QUIET_START : LINE_EVERY);
    if (now - (p->last > 0 ? p->last : p->start) < wait) return true;
    if (!p->terminal && (share - p->shown < 0.1 || done == total)) return true;
    p->last = now;
    p->shown = share;
    show(p, share, now);
    return true;
}

void progress_end(progress *p) {
    if (p->terminal && p->last > 0) fputs("\r\033[K", stderr);
    fflush(stderr);
    p->last = 0;
}
