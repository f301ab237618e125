/* chart: what a picture shows, as data; drawn as SVG or PNG by gnuplot, all in one style that is readable on paper and
 * for colour-blind readers: series differ by colour, by mark and, past eight, by dashes. */
#ifndef JUDGEQ_PLOT_CHART_H
#define JUDGEQ_PLOT_CHART_H

#include "judgeq.h"

typedef enum chart_format { CHART_SVG, CHART_PNG } chart_format;

typedef enum chart_kind {
    CHART_LINE,   /* a line with a mark at every point */
    CHART_CURVE,  /* a line without marks */
    CHART_POINTS, /* marks without a line */
    CHART_CLOUD   /* small pale points, for a curve drawn over them */
} chart_kind;

/* Points of one name. NaN in y: no point, and no line across. */
typedef struct chart_series {
    const char *name; /* in the legend; NULL: not there */
    chart_kind kind;
    size_t look; /* number of its colour and mark; series that belong together share it */
    size_t n;
    const double *x, *y;      /* [n] */
    const double *low, *high; /* [n], the interval around y; both NULL: none */
} chart_series;

/* Cells of a heat map, row 0 at the top. NaN: an empty cell. */
typedef struct chart_grid {
    size_t n_row, n_column;
    const double *value;                    /* [n_row, n_column] */
    const char *const *row, *const *column; /* their names */
    double low, high;                       /* values of the scale's two ends */
    const char *label;                      /* what the values are; for the scale */
    bool numbers;                           /* write the values into the cells, instead of drawing the scale */
} chart_grid;

typedef struct chart {
    const char *title, *subtitle; /* subtitle: NULL where there is none */
    const char *x_label, *y_label;
    bool x_log;           /* to the base 2: budgets and bytes double */
    double y_low, y_high; /* NaN: from the data */
    const chart_series *series;
    size_t n_series;
    const chart_grid *grid; /* a heat map instead of series, or NULL */
} chart;

/* Charts in rows, their plots of equal width. */
typedef struct chart_sheet {
    const chart *chart;
    size_t n_chart, n_column; /* n_column: charts beside each other; 0: 1 */
    int width, height;        /* of one chart, in pixels */
    bool dark;                /* for a dark page */
    bool narrow;              /* for a phone: smaller letters, the legend below; of series only */
} chart_sheet;

/* False where there is nothing to draw: no point, no cell. */
bool chart_has_points(const chart *chart);

/* Draws the sheet. *picture [*size], terminated, is the caller's: free(). Texts may be any UTF-8. Fails as gnuplot_draw
 * does; ARGUMENT for a sheet without charts or a chart without points. */
judgeq_status chart_draw(const chart_sheet *sheet, chart_format format, char **picture, size_t *size,
                         judgeq_error *error);

/* The same into a file, SVG or PNG by the ending of `path`; replaces the file that is there, whole or not at all. */
judgeq_status chart_write(const chart_sheet *sheet, const char *path, judgeq_error *error);

#endif
