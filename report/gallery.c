#include "gallery.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "file.h"

enum { NAME_MOST = 60 };

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

/* The bright picture becomes a file as well. */
static judgeq_status draw_svg(const picture *p, bool dark, const char *folder, json_t **out, judgeq_error *error) {
    chart_sheet sheet = p->sheet;
    sheet.dark = dark;
    char *svg, *path = path_of(p, folder, "svg", error);
    size_t size;
    *out = NULL;
    if (!path) return JUDGEQ_ERROR_MEMORY;
    judgeq_status status = chart_draw(&sheet, CHART_SVG, &svg, &size, error);
    if (status == JUDGEQ_OK && !dark) status = file_write_atomic(path, svg, size, error);
    if (status == JUDGEQ_OK) {
        *out = json_stringn(svg, size);
        if (!*out) status = error_memory(error, p->name);
    }
    free(svg);
    free(path);
    return status;
}

static judgeq_status draw(const picture *p, const char *folder, json_t *array, judgeq_error *error) {
    json_t *bright = NULL, *dark = NULL;
    judgeq_status status = write_png(p, folder, error);
    if (status == JUDGEQ_OK) status = draw_svg(p, false, folder, &bright, error);
    if (status == JUDGEQ_OK) status = draw_svg(p, true, folder, &dark, error);
    if (status == JUDGEQ_OK) {
        json_t *object = json_pack("{s:s, s:s, s:s, s:s, s:O, s:O}", "name", p->name, "section", p->section, "title",
                                   p->title, "about", p->about, "svg", bright, "dark", dark);
        if (json_array_append_new(array, object) != 0) status = error_memory(error, "the pictures");
    }
    json_decref(bright);
    json_decref(dark);
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
