#include "kept_text.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "app/held.h"
#include "base/visible.h"
#include "progress.h"

/* ---- colours ----------------------------------------------------------------------------------------------------- */

kept_colours kept_colours_of_stdout(void) {
    const char *none = getenv("NO_COLOR"), *kind = getenv("TERM"), *depth = getenv("COLORTERM");
    if (!isatty(STDOUT_FILENO) || (none && *none) || !kind || strcmp(kind, "dumb") == 0) return KEPT_PLAIN;
    const bool deep = depth && (strcmp(depth, "truecolor") == 0 || strcmp(depth, "24bit") == 0);
    return deep ? KEPT_TRUECOLOUR : KEPT_256;
}

/* viridis: even steps of lightness from dark to bright, the same for every kind of colour vision; the charts' too. */
static const unsigned char VIRIDIS[][3] = {{68, 1, 84},    {71, 40, 120},  {62, 73, 137},  {49, 104, 142},
                                           {38, 130, 142}, {31, 158, 137}, {53, 183, 121}, {110, 206, 88},
                                           {181, 222, 43}, {253, 231, 37}};

enum { N_VIRIDIS = sizeof VIRIDIS / sizeof VIRIDIS[0] };

static const float FIRST_BACKGROUND = 0.1f; /* share */

/* Background by the share, text in black or white, whatever can be read on it. A token that nobody keeps is dim, one
 * that few keep as it is: a dark terminal and a bright one both show the rest. */
static void begin_colour(kept_colours colours, float share) {
    if (share <= 0) fputs("\033[2m", stdout);
    if (share < FIRST_BACKGROUND) return;
    const float at = share * (N_VIRIDIS - 1);
    const int low = at >= N_VIRIDIS - 1 ? N_VIRIDIS - 2 : (int)at;
    int rgb[3];
    for (int c = 0; c < 3; c++) {
        const float part = at - (float)low;
        rgb[c] = (int)lroundf((1 - part) * (float)VIRIDIS[low][c] + part * (float)VIRIDIS[low + 1][c]);
    }
    const int text = share > 0.55f ? 16 : 231; /* black, white in the cube of 216 colours */
    if (colours == KEPT_TRUECOLOUR)
        printf("\033[38;5;%d;48;2;%d;%d;%dm", text, rgb[0], rgb[1], rgb[2]);
    else
        printf("\033[38;5;%d;48;5;%dm", text,
               16 + 36 * (rgb[0] * 5 + 127) / 255 + 6 * ((rgb[1] * 5 + 127) / 255) + (rgb[2] * 5 + 127) / 255);
}

static void end_colour(void) {
    fputs("\033[0m", stdout);
}

/* ---- text -------------------------------------------------------------------------------------------------------- */

/* One character of UTF-8, n bytes, for the terminal: control characters could steer it. */
static const char *visible(const char *bytes, size_t *n) {
    char form[VISIBLE_MOST];
    size_t taken;
    if (visible_character(bytes, *n, form, &taken) == *n && memcmp(form, bytes, *n) == 0) return bytes;
    *n = 1;
    return *bytes == '\t' ? " " : "?";
}

static size_t character_bytes(const char *text, size_t most) {
    size_t n = 1;
    while (n < most && ((unsigned char)text[n] & 0xc0) == 0x80) n++;
    return n;
}

static void print_coloured(const kept *k, kept_colours colours, const float *share) {
    size_t at = 0;
    for (size_t i = 0; i < k->n_token; i++) {
        const size_t end = k->text_end[i];
        if (at < end) begin_colour(colours, share[i]);
        while (at < end) {
            size_t n = character_bytes(k->text.text + at, end - at);
            const size_t bytes = n;
            if (k->text.text[at] == '\n') { /* without a background to the end of the line */
                end_colour();
                putchar('\n');
                if (at + 1 < end) begin_colour(colours, share[i]);
            } else {
                const char *shown = visible(k->text.text + at, &n);
                fwrite(shown, 1, n, stdout);
            }
            at += bytes;
        }
        end_colour();
    }
    putchar('\n');
}

/* ---- text and marks ---------------------------------------------------------------------------------------------- */

enum { PLAIN_WIDTH = 80 };

/* A line of text and the marks under it. */
typedef struct plain_line {
    char text[8 * PLAIN_WIDTH], mark[2 * PLAIN_WIDTH];
    size_t n_text;
    int column;
    bool marked;
} plain_line;

