#include "gallery.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"

enum { NAME_MOST = 60, NARROW = 340, NARROW_PLOT = 300, NARROW_ROW = 19 };

static bool name_taken(const gallery *g, const char *name) {
    for (size_t i = 0; i < g->n; i++) {
        if (strcmp(g->item[i].name, name) == 0) return true;
    }
    return false;
}

/* A file's name of what may be a policy or a task: nothing in it is a path. */
static const char *file_name(gallery *g, const char *text) {
    char name[NAME_MOST + 1];
    size_t n = 0;
    for (; text[n] && n < NAME_MOST; n++) {
        const bool plain = isalnum((unsigned char)text[n]) || strchr("_+", text[n]) || (text[n] == '.' && n > 0);
        name[n] = (char)(plain ? text[n] : '-');
    }
    name[n] = '\0';
    const char *unique = scratch_print(&g->memory, "%s", name);
    for (int number = 2; !g->memory.failed && name_taken(g, unique); number++)
        unique = scratch_print(&g->memory, "%s-%d", name, number);
    return unique;
}

bool gallery_add(gallery *g, picture p, size_t n_chart, chart **charts) {
    if (g->n == g->room) {
        const size_t room = g->room > 0 ? 2 * g->room : 16;
        picture *larger = scratch_take(&g->memory, room, sizeof *larger);
        if (!larger) return false;
        if (g->n > 0) memcpy(larger, g->item, g->n * sizeof *larger);
        g->item = larger;
        g->room = room;
    }
    *charts = scratch_take(&g->memory, n_chart, sizeof **charts);
    if (!*charts) return false;
    p.name = file_name(g, p.name);
    p.chart = *charts;
    p.sheet.chart = *charts;
    p.sheet.n_chart = n_chart;
    g->item[g->n++] = p;
    return true;
}

/* ---- drawing ----------------------------------------------------------------------------------------------------- */

/* The caller's: free(). */
static char *path_of(const picture *p, const char *folder, const char *ending, judgeq_error *error) {
    char *path = NULL;
    if (asprintf(&path, "%s/%s.%s", folder, p->name, ending) >= 0) return path;
    error_write(error, JUDGEQ_ERROR_MEMORY, "out of memory for a path");
    return NULL;
}

static judgeq_status write_png(const picture *p, const char *folder, judgeq_error *error) {
    char *path = path_of(p, folder, "png", error);
    if (!path) return JUDGEQ_ERROR_MEMORY;
    const judgeq_status status = chart_write(&p->sheet, path, error);
    free(path);
    return status;
}

static judgeq_status draw_svg(const chart_sheet *sheet, json_t *object, const char *key, judgeq_error *error) {
    char *svg;
    size_t size;
    judgeq_status status = chart_draw(sheet, CHART_SVG, &svg, &size, error);
    if (status == JUDGEQ_OK && json_object_set_new(object, key, json_stringn(svg, size)) != 0) {
        status = error_memory(error, key);
    }
    free(svg);
    return status;
}

/* The bright picture becomes a file as well. */
static judgeq_status write_svg(const picture *p, const char *folder, const json_t *object, judgeq_error *error) {
    const json_t *svg = json_object_get(object, "svg");
    char *path = path_of(p, folder, "svg", error);
    if (!path) return JUDGEQ_ERROR_MEMORY;
    const judgeq_status status = file_write_atomic(path, json_string_value(svg), json_string_length(svg), error);
    free(path);
    return status;
}

static bool has_maps(const picture *p) {
    for (size_t i = 0; i < p->sheet.n_chart; i++) {
        if (p->chart[i].grid) return true;
    }
    return false;
}

/* Bright and dark for wide windows; where it can be made narrow, the same for phones. */
static judgeq_status draw_svgs(const picture *p, json_t *object, judgeq_error *error) {
    chart_sheet sheet = p->sheet;
    judgeq_status status = draw_svg(&sheet, object, "svg", error);
    sheet.dark = true;
    if (status == JUDGEQ_OK) status = draw_svg(&sheet, object, "dark", error);
    if (status != JUDGEQ_OK || has_maps(p)) return status;
    sheet.narrow = true;
    sheet.width = NARROW;
    sheet.height = NARROW_PLOT + NARROW_ROW * (int)p->chart[0].n_series;
    status = draw_svg(&sheet, object, "narrow_dark", error);
    sheet.dark = false;
    return status == JUDGEQ_OK ? draw_svg(&sheet, object, "narrow", error) : status;
}

static judgeq_status draw(const picture *p, const char *folder, json_t *array, judgeq_error *error) {
    json_t *object =
        json_pack("{s:s, s:s, s:s, s:s}", "name", p->name, "section", p->section, "title", p->title, "about", p->about);
    judgeq_status status = object ? write_png(p, folder, error) : error_memory(error, "the pictures");
    if (status == JUDGEQ_OK) status = draw_svgs(p, object, error);
    if (status == JUDGEQ_OK) status = write_svg(p, folder, object, error);
    if (status == JUDGEQ_OK && json_array_append(array, object) != 0) status = error_memory(error, "the pictures");
    json_decref(object);
    return status;
}

/* Leaves out charts of which the results have nothing. */
static void drop_empty_charts(picture *p) {
    size_t n = 0;
    for (size_t i = 0; i < p->sheet.n_chart; i++) {
        if (chart_has_points(&p->chart[i])) p->chart[n++] = p->chart[i];
    }
    p->sheet.n_chart = n;
}

judgeq_status gallery_draw(gallery *g, const char *folder, json_t **out, judgeq_error *error) {
    *out = json_array();
    judgeq_status status = g->memory.failed || !*out ? error_memory(error, "the pictures") : JUDGEQ_OK;
    for (size_t i = 0; status == JUDGEQ_OK && i < g->n; i++) {
        drop_empty_charts(&g->item[i]);
        if (g->item[i].sheet.n_chart > 0) status = draw(&g->item[i], folder, *out, error);
    }
    if (status == JUDGEQ_OK) return JUDGEQ_OK;
    json_decref(*out);
    *out = NULL;
    return status;
}

void gallery_free(gallery *g) {
    scratch_free(&g->memory);
    *g = (gallery){0};
}
