/* test_chart: pictures hold what the data say; texts from files are only ever texts; failures are messages. */
#include "plot/chart.h"

#include <stddef.h>
#include <stdint.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "plot/gnuplot.h"

static bool gnuplot_there(void) {
    return system("command -v gnuplot >/dev/null 2>&1") == 0; /* NOLINT(cert-env33-c): the test's own words */
}

/* Draws one chart and returns the file. The caller's. */
static char *draw(const chart *c, const char *name, size_t *size) {
    const chart_sheet sheet = {.chart = c, .n_chart = 1, .width = 600, .height = 300};
    judgeq_error error = {0, ""};
    if (chart_write(&sheet, path_in(name), &error) != JUDGEQ_OK) fail_msg("%s", error.message);
    char *bytes = fixture_read(path_in(name), size);
    assert_non_null(bytes);
    return bytes;
}

static size_t count(const char *text, const char *part) {
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, part)); at += strlen(part)) n++;
    return n;
}

static chart plain_chart(const char *title, const chart_series *series, size_t n) {
    return (chart){.title = title,
                   .x_label = "budget",
                   .y_label = "score",
                   .y_low = NAN,
                   .y_high = NAN,
                   .series = series,
                   .n_series = n};
}

static const double X[] = {64, 128, 256, 512}, Y[] = {10, NAN, 30, 40};

static void test_points_and_texts(void **state) {
    (void)state;
    const chart_series series = {.name = "judge", .kind = CHART_POINTS, .n = 4, .x = X, .y = Y};
    const chart c = plain_chart("Größe", &series, 1);
    size_t size;
    char *svg = draw(&c, "points.svg", &size);
    assert_non_null(strstr(svg, "Größe"));
    assert_non_null(strstr(svg, "judge"));
    assert_int_equal(count(svg, "<use xlink:href='#gpPt6' transform="),
                     3 + 1); /* discs: the points but the missing one, and the legend's */
    free(svg);
}

static void test_png(void **state) {
    (void)state;
    const chart_series series = {.name = "judge", .kind = CHART_LINE, .n = 4, .x = X, .y = Y};
    const chart c = plain_chart("title", &series, 1);
    size_t size;
    char *png = draw(&c, "picture.png", &size);
    const unsigned char expected[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n', 0, 0, 0, 13,
                                      'I',  'H', 'D', 'R', 0,    0,    0x04, 0xb0, 0, 0, 2, 0x58};
    assert_true(size > sizeof expected);
    assert_memory_equal(png, expected, sizeof expected); /* 1200 by 600 */
    free(png);
}

/* Names come from the command line and from files that others made. */
static void test_hostile_texts(void **state) {
    (void)state;
    char name[2048];
    snprintf(name, sizeof name,
             "it's; '\nset print '%s'\nprint 'x'\n%%s %%n system('touch %s') \" `touch %s` "
             "</text><script>&\xff\xe6\x9d\xef\xbf\xbf\xc2\x9b",
             path_in("printed"), path_in("printed"), path_in("printed"));
    const chart_series series = {.name = name, .kind = CHART_LINE, .n = 4, .x = X, .y = Y, .low = Y, .high = Y};
    chart c = plain_chart(name, &series, 1);
    c.subtitle = c.x_label = c.y_label = name;
    size_t size;
    char *svg = draw(&c, "hostile.svg", &size);
    assert_int_not_equal(access(path_in("printed"), F_OK), 0);
    assert_null(strstr(svg, "<script>"));
    assert_int_equal(count(svg, "&lt;/text>&lt;script>&amp;   \\uffff\\u009b"), 4); /* title, subtitle, axes */
    assert_int_equal(count(svg, ">it's; ' set print"), 5);                          /* and the legend, cut short */
    free(svg);

    const char *const names[] = {name, name};
    const double value[] = {1, NAN, 3, 4};
    const chart_grid grid = {.n_row = 2, .n_column = 2, .value = value, .row = names, .column = names, .high = 4};
    c.grid = &grid;
    svg = draw(&c, "hostile-map.svg", &size);
    assert_int_not_equal(access(path_in("printed"), F_OK), 0);
    assert_null(strstr(svg, "<script>"));
    free(svg);
}