static void flush_line(plain_line *line) {
    while (line->column > 0 && line->mark[line->column - 1] == ' ') line->column--;
    printf("%.*s\n", (int)line->n_text, line->text);
    if (line->marked) printf("%.*s\n", line->column, line->mark);
    *line = (plain_line){0};
}

/* Columns that a character takes on a terminal. */
static int columns_of(const char *bytes, size_t n, locale_t utf8) {
    wchar_t c;
    mbstate_t state = {0};
    if (utf8 == (locale_t)0 || n == 1) return 1;
    const locale_t old = uselocale(utf8);
    const int width = mbrtowc(&c, bytes, n, &state) <= n ? wcwidth(c) : 1;
    uselocale(old);
    return width < 0 ? 1 : width;
}

static char mark_of(float share) {
    if (share <= 0) return ' ';
    if (share >= 1) return '#';
    return share < 0.1f ? '.' : (char)('0' + (int)(share * 10));
}

static void put_character(plain_line *line, const char *bytes, size_t n, int width, char mark) {
    if (line->column + width > PLAIN_WIDTH || line->n_text + n > sizeof line->text) flush_line(line);
    memcpy(line->text + line->n_text, bytes, n);
    line->n_text += n;
    for (int i = 0; i < width; i++) line->mark[line->column++] = mark;
    line->marked = line->marked || mark != ' ';
}

/* Columns of text[at..end), up to the end of its first line. */
static int token_columns(const char *text, size_t at, size_t end, locale_t utf8) {
    int columns = 0;
    while (at < end && text[at] != '\n') {
        const size_t n = character_bytes(text + at, end - at);
        columns += columns_of(text + at, n, utf8);
        at += n;
    }
    return columns;
}

static void print_plain(const kept *k, const float *share) {
    plain_line line = {0};
    const locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    size_t at = 0;
    for (size_t i = 0; i < k->n_token; i++) {
        if (line.column + token_columns(k->text.text, at, k->text_end[i], utf8) > PLAIN_WIDTH) flush_line(&line);
        while (at < k->text_end[i]) {
            size_t n = character_bytes(k->text.text + at, k->text_end[i] - at);
            const size_t bytes = n;
            const char *shown = visible(k->text.text + at, &n);
            if (k->text.text[at] == '\n')
                flush_line(&line);
            else
                put_character(&line, shown, n, columns_of(shown, n, utf8), mark_of(share[i]));
            at += bytes;
        }
    }
    flush_line(&line);
    if (utf8 != (locale_t)0) freelocale(utf8);
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static void print_heading(const kept *k, const kept_cut *cut, int32_t layer, int32_t head) {
    const judgeq_model_info *info = judgeq_model_get_info(k->model);
    char all[32], layers[48] = "", heads[48] = "";
    snprintf(layers, sizeof layers, layer < 0 ? "%d layers" : "layer %d", layer < 0 ? info->n_layer : layer);
    snprintf(heads, sizeof heads, head < 0 ? "%d KV heads" : "KV head %d", head < 0 ? info->n_head_kv : head);
    progress_count(all, sizeof all, (int64_t)k->n_token);
    printf("%s, budget %s: %d of %s rows per layer and KV head (%.1f %%); %s, %s\n", cut->policy, cut->budget.text,
           cut->rows, all, 100.0 * cut->rows / (double)k->n_token, layers, heads);
}

static void print_legend(kept_colours colours) {
    if (colours == KEPT_PLAIN) {
        puts("under each token, how many of the layers and KV heads keep it: blank none, . below 10 %, 1 to 9 tenths, "
             "# all");
        return;
    }
    fputs("layers and KV heads that keep a token: ", stdout);
    begin_colour(colours, 0);
    fputs("none", stdout);
    end_colour();
    fputs("  below 10 % ", stdout);
    for (int tenths = 1; tenths <= 10; tenths += tenths == 1 ? 1 : 2) {
        begin_colour(colours, (float)tenths / 10);
        printf(" %d %% ", 10 * tenths);
        end_colour();
    }
    putchar('\n');
}

bool kept_text_print(const kept *k, kept_colours colours, int32_t layer, int32_t head) {
    float *share = calloc(k->n_token, sizeof *share);
    if (!share) return false;
    for (size_t i = 0; i < k->n_cut; i++) {
        held_shares(k->model, k->cut[i].session, layer, head, share, k->n_token);
        if (i > 0) putchar('\n');
        print_heading(k, &k->cut[i], layer, head);
        print_legend(colours);
        putchar('\n');
        if (colours == KEPT_PLAIN)
            print_plain(k, share);
        else
            print_coloured(k, colours, share);
    }
    free(share);
    return true;
}
