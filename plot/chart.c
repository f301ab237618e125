#include "chart.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/visible.h"
#include "gnuplot.h"

/* ---- the style --------------------------------------------------------------------------------------------------- */

enum { N_COLOURS = 8 };

/* gnuplot's numbers of marks: disc, square, triangles, diamond, filled and then open */
static const int MARKS[] = {7, 5, 9, 11, 13, 6, 4, 15, 8, 10, 12, 1, 2};

enum { N_MARKS = sizeof MARKS / sizeof MARKS[0] };

/* Okabe and Ito's colours, told apart by every kind of colour vision; their yellow, too pale for lines, is a grey. The
 * last one is the text's colour. Brighter ones on a dark page. */
typedef struct theme {
    const char *page, *text, *faint, *grid; /* faint: subtitles */
    const char *colour[N_COLOURS];
} theme;

static const theme LIGHT = {"#ffffff",
                            "#1f2328",
                            "#59636e",
                            "#d8dce0",
                            {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a8a8a", "#1f2328"}};
static const theme DARK = {"#15191e",
                           "#e6e9ec",
                           "#a3abb4",
                           "#3a4149",
                           {"#3ba3e8", "#f0853c", "#2fc595", "#e39bc3", "#f3b73e", "#8fd0f5", "#a0a0a0", "#e6e9ec"}};

/* viridis: even steps of lightness */
static const char PALETTE[] = "set palette defined (0 '#440154', 1 '#482878', 2 '#3e4989', 3 '#31688e', 4 '#26828e', "
                              "5 '#1f9e89', 6 '#35b779', 7 '#6ece58', 8 '#b5de2b', 9 '#fde725')\n";

/* ---- script parts ------------------------------------------------------------------------------------------------ */

enum { ALL = -1, NAME_MOST = 40 }; /* characters; a longer name in a legend or at an axis ends in an ellipsis */

static bool begins_character(unsigned char byte) {
    return (byte & 0xc0) != 0x80;
}

/* A quoted string in which gnuplot reads nothing but text: single quotes, what is in `twice` doubled inside; nothing
 * that ends a line. */
static void put_quoted(FILE *script, const char *text, int most, const char *twice) {
    char form[VISIBLE_MOST];
    int n = 0;
    fputc('\'', script);
    for (size_t left = strlen(text), taken; left > 0; text += taken, left -= taken) {
        if (n++ == most) {
            fputs("\xe2\x80\xa6", script);
            break;
        }
        visible_character(text, left, form, &taken);
        const bool control = taken == 1 && form[1]; /* or no UTF-8, which no picture may hold */
        if (strchr(twice, form[0])) fputc(form[0], script);
        fputs(control ? " " : form, script);
    }
    fputc('\'', script);
}

static void put_text(FILE *script, const char *text) {
    put_quoted(script, text, ALL, "'");
}

/* Names at ticks are formats. */
static void put_tick(FILE *script, const char *name, size_t place) {
    put_quoted(script, name, NAME_MOST, "'%");
    fprintf(script, " %zu", place);
}

/* What a name takes as it is shown, in gnuplot's characters, which are wider than most letters are. */
static size_t name_width(const char *name) {
    size_t n = 0;
    for (; *name; name++) n += begins_character((unsigned char)*name);
    if (n > NAME_MOST) n = NAME_MOST + 1;
    return (4 * n + 4) / 5;
}

static bool ends_with(const char *text, const char *end) {
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static size_t sheet_columns(const chart_sheet *sheet) {
    const size_t n = sheet->n_column > 0 ? sheet->n_column : 1;
    return n < sheet->n_chart || sheet->n_chart == 0 ? n : sheet->n_chart;
}

static size_t sheet_rows(const chart_sheet *sheet) {
    const size_t n = sheet_columns(sheet);
    return (sheet->n_chart + n - 1) / n;
}

static void put_terminal(FILE *script, const chart_sheet *sheet, const theme *look, chart_format format) {
    const int width = sheet->width * (int)sheet_columns(sheet), height = sheet->height * (int)sheet_rows(sheet);
    fputs("set encoding utf8\n", script);
    if (format == CHART_PNG) /* twice the size, for sharp screens and print */
        fprintf(script,
                "set terminal pngcairo noenhanced size %d,%d fontscale 2 linewidth 2 pointscale 1.6 "
                "font 'DejaVu Sans,10' background '%s'\n",
                2 * width, 2 * height, look->page);
    else
        fprintf(script, "set terminal svg noenhanced size %d,%d font 'sans-serif,%d' background '%s'\n", width, height,
                sheet->narrow ? 11 : 13, look->page);
}

static void put_frame(FILE *script, const theme *look) {
    fprintf(script,
            "set border 3 linewidth 1 linecolor rgb '%s'\nset tics nomirror out scale 0.6 textcolor rgb '%s'\n"
            "set grid ytics linewidth 0.7 linetype 1 linecolor rgb '%s'\nset key textcolor rgb '%s'\n"
            "set datafile missing 'NaN'\n",
            look->text, look->text, look->grid, look->text);
    fputs(PALETTE, script);
}

static void put_label(FILE *script, int number, const char *text, double line, int font, const char *colour) {
    fprintf(script, "set label %d ", number);
    put_text(script, text);
    fprintf(script, " at graph 0, graph 1 offset character 0, %g left front font ',%d' textcolor rgb '%s'\n", line,
            font, colour);
}

/* The title, the subtitle below it, and the names of the axes. A narrow sheet has the subtitle in two lines, parted at
 * "; ". */
static void put_titles(FILE *script, const chart *c, bool narrow, const theme *look) {
    const char *middle = narrow && c->subtitle ? strstr(c->subtitle, "; ") : NULL;
    char *first = middle ? strndup(c->subtitle, (size_t)(middle - c->subtitle)) : NULL;
    const double top = first ? 3.7 : c->subtitle ? 2.5 : 1.3;
    fputs("unset label\n", script);
    put_label(script, 1, c->title, top, narrow ? 13 : 15, look->text);
    if (c->subtitle)
        put_label(script, 2, first ? first : c->subtitle, first ? 2.2 : 1.1, narrow ? 10 : 12, look->faint);
    if (first) put_label(script, 3, middle + 2, 1.0, 10, look->faint);
    free(first);
    fputs("set xlabel ", script);
    put_text(script, c->x_label);
    fprintf(script, "%s textcolor rgb '%s'\nset ylabel ", narrow ? " font ',10'" : "", look->text);
    put_text(script, c->y_label);
    fprintf(script, " textcolor rgb '%s'\nset tmargin %d\n", look->text, c->subtitle ? 5 + (middle != NULL) : 4);
    fputs(narrow ? "unset bmargin\n" : "set bmargin 3.6\n", script);
}

/* ---- series ------------------------------------------------------------------------------------------------------ */

typedef struct range {
    double low, high; /* low > high: nothing seen */
} range;

static void widen(range *r, double value) {
    if (!isfinite(value)) return;
    r->low = fmin(r->low, value);
    r->high = fmax(r->high, value);
}

static void find_ranges(const chart *c, range *x, range *y) {
    *x = *y = (range){INFINITY, -INFINITY};
    for (size_t i = 0; i < c->n_series; i++) {
        const chart_series *s = &c->series[i];
        for (size_t k = 0; k < s->n; k++) {
            if (!isfinite(s->y[k])) continue;
            widen(x, s->x[k]);
            widen(y, s->y[k]);
            if (s->low) widen(y, s->low[k]);
            if (s->high) widen(y, s->high[k]);
        }
    }
}

static double margin_of(range r, double share) {
    return r.high > r.low ? share * (r.high - r.low) : 1;
}

/* With room for whole marks at the edges. */
static void put_axes(FILE *script, const chart *c) {
    range x, y;
    find_ranges(c, &x, &y);
    fputs("set xtics autofreq\nset ytics autofreq\nunset logscale\n", script);
    if (c->x_log) {
        fprintf(script, "set logscale x 2\nset xrange [%.9g:%.9g]\n", x.low / 1.12, x.high * 1.12);
    } else {
        const double edge = margin_of(x, 0.015);
        fprintf(script, "set xrange [%.9g:%.9g]\n", x.low - edge, x.high + edge);
    }
    const double edge = margin_of(y, 0.04);
    fprintf(script, "set yrange [%.9g:%.9g]\n", isnan(c->y_low) ? y.low - edge : c->y_low,
            isnan(c->y_high) ? y.high + edge : c->y_high);
}

static void put_data(FILE *script, const chart *c) {
    for (size_t i = 0; i < c->n_series; i++) {
        const chart_series *s = &c->series[i];
        fprintf(script, "$series%zu << end_of_data\n", i);
        for (size_t k = 0; k < s->n; k++) {
            fprintf(script, "%.9g ", s->x[k]);
            const double values[] = {s->y[k], s->low ? s->low[k] : NAN, s->high ? s->high[k] : NAN};
            for (int v = 0; v < 3; v++) {
                if (isfinite(values[v]))
                    fprintf(script, "%.9g ", values[v]);
                else
                    fputs("NaN ", script);
            }
            fputc('\n', script);
        }
        fputs("end_of_data\n", script);
    }
}

static bool has_points(const chart_series *s) {
    for (size_t k = 0; k < s->n; k++) {
        if (isfinite(s->x[k]) && isfinite(s->y[k])) return true;
    }
    return false;
}

static void put_series(FILE *script, const chart_series *s, size_t number, const theme *look) {
    const char *colour = look->colour[s->look % N_COLOURS];
    const int mark = MARKS[s->look % N_MARKS];
    const size_t dashes = 1 + s->look / N_COLOURS;
    if (s->low && s->high) { /* not error bars: those draw a white mark under ours, on a dark page too */
        fprintf(script,
                "$series%zu using 1:3:(0):($4-$3) with vectors nohead linewidth 1.2 linecolor rgb '%s' notitle, ",
                number, colour);
    }
    fprintf(script, "$series%zu using 1:2 ", number);
    switch (s->kind) {
    case CHART_LINE:
        fprintf(script, "with linespoints linewidth 2 dashtype %zu pointtype %d pointsize 0.8", dashes, mark);
        break;
    case CHART_CURVE:
        fprintf(script, "with lines linewidth 2.2 dashtype %zu", dashes);
        break;
    case CHART_POINTS:
        fprintf(script, "with points pointtype %d pointsize 1.3", mark);
        break;
    case CHART_CLOUD:
        fputs("with points pointtype 7 pointsize 0.35", script);
        break;
    }
    fprintf(script, " linecolor rgb '%s%s' ", s->kind == CHART_CLOUD ? "#a0" : "#", colour + 1);
    if (s->name) {
        fputs("title ", script);
        put_quoted(script, s->name, NAME_MOST, "'");
    } else {
        fputs("notitle", script);
    }
}

static size_t legend_width(const chart *c) {
    size_t most = 0;
    for (size_t i = 0; i < c->n_series; i++) {
        const size_t width = c->series[i].name ? name_width(c->series[i].name) : 0;
        if (width > most) most = width;
    }
    return most;
}

/* legend: characters that it takes beside the widest of the sheet's charts. */
static void put_legend(FILE *script, const chart *c, size_t legend, bool narrow) {
    fprintf(script, "set lmargin %d\nset rmargin %zu\n", narrow ? 7 : 9, legend > 0 && !narrow ? legend + 11 : 3);
    if (legend_width(c) == 0) {
        fputs("unset key\n", script);
    } else if (narrow) {
        fputs("set key bmargin left vertical maxcols 1 Left reverse samplen 2.5 spacing 1.15\n", script);
    } else {
        fputs("set key at graph 1.03, graph 1 left top vertical Left reverse samplen 2.5 spacing 1.15\n", script);
    }
}

static void put_lines(FILE *script, const chart *c, size_t legend, bool narrow, const theme *look) {
    put_data(script, c);
    put_axes(script, c);
    put_legend(script, c, legend, narrow);
    fputs("plot ", script);
    bool first = true;
    for (size_t i = 0; i < c->n_series; i++) {
        if (!has_points(&c->series[i])) continue;
        if (!first) fputs(", ", script);
        put_series(script, &c->series[i], i, look);
        first = false;
    }
    fputc('\n', script);
}

/* ---- heat maps --------------------------------------------------------------------------------------------------- */

/* Names along an axis; where there are many, every k-th. */
static void put_names(FILE *script, char axis, const char *const *name, size_t n, size_t most) {
    const size_t every = (n + most - 1) / most;
    fprintf(script, "set %ctics (", axis);
    for (size_t i = 0; i < n; i += every) {
        if (i > 0) fputs(", ", script);
        put_tick(script, name[i], i);
    }
    fputs(") scale 0\n", script);
}

static void put_cells(FILE *script, const chart_grid *g) {
    fputs("$cells << end_of_data\n", script);
    for (size_t i = 0; i < g->n_row; i++) {
        for (size_t k = 0; k < g->n_column; k++) {
            const double value = g->value[i * g->n_column + k];
            if (isfinite(value)) fprintf(script, "%zu %zu %.9g\n", k, i, value);
        }
    }
    fputs("end_of_data\n", script);
}

/* A scale beside few rows has no room for many numbers. */
static void put_scale(FILE *script, const chart_grid *g) {
    const int steps = g->n_row < 4 ? 1 : g->n_row < 8 ? 2 : 5;
    fprintf(script, "set cbrange [%.9g:%.9g]\nset cbtics %.9g,%.9g\n%s colorbox\n", g->low, g->high, g->low,
            (g->high - g->low) / steps, g->numbers ? "unset" : "set");
}

static void put_heat_map(FILE *script, const chart *c, const theme *look) {
    const chart_grid *g = c->grid;
    size_t widest = 0;
    for (size_t i = 0; i < g->n_row; i++) {
        const size_t width = name_width(g->row[i]);
        if (width > widest) widest = width;
    }
    put_cells(script, g);
    put_names(script, 'x', g->column, g->n_column, 16);
    put_names(script, 'y', g->row, g->n_row, 40);
    fprintf(script,
            "unset logscale\nunset key\nunset grid\nset border 0\nset lmargin %zu\nset rmargin %d\n"
            "set xrange [-0.5:%zu.5]\nset yrange [%zu.5:-0.5]\n",
            widest + (*c->y_label ? 8 : 6), g->numbers ? 3 : 14, g->n_column - 1, g->n_row - 1);
    put_scale(script, g);
    fputs("set cblabel ", script);
    put_text(script, g->label ? g->label : "");
    fprintf(script, " textcolor rgb '%s'\n", look->text);
    fputs("plot $cells using 1:2:(0.48):(0.47):3 with boxxyerror fillstyle solid noborder linecolor palette notitle",
          script);
    if (g->numbers) { /* white on the dark half of the palette, black on the other */
        const double middle = g->low + 0.55 * (g->high - g->low);
        fprintf(script,
                ", $cells using 1:2:($3 < %.9g ? sprintf('%%.0f', $3) : '') with labels textcolor rgb '#ffffff'"
                " notitle, $cells using 1:2:($3 < %.9g ? '' : sprintf('%%.0f', $3)) with labels textcolor rgb "
                "'#000000' notitle",
                middle, middle);
    }
    fputc('\n', script);
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

bool chart_has_points(const chart *c) {
    if (c->grid) {
        for (size_t i = 0; i < c->grid->n_row * c->grid->n_column; i++) {
            if (isfinite(c->grid->value[i])) return true;
        }
        return false;
    }
    for (size_t i = 0; i < c->n_series; i++) {
        if (has_points(&c->series[i])) return true;
    }
    return false;
}

static void put_sheet(FILE *script, const chart_sheet *sheet, chart_format format) {
    const theme *look = sheet->dark ? &DARK : &LIGHT;
    size_t legend = 0; /* the widest one, so that all plots are equally wide */
    for (size_t i = 0; i < sheet->n_chart; i++) {
        const size_t width = legend_width(&sheet->chart[i]);
        if (width > legend) legend = width;
    }
    put_terminal(script, sheet, look, format);
    put_frame(script, look);
    if (sheet->n_chart > 1) fprintf(script, "set multiplot layout %zu,%zu\n", sheet_rows(sheet), sheet_columns(sheet));
    for (size_t i = 0; i < sheet->n_chart; i++) {
        const chart *c = &sheet->chart[i];
        put_titles(script, c, sheet->narrow, look);
        if (c->grid)
            put_heat_map(script, c, look);
        else
            put_lines(script, c, legend, sheet->narrow, look);
    }
    if (sheet->n_chart > 1) fputs("unset multiplot\n", script);
}

judgeq_status chart_draw(const chart_sheet *sheet, chart_format format, char **picture, size_t *size,
                         judgeq_error *error) {
    *picture = NULL;
    if (sheet->n_chart == 0) return error_set(error, JUDGEQ_ERROR_ARGUMENT, "nothing to draw: no chart");
    for (size_t i = 0; i < sheet->n_chart; i++) {
        if (chart_has_points(&sheet->chart[i])) continue;
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "nothing to draw for \"%s\"", sheet->chart[i].title);
    }
    char *text = NULL;
    size_t length = 0;
    FILE *script = open_memstream(&text, &length);
    if (!script) return error_memory(error, "a chart");
    put_sheet(script, sheet, format);
    const bool whole = fclose(script) == 0;
    const judgeq_status status =
        whole ? gnuplot_draw(text, length, picture, size, error) : error_memory(error, "a chart");
    free(text);
    return status;
}

judgeq_status chart_write(const chart_sheet *sheet, const char *path, judgeq_error *error) {
    const bool png = ends_with(path, ".png");
    if (!png && !ends_with(path, ".svg")) {
        return error_set(error, JUDGEQ_ERROR_ARGUMENT, "%s: a picture's name ends in .svg or .png", path);
    }
    char *picture;
    size_t size;
    judgeq_status status = chart_draw(sheet, png ? CHART_PNG : CHART_SVG, &picture, &size, error);
    if (status == JUDGEQ_OK) status = file_write_atomic(path, picture, size, error);
    free(picture);
    return status;
}