static void test_heat_map(void **state) {
    (void)state;
    const char *const row[] = {"0 %", "100 %"}, *const column[] = {"1,024", "2,048", "4,096"};
    const double value[] = {0, 12, NAN, 75, 100, 41};
    const chart_grid grid = {
        .n_row = 2, .n_column = 3, .value = value, .row = row, .column = column, .high = 100, .numbers = true};
    chart c = plain_chart("needle", NULL, 0);
    c.grid = &grid;
    size_t size;
    char *svg = draw(&c, "map.svg", &size);
    static const char *const texts[] = {">0 %<", ">2,048<", ">12<", ">75<", ">100<", ">41<"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (!strstr(svg, texts[i])) fail_msg("no %s", texts[i]);
    }
    /* the palette's two ends, viridis: a filled cell each */
    assert_non_null(strstr(svg, "rgb( 68,   1,  84)"));
    assert_non_null(strstr(svg, "rgb(253, 231,  37)"));
    free(svg);
}

/* Sheets stack; a single point and a single x are no reason to fail. */
static void test_degenerate(void **state) {
    (void)state;
    const chart_series one = {.name = "one", .kind = CHART_LINE, .n = 1, .x = X, .y = Y};
    const chart_series none = {.name = "none", .kind = CHART_LINE, .n = 1, .x = X, .y = Y + 1};
    const chart_series both[] = {none, one};
    chart charts[] = {plain_chart("first", both, 2), plain_chart("second", both, 2)};
    charts[1].x_log = true;
    const chart_sheet sheet = {.chart = charts, .n_chart = 2, .width = 300, .height = 200, .dark = true};
    judgeq_error error = {0, ""};
    assert_int_equal(chart_write(&sheet, path_in("two.svg"), &error), JUDGEQ_OK);
    size_t size;
    char *svg = fixture_read(path_in("two.svg"), &size);
    assert_int_equal(count(svg, ">one<"), 2);
    assert_int_equal(count(svg, ">none<"), 0);
    free(svg);
}

static void test_refusals(void **state) {
    (void)state;
    const chart_series nothing = {.name = "nothing", .kind = CHART_LINE, .n = 1, .x = X, .y = Y + 1};
    const chart c = plain_chart("empty", &nothing, 1);
    const chart_sheet sheet = {.chart = &c, .n_chart = 1, .width = 300, .height = 200};
    judgeq_error error = {0, ""};
    assert_int_equal(chart_write(&sheet, path_in("empty.svg"), &error), JUDGEQ_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "nothing to draw for \"empty\""));
    assert_int_equal(chart_write(&sheet, path_in("empty.gif"), &error), JUDGEQ_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, ".svg or .png"));
    static const char script[] = "set terminal svg\nplot nonsense\n", silent[] = "x = 1\n";
    char *picture;
    size_t size;
    assert_int_equal(gnuplot_draw(script, strlen(script), &picture, &size, &error), JUDGEQ_ERROR_BACKEND);
    assert_non_null(strstr(error.message, "undefined variable"));
    assert_int_equal(gnuplot_draw(silent, strlen(silent), &picture, &size, &error), JUDGEQ_ERROR_BACKEND);
    assert_non_null(strstr(error.message, "drew nothing"));
    assert_null(picture);
    const chart_series series = {.name = "judge", .kind = CHART_LINE, .n = 4, .x = X, .y = Y};
    const chart good = plain_chart("title", &series, 1);
    const chart_sheet drawn = {.chart = &good, .n_chart = 1, .width = 300, .height = 200};
    assert_int_equal(chart_write(&drawn, path_in("no/such.svg"), &error), JUDGEQ_ERROR_IO);
    assert_non_null(strstr(error.message, "no/such.svg"));
}

static void test_no_gnuplot(void **state) {
    (void)state;
    const char *path = getenv("PATH");
    char *old = strdup(path ? path : "");
    assert_non_null(old);
    assert_int_equal(setenv("PATH", fixture_folder, 1), 0);
    judgeq_error error = {0, ""};
    char *picture;
    size_t size;
    const judgeq_status status = gnuplot_draw("", 0, &picture, &size, &error);
    assert_int_equal(setenv("PATH", old, 1), 0);
    free(old);
    assert_int_equal(status, JUDGEQ_ERROR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "apt-get install gnuplot-nox"));
    assert_null(picture);
}

int main(void) {
    const struct CMUnitTest always[] = {cmocka_unit_test(test_no_gnuplot)};
    const struct CMUnitTest with_gnuplot[] = {
        cmocka_unit_test(test_points_and_texts), cmocka_unit_test(test_png),
        cmocka_unit_test(test_hostile_texts),    cmocka_unit_test(test_heat_map),
        cmocka_unit_test(test_degenerate),       cmocka_unit_test(test_refusals),
    };
    const int failed = cmocka_run_group_tests(always, fixture_set_up, fixture_tear_down);
    if (failed != 0) return failed;
    return gnuplot_there() ? cmocka_run_group_tests(with_gnuplot, fixture_set_up, fixture_tear_down) : 77;
}
